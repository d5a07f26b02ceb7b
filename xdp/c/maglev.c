/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "maglev.h"

#define FREE 0xFFFF /* no place: members are fewer */

void gslb_maglev(const uint32_t *starts, const uint32_t *skips, const double *shares, uint32_t members, uint32_t slots,
		 uint32_t *positions, double *turns, uint16_t *table)
{
	uint32_t free = slots;

	for (uint32_t slot = 0; slot < slots; slot++)
		table[slot] = FREE;
	for (uint32_t place = 0; place < members; place++) {
		positions[place] = starts[place];
		turns[place] = 0.0;
	}
	while (free && members) {
		for (uint32_t place = 0; place < members && free; place++) {
			uint32_t slot = positions[place], skip = skips[place];

			turns[place] += shares[place];
			if (turns[place] < 1.0)
				continue;
			turns[place] -= 1.0;
			while (table[slot] != FREE) {
				slot += skip; /* slots are fewer than 2^31: no overflow */
				if (slot >= slots)
					slot -= slots;
			}
			table[slot] = (uint16_t)place;
			positions[place] = slot;
			free--;
		}
	}
}
