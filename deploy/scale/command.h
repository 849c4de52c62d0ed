/* command.h - other programs run side by side, each to its end or a deadline.
 *
 * A command has ended when its process has, not when its pipes are closed: an ssh(1) that shares
 * its connection leaves a process behind that keeps them. It runs in a process group of its own,
 * without our signal mask, with /dev/null to read. Threads: one at a time. */
#ifndef EMBER_SCALE_COMMAND_H
#define EMBER_SCALE_COMMAND_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum { COMMANDS_AT_ONCE = 64, COMMAND_OUT_BYTES = 64 * 1024, COMMAND_ERR_BYTES = 256 };

struct command {
    char *const *words; /* NULL at the end; the program is looked for in PATH */
    bool ok;            /* it ended with 0, and said no more than there is room for */
    char out[COMMAND_OUT_BYTES];
    uint32_t bytes;                  /* of out */
    char trouble[COMMAND_ERR_BYTES]; /* if not ok: how it ended, or what it said last */
};

/* n up to COMMANDS_AT_ONCE. Those that run after timeout_us are killed. */
void command_run(struct command *commands, uint32_t n, uint64_t timeout_us);

#endif
