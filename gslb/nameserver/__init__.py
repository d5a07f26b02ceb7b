"""The authoritative nameserver: compiled tables, the pure answer, and the workers that carry it."""
