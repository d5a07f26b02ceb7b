"""The kernel data plane: the XDP balancer, its loader, and what it counts."""
