/* worker.c - puts the parts together, in the order in which they may fail, and takes them apart.
 *
 *     settings -> signals -> models -> self-check -> link, runners -> loop -> (serves) -> drained
 *
 * READY is sent by the loop, so no request comes before all models gave right answers. */
#include "worker.h"

#include "admin.h"
#include "loop.h"
#include "runner.h"
#include "settings.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "engine/weights_cache.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHECK_TOKENS = 64, CHECK_ITEMS = 8, EXIT_STUCK = 3 };

struct worker {
    struct settings settings;
    struct models models;
    link_t *link;
    runner_t *runner[LIMIT_THREADS];
    uint32_t n_runners;
    engine_seat_t *seats[LIMIT_MODELS]; /* for self-checks: at start, later of the HTTP server */
    loop_t *loop;
    admin_t *admin;
};

static int fail(int code, const struct err *err) {
    fprintf(stderr, "ember-worker: %s\n", err->text);
    return code;
}

static void on_preparing(void *arg, const char *dir, size_t bytes) {
    char quoted[ERR_TEXT_MAX];
    const struct settings *settings = arg;
    log_info("weights-prepare", "dir=%s precision=%s mb=%.1f",
             log_quoted(dir, quoted, sizeof quoted), engine_precision_name(settings->precision),
             (double)bytes / 1e6);
}

/* A host of many workers wants to know which of them have a copy of their own. */
static void log_weights(const struct model *model) {
    char quoted[2 * ERR_TEXT_MAX];
    const struct engine_info *info = model->info;
    if (!info->weights_note[0])
        return;
    log_line(info->weights_shared ? LOG_INFO : LOG_WARN, "weights-cache",
             "model=%s weights=%s msg=%s", model->name, info->weights_shared ? "shared" : "private",
             log_quoted(info->weights_note, quoted, sizeof quoted));
}

static enum status check_models(struct worker *self, struct err *err) {
    for (uint32_t i = 0; i < self->models.n; i++) {
        const struct model *model = &self->models.model[i];
        const struct engine_info *info = model->info;
        uint64_t start_us = clock_us();
        enum status st =
            engine_seat_new(model->engine, CHECK_TOKENS, CHECK_ITEMS, &self->seats[i], err);
        if (st == STATUS_OK)
            st = engine_self_check(model->engine, self->seats[i], err);
        if (st != STATUS_OK)
            return err_prefix(err, st, "model '%s'", model->name);
        log_info(
            "model-ready",
            "model=%s fingerprint=%s family=%s head=%s labels=%u dim=%u max_tokens=%u "
            "precision=%s kernel=%s "
            "weights_mb=%.1f weights=%s read_ms=%.1f map_ms=%.1f prepare_ms=%.1f check_ms=%.1f",
            model->name, info->fingerprint8, info->family, wire_head_name(models_head(info)),
            info->n_labels, info->dim, info->max_tokens, info->precision, info->kernel,
            (double)info->weight_bytes / 1e6, info->weights_shared ? "shared" : "private",
            (double)info->read_us / 1e3, (double)info->map_us / 1e3, (double)info->make_us / 1e3,
            (double)(clock_us() - start_us) / 1e3);
        log_weights(model);
    }
    return STATUS_OK;
}

static enum status start_runners(struct worker *self, uint32_t n_batches, struct err *err) {
    enum status st = link_new(n_batches, &self->link, err);
    for (uint32_t i = 0; st == STATUS_OK && i < self->settings.threads; i++) {
        struct runner_cfg cfg = {.models = &self->models,
                                 .link = self->link,
                                 .number = i,
                                 .tokens_max = self->settings.batch_tokens,
                                 .items_max = batch_items_max(self->settings.batch_tokens),
                                 .alone = self->settings.team == 1};
        st = runner_start(&cfg, &self->runner[i], err);
        self->n_runners += st == STATUS_OK;
    }
    return st;
}

