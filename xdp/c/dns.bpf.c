// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * DNS in the driver: a query becomes its reply in the frame that it came in, or goes up as it came.
 *
 * Rule 1: the answer is made beside the frame (dns.h, in a CPU's scratch memory).  Nothing in the frame is touched before it has the
 *         length that the reply needs; all that goes up is as it came, to the balancer first and then to the worker's socket.
 * Rule 2: what the kernel would drop before any socket, or would have to look at more closely, is not answered here; but that checksums
 *         of queries are right is not looked at: links check their frames themselves, and a reply repeats its question.
 * Standards: RFC 768 (checksum, also over IPv4), RFC 8200 section 8.1, RFC 1122 section 3.2.1.3 (sources that are none), RFC 6864
 * (an identification of 0 where fragments are ruled out), RFC 9715 section 3.1 (so they are).
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "dns_maps.h"
#include "dns.h"
#include "dns_event.h"
#include "frame.h"
#include "outer.h"

enum frame_sizes {
	CHECKSUM_PART = 512, /* most that one call of bpf_csum_diff takes */
	CHECKSUM_PARTS = 3,
	STORED_BY_WORDS = 256, /* most octets of a reply that are */
};

#define NS 1000000000ULL /* in a second */

#ifndef DNS_LAYOUT
#error "DNS_LAYOUT: the number of the layout of images, as xdp/build.py gives it"
#endif

_Static_assert(DNS_REPLY_MOST <= CHECKSUM_PART * CHECKSUM_PARTS, "a reply is summed in parts");

/* What a CPU works with. */
struct own {
	struct dns_work work;
	__u64 tick, now_ns, now_s; /* what the clocks said at a tick of the timer */
};

/* Tables of one query. */
struct tables {
	struct dns_memory image, geography, block;
};

/* Of this object alone: neither pinned nor shared. */
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct own) own_work SEC(".maps");

/* Whether this may be the source of a query (RFC 1122 section 3.2.1.3, RFC 4291 section 2.7, 2.5.2, 2.5.3). */
static __always_inline int is_source(const struct packet *p, const struct dns_settings *settings)
{
	const __u32 *broadcasts = settings->broadcasts;
	const __u8 *s = p->source;
	__u32 last = ((const __u32 *)p->source)[3];
	const __u64 *source = (const void *)p->source, *to = (const void *)p->to.address;

	if (!p->source_port || (source[0] == to[0] && source[1] == to[1]))
		return 0;
	if (p->version == 4)
		return s[12] != 0 && s[12] != 127 && s[12] < 224 && last != broadcasts[0] && last != broadcasts[1] &&
		       last != broadcasts[2] && last != broadcasts[3];
	return s[0] != 0 && s[0] != 0xff; /* ::/8: unspecified, loopback, mapped */
}

/*
 * Octets from or to a frame, word by word: of so few, the helper that does it costs several times as much.  The last word overlaps the one
 * before.  0: the frame ends before.
 */
static __always_inline int load_octets(const void *from, const void *end, struct dns_work *w, __u32 octets)
{
	__u32 at;

	for (at = 0; at + 8 <= DNS_QUERY_MOST; at += 8) {
		if (at + 8 > octets)
			break;
		if (from + at + 8 > end)
			return 0;
		dns_store64(w->message + at, dns_load64(from + at));
	}
	at = DNS_CUT_TO(octets - 8, DNS_QUERY_MOST - 1);
	from += at;
	if (from + 8 > end)
		return 0;
	dns_store64(w->message + at, dns_load64(from));
	return 1;
}

/* A word as two numbers of a sum whose carries are folded in the end. */
static __always_inline __u64 halves(__u64 word)
{
	return (__u32)word + (word >> 32);
}

/* `sum` becomes that of the octets. */
static __always_inline int store_octets(void *to, const void *end, struct dns_work *w, __u32 octets, __u64 *sum)
{
	__u64 word;
	__u32 at;

	*sum = 0;

	for (at = 0; at + 8 <= STORED_BY_WORDS; at += 8) {
		if (at + 8 > octets)
			break;
		if (to + at + 8 > end)
			return 0;
		word = dns_load64(w->message + at);
		dns_store64(to + at, word);
		*sum += halves(word);
	}
	*sum += halves(dns_load64(dns_octet(w, at)) & dns_first(octets & 7));
	at = DNS_CUT_TO(octets - 8, DNS_QUERY_MOST - 1);
	to += at;
	if (to + 8 > end)
		return 0;
	dns_store64(to, dns_load64(w->message + at));
	return 1;
}

/*
 * Load the query.  0: it is none that is looked at here.  The datagram ends where UDP says, inside the IP packet: what follows is
 * none of the message (RFC 768), and what says more is the kernel's to judge.
 */
