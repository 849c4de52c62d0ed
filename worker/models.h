/* models.h - the models of this worker, opened and named.
 *
 * Threads: immutable after models_open(). */
#ifndef EMBER_WORKER_MODELS_H
#define EMBER_WORKER_MODELS_H

#include "base/cfg.h"
#include "cache/key.h"
#include "engine/engine.h"
#include "wire/codec.h"

struct model {
    char name[LIMIT_NAME_BYTES + 1];
    engine_t *engine;
    const struct engine_info *info;
    struct key_model key;     /* head of its cache keys */
    struct view prompt;       /* put before texts when the request names none; may be empty */
    uint32_t tasks;           /* bit 1 << enum wire_task */
    struct view *names;       /* [info->n_labels] of the model's own labels; NULL: it has none */
    struct key_labels labels; /* those, when `names` is set */
};

struct models {
    struct model model[LIMIT_MODELS];
    uint32_t n;
    uint32_t dim_max; /* of all of them */
};

/* How a model is opened: engine_open(), or the engine for tests of messaging alone. */
typedef enum status models_open_fn(const char *dir, const struct engine_options *options,
                                   engine_t **out, struct err *err);

/* What requests may ask of a model; as "embed, classify, tokenize" into out, NUL included. */
uint32_t models_tasks(const struct engine_info *info);
void models_list_tasks(uint32_t tasks, char *out, size_t out_bytes);

/* What an engine calls a head, on the wire. */
enum wire_head models_head(const struct engine_info *info);

/* Fills what follows from model->engine and model->name. STATUS_INVALID_ARGUMENT: the name, or
 * labels of its own that are empty, too long, or alike. */
enum status models_fill(struct model *model, struct err *err);

/* True for 1..LIMIT_NAME_BYTES of A-Z a-z 0-9 . _ - */
bool models_name_ok(const char *name, size_t bytes);

/* "NAME=DIR", or "DIR" alone, which is named after its last part. What precedes the first '=' is a
 * name only when it has a name's characters. STATUS_INVALID_ARGUMENT when none comes out. */
enum status models_split(const char *value, char name[LIMIT_NAME_BYTES + 1], const char **dir,
                         struct err *err);

/* Open all of `list`, in order. STATUS_INVALID_ARGUMENT: a name is bad or there twice, or there is
 * none; otherwise as `open` says, the message naming the model. On failure *out is empty. */
enum status models_open(const struct cfg_list *list, const struct engine_options *options,
                        models_open_fn *open, struct models *out, struct err *err);
void models_done(struct models *self);

#endif
