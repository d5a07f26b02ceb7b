// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The program that is attached: it parses each packet once and hands it to the program behind it: to DNS what is for an address that
 * DNS is answered at, all else to the balancer.  Where that one is missing, the packet goes up the stack.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "entry_maps.h"
#include "parse.h"

/* As with VIPs (vip.h), a CPU keeps what it found, since a look-up in a hash map costs as much as half of all else here. */
static __always_inline int is_dns_address(const struct packet *p, __u64 ethernet, __u32 version)
{
	__u32 family = p->version == 6;
	struct known_address *known = bpf_map_lookup_elem(&known_addresses, &family);

	if (likely(known && version && known->version == version && known->ethernet == ethernet &&
		   same_key(&known->to, &p->to)))
		return 1;
	if (!bpf_map_lookup_elem(&dns_addresses, &p->to) || !bpf_map_lookup_elem(&dns_ethernets, &ethernet))
		return 0;
	if (known) {
		known->to = p->to;
		known->ethernet = ethernet;
		known->version = version;
	}
	return 1;
}

/*
 * Whether DNS is answered where this packet goes.  What is no whole and plain datagram is not looked up, and a frame that only an
 * interface in promiscuous mode takes is no more for us here than it is for the kernel (PACKET_OTHERHOST).
 */
static __always_inline int for_dns(const struct xdp_md *ctx, const struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct dns_settings *s;
	__u32 zero = 0;
	__u64 last;

	if (p->to.protocol != IPPROTO_UDP || p->flags & ~PACKET_DONT_FRAGMENT)
		return 0;
	s = bpf_map_lookup_elem(&dns_settings, &zero);
	if (!s || !s->addresses || (s->port && s->port != p->to.port))
		return 0;
	if (data + sizeof(struct ethhdr) > end)
		return 0; /* never: it was parsed */
	last = *(const __u16 *)(data + 4);
	return is_dns_address(p, *(const __u32 *)data | last << 32, s->version);
}

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct packet *p = bpf_map_lookup_elem(&scratch, &zero);

	if (!p)
		return XDP_PASS;
	switch (parse(p, (void *)(long)ctx->data, (void *)(long)ctx->data_end)) {
	case NOT_IP:
		count(COUNT_NOT_IP);
		return XDP_PASS;
	case MALFORMED:
		count(COUNT_MALFORMED);
		return XDP_DROP;
	}
	if (for_dns(ctx, p))
		bpf_tail_call(ctx, &programs, PROGRAM_DNS);
	bpf_tail_call(ctx, &programs, PROGRAM_BALANCER);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
