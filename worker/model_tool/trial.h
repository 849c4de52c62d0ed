/* trial.h - opens a doubtful model directory in a child process, so that a crash, a hang or a
 * flood of memory is a result like any other. Threads: the caller must be the only thread. */
#ifndef EMBER_MODEL_TOOL_TRIAL_H
#define EMBER_MODEL_TOOL_TRIAL_H

#include "base/err.h"
#include "cases.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TRIAL_SECONDS = 1,              /* that opening may take */
    TRIAL_BYTES = 64 * 1024 * 1024, /* of address space beyond what a good model took, and */
    TRIAL_TIMES = 2,                /* this many times the bytes of the directory's files */
    TRIAL_SECONDS_KILL = 20,        /* then the child is killed */
};

struct trial_job {
    const char *model_dir;
    const char *work_dir; /* the child's working directory: a successful attack would write there */
    const char *cases;    /* cases.jsonl to run when it opens; NULL: none */
    const char *expect;   /* the model id of those cases */
    bool finite_only;     /* only ask for finite vectors */
};

struct trial_result {
    bool ended;         /* the child came to its end; false: crashed or killed, `err` says how */
    enum status status; /* of opening, or of reading the cases */
    struct err err;     /* why, when that is not OK */
    struct cases_result cases;
    uint64_t open_us;
    uint64_t grown_bytes; /* peak of the address space, less what it was before opening */
};

/* STATUS_UNAVAILABLE when no child could be started. */
enum status trial_run(const struct trial_job *job, struct trial_result *out, struct err *err);

#endif
