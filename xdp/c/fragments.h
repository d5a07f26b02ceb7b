/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Later fragments follow their first one, which alone has ports.  RFC 791 section 3.2, RFC 8200 section 4.5. */
#pragma once

#include "decision.h"
#include "maps.h"

static __always_inline struct fragment_key fragment_key(const struct packet *p)
{
	struct fragment_key key = {.id = p->fragment_id, .protocol = p->to.protocol};

	__builtin_memcpy(key.source, p->source, sizeof(key.source));
	__builtin_memcpy(key.destination, p->to.address, sizeof(key.destination));
	return key;
}

static __always_inline void remember_fragment(const struct packet *p, const struct decision *d)
{
	struct fragment_key key = fragment_key(p);
	struct fragmented value = {.backend = d->backend, .vip = d->vip};

	bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
}

static __always_inline const struct fragmented *first_fragment(const struct packet *p)
{
	struct fragment_key key = fragment_key(p);

	return bpf_map_lookup_elem(&fragments, &key);
}
