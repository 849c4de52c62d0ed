/* scaler.c - see scaler.h. Nothing here decides anything: follow.c does. */
#include "scaler.h"

#include "command.h"
#include "units.h"

#include "base/clock.h"
#include "base/log.h"
#include "metrics/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCALER_LATE_LOOKS = 10 }; /* looks that may be missing before we are held to be stuck */

struct view_of_now { /* for the page */
    struct follow_sight sight;
    uint32_t target, have, surplus, hosts, silent;
    uint32_t units[UNIT_STATES];
    enum follow_hold hold;
    uint64_t starts, stops, failures; /* ever */
    uint64_t looked_us;
};

struct scaler {
    struct scaler_cfg cfg;
    follow_t *follow;
    wish_t *wish;
    struct follow_plan plan;
    enum follow_hold hold;    /* as was logged */
    bool *silent;             /* [hosts], as was logged */
    struct command *commands; /* [COMMANDS_AT_ONCE] */
    struct units_command *words;
    pthread_mutex_t lock;
    struct view_of_now now; /* under lock */
};

/* ---- the hosts file */

static enum status read_file(const char *path, char **out, size_t *bytes, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, STATUS_UNAVAILABLE, "open '%s'", path);
    enum status status = STATUS_OK;
    char *text = malloc(UNITS_FILE_BYTES + 1);
    size_t used = 0;
    ssize_t n = 0;
    if (!text)
        status = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    while (text && used <= UNITS_FILE_BYTES &&
           (n = read(fd, text + used, UNITS_FILE_BYTES + 1 - used)) > 0)
        used += (size_t)n;
    if (n < 0)
        status = err_errno(err, STATUS_UNAVAILABLE, "read '%s'", path);
    else if (used > UNITS_FILE_BYTES)
        status = err_set(err, STATUS_INVALID_ARGUMENT, "'%s' has more than %d bytes", path,
                         UNITS_FILE_BYTES);
    close(fd);
    if (status == STATUS_OK) {
        *out = text;
        *bytes = used;
    } else {
        free(text);
    }
    return status;
}

enum status scaler_reload(scaler_t *self, struct err *err) {
    struct follow_host *hosts = calloc(FOLLOW_HOSTS_MAX, sizeof *hosts);
    char *text = NULL;
    size_t bytes = 0;
    uint32_t n = 0;
    enum status status = STATUS_OK;
    bool *silent = NULL;
    if (!hosts)
        status = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    if (status == STATUS_OK)
        status = read_file(self->cfg.hosts_file, &text, &bytes, err);
    if (status == STATUS_OK) {
        status = units_read_hosts(view_make(text, bytes), hosts, &n, err);
        if (status != STATUS_OK)
            err_prefix(err, status, "%s", self->cfg.hosts_file);
    }
    if (status == STATUS_OK) {
        silent = calloc(n, sizeof *silent);
        if (!silent || !follow_set_hosts(self->follow, hosts, n))
            status = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    }
    if (status == STATUS_OK) {
        free(self->silent);
        self->silent = silent;
        silent = NULL;
    }
    free(silent);
    free(text);
    free(hosts);
    return status;
}

/* ---- hosts are asked and told */

static void note_host(scaler_t *self, uint32_t host, const struct command *command) {
    const char *name = follow_host(self->follow, host)->name;
    char quoted[2 * COMMAND_ERR_BYTES];
    if (!command->ok && !self->silent[host])
        log_warn("host-silent", "host=%s msg=%s", name,
                 log_quoted(command->trouble, quoted, sizeof quoted));
    else if (command->ok && self->silent[host])
        log_info("host-back", "host=%s", name);
    self->silent[host] = !command->ok;
}

static void list_some(scaler_t *self, uint32_t first, uint32_t n) {
    static enum unit_state states[FOLLOW_HOST_UNITS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        units_list_command(&self->words[i], self->cfg.systemctl,
                           follow_host(self->follow, first + i)->name, self->cfg.unit);
        self->commands[i].words = self->words[i].words;
    }
    command_run(self->commands, n, self->cfg.timeout_us);
    uint64_t now_us = clock_us();
    for (uint32_t i = 0; i < n; i++) {
        const struct command *c = &self->commands[i];
        if (c->ok)
            units_read_list(view_make(c->out, c->bytes), self->cfg.unit, states);
        follow_listed(self->follow, first + i, c->ok ? states : NULL, now_us);
        note_host(self, first + i, c);
    }
}

static void list_all(scaler_t *self) {
    uint32_t n = follow_hosts(self->follow);
    for (uint32_t i = 0; i < n; i += COMMANDS_AT_ONCE)
        list_some(self, i, n - i < COMMANDS_AT_ONCE ? n - i : COMMANDS_AT_ONCE);
}

struct verb {
    const char *word, *done, *failed;
    void (*tell)(follow_t *, struct follow_step, bool ok, uint64_t now_us);
    uint64_t *count;
};

