/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Maglev tables, natively: the same table, bit for bit, as gslb/model/choice.py makes.
 *
 * Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4.
 */
#pragma once

#include <stdint.h>

/*
 * Fill `table` of `slots` (a prime) with places 0..members-1, where members are at most 65 535.
 *
 * Each member's first slot, its step to the next one (1..slots-1) and its turns a round (the greatest is 1) come in the
 * order of places.  `positions` and `turns` are room for as many numbers.
 */
void gslb_maglev(const uint32_t *starts, const uint32_t *skips, const double *shares, uint32_t members, uint32_t slots,
		 uint32_t *positions, double *turns, uint16_t *table);
