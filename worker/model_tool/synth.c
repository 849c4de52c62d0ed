/* synth.c - `ember-model synth`: a published-format directory with random weights, so that
 * benchmarks, load tests and a first try need no download. The vectors mean nothing, but
 * everything else is real: sizes, files, tokenizer, memory, speed.
 *
 * Weights are spread roughly like trained ones (matrices by 1/sqrt(inputs), uneven layer norms),
 * so that attention is peaked and rounding behaves as it does in earnest. The same seed gives
 * the same bytes. model.safetensors is written beside its name and renamed, so that a broken-off
 * run leaves no half. */
#include "synth.h"

#include "base/cfg.h"
#include "base/hash.h"
#include "base/limits.h"
#include "model/dir.h"
#include "shapes.h"
#include "synth_dir.h"
#include "tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct settings {
    char shape[CFG_TEXT_MAX], out[CFG_TEXT_MAX], vocab[CFG_TEXT_MAX];
    uint32_t seed, pooling;
    bool quiet, force;
};

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_TEXT("shape", struct settings, shape, "minilm-l6", "NAME",
             SHAPES_NAMES ",\nor a config.json"),
    CFG_TEXT("out", struct settings, out, NULL, "DIR", "the directory to write; it is made"),
    CFG_TEXT("vocab", struct settings, vocab, NULL, "PATH",
             "take the vocabulary of this vocab.txt or model directory; default: one is made up "
             "that covers English and Chinese"),
    CFG_U32("seed", struct settings, seed, "1", 0, 4294967295.0, "N",
            "other weights for another number"),
    CFG_CHOICE("pooling", struct settings, pooling, "shape", "shape|mean|cls",
               "how vectors are pooled; shape: as published, and mean for a config.json"),
    CFG_BOOL("force", struct settings, force, "write over a model that is there"),
    CFG_BOOL("quiet", struct settings, quiet, "show no progress"),
};
/* clang-format on */

static const struct cfg cfg = {
    .program = "ember-model",
    .synopsis = "synth --shape NAME --out DIR [OPTION]...",
    .about = "Write a model with random weights in the exact form in which models are published: "
             "config.json, model.safetensors (F32), vocab.txt and the sentence-transformers files.",
    .epilog = "Example:\n"
              "  ember-model synth --shape minilm-l6 --out models/minilm-random\n\n"
              "Exit status: 0 written, 1 could not be written, 2 wrong usage.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static enum status shape_from_file(const char *path, struct model_shape *out, struct err *err) {
    struct view text;
    enum status st = tool_read(path, LIMIT_JSON_BYTES, &text, err);
    if (st != STATUS_OK)
        return st;
    st = model_dir_parse_config(text, path, NULL, out, err);
    free((char *)(uintptr_t)text.data);
    return st;
}

static enum status find_shape(const struct settings *s, struct model_shape *out, struct err *err) {
    enum status st = STATUS_OK;
    const bool known = shapes_find(s->shape, out);
    if (!known && access(s->shape, F_OK) != 0)
        st = err_set(err, STATUS_INVALID_ARGUMENT,
                     "--shape: '%s' is neither a known shape (see --help) nor a file", s->shape);
    else if (!known)
        st = shape_from_file(s->shape, out, err);
    if (st != STATUS_OK)
        return st;
    if (out->family == MODEL_STATIC)
        return err_set(err, STATUS_UNIMPLEMENTED, "--shape: a table of static vectors is no shape");
    out->normalize = true;
    if (s->pooling)
        out->pooling = s->pooling == 1 ? MODEL_POOL_MEAN : MODEL_POOL_CLS;
    return STATUS_OK;
}

/* Makes `path` and the folders above it. */
static enum status make_folders(const char *path, struct err *err) {
    char part[TOOL_PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = part; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        mkdir(part, 0777); /* what goes wrong here shows below */
        *slash = '/';
    }
    if (mkdir(part, 0777) != 0 && errno != EEXIST)
        return err_errno(err, STATUS_UNAVAILABLE, "make the folder '%s'", path);
    return STATUS_OK;
}

static enum status write_all(const struct settings *s, const struct model_shape *shape,
                             struct err *err) {
    char path[TOOL_PATH_MAX];
    enum status st = tool_path(path, s->out, "config.json", err);
    if (st == STATUS_OK && !s->force && access(path, F_OK) == 0)
        return err_set(err, STATUS_ALREADY_EXISTS,
                       "'%s' is there already; --force writes over that model", path);
    if (st == STATUS_OK)
        st = tool_path(path, s->out, "1_Pooling", err);
    if (st == STATUS_OK)
        st = make_folders(path, err);
    if (st == STATUS_OK)
        st = synth_write_vocab(s->out, shape, s->vocab, err);
    if (st == STATUS_OK)
        st = synth_write_weights(s->out, shape, s->seed, !s->quiet && isatty(STDERR_FILENO), err);
    if (st == STATUS_OK)
        st = synth_write_config(s->out, shape, err);
    return st;
}

enum tool_exit synth_main(int argc, char **argv) {
    struct settings s;
    struct model_shape shape;
    enum cfg_action action;
    struct err err;
    if (cfg_load(&cfg, argc, argv, NULL, &s, &action, &err) != STATUS_OK)
        return tool_fail(&err);
    if (action == CFG_EXIT)
        return TOOL_OK;
    if (!*s.out) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "--out is missing; see --help");
        return tool_fail(&err);
    }
    if (find_shape(&s, &shape, &err) != STATUS_OK || write_all(&s, &shape, &err) != STATUS_OK)
        return tool_fail(&err);
    if (!s.quiet)
        printf("%s: %u layers, %u wide, %u pieces, %s pooling, random weights of seed %u\n", s.out,
               shape.layers, shape.hidden, shape.vocab_rows,
               shape.pooling == MODEL_POOL_CLS ? "cls" : "mean", s.seed);
    return TOOL_OK;
}
