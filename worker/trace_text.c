/* trace_text.c - see trace_text.h. */
#include "trace_text.h"

#include <stdbool.h>
#include <string.h>

static bool is_context(struct view trace) {
    static const char form[] = "xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    _Static_assert(sizeof form - 1 == LIMIT_TRACEPARENT_BYTES, "all of it");
    if (trace.bytes != sizeof form - 1)
        return false;
    for (size_t i = 0; i < trace.bytes; i++) {
        char c = trace.data[i];
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (form[i] == 'x' ? !hex : c != '-')
            return false;
    }
    return true;
}

const char *trace_text(struct view trace, char out[LIMIT_TRACEPARENT_BYTES + 1]) {
    bool fine = is_context(trace);
    if (fine)
        memcpy(out, trace.data, trace.bytes);
    out[fine ? trace.bytes : 0] = '\0';
    return fine ? out : "-";
}