/* The steps of one host are one command. */
struct errand {
    uint32_t host, n, units[FOLLOW_HOST_UNITS_MAX];
};

static uint32_t collect(const struct follow_step *steps, uint32_t n, struct errand *out,
                        uint32_t *taken) {
    uint32_t errands = 0;
    for (; *taken < n; ++*taken) {
        uint32_t k = 0;
        while (k < errands && out[k].host != steps[*taken].host)
            k++;
        if (k == COMMANDS_AT_ONCE)
            break;
        if (k == errands)
            out[errands++] = (struct errand){.host = steps[*taken].host};
        out[k].units[out[k].n++] = steps[*taken].unit;
    }
    return errands;
}

static void settle(scaler_t *self, const struct verb *verb, const struct errand *errand,
                   const struct command *command, uint64_t now_us) {
    char quoted[2 * COMMAND_ERR_BYTES];
    const char *name = follow_host(self->follow, errand->host)->name;
    for (uint32_t i = 0; i < errand->n; i++) {
        struct follow_step step = {errand->host, errand->units[i]};
        verb->tell(self->follow, step, command->ok, now_us);
        if (command->ok)
            log_info(verb->done, "host=%s unit=%u", name, step.unit);
        else
            log_warn(verb->failed, "host=%s unit=%u msg=%s", name, step.unit,
                     log_quoted(command->trouble, quoted, sizeof quoted));
        pthread_mutex_lock(&self->lock);
        *(command->ok ? verb->count : &self->now.failures) += 1;
        pthread_mutex_unlock(&self->lock);
    }
}

static void carry_out(scaler_t *self, const struct verb *verb, const struct follow_step *steps,
                      uint32_t n) {
    static struct errand errands[COMMANDS_AT_ONCE];
    uint32_t taken = 0, some;
    while ((some = collect(steps, n, errands, &taken))) {
        for (uint32_t i = 0; i < some; i++) {
            units_step_command(&self->words[i], self->cfg.systemctl,
                               follow_host(self->follow, errands[i].host)->name, self->cfg.unit,
                               verb->word, errands[i].units, errands[i].n);
            self->commands[i].words = self->words[i].words;
        }
        command_run(self->commands, some, self->cfg.timeout_us);
        for (uint32_t i = 0; i < some; i++)
            settle(self, verb, &errands[i], &self->commands[i], clock_us());
    }
}

static void tell(scaler_t *self, const char *event, const struct follow_step *steps, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        log_info(event, "host=%s unit=%u", follow_host(self->follow, steps[i].host)->name,
                 steps[i].unit);
}

static void act(scaler_t *self) {
    const struct follow_plan *plan = &self->plan;
    const struct verb start = {"start", "unit-started", "start-failed", follow_started,
                               &self->now.starts},
                      stop = {"stop", "unit-stopped", "stop-failed", follow_stopped,
                              &self->now.stops};
    if ((plan->n_start || plan->n_stop) && !self->cfg.dry_run)
        log_info(plan->n_start ? "scale-out" : "scale-in", "wished=%u workers=%u start=%u stop=%u",
                 plan->target, plan->have, plan->n_start, plan->n_stop);
    if (self->cfg.dry_run) {
        tell(self, "would-start", plan->start, plan->n_start);
        tell(self, "would-stop", plan->stop, plan->n_stop);
        return;
    }
    carry_out(self, &start, plan->start, plan->n_start);
    carry_out(self, &stop, plan->stop, plan->n_stop);
}

/* ---- a look */

static const char *hold_name(enum follow_hold hold) {
    static const char *const names[] = {
        "", "no broker tells its wish", "a broker does not tell its wish: nothing is stopped",
        "no unit is free", "twice the wish or --max run, and no broker sees enough"};
    return names[hold];
}

static void note_hold(scaler_t *self) {
    const struct follow_plan *plan = &self->plan;
    if (plan->hold == self->hold)
        return;
    if (plan->hold == FOLLOW_GOES)
        log_info("held-no-more", "wished=%u workers=%u", plan->target, plan->have);
    else
        log_warn("held", "wished=%u workers=%u reason=\"%s\"", plan->target, plan->have,
                 hold_name(plan->hold));
    self->hold = plan->hold;
}

void scaler_look(scaler_t *self) {
    struct follow_sight sight;
    list_all(self);
    wish_look(self->wish, &sight);
    follow_decide(self->follow, &sight, clock_us(), &self->plan);
    note_hold(self);
    log_line(self->cfg.dry_run ? LOG_INFO : LOG_DEBUG, "looked", "wished=%u workers=%u brokers=%s",
             self->plan.target, self->plan.have,
             sight.all   ? "all"
             : sight.any ? "some"
                         : "none");
    act(self);
    pthread_mutex_lock(&self->lock);
    struct view_of_now *now = &self->now;
    now->sight = sight;
    now->target = self->plan.target;
    now->have = self->plan.have;
    now->surplus = self->plan.surplus;
    now->hold = self->plan.hold;
    now->hosts = follow_hosts(self->follow);
    now->silent = follow_silent(self->follow);
    follow_count(self->follow, now->units);
    now->looked_us = clock_us();
    pthread_mutex_unlock(&self->lock);
}

