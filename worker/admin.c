/* admin.c - one page of metrics, written from top to bottom, and two questions about health. */
#include "admin.h"

#include "base/clock.h"
#include "metrics/process.h"

#include <stdio.h>
#include <stdlib.h>

struct admin {
    struct admin_cfg cfg;
    expose_t *expose;
    uint64_t checked_us;  /* when the models were asked last; 0: never */
    struct err check_err; /* what they said; status OK: right answers */
};

static void simple(struct expose_text *out, const char *name, const char *type, const char *help,
                   uint64_t value) {
    expose_family(out, name, type, help);
    expose_u64(out, name, NULL, value);
}

static void seconds(struct expose_text *out, const char *name, const char *help,
                    const struct histogram *histogram) {
    expose_family(out, name, "histogram", help);
    expose_histogram(out, name, NULL, histogram);
}

static void page_requests(const struct serve_stats *s, struct expose_text *out) {
    const struct {
        const char *label;
        const struct counter *counter;
    } outcomes[] = {{"outcome=\"ok\"", &s->answered},
                    {"outcome=\"error\"", &s->errors},
                    {"outcome=\"nack\"", &s->nacks}},
      sources[] = {{"source=\"model\"", &s->misses},
                   {"source=\"shared\"", &s->shared},
                   {"source=\"memory\"", &s->hits_memory},
                   {"source=\"redis\"", &s->hits_redis}};
    expose_family(out, "ember_worker_requests_total", "counter", "Requests, by how they ended.");
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
        expose_u64(out, "ember_worker_requests_total", outcomes[i].label,
                   counter_get(outcomes[i].counter));
    simple(out, "ember_worker_requests_cancelled_total", "counter", "Of the errors: cancelled.",
           counter_get(&s->cancelled));
    simple(out, "ember_worker_requests_expired_total", "counter",
           "Of the errors: their deadline passed here.", counter_get(&s->expired));
    expose_family(out, "ember_worker_texts_total", "counter", "Texts, by where the answer was.");
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        expose_u64(out, "ember_worker_texts_total", sources[i].label,
                   counter_get(sources[i].counter));
    simple(out, "ember_worker_tokens_total", "counter", "Tokens computed.",
           counter_get(&s->tokens));
    simple(out, "ember_worker_texts_dropped_total", "counter",
           "Texts left out of a batch because nobody waited any more.", counter_get(&s->dropped));
    simple(out, "ember_worker_slow_requests_total", "counter",
           "Requests that took --slow-ms or longer; 0 while that is off.", counter_get(&s->slow));
    simple(out, "ember_worker_batches_total", "counter", "Batches run.", counter_get(&s->batches));
    expose_family(out, "ember_worker_batch_size_texts", "histogram",
                  "Texts, or pairs, of a batch that was computed.");
    expose_sizes(out, "ember_worker_batch_size_texts", NULL, &s->batch_texts);
    expose_family(out, "ember_worker_batch_size_tokens", "histogram", "Tokens of it.");
    expose_sizes(out, "ember_worker_batch_size_tokens", NULL, &s->batch_tokens);
    expose_family(out, "ember_worker_busy_seconds_total", "counter",
                  "Time that runners had a batch, of all together; a batch counts when it ends.");
    expose_f64(out, "ember_worker_busy_seconds_total", NULL,
               (double)counter_get(&s->busy_us) / 1e6);
    seconds(out, "ember_worker_request_duration_seconds", "From arrival to answer.",
            &s->request_us);
    seconds(out, "ember_worker_queue_duration_seconds", "A text's wait for a runner.",
            &s->queue_us);
    seconds(out, "ember_worker_tokenization_duration_seconds", "Of a batch.", &s->tokenize_us);
    seconds(out, "ember_worker_inference_duration_seconds", "Of a batch.", &s->infer_us);
    simple(out, "ember_worker_active", "gauge", "Requests in hand.", counter_get(&s->active));
    simple(out, "ember_worker_queue_size", "gauge", "Texts waiting for a runner.",
           counter_get(&s->queued));
    simple(out, "ember_worker_running", "gauge", "Texts in a batch.", counter_get(&s->running));
    expose_family(out, "ember_worker_oldest_seconds", "gauge", "Age of the oldest request.");
    expose_f64(out, "ember_worker_oldest_seconds", NULL, (double)counter_get(&s->oldest_us) / 1e6);
}

