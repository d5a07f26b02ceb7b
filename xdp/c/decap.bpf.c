// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * At a backend: takes the outer headers off packets that a balancer sent through a tunnel, and hands them to the
 * kernel.
 *
 * For backends whose kernel has no tunnel devices, and in front of those that have: a tunnel device takes whatever
 * comes in it, this program only packets to one of our own addresses that carry one to a VIP.
 *
 * Rule 1: what is not such a packet passes as it came, whatever is wrong with it.
 * Rule 2: VLAN tags stay; the inner packet changes in its ECN field alone (RFC 6040 section 4.2), and not in its TTL
 * (RFC 2003 section 3.1: the end of a tunnel that is the packet's destination is no router). XDP and not TC: the socket
 * layer, GRO and the kernel's own tunnel devices see the inner packet as if it had come so. Standards: RFC 2003, RFC
 * 2473, RFC 6040, draft-ietf-intarea-gue-09 (variant 1: an IP header follows UDP).
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum decap_sizes {
	GUE_PORT = 6080,
	MOST_TAGS = 2,
	DECAP_PREFIXES = 4096,
	DECAP_ADDRESSES = 256,
};

/* The counters of `decap_counts`, in this order; xdp/decap.py has the same. */
enum decap_count {
	DECAP_IP = 0,	 /* taken out of IP */
	DECAP_GUE,	 /* taken out of GUE */
	DECAP_NOT_OURS,	 /* passed: in a tunnel to us, and for no VIP of ours */
	DECAP_MALFORMED, /* passed: the inner header says more than there is */
	DECAP_CONGESTED, /* dropped: congestion on the way, which the inner packet cannot tell (RFC 6040 section 4.2) */
	DECAP_COUNTS,
};

/* Addresses are 16 octets, IPv4 as ::ffff:a.b.c.d. */
struct address {
	__u8 octets[16];
};

struct prefix {
	__u32 length; /* bits */
	struct address address;
};

struct tag {
	__be16 tci;
	__be16 type;
};

/* A tunnelled packet: offsets from the first octet of the frame. */
struct tunnel {
	__u32 l3;      /* of the outer IP header */
	__u32 octets;  /* of the headers to take off */
	__u32 payload; /* of the inner packet, at most */
	__be16 type;   /* of the outer header, for Ethernet */
	__u8 inner;    /* 4 or 6 */
	__u8 ecn;
};

/* What is decapsulated: inner destinations. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DECAP_PREFIXES);
	__type(key, struct prefix);
	__type(value, __u32);
} decap_vips SEC(".maps");

/* Outer destinations: this backend's addresses as balancers know them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_ADDRESSES);
	__type(key, struct address);
	__type(value, __u32);
} decap_ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DECAP_COUNTS);
	__type(key, enum decap_count);
	__type(value, __u64);
} decap_counts SEC(".maps");

static __always_inline void count(enum decap_count what)
{
	__u64 *counter = bpf_map_lookup_elem(&decap_counts, &what);

	if (counter)
		*counter += 1;
}

static __always_inline void embed(struct address *to, __be32 address)
{
	__builtin_memset(to, 0, sizeof(*to));
	to->octets[10] = to->octets[11] = 0xff;
	__builtin_memcpy(&to->octets[12], &address, sizeof(address));
}

/* Ethernet and its tags: the offset of what follows and its type; 0 where the frame ends before. */
static __always_inline __u32 link_octets(void *data, void *end, __be16 *type)
{
	struct ethhdr *eth = data;
	__u32 at = sizeof(*eth);

	if ((void *)(eth + 1) > end)
		return 0;
	*type = eth->h_proto;
	for (int i = 0; i < MOST_TAGS; i++) {
		struct tag *tag = data + at;

		if (*type != bpf_htons(ETH_P_8021Q) && *type != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > end)
			return 0;
		*type = tag->type;
		at += sizeof(*tag);
	}
	return at;
}

/* The outer header, if it is one to an address of ours that a tunnel's header or UDP follows; its protocol, else 0. */
static __always_inline __u8 outer(void *data, void *end, struct tunnel *tunnel)
{
	struct address to;
	__u32 octets;
	__u8 protocol;

	if (tunnel->type == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + tunnel->l3;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl != 5 || ip->frag_off & bpf_htons(0x3fff))
			return 0;
		tunnel->octets = sizeof(*ip);
		octets = bpf_ntohs(ip->tot_len);
		tunnel->ecn = ip->tos & 3;
		protocol = ip->protocol;
		embed(&to, ip->daddr);
	} else if (tunnel->type == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + tunnel->l3;

		if ((void *)(ip + 1) > end || ip->version != 6)
			return 0;
		tunnel->octets = sizeof(*ip);
		octets = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		tunnel->ecn = ip->flow_lbl[0] >> 4 & 3;
		protocol = ip->nexthdr;
		__builtin_memcpy(&to, &ip->daddr, sizeof(to));
	} else {
		return 0;
	}
	if (protocol != IPPROTO_IPIP && protocol != IPPROTO_IPV6 && protocol != IPPROTO_UDP)
		return 0;
	if (octets < tunnel->octets || !bpf_map_lookup_elem(&decap_ends, &to))
		return 0;
	tunnel->payload = octets - tunnel->octets;
	return protocol;
}

