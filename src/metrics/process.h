/* process.h - what the system says of this process, under the names that Prometheus' client
 * libraries give it: process_cpu_seconds_total, process_resident_memory_bytes,
 * process_virtual_memory_bytes, process_open_fds, process_max_fds, process_start_time_seconds.
 *
 * Read from /proc when asked; what cannot be read is left out. Threads: any. */
#ifndef EMBER_METRICS_PROCESS_H
#define EMBER_METRICS_PROCESS_H

#include "metrics/expose.h"

struct process_stat {                /* of /proc/PID/stat */
    uint64_t cpu_ticks, start_ticks; /* of user and system; since the host's boot */
    uint64_t virtual_bytes, resident_pages;
};

/* False when the text is not as proc(5) says. A name may hold blanks and parentheses. */
bool process_parse(const char *text, struct process_stat *out);

void process_expose(struct expose_text *out);

#endif
