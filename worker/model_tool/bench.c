/* bench.c - `ember-model bench`: how fast one core runs a model, and how near that is to what the
 * core can do at all. Weights are those of a directory, or made up in a published shape: speed
 * does not depend on what they say. */
#include "bench_report.h"

#include "base/cfg.h"
#include "base/clock.h"
#include "base/thread.h"
#include "model/dir.h"
#include "model/encoder_random.h"
#include "parallel.h"
#include "shapes.h"
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS_MAX = 64 };

struct settings {
    char shape[CFG_TEXT_MAX], precision[64], kernel[64], rows[1024], baseline[CFG_TEXT_MAX];
    uint32_t pooling, threads, team;
    uint64_t row_us;
    bool mixed, profile, json, vectors;
};

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_HEADING("What to run"),
    CFG_TEXT("shape", struct settings, shape, "minilm", "NAME",
             "without a directory, random weights of this shape:\n" SHAPES_NAMES),
    CFG_TEXT("precision", struct settings, precision, "f32", "LIST",
             "f32, bf16, i8, or several of them with commas"),
    CFG_TEXT("kernel", struct settings, kernel, "best", "NAME",
             "matrix kernel; best of this CPU, or all"),
    CFG_CHOICE("pooling", struct settings, pooling, "model", "model|mean|cls",
               "first-token pooling saves most of the last layer"),
    CFG_TEXT("rows", struct settings, rows, NULL, "LIST",
             "texts and tokens of each, \"1,8 32,128\"; default: nine from 1,8 to 32,128"),
    CFG_BOOL("mixed", struct settings, mixed,
             "also 256 texts of mixed lengths, 8,420 tokens, as they arrive\n"
             "(without --rows: this alone)"),
    CFG_U32("threads", struct settings, threads, "1", 0, LIMIT_THREADS, "N",
            "also N threads on passes of their own, in turns with one; 0: all CPUs"),
    CFG_U32("team", struct settings, team, "1", 0, LIMIT_THREADS, "N",
            "also N threads that share each pass, in turn with one; 0: all CPUs"),
    CFG_DURATION("time", struct settings, row_us, "1s", 1000, 600e6, "for each row"),
    CFG_HEADING("Output"),
    CFG_TEXT("baseline", struct settings, baseline, NULL, "FILE",
             "the JSON of an earlier run or of another engine: its times beside ours"),
    CFG_BOOL("profile", struct settings, profile,
             "each row's parts, in the pass where they were fastest"),
    CFG_BOOL("json", struct settings, json, "print one JSON object"),
    CFG_BOOL("vectors", struct settings, vectors, "with --json: each row's first vector"),
};
/* clang-format on */

static const struct cfg cfg = {
    .program = "ember-model",
    .synopsis = "bench [OPTION]... [DIR]",
    .about = "Time forward passes of one thread over random ids, in processor time. Prints the "
             "median and the least, and how often the floor goes into it: the arithmetic at the "
             "speed of this "
             "core's registers, measured around each pass, or, if that is longer and the weights "
             "are more than twice the last cache, the weights once from memory.",
    .epilog = "A shared machine disturbs: compare ratios within one run, and look at \"least\", "
              "the tenth part of the passes that was least disturbed.\n\n"
              "Examples:\n"
              "  ember-model bench --shape minilm --precision f32,i8 --rows '1,8 1,32 8,32'\n"
              "  ember-model bench models/minilm --json >before.json\n"
              "  ember-model bench models/minilm --baseline before.json\n\n"
              "Exit status: 0 done, 1 it could not be done, 2 wrong usage.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

struct bench {
    const struct settings *settings;
    struct model_dir *dir; /* NULL: made-up weights */
    const char *model;     /* what it is called */
    struct model_shape shape;
    uint32_t threads, team;
    uint32_t n_rows, texts[ROWS_MAX], tokens[ROWS_MAX];
    uint32_t n_todo, n_done; /* rows of all kernels, for progress */
    bool progress;
    double read; /* GB/s */
    struct bench_report report;
};

/* ---- the command line */

static enum status parse_rows(struct bench *self, struct err *err) {
    const char *usual = "1,8 1,16 1,32 1,128 1,512 8,32 8,512 32,32 32,128";
    const char *given = self->settings->rows, *p = *given ? given : usual;
    const uint32_t most = self->shape.positions;
    if (!*given && self->settings->mixed)
        return STATUS_OK;
    while (*(p += strspn(p, " ;"))) {
        uint32_t b = 0, s = 0;
        int used = 0;
        if (sscanf(p, "%u%*1[,x]%u%n", &b, &s, &used) != 2 || !strchr(" ;", p[used]) || b < 1 ||
            s < 1 || b > BENCH_TEXTS_MAX)
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "--rows: '%.20s' is not texts,tokens (texts at most %d)", p,
                           BENCH_TEXTS_MAX);
        p += used;
        if (*given && s > most)
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "--rows: %u tokens, but the model has %u positions", s, most);
        if (self->n_rows == ROWS_MAX)
            return err_set(err, STATUS_INVALID_ARGUMENT, "--rows: more than %d", ROWS_MAX);
        if (s > most)
            continue;
        self->texts[self->n_rows] = b;
        self->tokens[self->n_rows++] = s;
    }
    return STATUS_OK;
}