static __always_inline int load_query(struct xdp_md *ctx, const struct packet *p, const struct dns_settings *s,
				      struct dns_work *w)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 header = p->version == 4 ? IP4_OCTETS : IP6_OCTETS, l4 = p->l4 & 127, octets;
	const __be16 *udp = data + l4;

	if (p->l3 + header != l4 || !is_source(p, s) || (void *)udp + UDP_OCTETS > end)
		return 0;
	if (p->version == 6 && !udp[3]) /* RFC 8200 section 8.1: it needs a checksum */
		return 0;
	octets = bpf_ntohs(udp[2]);
	if (octets < UDP_OCTETS || octets + header > p->octets)
		return 0;
	octets -= UDP_OCTETS;
	if (octets < DNS_HEADER || octets > DNS_QUERY_MOST)
		return 0;
	w->octets = octets;
	__builtin_memcpy(w->source, p->source, sizeof(w->source));
	return load_octets((void *)udp + UDP_OCTETS, end, w, octets);
}

/* Whether the image is of the layout that this program was compiled with: another one is not looked at. */
static __always_inline int is_ours(const struct dns_image *image)
{
	const __u16 *layout = (const void *)image->layout;

	return layout[0] == bpf_htons(DNS_LAYOUT >> 32 & 0xffff) && layout[1] == bpf_htons(DNS_LAYOUT >> 16 & 0xffff) &&
	       layout[2] == bpf_htons(DNS_LAYOUT & 0xffff);
}

/* What is in force.  One look-up of the image decides it all. */
static __always_inline int find_tables(struct dns_context *c, struct tables *t)
{
	__u32 zero = 0, slot;
	struct dns_image *image;

	t->image.chunks = bpf_map_lookup_elem(&dns_images, &zero);
	if (!t->image.chunks)
		return 0;
	image = bpf_map_lookup_elem(t->image.chunks, &zero);
	if (!image || !is_ours(image))
		return 0;
	t->image.first = (void *)image;
	slot = image->geography_slot;
	t->geography.chunks = bpf_map_lookup_elem(&geographies, &slot);
	if (!t->geography.chunks)
		return 0;
	t->geography.first = bpf_map_lookup_elem(t->geography.chunks, &zero);
	slot = image->counts_slot;
	t->block.chunks = bpf_map_lookup_elem(&dns_blocks, &slot);
	if (!t->block.chunks)
		return 0;
	t->block.first = bpf_map_lookup_elem(t->block.chunks, &zero);
	if (!t->geography.first || !t->block.first)
		return 0;
	c->image = &t->image;
	c->geography = &t->geography;
	c->block = &t->block;
	c->block_at = (__u64)bpf_get_smp_processor_id() * image->counts_stride;
	c->buckets = &dns_buckets;
	return 1;
}

/* The time, as coarse as the timer's ticks: it is asked for once in each of these. */
static __always_inline void tell_time(struct dns_context *c, struct own *own, const struct dns_settings *s)
{
	__u64 tick = bpf_jiffies64();

	if (own->tick != tick) {
		own->tick = tick;
		own->now_ns = bpf_ktime_get_coarse_ns();
		own->now_s = (own->now_ns + s->unix_ns) / NS;
	}
	c->now_ns = own->now_ns;
	c->now_s = own->now_s;
}

/* The sum of a long reply's 16-bit words; what it is rounded up to is zeros. */
static __always_inline __u64 sum_of(struct dns_work *w, __u32 octets)
{
	__s64 sum = 0;

	*(__u32 *)dns_octet(w, octets) = 0;
	octets = (octets + 3) & ~3U;
#pragma unroll
	for (int part = 0; part < CHECKSUM_PARTS; part++) {
		__u32 some = octets > CHECKSUM_PART ? CHECKSUM_PART : octets;

		if (!some)
			break;
		sum = bpf_csum_diff(0, 0, (void *)&w->message[part * CHECKSUM_PART],
				    DNS_CUT_TO(some, 2 * CHECKSUM_PART - 1), sum);
		octets -= some;
	}
	return sum;
}

static __always_inline void write_udp(__be16 *udp, const struct packet *p, __u32 octets, __u64 sum)
{
	const __be32 *source = (const void *)p->source, *to = (const void *)p->to.address;
	__u16 check;

	if (p->version == 4)
		sum += (__u64)source[3] + to[3];
	else
		sum += (__u64)source[0] + source[1] + source[2] + source[3] + to[0] + to[1] + to[2] + to[3];
	sum += (__u64)p->source_port + p->to.port + bpf_htonl(octets) + bpf_htonl(IPPROTO_UDP) + bpf_htons(octets);
	check = folded(sum);
	udp[0] = p->to.port;
	udp[1] = p->source_port;
	udp[2] = bpf_htons(octets);
	udp[3] = check ? check : 0xffff;
}

static __always_inline void write_ip4(__be32 *ip, const struct packet *p, __u32 octets)
{
	const __be32 *source = (const void *)p->source, *to = (const void *)p->to.address;
	__u64 sum;

	ip[0] = bpf_htonl(0x45000000 | octets);
	ip[1] = bpf_htonl(IP4_DONT_FRAGMENT);
	ip[2] = bpf_htonl((__u32)OUTER_TTL << 24 | IPPROTO_UDP << 16);
	ip[3] = to[3];
	ip[4] = source[3];
	sum = (__u64)ip[0] + ip[1] + ip[2] + ip[3] + ip[4];
	*((__u16 *)ip + 5) = folded(sum);
}

