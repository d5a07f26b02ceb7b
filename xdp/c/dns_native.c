/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "dns_native.h"

#define DNS_SECOND 1000000000ULL /* in ns */
#define DNS_MILLISECOND 1000000ULL

union dns_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct dns_native {
	struct dns_memory image;
	struct dns_memory geography;
	struct dns_memory block;
	void *buckets;
	__u8 limited[16];
	__u32 one_in; /* of the sample; 0: nobody listens */
	__u32 per_s;
	__u32 told; /* in `events` */
	struct dns_sampling sampling;
	struct dns_event events[DNS_TOLD];
	struct dns_work works[DNS_BATCH];
	union dns_address askers[DNS_BATCH];
	struct iovec queries[DNS_BATCH];
	struct mmsghdr received[DNS_BATCH];
	struct iovec replies[DNS_BATCH];
	struct mmsghdr sent[DNS_BATCH];
};

__u64 gslb_dns_layout(void)
{
	return DNS_LAYOUT;
}

struct dns_native *gslb_dns_open(const void *image, __u64 image_octets, const void *geography, __u64 geography_octets,
				 void *block, __u64 block_octets)
{
	const struct dns_image *head = image;
	struct dns_native *native;

	if (image_octets < DNS_VIEWS_AT || block_octets < DNS_COUNTS_ROOM ||
	    block_octets < sizeof(struct dns_counts) + 8 * ((__u64)head->cells + head->marks))
		return 0;
	native = calloc(1, sizeof(*native));
	if (!native)
		return 0;
	native->image = (struct dns_memory){(__u8 *)image, image_octets};
	native->geography = (struct dns_memory){(__u8 *)geography, geography_octets};
	native->block = (struct dns_memory){block, block_octets};
	for (int i = 0; i < DNS_BATCH; i++) {
		native->queries[i] = (struct iovec){native->works[i].message, DNS_MESSAGE_ROOM};
		native->received[i].msg_hdr.msg_iov = &native->queries[i];
		native->received[i].msg_hdr.msg_iovlen = 1;
		native->received[i].msg_hdr.msg_name = &native->askers[i];
		native->sent[i].msg_hdr.msg_iov = &native->replies[i];
		native->sent[i].msg_hdr.msg_iovlen = 1;
	}
	return native;
}

void gslb_dns_limit(struct dns_native *native, void *buckets)
{
	native->buckets = buckets;
}

void gslb_dns_limited(const struct dns_native *native, void *address)
{
	memcpy(address, native->limited, sizeof(native->limited));
}

void gslb_dns_sample(struct dns_native *native, __u32 one_in, __u32 per_s)
{
	native->one_in = one_in;
	native->per_s = per_s;
}

__u32 gslb_dns_told(struct dns_native *native, void *events, __u32 event_octets, __u64 *lost)
{
	__u32 told = native->told;

	if (event_octets != sizeof(struct dns_event))
		return 0;
	memcpy(events, native->events, told * sizeof(struct dns_event));
	native->told = 0;
	*lost += native->sampling.lost;
	native->sampling.lost = 0;
	return told;
}

void gslb_dns_close(struct dns_native *native)
{
	free(native);
}

static __u64 now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * DNS_SECOND + now.tv_nsec;
}

static struct dns_context context(const struct dns_native *native, __u64 now_s)
{
	struct dns_context c = {
	    .image = &native->image,
	    .geography = &native->geography,
	    .block = &native->block,
	    .now_s = now_s,
	    .now_ns = now_ns(CLOCK_MONOTONIC),
	    .buckets = native->buckets,
	};

	return c;
}

/* Tells of a query, where it is one of the sample. */
static __attribute__((noinline)) void tell(struct dns_native *native, struct dns_work *w, const struct dns_context *c)
{
	if (!dns_is_sampled(&native->sampling, native->one_in, native->per_s, c->now_ns))
		return;
	if (native->told < DNS_TOLD)
		dns_tell(&native->events[native->told++], w, now_ns(CLOCK_REALTIME));
	else
		native->sampling.lost++;
}

/* One function for both ways, so that it is compiled once. */
static __attribute__((noinline)) enum dns_verdict answer(struct dns_native *native, struct dns_work *w,
							 struct dns_context *c)
{
	enum dns_verdict verdict = dns_answer(w, c);

	dns_count(w, c);
	if (native->one_in && verdict != DNS_UP)
		tell(native, w, c);
	if (verdict != DNS_UP && w->over)
		memcpy(native->limited, w->source, sizeof(native->limited));
	return verdict;
}

__u32 gslb_dns_answer(struct dns_native *native, const void *message, __u32 octets, const void *source, __u64 now_s,
		      void *reply)
{
	struct dns_context c = context(native, now_s);
	struct dns_work *w = &native->works[0];

	if (octets > DNS_MESSAGE_ROOM)
		return 0;
	memcpy(w->message, message, octets);
	memcpy(w->source, source, sizeof(w->source));
	w->octets = octets;
	switch (answer(native, w, &c)) {
	case DNS_UP:
		return 0;
	case DNS_DROP:
		return DNS_SILENCE;
	case DNS_REPLY:
		break;
	}
	memcpy(reply, w->message, w->octets);
	return w->octets;
}

