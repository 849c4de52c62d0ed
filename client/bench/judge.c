/* judge.c - see judge.h. */
#include "judge.h"

#include <stdlib.h>
#include <string.h>

bool judge_share(const char *text, double *out) {
    char *end;
    double percent = strtod(text, &end);
    if (!text[0])
        percent = -100;
    else if (end == text || !(percent >= 0 && percent <= 100) ||
             (strcmp(end, "%") != 0 && (*end || percent > 0)))
        return false;
    *out = percent / 100;
    return true;
}

unsigned judge_missed(const struct judge_limits *limits, uint64_t calls, uint64_t failed,
                      uint64_t p95_us) {
    unsigned missed = 0;
    if (limits->p95_us && (calls == 0 || p95_us > limits->p95_us))
        missed |= JUDGE_P95;
    if (limits->errors >= 0 && (double)failed > limits->errors * (double)(calls + failed))
        missed |= JUDGE_ERRORS;
    return missed;
}
