/* options.h - what ember-broker can be told: flags, file, environment; and what SIGHUP changes.
 *
 * Threads: owner only. A struct options is large (lists of endpoints): keep it static. */
#ifndef EMBER_BROKER_OPTIONS_H
#define EMBER_BROKER_OPTIONS_H

#include "base/cfg.h"
#include "base/limits.h"
#include "loop.h"

struct options {
    struct cfg_list clients, workers, advertise, route_texts;
    struct routes routes; /* read from route_texts */
    char http[CFG_TEXT_MAX], curve_dir[CFG_TEXT_MAX], name[LIMIT_NAME_BYTES + 1],
        default_model[LIMIT_NAME_BYTES + 1];
    uint32_t max_queued, max_client, hedge, coalesce, log_level, log_format;
    uint32_t slo_ms, slow_ms;
    uint32_t max_queued_cost, max_client_cost, max_key_sessions;
    uint64_t max_client_bytes, queue_target_us;
    double scale_target;
    uint32_t scale_min, scale_max;
    uint64_t scale_stabilization_us;
    uint64_t max_queued_bytes, max_unread, memory_limit, heartbeat_us, grace_us, drain_us;
};

/* Reads and checks them. STATUS_INVALID_ARGUMENT with a line for the user. *action: see cfg.h. */
enum status options_load(int argc, char **argv, struct options *out, enum cfg_action *action,
                         struct err *err);

/* Reads them anew and takes over what may change while the broker runs: routes, log level and
 * format. What else differs is named in `waits`, "a, b" ("" when nothing does): it waits for a
 * restart. With an error *self is untouched. */
enum status options_reload(int argc, char **argv, struct options *self, char *waits,
                           size_t waits_bytes, struct err *err);

void options_to_loop(const struct options *self, struct loop_cfg *out);

#endif
