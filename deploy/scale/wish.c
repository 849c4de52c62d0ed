/* wish.c - see wish.h. Each broker has a client of its own, which asks no other. */
#include "wish.h"

#include "base/clock.h"
#include "base/log.h"

#include <ember/ember.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WISH_TIMEOUT_MS = 1000 };

struct eye {
    ember_t *ember;
    const char *endpoint;
    uint64_t heard_us; /* or the start */
    bool silent;       /* as was logged */
};

struct wish {
    uint64_t forget_us;
    uint32_t n;
    struct eye eyes[CFG_LIST_MAX];
};

enum status wish_new(const struct wish_cfg *cfg, uint64_t now_us, wish_t **out, struct err *err) {
    wish_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    self->forget_us = cfg->forget_us;
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.name = "ember-scale";
    options.key_file = cfg->key_file;
    options.server_key_file = cfg->server_key_file;
    options.timeout_ms = WISH_TIMEOUT_MS;
    options.no_discovery = 1;
    for (uint32_t i = 0; i < cfg->brokers->n; i++) {
        struct eye *eye = &self->eyes[self->n++];
        struct ember_error error;
        *eye = (struct eye){.endpoint = cfg->brokers->item[i], .heard_us = now_us};
        if (ember_open(eye->endpoint, &options, &eye->ember, &error) == EMBER_OK)
            continue;
        wish_destroy(&self);
        return err_set(err, (enum status)error.status, "broker: %s", error.message);
    }
    *out = self;
    return STATUS_OK;
}

void wish_destroy(wish_t **self) {
    for (uint32_t i = 0; *self && i < (*self)->n; i++)
        ember_close(&(*self)->eyes[i].ember);
    free(*self);
    *self = NULL;
}

static void say(struct eye *eye, bool silent, const char *why) {
    char quoted[ERR_TEXT_MAX];
    if (silent != eye->silent && silent)
        log_warn("broker-silent", "broker=%s msg=%s", eye->endpoint,
                 log_quoted(why, quoted, sizeof quoted));
    else if (silent != eye->silent)
        log_info("broker-back", "broker=%s", eye->endpoint);
    eye->silent = silent;
}

static void take(const struct ember_fleet_info *fleet, struct follow_sight *out) {
    uint32_t seen = fleet->live + fleet->suspect;
    out->seen = seen > out->seen ? seen : out->seen;
    out->any |= fleet->known;
    out->all &= fleet->known != 0;
    out->wish += fleet->known ? fleet->desired : 0;
}

void wish_look(wish_t *self, struct follow_sight *out) {
    *out = (struct follow_sight){.all = true};
    uint32_t heard = 0;
    for (uint32_t i = 0; i < self->n; i++) {
        struct eye *eye = &self->eyes[i];
        struct ember_error error;
        ember_report_t *report = NULL;
        bool silent = ember_report(eye->ember, WISH_TIMEOUT_MS, &report, &error) != EMBER_OK;
        say(eye, silent, silent ? error.message : "");
        if (!silent) {
            heard++;
            eye->heard_us = clock_us();
            take(ember_report_fleet(report), out);
        } else if (clock_us() - eye->heard_us < self->forget_us) {
            out->all = false;
        }
        ember_report_destroy(&report);
    }
    out->all &= heard > 0;
}
