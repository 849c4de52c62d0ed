/* embed_file.c - `ember-model embed`: vectors of a whole file, by the model alone.
 *
 *     file -> block of texts -> outputs.h, all threads -> vector_file.h -> next block
 *
 * A block is what is in memory at a time, so that a file may be of any length. */
#include "base/cfg.h"
#include "base/clock.h"
#include "base/limits.h"
#include "engine/vector.h"
#include "outputs.h"
#include "parallel.h"
#include "text_rows.h"
#include "tool.h"
#include "vector_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Texts of a block for each thread: enough for the threads to end it at about one time. */
enum { BLOCK_EACH = 512, BLOCK_BYTES = 16 << 20 };

struct settings {
    char model[CFG_TEXT_MAX], kernel[64], prompt[CFG_TEXT_MAX], out[CFG_TEXT_MAX];
    uint32_t precision, threads, dimensions, format;
    bool quiet;
};

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_TEXT("model", struct settings, model, NULL, "DIR", "a published model directory"),
    CFG_CHOICE("precision", struct settings, precision, "f32", "f32|bf16|i8",
               "how weights are kept and products formed"),
    CFG_TEXT("kernel", struct settings, kernel, NULL, "NAME",
             "compute with this matrix kernel; default: the best of this CPU"),
    CFG_U32("threads", struct settings, threads, "0", 0, LIMIT_THREADS, "N",
            "threads; 0: all CPUs of this process"),
    CFG_HEADING("Vectors"),
    CFG_TEXT("prompt", struct settings, prompt, NULL, "NAME",
             "a prompt published with the model; default: the model's default prompt"),
    CFG_U32("dimensions", struct settings, dimensions, "0", 0, LIMIT_DIM, "N",
            "keep the first N numbers (Matryoshka); 0: all"),
    CFG_HEADING("Output"),
    CFG_CHOICE("format", struct settings, format, "jsonl", "jsonl|npy",
               "jsonl: {\"i\", \"dim\", \"vector\"} a line\n"
               "npy: one NumPy array [texts, numbers] of float32; needs --out"),
    CFG_TEXT("out", struct settings, out, NULL, "FILE",
             "write to this file, which is there only when it is complete"),
    CFG_BOOL("quiet", struct settings, quiet, "show no progress and no summary"),
};
/* clang-format on */

