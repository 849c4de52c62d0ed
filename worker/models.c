/* models.c - names and opened engines of --model. */
#include "models.h"

#include <string.h>

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
    model->info = engine_info(model->engine);
    if (!engine_prompt(model->engine, NULL, &model->prompt))
        model->prompt = view_make(NULL, 0);
    if (model->info->dim > models->dim_max)
        models->dim_max = model->info->dim;
    st = key_model_init(&model->key, model->name, model->info->fingerprint8, model->info->dim, err);
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
    for (uint32_t i = 0; i < self->n; i++)
        engine_destroy(&self->model[i].engine);
    memset(self, 0, sizeof *self);
}
