/* dir_head.c - is there a classifier behind the encoder, what are its numbers for, and what are
 * they called.
 *
 *     modules.json, pooling              an embedder, whatever else is there
 *     classifier.weight [classes, H]     how many classes
 *     architectures, ModelScope's task   whether that tensor is a head over the whole text
 *     id2label, else label2id, else label_mapping.json, else LABEL_0 ...; names that are all
 *     LABEL_0, LABEL_1 ... count as none
 *
 *     one class                                           SCORE   (reranker)
 *     entailment and contradiction among the names,
 *     or a zero-shot task without names (0 and 2 then)    NLI
 *     else                                                LABELS
 *
 * Heads over single tokens are refused: their logits would look like answers. That a model with
 * labels of its own reads pairs (ModelScope's nli and sentence-similarity) is for its callers to
 * know. */
#include "model/dir_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* ---- is there one ---- */

enum says { SAYS_NOTHING, SAYS_NO, SAYS_YES, SAYS_OTHER };

/* The class that wrote config.json. */
static enum says class_says(const char *name) {
    static const struct {
        const char *end;
        enum says says;
    } rows[] = {
        {"ForSequenceClassification", SAYS_YES},
        {"ForTextRanking", SAYS_YES},
        {"ForTokenClassification", SAYS_OTHER},
        {"ForMultipleChoice", SAYS_OTHER},
        {"Model", SAYS_NO},
    };
    for (size_t i = 0; name && i < sizeof rows / sizeof *rows; i++)
        if (ends_with(name, rows[i].end))
            return rows[i].says;
    return SAYS_NOTHING;
}

/* ModelScope's task. */
static enum says task_says(const char *task) {
    static const struct {
        const char *task;
        enum says says;
    } rows[] = {
        {"text-classification", SAYS_YES},    {"zero-shot-classification", SAYS_YES},
        {"sentiment-analysis", SAYS_YES},     {"sentiment-classification", SAYS_YES},
        {"text-ranking", SAYS_YES},           {"nli", SAYS_YES},
        {"sentence-similarity", SAYS_YES},    {"sentence-embedding", SAYS_NO},
        {"token-classification", SAYS_OTHER}, {"named-entity-recognition", SAYS_OTHER},
        {"word-segmentation", SAYS_OTHER},    {"part-of-speech", SAYS_OTHER},
    };
    for (size_t i = 0; task && i < sizeof rows / sizeof *rows; i++)
        if (strcmp(task, rows[i].task) == 0)
            return rows[i].says;
    return SAYS_NOTHING;
}

static const struct tensor *find_classifier(const struct model_dir *dir) {
    return weights_find(dir->weights, "classifier.weight");
}

static enum status has_head(const struct dir_reading *r, bool *out, struct err *err) {
    const char *name = json_text(json_first(dir_get(r->config, "architectures")));
    const char *task = json_text(dir_get(r->scope, "task"));
    const bool there = find_classifier(r->dir) != NULL;
    const enum says class_word = class_says(name), task_word = task_says(task);
    const enum says says = task_word != SAYS_NOTHING ? task_word : class_word;
    *out = false;
    if (r->embeds || r->dir->shape.family == MODEL_STATIC || says == SAYS_NO)
        return STATUS_OK;
    if (there && says == SAYS_OTHER)
        return err_set(err, STATUS_UNIMPLEMENTED, "'%s': '%.60s' gives no answer about a text",
                       r->dir->path, task_word == SAYS_OTHER ? task : name);
    if (!there && class_word == SAYS_YES)
        return err_set(err, STATUS_NOT_FOUND,
                       "'%s/%s': tensor 'classifier.weight' is missing, and config.json says %.60s",
                       r->dir->path, dir_weights_name(r->dir), name);
    if (there && r->dir->shape.family == MODEL_NOMIC)
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "'%s/config.json': a classifier behind nomic_bert is not supported",
                       r->dir->path);
    *out = there;
    return STATUS_OK;
}

static enum status get_classes(struct model_dir *dir, struct err *err) {
    const struct tensor *t = find_classifier(dir);
    const char *file = dir_weights_name(dir);
    if (t->rank != 2 || t->shape[0] < 1 || t->shape[1] != dir->shape.hidden)
        return err_set(err, STATUS_DATA_LOSS,
                       "'%s/%s': tensor 'classifier.weight' has not the shape [classes, %u]",
                       dir->path, file, dir->shape.hidden);
    if (t->shape[0] > LIMIT_LABELS)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s/%s': %llu classes, at most %d",
                       dir->path, file, (unsigned long long)t->shape[0], LIMIT_LABELS);
    dir->shape.classes = (uint32_t)t->shape[0];
    return STATUS_OK;
}

