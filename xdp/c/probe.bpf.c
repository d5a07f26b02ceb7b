// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * On the way out of a balancer's own node: a health check to a VIP goes to the backend that its mark names, as the
 * balancer sends clients' packets there.  XDP sees only what comes in, so this is TC.
 *
 * Rule 1: what has no mark of `marks` leaves as it came.
 * Rule 2: what has one reaches that backend or nobody: a check that another backend answers would be a lie.  One that
 * is down is asked as well, or it would never come back. Rule 3: the mark ends here, so that no device below this one,
 * or beside it, does it again. Checksums that the device is to complete stay so: room is made by bpf_skb_adjust_room,
 * which moves what says where they are.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "maps.h"
#include "hash.h"
#include "outer.h"

enum probe_sizes {
	PORTS_OCTETS = 4,
	MOST_OUTER = IP6_OCTETS + GUE_OCTETS,
};

/* What the outer header needs of an IPv4 packet. */
static __always_inline long read4(struct __sk_buff *skb, struct packet *p, struct outer *o)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return -1;
	o->version = p->version = 4;
	o->octets = bpf_ntohs(ip.tot_len);
	o->tos = ip.tos;
	o->identity = outer_identity(4, &ip);
	p->source[10] = p->source[11] = p->to.address[10] = p->to.address[11] = 0xff;
	__builtin_memcpy(&p->source[12], &ip.saddr, sizeof(ip.saddr));
	__builtin_memcpy(&p->to.address[12], &ip.daddr, sizeof(ip.daddr));
	p->to.protocol = ip.protocol;
	return ETH_HLEN + ip.ihl * 4;
}

static __always_inline long read6(struct __sk_buff *skb, struct packet *p, struct outer *o)
{
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return -1;
	o->version = p->version = 6;
	o->octets = sizeof(ip) + bpf_ntohs(ip.payload_len);
	o->tos = bpf_ntohl(*(__be32 *)&ip) >> 20;
	o->identity = outer_identity(6, &ip);
	__builtin_memcpy(p->source, &ip.saddr, sizeof(ip.saddr));
	__builtin_memcpy(p->to.address, &ip.daddr, sizeof(ip.daddr));
	p->to.protocol = ip.nexthdr;
	return ETH_HLEN + sizeof(ip);
}

static __always_inline long encapsulate(struct __sk_buff *skb, const struct settings *s, const struct backend *b)
{
	struct packet p = {};
	struct outer o = {};
	__u8 header[MOST_OUTER];
	__u64 flags = is_mapped(b->address) ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	__be16 type = is_mapped(b->address) ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	__u32 overhead = overhead_of(b);
	__be16 ports[2];
	long l4 = -1;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		l4 = read4(skb, &p, &o);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		l4 = read6(skb, &p, &o);
	if (l4 < 0 || overhead < IP4_OCTETS || overhead > sizeof(header))
		return -1;
	if ((p.to.protocol == IPPROTO_TCP || p.to.protocol == IPPROTO_UDP) &&
	    !bpf_skb_load_bytes(skb, l4, ports, PORTS_OCTETS)) {
		p.source_port = ports[0];
		p.to.port = ports[1];
	}
	o.hash = flow_hash(s, &p);
	if (is_mapped(b->address))
		write_outer4(header, s, b, &o);
	else
		write_outer6(header, s, b, &o);
	if (b->mode == MODE_GUE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	if (bpf_skb_adjust_room(skb, overhead, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	if (bpf_skb_store_bytes(skb, ETH_HLEN, header, overhead, 0))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN - sizeof(type), &type, sizeof(type), 0);
}

SEC("tc")
int probe(struct __sk_buff *skb)
{
	__u32 mark = skb->mark, zero = 0, *id = bpf_map_lookup_elem(&marks, &mark);
	const struct settings *s;
	const struct backend *b;

	if (!id)
		return TC_ACT_OK;
	s = bpf_map_lookup_elem(&settings, &zero);
	b = bpf_map_lookup_elem(&backends, id);
	if (!s || !b || b->mode == MODE_NONE || b->flags & BACKEND_UNREACHABLE)
		return TC_ACT_SHOT;
	skb->mark = 0;
	if (b->mode != MODE_L2 && encapsulate(skb, s, b))
		return TC_ACT_SHOT;
	if (bpf_skb_store_bytes(skb, 0, b->next_hop, sizeof(b->next_hop) + sizeof(b->source), 0))
		return TC_ACT_SHOT;
	return b->ifindex == skb->ifindex ? TC_ACT_OK : bpf_redirect(b->ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
