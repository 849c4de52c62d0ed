/* memory.h - what memory there is for this process and what of it is taken.
 *
 *     --memory-limit BYTES   the process: anonymous memory, shared weights not among it
 *     cgroup v2              memory.max, the tightest of the group and those around it
 *     cgroup v1              hierarchical_memory_limit in memory.stat
 *     else                   no limit
 *
 * Of a cgroup counts what the kernel cannot take back by dropping pages of files: usage less
 * active_file and inactive_file. A worker's weights, mapped from a file, are such pages: counting
 * them would make its batches small for ever where a limit was chosen to just hold a model.
 *
 * Threads: immutable after memory_init(); memory_used() reads files, any thread. */
#ifndef EMBER_BASE_MEMORY_H
#define EMBER_BASE_MEMORY_H

#include <stdint.h>

enum memory_source { MEMORY_NONE, MEMORY_SETTING, MEMORY_CGROUP };

struct memory {
    enum memory_source source;
    uint64_t limit;                         /* bytes; 0: none */
    char usage[512], stat[512], statm[512]; /* files */
};

/* `setting`: bytes, 0 for what the cgroup says. `root`: "" but in tests, which lay out a /proc
 * and a /sys of their own below it. */
void memory_init(struct memory *self, uint64_t setting, const char *root);

/* Bytes taken; 0 when it cannot be told. */
uint64_t memory_used(const struct memory *self);

const char *memory_source_name(enum memory_source source); /* "none" "setting" "cgroup" */

#endif
