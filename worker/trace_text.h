/* trace_text.h - a W3C trace context for the log.
 *
 *     00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *
 * Bytes of the field that are not of that form may be anything a client wrote, a text even, and are
 * not told: they read "-". Pure. */
#ifndef EMBER_WORKER_TRACE_TEXT_H
#define EMBER_WORKER_TRACE_TEXT_H

#include "base/limits.h"
#include "base/view.h"

/* Returns out. */
const char *trace_text(struct view trace, char out[LIMIT_TRACEPARENT_BYTES + 1]);

#endif