/* ---- what the classes are called ---- */

static enum status add_label(struct model_dir *dir, uint32_t class, const char *name,
                             struct err *err) {
    if (!*name)
        return err_set(err, STATUS_DATA_LOSS, "class %u has an empty name", class);
    if (strlen(name) > LIMIT_LABEL_BYTES)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "the name of class %u has more than %d bytes", class, LIMIT_LABEL_BYTES);
    if (dir->labels[class])
        return err_set(err, STATUS_DATA_LOSS, "class %u has two names", class);
    dir->labels[class] = strdup(name);
    return dir->labels[class] ? STATUS_OK : err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
}

/* A class number: decimal digits alone. */
static bool parse_class(const char *text, uint32_t classes, uint32_t *out) {
    uint32_t x = 0;
    if (!*text || strlen(text) > 6)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        x = 10 * x + (uint32_t)(*text - '0');
    }
    *out = x;
    return x < classes;
}

/* number: name */
static enum status add_by_number(struct model_dir *dir, const json_t *names, struct err *err) {
    enum status st = STATUS_OK;
    for (const json_t *m = json_first(names); m && st == STATUS_OK; m = json_next(m)) {
        uint32_t class = 0;
        if (!json_text(m))
            st =
                err_set(err, STATUS_DATA_LOSS, "the name of class '%.20s' is no text", json_key(m));
        else if (!parse_class(json_key(m), dir->shape.classes, &class))
            st = err_set(err, STATUS_DATA_LOSS, "'%.20s' is none of %u classes", json_key(m),
                         dir->shape.classes);
        else
            st = add_label(dir, class, json_text(m), err);
    }
    return st;
}