static __always_inline void write_ip6(__be32 *ip, const struct packet *p, __u32 octets)
{
	ip[0] = bpf_htonl(6U << 28);
	ip[1] = bpf_htonl((octets - IP6_OCTETS) << 16 | IPPROTO_UDP << 8 | OUTER_TTL);
	__builtin_memcpy(&ip[2], p->to.address, 16);
	__builtin_memcpy(&ip[6], p->source, 16);
}

/*
 * Make room for so many octets more, or fewer: behind the frame, and where the driver has left too little there, before it.  Octets by
 * which the frame now begins earlier; below 0: there is no room, and the frame is as it came.
 */
static __always_inline int make_room(struct xdp_md *ctx, int more)
{
	if (!bpf_xdp_adjust_tail(ctx, more))
		return 0;
	return more > 0 && !bpf_xdp_adjust_head(ctx, -more) ? more : -1;
}

/* Make the frame the reply's.  0: it has no room, and is as it came. */
static __always_inline int write_reply(struct xdp_md *ctx, const struct packet *p, struct dns_work *w)
{
	__u32 l3 = p->l3 & 31, header = p->version == 4 ? IP4_OCTETS : IP6_OCTETS, octets = w->octets;
	void *data, *end, *old;
	__u64 sum = 0;
	int moved;

	if (octets < DNS_HEADER || octets > DNS_REPLY_MOST)
		return 0;
	moved = make_room(ctx, (int)(l3 + header + UDP_OCTETS + octets) - (int)frame_octets(ctx));
	if (moved < 0)
		return 0;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	old = data + (moved & 2047);
	if (data + 22 > end || old + 22 > end)
		return 0; /* never: both have the headers and a message */
	return_frame(data, old, l3);
	if (octets > STORED_BY_WORDS)
		sum = sum_of(w, octets);
	else if (!store_octets(data + l3 + header + UDP_OCTETS, end, w, octets, &sum))
		return 0;
	if (p->version == 4) {
		if (data + l3 + IP4_OCTETS + UDP_OCTETS > end)
			return 0;
		write_ip4(data + l3, p, IP4_OCTETS + UDP_OCTETS + octets);
		write_udp(data + l3 + IP4_OCTETS, p, UDP_OCTETS + octets, sum);
	} else {
		if (data + l3 + IP6_OCTETS + UDP_OCTETS > end)
			return 0;
		write_ip6(data + l3, p, IP6_OCTETS + UDP_OCTETS + octets);
		write_udp(data + l3 + IP6_OCTETS, p, UDP_OCTETS + octets, sum);
	}
	if (octets <= STORED_BY_WORDS)
		return 1;
	octets = DNS_CUT_TO(octets - 1, DNS_MESSAGE_MASK) + 1; /* tells Linux 6.1 that it is not 0 */
	return bpf_xdp_store_bytes(ctx, l3 + header + UDP_OCTETS, w->message, octets) == 0;
}

/* Tell user space of a query, where it is one of the sample.  Nobody is woken: who listens looks once a second. */
static __always_inline void tell(struct dns_work *w, const struct dns_context *c, const struct dns_settings *s)
{
	__u32 zero = 0;
	struct dns_sampling *sampling = bpf_map_lookup_elem(&dns_sampled, &zero);
	struct dns_event *event;

	if (!sampling || !dns_is_sampled(sampling, s->sample_one_in, s->sample_per_s, c->now_ns))
		return;
	event = bpf_ringbuf_reserve(&dns_events, sizeof(*event), 0);
	if (!event) {
		sampling->lost++;
		return;
	}
	dns_tell(event, w, c->now_ns + s->unix_ns);
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

SEC("xdp")
int dns(struct xdp_md *ctx)
{
	struct dns_context c = {};
	__u32 zero = 0;
	struct packet *p = bpf_map_lookup_elem(&scratch, &zero);
	struct own *own = bpf_map_lookup_elem(&own_work, &zero);
	struct dns_settings *s = bpf_map_lookup_elem(&dns_settings, &zero);
	struct dns_work *w;
	struct tables t;

	if (!p || !own || !s)
		return XDP_PASS;
	w = &own->work;
	if (load_query(ctx, p, s, w) && find_tables(&c, &t)) {
		tell_time(&c, own, s);
		if (dns_answer(w, &c) == DNS_REPLY && !write_reply(ctx, p, w)) {
			w->verdict = DNS_UP;
			w->up = DNS_UP_FRAME;
		}
		dns_count(w, &c);
		if (w->verdict != DNS_UP && c.now_ns < s->sample_until_ns)
			tell(w, &c, s);
		if (w->verdict != DNS_UP)
			return w->verdict == DNS_REPLY ? XDP_TX : XDP_DROP;
	}
	bpf_tail_call(ctx, &programs, PROGRAM_BALANCER);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