static void take_source(struct dns_work *w, const union dns_address *asker)
{
	static const __u8 mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (asker->any.sa_family == AF_INET6) {
		memcpy(w->source, &asker->v6.sin6_addr, 16);
		return;
	}
	memcpy(w->source, mapped, sizeof(mapped));
	memcpy(w->source + sizeof(mapped), &asker->v4.sin_addr, 4);
}

/* Writes a query down for the reference; where the next one goes. */
static void *pass(void *room, const struct dns_work *w, const union dns_address *asker, int socket)
{
	int is_v6 = asker->any.sa_family == AF_INET6;
	struct dns_passed passed = {
	    .octets = w->octets,
	    .scope = is_v6 ? asker->v6.sin6_scope_id : 0,
	    .port = ntohs(is_v6 ? asker->v6.sin6_port : asker->v4.sin_port),
	    .is_v6 = is_v6,
	    .socket = socket,
	};

	if (is_v6)
		memcpy(passed.address, &asker->v6.sin6_addr, 16);
	else
		memcpy(passed.address, &asker->v4.sin_addr, 4);
	memcpy(room, &passed, sizeof(passed));
	memcpy((__u8 *)room + sizeof(passed), w->message, w->octets);
	return (__u8 *)room + sizeof(passed) + ((w->octets + 7) & ~7);
}

/* Sends replies; one that cannot be sent (a full queue, a firewall) is left out, since its client asks again. */
static void send_all(int socket, struct mmsghdr *replies, unsigned int count, struct dns_turn *turn)
{
	while (count) {
		int done = sendmmsg(socket, replies, count, MSG_DONTWAIT);

		if (done < 0) {
			if (errno == EINTR)
				continue;
			turn->send_failed++;
			done = 1;
		}
		replies += done;
		count -= done;
	}
}

/* One batch; how many datagrams it had. */
static unsigned int drain_batch(struct dns_native *native, int socket, struct dns_context *c, void **room,
				struct dns_turn *turn)
{
	unsigned int replies = 0;
	int count;

	for (int i = 0; i < DNS_BATCH; i++)
		native->received[i].msg_hdr.msg_namelen = sizeof(native->askers[i]);
	do {
		count = recvmmsg(socket, native->received, DNS_BATCH, MSG_DONTWAIT, 0);
	} while (count < 0 && errno == EINTR);
	if (count < 0) {
		turn->receive_failed += errno != EAGAIN; /* an ICMP error of an earlier reply is reported here */
		return 0;
	}
	for (int i = 0; i < count; i++) {
		struct dns_work *w = &native->works[i];

		w->octets = native->received[i].msg_len;
		take_source(w, &native->askers[i]);
		switch (answer(native, w, c)) {
		case DNS_UP:
			*room = pass(*room, w, &native->askers[i], socket);
			turn->passed++;
			continue;
		case DNS_DROP:
			continue;
		case DNS_REPLY:
			break;
		}
		native->replies[replies] = (struct iovec){w->message, w->octets};
		native->sent[replies].msg_hdr.msg_name = &native->askers[i];
		native->sent[replies].msg_hdr.msg_namelen = native->received[i].msg_hdr.msg_namelen;
		replies++;
	}
	send_all(socket, native->sent, replies, turn);
	turn->received += count;
	return count;
}

static void drain(struct dns_native *native, int socket, void *passed, struct dns_turn *turn)
{
	struct dns_context c = context(native, now_ns(CLOCK_REALTIME) / DNS_SECOND);

	for (int batch = 0; batch < DNS_BATCHES; batch++)
		if (drain_batch(native, socket, &c, &passed, turn) < DNS_BATCH || turn->passed)
			break;
}

void gslb_dns_drain(struct dns_native *native, int socket, void *passed, struct dns_turn *turn)
{
	*turn = (struct dns_turn){0};
	drain(native, socket, passed, turn);
}

static int is_among(int socket, const int *sockets, __u32 count)
{
	for (__u32 i = 0; i < count; i++)
		if (sockets[i] == socket)
			return 1;
	return 0;
}

void gslb_dns_serve(struct dns_native *native, int epoll, const int *sockets, __u32 count, const __u64 *word,
		    __u64 seen, __u32 wait_ms, void *passed, struct dns_turn *turn)
{
	struct epoll_event events[DNS_EVENTS];
	__u64 until = now_ns(CLOCK_MONOTONIC) / DNS_MILLISECOND + wait_ms, now;
	int ready, is_others = 0;

	*turn = (struct dns_turn){0};
	do {
		now = now_ns(CLOCK_MONOTONIC) / DNS_MILLISECOND;
		ready = now < until ? epoll_wait(epoll, events, DNS_EVENTS, until - now) : 0;
		if (ready <= 0 || __atomic_load_n(word, __ATOMIC_ACQUIRE) != seen)
			return;
		for (int i = 0; i < ready && !turn->passed; i++) {
			if (is_among(events[i].data.fd, sockets, count))
				drain(native, events[i].data.fd, passed, turn);
			else
				is_others = 1;
		}
	} while (!is_others && !turn->passed);
}

enum dns_limit_verdict gslb_dns_charge(const struct dns_limit *limit, void *buckets, const void *source, __u32 account,
				       __u64 now_ns)
{
	struct dns_context c = {.buckets = buckets, .now_ns = now_ns};
	__u64 high = dns_load64(source), low = dns_load64((const __u8 *)source + 8);

	return dns_limit_charge(limit, &c, high, low, dns_limit_network(limit, high, low), account);
}