/* name: number */
static enum status add_by_name(struct model_dir *dir, const json_t *names, struct err *err) {
    enum status st = STATUS_OK;
    for (const json_t *m = json_first(names); m && st == STATUS_OK; m = json_next(m)) {
        uint64_t class = 0;
        if (!json_u64(m, &class) || class >= dir->shape.classes)
            st = err_set(err, STATUS_DATA_LOSS, "'%.60s' stands for none of %u classes",
                         json_key(m), dir->shape.classes);
        else
            st = add_label(dir, (uint32_t) class, json_key(m), err);
    }
    return st;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every class has a name, and no two the same: an answer is a name. */
static enum status check_names(const struct model_dir *dir, const char *what, struct err *err) {
    const uint32_t n = dir->shape.classes;
    for (uint32_t i = 0; i < n; i++)
        if (!dir->labels[i])
            return err_set(err, STATUS_DATA_LOSS, "%s has no name for class %u of %u", what, i, n);
    const char **sorted = malloc(n * sizeof *sorted);
    if (!sorted)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    for (uint32_t i = 0; i < n; i++)
        sorted[i] = dir->labels[i];
    qsort(sorted, n, sizeof *sorted, by_text);
    enum status st = STATUS_OK;
    for (uint32_t i = 1; i < n && st == STATUS_OK; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            st = err_set(err, STATUS_DATA_LOSS, "%s calls two classes '%.60s'", what, sorted[i]);
    free(sorted);
    return st;
}

static enum status add_numbers(struct model_dir *dir, struct err *err) {
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < dir->shape.classes && st == STATUS_OK; i++) {
        char name[24];
        snprintf(name, sizeof name, "LABEL_%u", i);
        st = add_label(dir, i, name, err);
    }
    return st;
}

/* Names worth having: an object of members, not all called LABEL_0, LABEL_1 ..., which is what is
 * written for want of names. */
static bool has_names(const json_t *object) {
    static const char prefix[] = "LABEL_";
    if (!json_is_object(object))
        return false;
    for (const json_t *m = json_first(object); m; m = json_next(m)) {
        const char *name = json_text(m) ? json_text(m) : json_key(m);
        if (strncmp(name, prefix, sizeof prefix - 1) != 0)
            return true;
    }
    return false;
}

/* *named: somebody gave names. */
static enum status read_names(struct dir_reading *r, bool *named, struct err *err) {
    struct model_dir *dir = r->dir;
    const json_t *by_number = dir_get(r->config, "id2label");
    const json_t *label2id = dir_get(r->config, "label2id");
    json_t *mapping = NULL;
    const char *what = "id2label";
    enum status st = STATUS_OK;
    dir->labels = calloc(dir->shape.classes, sizeof *dir->labels);
    if (!dir->labels)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s': no memory", dir->path);
    *named = true;
    if (has_names(by_number)) {
        st = add_by_number(dir, by_number, err);
    } else if (has_names(label2id)) {
        what = "label2id";
        st = add_by_name(dir, label2id, err);
    } else {
        what = "it";
        st = dir_load(r, "label_mapping.json", false, &mapping, err);
        if (st != STATUS_OK)
            return st; /* names its file already */
        *named = mapping != NULL;
        if (mapping && !json_is_object(mapping))
            st = err_set(err, STATUS_DATA_LOSS, "no JSON object");
        else
            st = mapping ? add_by_name(dir, mapping, err) : add_numbers(dir, err);
    }
    if (st == STATUS_OK)
        st = check_names(dir, what, err);
    json_destroy(&mapping);
    return st == STATUS_OK ? st : err_prefix(err, st, "%s", r->path);
}

/* ---- what they are for ---- */

static bool find_label(const struct model_dir *dir, const char *name, uint32_t *out) {
    for (uint32_t i = 0; i < dir->shape.classes; i++)
        if (strcasecmp(dir->labels[i], name) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static bool find_entailment(struct model_dir *dir) {
    struct model_shape *s = &dir->shape;
    return find_label(dir, "entailment", &s->entailment) &&
           (find_label(dir, "contradiction", &s->contradiction) ||
            (s->classes == 2 && find_label(dir, "not_entailment", &s->contradiction)));
}

/* label2id beside id2label must not say something else about these two. */
static enum status check_label2id(const struct dir_reading *r, struct err *err) {
    const struct model_dir *dir = r->dir;
    const json_t *label2id = dir_get(r->config, "label2id");
    for (const json_t *m = label2id ? json_first(label2id) : NULL; m; m = json_next(m)) {
        const bool is_entailment = strcasecmp(json_key(m), "entailment") == 0;
        if (!is_entailment && strcasecmp(json_key(m), dir->labels[dir->shape.contradiction]) != 0)
            continue;
        const uint32_t want = is_entailment ? dir->shape.entailment : dir->shape.contradiction;
        uint64_t class = 0;
        if (!json_u64(m, &class) || class != want)
            return err_set(err, STATUS_DATA_LOSS,
                           "'%s/config.json': id2label and label2id disagree about '%.20s'",
                           dir->path, json_key(m));
    }
    return STATUS_OK;
}

static enum status set_kind(struct dir_reading *r, bool named, struct err *err) {
    struct model_shape *s = &r->dir->shape;
    const char *task = json_text(dir_get(r->scope, "task"));
    const bool zero_shot = task && strcmp(task, "zero-shot-classification") == 0;
    if (s->classes == 1) {
        s->head = MODEL_HEAD_SCORE;
    } else if (find_entailment(r->dir)) {
        s->head = MODEL_HEAD_NLI;
        return check_label2id(r, err);
    } else if (zero_shot && (named || s->classes < 3)) {
        return err_set(err, STATUS_DATA_LOSS,
                       "'%s/config.json': which of %u classes is entailment cannot be told",
                       r->dir->path, s->classes);
    } else if (zero_shot) { /* ModelScope's convention */
        s->head = MODEL_HEAD_NLI;
        s->entailment = 0;
        s->contradiction = 2;
    } else {
        s->head = MODEL_HEAD_LABELS;
    }
    return STATUS_OK;
}

static enum status get_activation(struct dir_reading *r, struct err *err) {
    const json_t *v = dir_get(r->config, "problem_type");
    const char *type = v ? json_text(v) : "single_label_classification";
    struct model_shape *s = &r->dir->shape;
    const bool multi = type && strcmp(type, "multi_label_classification") == 0;
    const bool single = type && strcmp(type, "single_label_classification") == 0;
    if (s->classes > 1 && !multi && !single)
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "'%s/config.json': problem_type '%.40s' is not supported", r->dir->path,
                       type ? type : "?");
    s->sigmoid = multi || s->classes == 1;
    return STATUS_OK;
}

enum status dir_read_head(struct dir_reading *r, struct err *err) {
    bool there = false, named = false;
    enum status st = has_head(r, &there, err);
    if (st != STATUS_OK || !there)
        return st;
    st = get_classes(r->dir, err);
    if (st == STATUS_OK)
        st = get_activation(r, err);
    if (st == STATUS_OK)
        st = dir_set_path(r, "config.json", err);
    if (st == STATUS_OK)
        st = read_names(r, &named, err);
    if (st == STATUS_OK)
        st = set_kind(r, named, err);
    if (st == STATUS_OK && r->dir->shape.head != MODEL_HEAD_LABELS && r->dir->shape.types == 1)
        st = err_set(err, STATUS_UNIMPLEMENTED,
                     "'%s/config.json': pairs need two segments, type_vocab_size is 1",
                     r->dir->path);
    r->dir->shape.pooling = MODEL_POOL_CLS; /* every head stands on the first token */
    return st;
}