/* Whether the UDP header behind the outer one begins GUE; it is taken off with the rest. */
static __always_inline bool gue(void *data, void *end, struct tunnel *tunnel)
{
	struct udphdr *udp = data + tunnel->l3 + tunnel->octets;
	__u8 *first = (void *)(udp + 1);

	if ((void *)(first + 1) > end || udp->dest != bpf_htons(GUE_PORT) || tunnel->payload < sizeof(*udp))
		return false;
	tunnel->inner = *first >> 4;
	tunnel->octets += sizeof(*udp);
	tunnel->payload -= sizeof(*udp);
	return tunnel->inner == 4 || tunnel->inner == 6;
}

/* Whether the inner packet is whole and for a VIP; its ECN field. */
static __always_inline bool inner(struct xdp_md *context, void *data, void *end, struct tunnel *tunnel, __u8 *ecn)
{
	struct prefix to = {.length = 128};
	__u64 there = bpf_xdp_get_buff_len(context) - tunnel->l3 - tunnel->octets;
	__u32 octets, header;

	if (tunnel->inner == 4) {
		struct iphdr *ip = data + tunnel->l3 + tunnel->octets;

		if ((void *)(ip + 1) > end || ip->version != 4)
			goto malformed;
		header = ip->ihl * 4;
		if (header < sizeof(*ip))
			goto malformed;
		octets = bpf_ntohs(ip->tot_len);
		*ecn = ip->tos & 3;
		embed(&to.address, ip->daddr);
	} else {
		struct ipv6hdr *ip = data + tunnel->l3 + tunnel->octets;

		if ((void *)(ip + 1) > end || ip->version != 6)
			goto malformed;
		header = sizeof(*ip);
		octets = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		*ecn = ip->flow_lbl[0] >> 4 & 3;
		__builtin_memcpy(&to.address, &ip->daddr, sizeof(to.address));
	}
	if (octets < header || octets > tunnel->payload || octets > there)
		goto malformed;
	if (bpf_map_lookup_elem(&decap_vips, &to))
		return true;
	count(DECAP_NOT_OURS);
	return false;
malformed:
	count(DECAP_MALFORMED);
	return false;
}

/* What the inner ECN field becomes (RFC 6040 figure 4), where the packet is not to be dropped. */
static __always_inline __u8 merged(__u8 ecn, __u8 outer_ecn)
{
	if (ecn == 0 || ecn == 3)
		return ecn;
	return outer_ecn == 1 || outer_ecn == 3 ? outer_ecn : ecn;
}

static __always_inline void set_ecn4(struct iphdr *ip, __u8 ecn)
{
	__u8 tos = (ip->tos & ~3) | ecn;
	__u32 sum = (__u16)~ip->check + (__u16)~bpf_htons(ip->tos) + bpf_htons(tos); /* RFC 1624 equation 3 */

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	ip->tos = tos;
}

/* Take the headers off; Ethernet and its tags move up to the inner packet. */
static __always_inline int strip(struct xdp_md *context, const struct tunnel *tunnel, __u8 ecn)
{
	__u8 link[sizeof(struct ethhdr) + MOST_TAGS * sizeof(struct tag)];
	__be16 type = bpf_htons(tunnel->inner == 4 ? ETH_P_IP : ETH_P_IPV6);
	__u32 l3 = tunnel->l3;
	void *data, *end;

	if (l3 < sizeof(struct ethhdr) || l3 > sizeof(link) || bpf_xdp_load_bytes(context, 0, link, l3))
		return XDP_PASS;
	if (bpf_xdp_adjust_head(context, tunnel->octets))
		return XDP_PASS;
	if (bpf_xdp_store_bytes(context, 0, link, l3) ||
	    bpf_xdp_store_bytes(context, l3 - sizeof(type), &type, sizeof(type)))
		return XDP_DROP;
	data = (void *)(long)context->data;
	end = (void *)(long)context->data_end;
	if (tunnel->inner == 4) {
		struct iphdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		if ((ip->tos & 3) != ecn)
			set_ecn4(ip, ecn);
	} else {
		struct ipv6hdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		ip->flow_lbl[0] = (ip->flow_lbl[0] & ~0x30) | ecn << 4;
	}
	return XDP_PASS;
}

SEC("xdp.frags")
int decap(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;
	struct tunnel tunnel = {};
	__u8 protocol, ecn = 0;

	tunnel.l3 = link_octets(data, end, &tunnel.type);
	if (!tunnel.l3)
		return XDP_PASS;
	protocol = outer(data, end, &tunnel);
	if (!protocol)
		return XDP_PASS;
	tunnel.inner = protocol == IPPROTO_IPIP ? 4 : 6;
	if (protocol == IPPROTO_UDP && !gue(data, end, &tunnel))
		return XDP_PASS;
	if (!inner(context, data, end, &tunnel, &ecn))
		return XDP_PASS;
	if (ecn == 0 && tunnel.ecn == 3) {
		count(DECAP_CONGESTED);
		return XDP_DROP;
	}
	count(protocol == IPPROTO_UDP ? DECAP_GUE : DECAP_IP);
	return strip(context, &tunnel, merged(ecn, tunnel.ecn));
}

char _license[] SEC("license") = "Dual BSD/GPL";