enum status scaler_new(const struct scaler_cfg *cfg, scaler_t **out, struct err *err) {
    scaler_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    pthread_mutex_init(&self->lock, NULL);
    uint64_t now_us = clock_us();
    self->cfg = *cfg;
    self->now.looked_us = now_us;
    self->follow = follow_new(&cfg->follow, now_us);
    self->commands = calloc(COMMANDS_AT_ONCE, sizeof *self->commands);
    self->words = calloc(COMMANDS_AT_ONCE, sizeof *self->words);
    enum status status = STATUS_OK;
    if (!self->follow || !self->commands || !self->words)
        status = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    if (status == STATUS_OK)
        status = scaler_reload(self, err);
    if (status == STATUS_OK)
        status = wish_new(&cfg->wish, now_us, &self->wish, err);
    if (status != STATUS_OK)
        scaler_destroy(&self);
    else
        *out = self;
    return status;
}

void scaler_destroy(scaler_t **self) {
    if (!*self)
        return;
    wish_destroy(&(*self)->wish);
    follow_destroy(&(*self)->follow);
    free((*self)->silent);
    free((*self)->commands);
    free((*self)->words);
    pthread_mutex_destroy(&(*self)->lock);
    free(*self);
    *self = NULL;
}

/* ---- what it tells */

static void one(struct expose_text *out, const char *name, const char *type, const char *help,
                uint64_t value) {
    expose_family(out, name, type, help);
    expose_u64(out, name, NULL, value);
}

void scaler_page(scaler_t *self, struct expose_text *out) {
    pthread_mutex_lock(&self->lock);
    struct view_of_now now = self->now;
    pthread_mutex_unlock(&self->lock);
    if (now.sight.any)
        one(out, "ember_scale_wish", "gauge", "Workers the brokers wish for.", now.sight.wish);
    one(out, "ember_scale_target", "gauge", "The same within --min and --max.", now.target);
    one(out, "ember_scale_workers", "gauge", "Workers that are seen, and those on their way.",
        now.have);
    one(out, "ember_scale_surplus", "gauge", "Of them: beyond what their host may run.",
        now.surplus);
    expose_family(out, "ember_scale_units", "gauge", "Units of hosts that answer.");
    for (int i = 0; i < UNIT_STATES; i++) {
        char label[32];
        snprintf(label, sizeof label, "state=\"%s\"", unit_state_name((enum unit_state)i));
        expose_u64(out, "ember_scale_units", label, now.units[i]);
    }
    one(out, "ember_scale_hosts", "gauge", "Hosts that it knows.", now.hosts);
    one(out, "ember_scale_hosts_silent", "gauge", "Hosts that do not answer.", now.silent);
    expose_family(out, "ember_scale_held", "gauge", "1: less is done than is wished, and why.");
    static const char *const reasons[] = {"blind", "partial", "short", "unseen"};
    for (int i = FOLLOW_BLIND; i <= FOLLOW_UNSEEN; i++) {
        char label[32];
        snprintf(label, sizeof label, "reason=\"%s\"", reasons[i - FOLLOW_BLIND]);
        expose_u64(out, "ember_scale_held", label, (int)now.hold == i);
    }
    one(out, "ember_scale_starts_total", "counter", "Units started.", now.starts);
    one(out, "ember_scale_stops_total", "counter", "Units stopped.", now.stops);
    one(out, "ember_scale_failures_total", "counter", "Starts and stops that could not be done.",
        now.failures);
    expose_family(out, "ember_build_info", "gauge", "Always 1; the label tells the version.");
    expose_u64(out, "ember_build_info", "program=\"ember-scale\",version=\"" EMBER_VERSION "\"", 1);
    process_expose(out);
}

bool scaler_alive(scaler_t *self, struct expose_text *why) {
    pthread_mutex_lock(&self->lock);
    uint64_t looked_us = self->now.looked_us;
    pthread_mutex_unlock(&self->lock);
    uint64_t age_us = clock_us() - looked_us;
    bool alive = age_us < SCALER_LATE_LOOKS * (self->cfg.interval_us + 2 * self->cfg.timeout_us);
    if (!alive)
        expose_printf(why, "the last look was %.0f s ago\n", (double)age_us / 1e6);
    return alive;
}

bool scaler_ready(scaler_t *self, struct expose_text *why) {
    if (!scaler_alive(self, why))
        return false;
    pthread_mutex_lock(&self->lock);
    struct view_of_now now = self->now;
    pthread_mutex_unlock(&self->lock);
    if (!now.sight.any)
        expose_printf(why, "no broker tells its wish\n");
    else if (now.silent == now.hosts)
        expose_printf(why, "no host answers\n");
    return now.sight.any && now.silent < now.hosts;
}
