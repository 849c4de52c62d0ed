/* compare.c - `ember bench --compare A B`: two models or brokers in turns,
 *
 *     A B   B A   A B   B A ...
 *
 * so that whatever changes slowly, or favours who comes first, is shared by both. Each turn has
 * texts of its own: what one has sent may be in the other's cache. */
#include "runs.h"
#include "stats.h"

#include "base/hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDES = 2, FIGURES = 3 };

static const struct {
    const char *name, *fact, *unit;
} figures[FIGURES] = {
    {"P50", "p50_ratio", "ms"}, {"P95", "p95_ratio", "ms"}, {"calls/s", "calls_per_s_ratio", ""}};

struct side {
    const char *name; /* as it was given */
    struct cli_common common;
    struct cli cli;
    double turn[FIGURES][STATS_TURNS];
    uint64_t failed;
};

static enum status open_side(struct side *self, const struct cli *cli, const char *name,
                             struct err *err) {
    self->name = name;
    self->common = *cli->common;
    bool broker = strstr(name, "://") != NULL;
    char *to = broker ? self->common.broker : self->common.model;
    size_t room = broker ? sizeof self->common.broker : sizeof self->common.model;
    if (strlen(name) >= room)
        return err_set(err, STATUS_INVALID_ARGUMENT, "compare: '%.40s...' is too long for a %s",
                       name, broker ? "broker" : "model");
    snprintf(to, room, "%s", name);
    self->cli = (struct cli){
        .command = cli->command, .common = &self->common, .request_texts = cli->request_texts};
    struct ember_error error;
    if (cli_connect(&self->cli, &error) != EMBER_OK ||
        ember_ping(self->cli.ember, 0, NULL, &error) != EMBER_OK)
        return err_set(err, (enum status)error.status, "%s", error.message);
    return STATUS_OK;
}

static enum status run_turn(struct side *self, struct outcome *report, uint32_t round, char letter,
                            struct load_report *seen, struct err *err) {
    const struct bench_settings *s = report->settings;
    uint64_t seed = hash_mix(s->seed + 2 + report->n_rows);
    texts_t *texts = NULL;
    enum status st = bench_texts(s, seed, &texts, err);
    struct load_cfg load = bench_load(s, report->open);
    load.seed = hash_mix(s->seed + 1) + round; /* both have the same times */
    if (st == STATUS_OK)
        st = outcome_run(report, self->cli.ember, texts, &load, seen, err);
    texts_destroy(&texts);
    if (st != STATUS_OK)
        return st;
    char label[OUTCOME_LABEL_BYTES];
    snprintf(label, sizeof label, "%c: %.40s", letter, self->name);
    outcome_row(report, label, s->rate, seen, seen->failed ? "calls failed" : "");
    if (seen->calls == 0)
        return err_set(err, STATUS_UNAVAILABLE, "%s answers nothing: %s", self->name,
                       seen->failed ? seen->first_error : "no call in its time");
    self->turn[0][round] = (double)latency_quantile_us(&seen->all, 0.5) / 1e3;
    self->turn[1][round] = (double)latency_quantile_us(&seen->all, 0.95) / 1e3;
    self->turn[2][round] = (double)seen->calls / (seen->seconds > 0 ? seen->seconds : 1);
    self->failed += seen->failed;
    return STATUS_OK;
}

static void tell(struct outcome *report, const struct side side[SIDES], uint32_t rounds) {
    outcome_note(report, "Medians of %u turns each, A: %s, B: %s.", rounds, side[0].name,
                 side[1].name);
    for (int f = 0; f < FIGURES; f++) {
        struct stats_pairs p = stats_pairs(side[0].turn[f], side[1].turn[f], rounds);
        outcome_fact(report, figures[f].fact, p.ratio);
        outcome_note(report,
                     "  %-8s A %10.2f, B %10.2f %s: pairs differ by %+.1f %%, %s noise (chance of "
                     "that without a "
                     "difference: %.3g %%)",
                     figures[f].name, stats_median(side[0].turn[f], rounds),
                     stats_median(side[1].turn[f], rounds), figures[f].unit, 100 * (p.ratio - 1),
                     p.sure ? "more than" : "no more than", 100 * p.chance);
        if (f == 1)
            outcome_fact(report, "p95_chance", p.chance);
    }
    for (int i = 0; i < SIDES; i++)
        if (side[i].failed)
            outcome_note(report, "  %c: %llu calls failed.", 'A' + i,
                         (unsigned long long)side[i].failed);
}

enum status runs_compare(struct cli *cli, texts_t *texts, struct outcome *report, int *code,
                         struct err *err) {
    (void)texts; /* each turn makes its own */
    const struct bench_settings *s = report->settings;
    struct side *side = calloc(SIDES, sizeof *side);
    struct load_report *seen = malloc(sizeof *seen);
    enum status st =
        side && seen ? STATUS_OK : err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    if (st == STATUS_OK)
        st = open_side(&side[0], cli, s->compare, err);
    if (st == STATUS_OK)
        st = open_side(&side[1], cli, s->compare_with, err);
    for (uint32_t turn = 0; st == STATUS_OK && turn < SIDES * s->rounds; turn++) {
        uint32_t round = turn / SIDES, who = (turn + round) % SIDES;
        st = run_turn(&side[who], report, round, (char)('A' + who), seen, err);
        if (st == STATUS_OK && who == 1) /* the whole is B's: A is what it is compared with */
            load_merge(&report->whole, seen);
    }
    *code = CLI_OK;
    if (st == STATUS_OK)
        tell(report, side, s->rounds);
    for (int i = 0; side && i < SIDES; i++)
        ember_close(&side[i].cli.ember);
    free(side);
    free(seen);
    return st;
}