static void page_cache(const struct cache_stats *c, struct expose_text *out) {
    char label[64];
    simple(out, "ember_cache_entries", "gauge", "Results in memory.", c->entries);
    simple(out, "ember_cache_bytes", "gauge", "Memory they take.", c->bytes);
    simple(out, "ember_cache_bytes_max", "gauge", "Memory they may take.", c->bytes_max);
    simple(out, "ember_cache_evicted_total", "counter", "Results memory gave up.", c->evicted);
    simple(out, "ember_cache_bursts_total", "counter", "MGETs sent.", c->bursts);
    simple(out, "ember_cache_keys_asked_total", "counter", "Keys in them.", c->keys_asked);
    simple(out, "ember_cache_sets_total", "counter", "SETs done.", c->sets_done);
    simple(out, "ember_cache_sets_dropped_total", "counter", "SETs given up.", c->sets_dropped);
    simple(out, "ember_cache_sets_queued", "gauge", "SETs waiting.", c->sets_queued);
    simple(out, "ember_cache_redis_connects_total", "counter", "Times Redis became usable.",
           c->connects);
    expose_family(out, "ember_cache_redis_up", "gauge",
                  "1 while Redis is asked; the label says why.");
    snprintf(label, sizeof label, "state=\"%s\"", cache_redis_state_name(c->redis));
    expose_u64(out, "ember_cache_redis_up", label, c->redis == CACHE_REDIS_UP);
    expose_family(out, "ember_cache_redis_faults_total", "counter", "What went wrong with Redis.");
    for (uint32_t i = 0; i < CACHE_FAULTS; i++) {
        snprintf(label, sizeof label, "fault=\"%s\"", cache_fault_name((enum cache_fault)i));
        expose_u64(out, "ember_cache_redis_faults_total", label, c->redis_faults[i]);
    }
    expose_family(out, "ember_cache_value_faults_total", "counter", "Values that were no answer.");
    for (uint32_t i = VALUE_OK + 1; i < VALUE_FAULTS; i++) {
        snprintf(label, sizeof label, "fault=\"%s\"", value_fault_name((enum value_fault)i));
        expose_u64(out, "ember_cache_value_faults_total", label, c->value_faults[i]);
    }
}

static void page_worker(const struct admin_cfg *cfg, const struct loop_report *r,
                        struct expose_text *out) {
    char value[EXPOSE_LABEL_BYTES], label[4 * EXPOSE_LABEL_BYTES];
    const struct settings *settings = cfg->settings;
    simple(out, "ember_worker_brokers", "gauge", "Brokers it was given.", r->brokers);
    simple(out, "ember_worker_brokers_live", "gauge", "Brokers it serves now.", r->brokers_live);
    simple(out, "ember_worker_results_lost_total", "counter", "Answers whose broker was gone.",
           r->results_lost);
    simple(out, "ember_worker_refused_total", "counter", "Dispatches that no honest broker sends.",
           r->refused);
    simple(out, "ember_worker_draining", "gauge", "1 while it takes nothing new.", r->draining);
    simple(out, "ember_worker_threads", "gauge", "Runners.", settings->threads);
    simple(out, "ember_worker_credit", "gauge",
           "Cost that brokers may have here at once; less than set while a runner is stuck.",
           r->credit);
    simple(out, "ember_worker_credit_used", "gauge", "Cost that they have.", r->credit_used);
    simple(out, "ember_worker_batch_tokens", "gauge",
           "Tokens a batch may have; fewer than set while memory is short.", r->batch_tokens);
    simple(out, "ember_worker_memory_bytes", "gauge", "Memory taken, files not counted.",
           r->memory_used);
    expose_family(out, "ember_worker_batch_running_seconds", "gauge",
                  "How long the batch that runs longest has been running.");
    expose_f64(out, "ember_worker_batch_running_seconds", NULL, (double)r->running_us / 1e6);
    simple(out, "ember_worker_stuck_batches", "gauge",
           "Batches that run for longer than --stuck-ms.", r->stuck);
    simple(out, "ember_worker_memory_limit_bytes", "gauge", "Of the setting or cgroup; 0: none.",
           r->memory_limit);
    expose_family(out, "ember_worker_hourly_cost", "gauge", "As set.");
    expose_f64(out, "ember_worker_hourly_cost", NULL, settings->hourly_cost);
    expose_family(out, "ember_worker_model_info", "gauge", "Always 1; the labels tell the models.");
    for (uint32_t i = 0; i < cfg->models->n; i++) {
        const struct model *model = &cfg->models->model[i];
        snprintf(label, sizeof label,
                 "model=\"%s\",fingerprint=\"%s\",family=\"%s\",dim=\"%u\",precision=\"%s\","
                 "kernel=\"%s\"",
                 model->name, model->info->fingerprint8, model->info->family, model->info->dim,
                 model->info->precision, model->info->kernel);
        expose_u64(out, "ember_worker_model_info", label, 1);
    }
    expose_family(out, "ember_worker_weights_bytes", "gauge",
                  "Prepared weights; shared ones lie in memory once for all workers of the host.");
    for (uint32_t i = 0; i < cfg->models->n; i++) {
        const struct model *model = &cfg->models->model[i];
        snprintf(label, sizeof label, "model=\"%s\",shared=\"%s\"", model->name,
                 model->info->weights_shared ? "yes" : "no");
        expose_u64(out, "ember_worker_weights_bytes", label, model->info->weight_bytes);
    }
    expose_family(out, "ember_build_info", "gauge", "Always 1; the labels tell the version.");
    snprintf(label, sizeof label, "program=\"ember-worker\",version=\"%s\",worker=\"%s\"",
             EMBER_VERSION, expose_label(view_of(settings->name), value));
    expose_u64(out, "ember_build_info", label, 1);
}

