/* models.c - names and opened engines of --model. */
#include "models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)WIRE_HEAD_NONE == ENGINE_HEAD_NONE &&
                   (int)WIRE_HEAD_LABELS == ENGINE_HEAD_LABELS &&
                   (int)WIRE_HEAD_NLI == ENGINE_HEAD_NLI &&
                   (int)WIRE_HEAD_SCORE == ENGINE_HEAD_SCORE,
               "heads have the same numbers on the wire and in the engine");

uint32_t models_tasks(const struct engine_info *info) {
    uint32_t tasks = 0;
    if (info->tasks & ENGINE_TASK_EMBED)
        tasks |= 1u << WIRE_TASK_EMBED | 1u << WIRE_TASK_CLASSIFY; /* labels by cosine */
    if (info->tasks & ENGINE_TASK_CLASSIFY)
        tasks |= 1u << WIRE_TASK_CLASSIFY;
    if (info->tasks & ENGINE_TASK_RERANK)
        tasks |= 1u << WIRE_TASK_RERANK;
    if (info->tasks & ENGINE_TASK_TOKENIZE)
        tasks |= 1u << WIRE_TASK_TOKENIZE;
    return tasks;
}

void models_list_tasks(uint32_t tasks, char *out, size_t out_bytes) {
    size_t n = 0;
    snprintf(out, out_bytes, "do nothing");
    for (enum wire_task t = WIRE_TASK_EMBED; t < WIRE_TASKS; t++)
        if (tasks & 1u << t && n < out_bytes)
            n += (size_t)snprintf(out + n, out_bytes - n, "%s%s", n ? ", " : "", wire_task_name(t));
}

enum wire_head models_head(const struct engine_info *info) {
    return (enum wire_head)info->head;
}

bool models_name_ok(const char *name, size_t bytes) {
    if (bytes < 1 || bytes > LIMIT_NAME_BYTES)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char c = name[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

enum status models_split(const char *value, char name[LIMIT_NAME_BYTES + 1], const char **dir,
                         struct err *err) {
    const char *equals = strchr(value, '=');
    const char *from = value;
    size_t bytes;
    if (equals && models_name_ok(value, (size_t)(equals - value))) {
        bytes = (size_t)(equals - value);
        *dir = equals + 1;
    } else {
        size_t end = strlen(value);
        while (end > 1 && value[end - 1] == '/')
            end--;
        size_t start = end;
        while (start > 0 && value[start - 1] != '/')
            start--;
        from = value + start;
        bytes = end - start;
        *dir = value;
    }
    if (!models_name_ok(from, bytes) || **dir == 0)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "model: '%s' is not NAME=DIR (a name has 1 to %d of A-Z a-z 0-9 . _ -)",
                       value, LIMIT_NAME_BYTES);
    memcpy(name, from, bytes);
    name[bytes] = 0;
    return STATUS_OK;
}

static enum status fill_labels(struct model *model, struct err *err) {
    uint32_t n = model->info->n_labels;
    model->names = calloc(n ? n : 1, sizeof *model->names);
    if (!model->names)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u labels", n);
    for (uint32_t i = 0; i < n; i++)
        model->names[i] = engine_label(model->engine, i);
    return key_labels_init(&model->labels, model->names, n, true, err);
}

enum status models_fill(struct model *model, struct err *err) {
    const struct engine_info *info = model->info = engine_info(model->engine);
    model->tasks = models_tasks(info);
    if (!engine_prompt(model->engine, NULL, &model->prompt))
        model->prompt = view_make(NULL, 0);
    enum status st = key_model_init(&model->key, model->name, info->fingerprint8, info->dim, err);
    if (st == STATUS_OK && info->head == ENGINE_HEAD_LABELS)
        st = fill_labels(model, err);
    return st;
}

static enum status open_one(const char *value, const struct engine_options *options,
                            models_open_fn *open, struct models *models, struct err *err) {
    struct model *model = &models->model[models->n];
    const char *dir;
    enum status st = models_split(value, model->name, &dir, err);
    if (st != STATUS_OK)
        return st;
    for (uint32_t i = 0; i < models->n; i++)
        if (strcmp(models->model[i].name, model->name) == 0)
            return err_set(err, STATUS_INVALID_ARGUMENT, "model: '%s' is there twice", model->name);
    st = open(dir, options, &model->engine, err);
    if (st != STATUS_OK)
        return err_prefix(err, st, "model '%s'", model->name);
    models->n++;
    st = models_fill(model, err);
    if (st == STATUS_OK && model->info->dim > models->dim_max)
        models->dim_max = model->info->dim;
    return st == STATUS_OK ? st : err_prefix(err, st, "model '%s'", model->name);
}

enum status models_open(const struct cfg_list *list, const struct engine_options *options,
                        models_open_fn *open, struct models *out, struct err *err) {
    memset(out, 0, sizeof *out);
    if (list->n == 0)
        return err_set(err, STATUS_INVALID_ARGUMENT, "model: none given (--model NAME=DIR)");
    if (list->n > LIMIT_MODELS)
        return err_set(err, STATUS_INVALID_ARGUMENT, "model: more than %d", LIMIT_MODELS);
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < list->n && st == STATUS_OK; i++)
        st = open_one(list->item[i], options, open, out, err);
    if (st != STATUS_OK)
        models_done(out);
    return st;
}

void models_done(struct models *self) {
    for (uint32_t i = 0; i < self->n; i++) {
        free(self->model[i].names);
        engine_destroy(&self->model[i].engine);
    }
    memset(self, 0, sizeof *self);
}