static void stop(struct worker *self) {
    admin_stop(&self->admin);
    if (self->link)
        link_close(self->link);
    for (uint32_t i = 0; i < self->n_runners; i++)
        runner_join(&self->runner[i]);
    loop_destroy(&self->loop);
    link_destroy(&self->link);
    for (uint32_t i = 0; i < LIMIT_MODELS; i++)
        if (self->seats[i])
            engine_seat_destroy(&self->seats[i]);
    models_done(&self->models);
}

static int run(struct worker *self, int signals_fd) {
    struct err err;
    uint32_t threads = self->settings.threads;
    uint32_t n_batches = threads + (threads + 1) / 2; /* one each, and some prepared */
    enum status st = start_runners(self, n_batches, &err);
    if (st == STATUS_OK) {
        struct loop_cfg cfg = {.settings = &self->settings,
                               .models = &self->models,
                               .link = self->link,
                               .n_batches = n_batches,
                               .items_max = batch_items_max(self->settings.batch_tokens),
                               .signals_fd = signals_fd};
        st = loop_new(&cfg, &self->loop, &err);
    }
    if (st == STATUS_OK && strcmp(self->settings.http, "off") != 0) {
        struct admin_cfg cfg = {.settings = &self->settings,
                                .models = &self->models,
                                .seats = self->seats,
                                .loop = self->loop};
        st = admin_start(&cfg, &self->admin, &err);
    }
    if (st != STATUS_OK)
        return fail(st == STATUS_INVALID_ARGUMENT ? 2 : 1, &err);
    log_info("worker-start", "worker=%s version=%s models=%u threads=%u credit=%u brokers=%u",
             self->settings.name, EMBER_VERSION, self->models.n, threads, self->settings.credit,
             self->settings.brokers.n);
    enum loop_end end = loop_run(self->loop);
    log_info("worker-stop", "worker=%s drained=%s", self->settings.name,
             end == LOOP_DRAINED ? "yes" : "no");
    if (end == LOOP_STUCK) {
        loop_hang_up(self->loop);
        fprintf(stderr,
                "ember-worker: a batch has been running for more than %u ms (twice --stuck-ms); "
                "its runner cannot be stopped, so the process ends\n",
                2 * self->settings.stuck_ms);
    }
    if (end != LOOP_DRAINED) /* a batch may still run and nobody waits for it */
        _exit(end == LOOP_STUCK ? EXIT_STUCK : 1);
    return 0;
}

int worker_main(int argc, char **argv, models_open_fn *open) {
    struct worker *self = calloc(1, sizeof *self);
    struct err err;
    enum cfg_action action;
    if (!self)
        return 1;
    int code = 0;
    enum status st = settings_load(argc, argv, &self->settings, &action, &err);
    if (st != STATUS_OK || action == CFG_EXIT) {
        code = st == STATUS_OK ? 0 : fail(2, &err);
        goto out;
    }
    log_set_level((enum log_level)self->settings.log_level);
    log_set_format((enum log_format)self->settings.log_format);
    int signals_fd = thread_signals_fd();
    if (signals_fd < 0) {
        perror("ember-worker: signals");
        code = 1;
        goto out;
    }
    const char *kernel = self->settings.kernel;
    char cache[CFG_TEXT_MAX];
    struct engine_options options = {
        .precision = (enum engine_precision)self->settings.precision,
        .kernel = strcmp(kernel, "auto") == 0 ? NULL : kernel,
        .weights_cache = weights_cache_dir(self->settings.weights_cache, cache, sizeof cache),
        .preparing = on_preparing,
        .preparing_arg = &self->settings};
    st = models_open(&self->settings.models, &options, open, &self->models, &err);
    if (st == STATUS_OK)
        st = check_models(self, &err);
#ifdef __GLIBC__
    malloc_trim(0); /* what opening took and gave back: parsed files, buffers */
#endif
    code = st == STATUS_OK ? run(self, signals_fd) : fail(1, &err);
    close(signals_fd);
out:
    stop(self);
    free(self);
    return code;
}
