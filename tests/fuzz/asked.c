/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The native executor under sanitizers: asked FILES... answers messages on stdin until there are no more.
 *
 *     asked IMAGE GEOGRAPHY NOW
 *
 * A message comes as its length (16 bits), the asker's address (16 octets), its octets; a reply goes as its length, 0 where the message goes
 * up, and its octets.  At the end come the numbers of the block of counters, 64 bits each.  Lengths are little endian.
 *
 * Tables are held in memory of just their size, and what lies behind a message is noise, so whatever is read beyond either shows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "dns_native.h"

static void *whole(const char *path, size_t *octets)
{
	struct stat found;
	FILE *file = fopen(path, "rb");
	void *memory;

	if (!file || fstat(fileno(file), &found))
		abort();
	*octets = found.st_size;
	memory = malloc(*octets);
	if (!memory || fread(memory, 1, *octets, file) != *octets)
		abort();
	fclose(file);
	return memory;
}

int main(int count, char **words)
{
	size_t image_octets, geography_octets, block_octets;
	void *image, *geography, *block;
	struct dns_memory tables[3];
	struct dns_context c = {.image = &tables[0], .geography = &tables[1], .block = &tables[2]};
	struct dns_work *w = malloc(sizeof(*w));
	struct dns_event event;
	__u16 octets;
	__u32 noise = 1;

	if (count != 4 || !w)
		return 2;
	image = whole(words[1], &image_octets);
	geography = whole(words[2], &geography_octets);
	block_octets = sizeof(struct dns_counts) +
		       8 * ((size_t)((struct dns_image *)image)->cells + ((struct dns_image *)image)->marks);
	if (block_octets < DNS_COUNTS_ROOM)
		block_octets = DNS_COUNTS_ROOM;
	block = calloc(1, block_octets);
	tables[0] = (struct dns_memory){image, image_octets};
	tables[1] = (struct dns_memory){geography, geography_octets};
	tables[2] = (struct dns_memory){block, block_octets};
	c.buckets = calloc(DNS_LIMIT_SETS, sizeof(struct dns_limit_set)); /* asked, and never full */
	if (!c.buckets)
		return 2;
	c.now_s = strtoull(words[3], 0, 10);
	c.now_ns = c.now_s * 1000000000ULL;
	while (fread(&octets, sizeof(octets), 1, stdin)) {
		__u8 *at = (__u8 *)w, source[16];

		for (size_t i = 0; i < sizeof(*w); i++, noise = noise * 1664525 + 1013904223)
			at[i] = noise >> 24;
		if (octets > DNS_MESSAGE_ROOM || !fread(source, sizeof(source), 1, stdin) ||
		    fread(w->message, 1, octets, stdin) != octets)
			return 3;
		memcpy(w->source, source, sizeof(source));
		w->octets = octets;
		octets = dns_answer(w, &c) == DNS_REPLY ? w->octets : 0;
		dns_count(w, &c);
		if (w->verdict != DNS_UP)
			dns_tell(&event, w, 0);
		fwrite(&octets, sizeof(octets), 1, stdout);
		fwrite(w->message, 1, octets, stdout);
		fflush(stdout);
	}
	fwrite(block, 1, block_octets, stdout);
	free(c.buckets);
	free(w);
	free(image);
	free(geography);
	free(block);
	return 0;
}