void admin_page(const struct admin_cfg *cfg, struct expose_text *out) {
    struct loop_report report;
    loop_report(cfg->loop, &report);
    page_requests(report.serve, out);
    page_cache(&report.cache, out);
    page_worker(cfg, &report, out);
    process_expose(out);
}

bool admin_healthy(const struct loop_report *report, uint64_t now_us, struct expose_text *why) {
    if (now_us - report->beat_us < ADMIN_BEAT_US)
        return true;
    expose_printf(why, "the loop has not turned for %.1f s",
                  (double)(now_us - report->beat_us) / 1e6);
    return false;
}

bool admin_ready(const struct loop_report *report, uint64_t now_us, struct expose_text *why) {
    if (!admin_healthy(report, now_us, why))
        return false;
    if (report->draining)
        expose_printf(why, "draining");
    else if (report->brokers_live == 0)
        expose_printf(why, "none of %u brokers answers", report->brokers);
    else if (report->stuck > 0)
        expose_printf(why, "%u batches do not end, the oldest runs for %.0f s", report->stuck,
                      (double)report->running_us / 1e6);
    return !report->draining && report->brokers_live > 0 && report->stuck == 0;
}

static bool models_right(admin_t *self, uint64_t now_us, struct expose_text *why) {
    if (self->checked_us == 0 || now_us - self->checked_us >= ADMIN_CHECK_US) {
        self->checked_us = now_us;
        self->check_err.status = STATUS_OK;
        const struct models *models = self->cfg.models;
        for (uint32_t i = 0; i < models->n && self->check_err.status == STATUS_OK; i++) {
            struct err err;
            enum status st = engine_self_check(models->model[i].engine, self->cfg.seats[i], &err);
            if (st != STATUS_OK)
                err_set(&self->check_err, st, "model '%s': %s", models->model[i].name, err.text);
        }
    }
    if (self->check_err.status == STATUS_OK)
        return true;
    expose_printf(why, "%s", self->check_err.text);
    return false;
}

static void on_metrics(void *arg, struct expose_text *out) {
    admin_page(&((admin_t *)arg)->cfg, out);
}

static bool on_health(void *arg, struct expose_text *why) {
    admin_t *self = arg;
    struct loop_report report;
    loop_report(self->cfg.loop, &report);
    return admin_healthy(&report, clock_us(), why);
}

static bool on_ready(void *arg, struct expose_text *why) {
    admin_t *self = arg;
    struct loop_report report;
    loop_report(self->cfg.loop, &report);
    uint64_t now_us = clock_us();
    return admin_ready(&report, now_us, why) && models_right(self, now_us, why);
}

enum status admin_start(const struct admin_cfg *cfg, admin_t **out, struct err *err) {
    admin_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    self->cfg = *cfg;
    struct expose_cfg expose = {.listen = cfg->settings->http,
                                .metrics = on_metrics,
                                .health = on_health,
                                .ready = on_ready,
                                .arg = self};
    enum status st = expose_start(&expose, &self->expose, err);
    if (st != STATUS_OK) {
        free(self);
        return err_prefix(err, st, "http");
    }
    *out = self;
    return STATUS_OK;
}

void admin_stop(admin_t **self_p) {
    admin_t *self = *self_p;
    if (!self)
        return;
    expose_stop(&self->expose);
    free(self);
    *self_p = NULL;
}