static const struct cfg cfg = {
    .program = "ember-model",
    .synopsis = "embed --model DIR [OPTION]... FILE",
    .about = "Vectors of length 1 of all texts of a file, computed here, without broker or cache.",
    .epilog =
        "FILE holds a text a line (\"-\": standard input) or, when its name ends in .jsonl, a "
        "JSON\n"
        "object a line with a \"text\". An empty line is an empty text; in .jsonl it is passed\n"
        "over. Texts are cut at the model's limit. The summary goes to standard error.\n\n"
        "Examples:\n"
        "  ember-model embed --model models/minilm --format npy --out corpus.npy corpus.txt\n"
        "  ember-model embed --model models/nomic --prompt search_document --dimensions 256 \\\n"
        "      articles.jsonl > vectors.jsonl\n\n"
        "Exit status: 0 done, 1 it could not be done, 2 wrong usage.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

struct job {
    const struct settings *s;
    struct outputs outputs;
    struct text_rows rows;
    struct vector_file file;
    struct view *texts; /* [block] copies */
    unsigned *lines;    /* [block] where they stand */
    uint32_t block, n;
    uint64_t begin_us;
    bool progress;
};

static void forget_texts(struct job *job) {
    for (uint32_t i = 0; i < job->n; i++)
        free((char *)(uintptr_t)job->texts[i].data);
    job->n = 0;
}

static enum status keep(struct job *job, struct view text, struct err *err) {
    const size_t bytes = text.bytes + job->outputs.prefix.bytes;
    if (bytes > LIMIT_TEXT_BYTES)
        return err_set(err, STATUS_DATA_LOSS,
                       "%s:%u: the text has %zu bytes with its prompt, at most %d are taken",
                       job->rows.path, job->rows.line, bytes, LIMIT_TEXT_BYTES);
    char *copy = malloc(text.bytes + 1);
    if (!copy)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a text");
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    job->texts[job->n] = view_make(copy, text.bytes);
    job->lines[job->n++] = job->rows.line;
    return STATUS_OK;
}

static enum status fill(struct job *job, struct err *err) {
    enum status st = STATUS_OK;
    struct view text;
    for (size_t bytes = 0; st == STATUS_OK && job->n < job->block && bytes < BLOCK_BYTES;) {
        st = text_rows_next(&job->rows, &text, err);
        if (st != STATUS_OK || job->rows.end)
            break;
        bytes += text.bytes;
        st = keep(job, text, err);
    }
    return st;
}

static enum status run_block(struct job *job, struct err *err) {
    const uint32_t dim = engine_info(job->outputs.engine)->dim;
    float *full = NULL, row[LIMIT_DIM];
    enum status st = outputs_of(&job->outputs, job->texts, NULL, job->n, &full, err);
    if (job->outputs.bad)
        return err_set(err, STATUS_INTERNAL, "%s:%u: the model gave no numbers for the text",
                       job->rows.path, job->lines[job->outputs.bad - 1]);
    if (st != STATUS_OK)
        return st;
    for (uint32_t i = 0; i < job->n; i++) {
        vector_finish(full + (size_t)i * dim, dim, job->s->dimensions, true, row);
        vector_file_add(&job->file, row);
    }
    free(full);
    return STATUS_OK;
}

static void tell(const struct job *job) {
    if (!job->progress)
        return;
    const double seconds = (double)(clock_us() - job->begin_us) / 1e6;
    fprintf(stderr, "\r%llu texts, %.0f/s", (unsigned long long)job->file.n,
            (double)job->file.n / seconds);
    if (job->rows.bytes)
        fprintf(stderr, ", %.0f%% of the file",
                100.0 * (double)job->rows.read / (double)job->rows.bytes);
    fputs("  ", stderr);
}

static void tell_end(const struct job *job) {
    const struct outputs *outputs = &job->outputs;
    if (job->progress)
        fprintf(stderr, "\r%*s\r", 60, "");
    if (job->s->quiet)
        return;
    fprintf(stderr, "%llu texts, %u numbers each, %llu tokens in %.1f s; %u texts lost their end\n",
            (unsigned long long)job->file.n, job->file.dim, (unsigned long long)outputs->tokens,
            (double)(clock_us() - job->begin_us) / 1e6, outputs->truncated);
}

static enum status embed_all(struct job *job, struct err *err) {
    job->texts = malloc(job->block * sizeof *job->texts);
    job->lines = malloc(job->block * sizeof *job->lines);
    if (!job->texts || !job->lines)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u texts", job->block);
    enum status st = STATUS_OK;
    while (st == STATUS_OK && !job->rows.end && vector_file_good(&job->file)) {
        st = fill(job, err);
        if (st == STATUS_OK && job->n)
            st = run_block(job, err);
        forget_texts(job);
        tell(job);
    }
    return st == STATUS_OK ? vector_file_close(&job->file, err) : st;
}

static enum status begin(struct job *job, const char *path, struct err *err) {
    const struct settings *s = job->s;
    const struct engine_info *info = engine_info(job->outputs.engine);
    if (info->head != ENGINE_HEAD_NONE)
        return err_set(err, STATUS_FAILED_PRECONDITION,
                       "the model has a head: it gives %u logits and no vector", info->dim);
    if (s->dimensions > info->dim)
        return err_set(err, STATUS_INVALID_ARGUMENT, "--dimensions %u: the model has %u",
                       s->dimensions, info->dim);
    enum status st = outputs_prompt(job->outputs.engine, s->prompt, &job->outputs.prefix, err);
    if (st == STATUS_OK)
        st = text_rows_open(path, &job->rows, err);
    if (st == STATUS_OK)
        st = vector_file_open(s->out, (enum vector_form)s->format,
                              s->dimensions ? s->dimensions : info->dim, &job->file, err);
    return st;
}

static enum status embed_file(const struct settings *s, const engine_t *engine, const char *path,
                              struct err *err) {
    struct job job = {.s = s,
                      .outputs = {.engine = engine, .threads = parallel_threads(s->threads)},
                      .begin_us = clock_us()};
    job.block = BLOCK_EACH * job.outputs.threads;
    job.progress = !s->quiet && isatty(STDERR_FILENO) && (*s->out || !isatty(STDOUT_FILENO));
    enum status st = begin(&job, path, err);
    if (st == STATUS_OK)
        st = embed_all(&job, err);
    if (st == STATUS_OK)
        tell_end(&job);
    else if (job.progress && job.file.n)
        fputc('\n', stderr);
    vector_file_abort(&job.file);
    text_rows_close(&job.rows);
    free(job.texts);
    free(job.lines);
    return st;
}

enum tool_exit embed_main(int argc, char **argv) {
    static struct settings s;
    enum cfg_action action;
    struct err err;
    int n_words = 0;
    if (cfg_load(&cfg, argc, argv, &n_words, &s, &action, &err) != STATUS_OK)
        return tool_fail(&err);
    if (action == CFG_EXIT)
        return TOOL_OK;
    if (n_words != 1 || !*s.model) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "embed takes --model DIR and one file; see --help");
        return tool_fail(&err);
    }
    engine_t *engine = NULL;
    const struct engine_options options = {.precision = (enum engine_precision)s.precision,
                                           .kernel = *s.kernel ? s.kernel : NULL};
    enum status st = engine_open(s.model, &options, &engine, &err);
    if (st == STATUS_OK)
        st = embed_file(&s, engine, argv[1], &err);
    engine_destroy(&engine);
    return st == STATUS_OK ? TOOL_OK : tool_fail(&err);
}
