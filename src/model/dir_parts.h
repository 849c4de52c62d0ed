/* dir_parts.h - the inside of dir.c, shared with dir_config.c (config.json to sizes), dir_head.c
 * (a classifier and the names of its labels) and dir_known.c (what need not be read again).
 * Everybody else uses dir.h. */
#ifndef EMBER_MODEL_DIR_PARTS_H
#define EMBER_MODEL_DIR_PARTS_H

#include "model/dir.h"
#include "model/store.h"
#include "json/json.h"

#include <limits.h>

enum { DIR_POOLING_BYTES = 256, DIR_TOKENS_MIN = 4, DIR_SMALL = 11 };

/* Files that a fingerprint covers besides pooling and weights, in the order of hashing. */
extern const char *const dir_small[DIR_SMALL];

/* Everything that is read before the struct is complete. */
struct dir_reading {
    struct model_dir *dir;
    char path[PATH_MAX];             /* of the file being read, in messages */
    char pooling[DIR_POOLING_BYTES]; /* folder of the pooling configuration */
    bool embeds;    /* modules.json or a pooling configuration is there: an embedder, head or not */
    json_t *config; /* config.json */
    json_t *scope;  /* configuration.json (ModelScope); NULL without one */
};

/* r->path = the directory's file `name`. */
enum status dir_set_path(struct dir_reading *r, const char *name, struct err *err);

/* Parse the file `name`, named by r->path from then on. *out stays NULL when it does not exist and
 * may be absent. */
enum status dir_load(struct dir_reading *r, const char *name, bool required, json_t **out,
                     struct err *err);

/* A member that is there and not null: null means the default. */
const json_t *dir_get(const json_t *root, const char *key);

/* Sizes of every family; `hint` is the model type to take where there is none. Messages do not name
 * the file. */
enum status dir_read_config(const json_t *root, const char *hint, struct model_shape *out,
                            struct err *err);

/* The first file of the weights, for messages; "weights" when only their shapes are remembered. */
const char *dir_weights_name(const struct model_dir *dir);

/* Takes fingerprint and shapes of tensors from the store; false when it has none of this directory
 * as it is now. */
bool dir_recall(struct model_dir *dir, const struct store *store);

/* Whether the store would give the same again. */
bool dir_still_known(const struct model_dir *dir, const struct store *store);

/* Calls `hash`, and lets the store remember what it found when no file changed meanwhile.
 * `opened_ns`: since 1970, a time before the weights were opened. */
enum status dir_hash_and_remember(struct dir_reading *r, const struct store *store,
                                  enum status (*hash)(struct dir_reading *r, struct err *err),
                                  int64_t opened_ns, struct err *err);

/* Sizes that the tensors decide, once the weights are open. */
enum status dir_settle_sizes(struct model_dir *dir, struct err *err);

/* shape.head and what belongs to it, and the labels. After the weights are open. */
enum status dir_read_head(struct dir_reading *r, struct err *err);

#endif