static enum status find_model(struct bench *self, const char *dir, struct err *err) {
    const struct settings *s = self->settings;
    enum status st = STATUS_OK;
    if (dir) {
        st = model_dir_open(dir, &self->dir, err);
        if (st != STATUS_OK)
            return st;
        self->shape = self->dir->shape;
        self->model = self->dir->name;
    } else {
        if (!shapes_find(s->shape, &self->shape))
            return err_set(err, STATUS_INVALID_ARGUMENT, "--shape: '%s' is none of " SHAPES_NAMES,
                           s->shape);
        self->model = s->shape;
    }
    if (self->shape.positions > LIMIT_TOKENS)
        self->shape.positions = LIMIT_TOKENS;
    self->shape.max_tokens = self->shape.positions; /* rows may be longer than texts should be */
    if (s->pooling)
        self->shape.pooling = s->pooling == 1 ? MODEL_POOL_MEAN : MODEL_POOL_CLS;
    return STATUS_OK;
}

/* The next of a list with commas, into out; false behind the end. */
static bool next_word(const char **list, char *out, size_t bytes) {
    const size_t n = strcspn(*list, ",");
    if (n == 0)
        return false;
    snprintf(out, bytes, "%.*s", (int)n, *list);
    *list += n + ((*list)[n] == ',');
    return true;
}

/* Calls `each` for every kernel that is asked for, in order. */
static enum status each_kernel(struct bench *self,
                               enum status (*each)(struct bench *self,
                                                   const struct gemm_kernel *kernel,
                                                   struct err *err),
                               struct err *err) {
    const char *list = self->settings->precision, *name = self->settings->kernel;
    char word[16];
    uint32_t n = 0;
    enum status st = STATUS_OK;
    while (st == STATUS_OK && next_word(&list, word, sizeof word)) {
        enum gemm_precision precision;
        if (!gemm_precision_parse(word, &precision))
            return err_set(err, STATUS_INVALID_ARGUMENT, "--precision: '%s' is not f32, bf16 or i8",
                           word);
        if (strcmp(name, "best") == 0) {
            n++;
            st = each(self, gemm_choose(precision), err);
            continue;
        }
        for (const struct gemm_kernel *const *k = gemm_list(precision); *k && st == STATUS_OK; k++)
            if ((*k)->usable() && (strcmp(name, "all") == 0 || strcmp(name, (*k)->name) == 0)) {
                n++;
                st = each(self, *k, err);
            }
    }
    if (st == STATUS_OK && n == 0)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "no matrix kernel '%s' of %s runs on this CPU",
                     name, self->settings->precision);
    return st;
}

/* ---- rows */

struct row_job {
    char name[32];
    const uint32_t *lengths; /* [texts] */
    uint32_t texts;
};

