/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Passes every packet.  On the peer of a veth device it is what lets that device transmit by XDP; GRO there would do as well,
 * but a burst that fills its queue then stops it for good (Linux 6.18).
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
