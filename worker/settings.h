/* settings.h - what ember-worker can be told; one table makes flags, file and --help. */
#ifndef EMBER_WORKER_SETTINGS_H
#define EMBER_WORKER_SETTINGS_H

#include "base/cfg.h"
#include "base/limits.h"

struct settings {
    struct cfg_list models, brokers;
    char name[LIMIT_NAME_BYTES + 1];
    uint32_t tier; /* index of "standard", "fast" */
    double hourly_cost;
    uint32_t threads, credit, batch_tokens;
    uint32_t batch_wait_us;
    uint64_t memory_limit;
    uint32_t labels_max, request_tokens;
    uint32_t precision;
    uint32_t team; /* index of "on", "off" */
    char kernel[32];
    char weights_cache[CFG_TEXT_MAX];
    char redis[CFG_TEXT_MAX];
    char curve_key[CFG_TEXT_MAX], curve_server_key[CFG_TEXT_MAX]; /* both or none */
    uint64_t cache_ttl_us, cache_memory;
    char http[128];
    uint64_t drain_timeout_us;
    uint32_t stuck_ms, slow_ms;
    uint32_t log_level, log_format;
};

/* Fills defaults that depend on the machine (threads, credit, name) and checks what the table
 * cannot. As cfg_load() otherwise. */
enum status settings_load(int argc, char **argv, struct settings *out, enum cfg_action *action,
                          struct err *err);

const char *settings_tier(const struct settings *self);

#endif