static enum status run_row(struct bench *self, const encoder_t *encoder,
                           const struct bench_floor *floor, const struct row_job *row,
                           struct err *err) {
    const struct settings *s = self->settings;
    struct bench_batch batch = {0};
    struct bench_passes passes;
    struct bench_turns turns = {0};
    struct bench_shared shared = {0};
    struct bench_job job = {.encoder = encoder,
                            .floor = floor,
                            .batch = &batch,
                            .seconds = (double)s->row_us / 1e6,
                            .profiled = s->profile};
    if (self->progress)
        fprintf(stderr, "\r%u of %u: %s %s %-12s", self->n_done + 1, self->n_todo,
                gemm_precision_name(encoder->gemm->precision), encoder->gemm->name, row->name);
    self->n_done++;
    enum status st =
        bench_batch_make(encoder_shape(encoder), row->lengths, row->texts, &batch, err);
    if (st == STATUS_OK && s->json && s->vectors &&
        !(job.vector = calloc(model_outputs(encoder_shape(encoder)), sizeof *job.vector)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a vector");
    if (st == STATUS_OK)
        st = bench_passes(&job, &passes, err);
    if (st == STATUS_OK && self->threads > 1)
        st = bench_turns(&job, self->threads, &turns, err);
    if (st == STATUS_OK && self->team > 1)
        st = bench_shared(&job, self->team, &shared, err);
    if (st == STATUS_OK)
        bench_report_row(&self->report, &(struct bench_row){.name = row->name,
                                                            .threads = self->threads,
                                                            .batch = &batch,
                                                            .encoder = encoder,
                                                            .passes = &passes,
                                                            .turns = &turns,
                                                            .team = self->team,
                                                            .shared = &shared,
                                                            .vector = job.vector});
    free(job.vector);
    bench_batch_done(&batch);
    return st;
}

static enum status run_rows(struct bench *self, const encoder_t *encoder, struct err *err) {
    const struct bench_floor floor = bench_floor_make(encoder->gemm->precision, self->read);
    uint32_t lengths[BENCH_TEXTS_MAX];
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < self->n_rows && st == STATUS_OK; i++) {
        struct row_job row = {.lengths = lengths, .texts = self->texts[i]};
        snprintf(row.name, sizeof row.name, "%u x %u", self->texts[i], self->tokens[i]);
        for (uint32_t k = 0; k < row.texts; k++)
            lengths[k] = self->tokens[i];
        st = run_row(self, encoder, &floor, &row, err);
    }
    if (st == STATUS_OK && self->settings->mixed) {
        struct row_job row = {.name = "mixed", .lengths = lengths, .texts = BENCH_MIXED_TEXTS};
        bench_mixed_lengths(lengths);
        for (uint32_t i = 0; i < BENCH_MIXED_TEXTS; i++)
            lengths[i] = lengths[i] < self->shape.positions ? lengths[i] : self->shape.positions;
        st = run_row(self, encoder, &floor, &row, err);
    }
    return st;
}

static enum status run_kernel(struct bench *self, const struct gemm_kernel *kernel,
                              struct err *err) {
    encoder_t *encoder = NULL;
    const uint64_t from_us = clock_us();
    enum status st = self->dir
                         ? encoder_load(&self->shape, self->dir->weights, kernel, &encoder, err)
                         : encoder_load_from(&self->shape, &random_source, kernel, &encoder, err);
    if (st != STATUS_OK)
        return st;
    bench_report_kernel(&self->report, encoder, (double)(clock_us() - from_us) / 1e3);
    st = run_rows(self, encoder, err);
    encoder_destroy(&encoder);
    return st;
}

/* A first round, which only counts: --kernel and --precision are right, and how much there is. */
static enum status count_kernel(struct bench *self, const struct gemm_kernel *kernel,
                                struct err *err) {
    (void)kernel, (void)err;
    self->n_todo += self->n_rows + self->settings->mixed;
    return STATUS_OK;
}

/* ---- the machine */

static double peak_now(enum gemm_precision precision) {
    const struct peak_loop loop = peak_loop_of(precision);
    return peak_of(&loop);
}

static struct bench_machine find_machine(void) {
    struct bench_machine self = {.cpu = "unknown CPU",
                                 .cpus = thread_cpus(),
                                 .f32_gflops = peak_now(GEMM_F32),
                                 .bf16_gflops = peak_now(GEMM_BF16),
                                 .i8_gops = peak_now(GEMM_I8),
                                 .read = peak_read(),
                                 .near_bytes = peak_last_cache()};
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(self.cpu, sizeof self.cpu, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\n"),
                     strchr(line, ':') + 2);
            break;
        }
    if (f)
        fclose(f);
    return self;
}

static enum status run(struct bench *self, const char *dir, struct err *err) {
    enum status st = find_model(self, dir, err);
    if (st == STATUS_OK)
        st = parse_rows(self, err);
    if (st == STATUS_OK)
        st = each_kernel(self, count_kernel, err);
    if (st == STATUS_OK && *self->settings->baseline)
        st = bench_report_baseline(&self->report, self->settings->baseline, err);
    if (st != STATUS_OK)
        return st;
    const struct bench_machine machine = find_machine();
    self->read = machine.read;
    self->progress = self->settings->json && isatty(STDERR_FILENO);
    bench_report_begin(&self->report, self->model, &self->shape, &machine);
    st = each_kernel(self, run_kernel, err);
    if (self->progress)
        fputc('\n', stderr);
    if (st == STATUS_OK)
        bench_report_end(&self->report);
    return st;
}

enum tool_exit bench_main(int argc, char **argv) {
    struct settings s;
    enum cfg_action action;
    struct err err;
    int n_words = 0;
    if (cfg_load(&cfg, argc, argv, &n_words, &s, &action, &err) != STATUS_OK)
        return tool_fail(&err);
    if (action == CFG_EXIT)
        return TOOL_OK;
    if (n_words > 1) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "bench takes one model directory; see --help");
        return tool_fail(&err);
    }
    struct bench bench = {.settings = &s,
                          .threads = parallel_threads(s.threads),
                          .team = parallel_threads(s.team),
                          .report = {.json = s.json, .profiled = s.profile}};
    enum status st = run(&bench, n_words ? argv[1] : NULL, &err);
    model_dir_close(&bench.dir);
    bench_report_done(&bench.report);
    return st == STATUS_OK ? TOOL_OK : tool_fail(&err);
}
