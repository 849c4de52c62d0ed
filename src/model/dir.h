/* dir.h - a published model directory: what it says about sizes, pooling, prompts, and its
 * fingerprint.
 *
 *     config.json                        sizes, activation, epsilon (must be there)
 *     modules.json                       Transformer, Pooling, Normalize
 *     1_Pooling/config.json              mean or first token (modules.json names the folder)
 *     sentence_bert_config.json          longest sequence
 *     tokenizer_config.json              longest sequence where the one above is silent
 *     config_sentence_transformers.json  prompts
 *     ember_zero_shot.json               how labels are scored by cosine: zero_shot.h
 *     configuration.json                 task, architecture where config.json is silent: ModelScope
 *     label_mapping.json                 names of labels where config.json is silent: ModelScope
 *
 * The vocabulary is read by text/tokenizer.h; here it is only hashed.
 * Threads: immutable once open. */
#ifndef EMBER_MODEL_DIR_H
#define EMBER_MODEL_DIR_H

#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"
#include "model/shape.h"
#include "model/weights.h"
#include "model/zero_shot.h"

enum { MODEL_FINGERPRINT_BYTES = 32 };

/* Raise it when model_dir_open() hashes the same files in another way: what was remembered of a
 * directory is then not believed. */
enum { MODEL_FINGERPRINT_SCHEME = 1 };

struct model_prompt {
    char *name, *text; /* the text goes in front of what is embedded, as it is */
};

struct model_dir {
    char *path;                      /* as given, links in it resolved when it was opened */
    char name[LIMIT_NAME_BYTES + 1]; /* a guess: the folder's name, [A-Za-z0-9._-] only */
    struct model_shape shape;        /* every size within its limit; heads divides hidden */
    weights_t *weights;              /* open; the mapping goes with the directory */
    char **labels; /* [shape.classes] names of a head's classes, UTF-8, all different; or NULL */
    uint32_t n_prompts;
    struct model_prompt *prompts; /* [n_prompts] */
    const char *default_prompt;   /* the name of one of them, or NULL */
    struct zero_shot *zero_shot;  /* NULL: the file is not there */
    uint8_t fingerprint[MODEL_FINGERPRINT_BYTES];
    char fingerprint8[9]; /* its first four bytes in hex: what people see */
    uint8_t files_sha256[MODEL_FINGERPRINT_BYTES]; /* the fingerprint without model_dir_mark() */
    bool known; /* fingerprint and shapes were remembered, not read */
};

/* Read and check the directory. The fingerprint is SHA-256 over every file that alters a vector
 * or a score (weights with all shards, vocabulary, tokenizer, configuration, pooling, label
 * names, zero-shot settings), each as "name", NUL, 64-bit length, bytes, in a fixed order. Prompts
 * are not in it: they are part of the text.
 *   STATUS_NOT_FOUND           no such directory, no config.json, no weights, or no classifier
 *                              among them where the configuration promises one
 *   STATUS_UNAVAILABLE         a file cannot be opened
 *   STATUS_DATA_LOSS           malformed, or a value that cannot be, as heads that do not divide
 *   STATUS_RESOURCE_EXHAUSTED  beyond a limit, or no memory
 *   STATUS_UNIMPLEMENTED       another architecture, activation, position type, pooling, module;
 *                              zero-shot settings beside a model with a head
 *   STATUS_PERMISSION_DENIED   a path that leads out of the directory
 * The message names the file. That tensors have these shapes is checked by whoever loads them. */
enum status model_dir_open(const char *path, struct model_dir **out, struct err *err);
/* The same, but what the directory `cache` (model/store.h) remembers of files that have not changed
 * since is believed: the weights are then neither opened nor hashed, and self->weights knows names
 * and shapes alone. Whatever is not remembered will be, where it can. NULL: model_dir_open(). */
enum status model_dir_open_known(const char *path, const char *cache, struct model_dir **out,
                                 struct err *err);

/* Opens the weights now when only their shapes are remembered, in `cache`. As weights_open(), and
 * STATUS_ABORTED when they are no longer what was remembered, or that is gone: somebody is
 * changing the directory, or the cache. */
enum status model_dir_need_weights(struct model_dir *self, const char *cache, struct err *err);

/* Whether the weights that are open still look as when they were opened: none was written over or
 * replaced by another meanwhile. */
bool model_dir_weights_hold(const struct model_dir *self);
void model_dir_close(struct model_dir **self); /* NULL is fine */

/* Make the fingerprint another one, as answers computed in the way `what` ("i8") are others. */
enum status model_dir_mark(struct model_dir *self, const char *what, struct err *err);

/* The prompt called `name`; NULL when there is none. */
const struct model_prompt *model_dir_prompt(const struct model_dir *self, const char *name);

/* The part that reads config.json alone; *shape is written on STATUS_OK. Fields that other
 * files decide (pooling, normalize, max_tokens, head) get what holds without those files: mean,
 * false, all positions, none; a static model's hidden and vocab_rows, which its table decides, are
 * 0. `what` is the name in messages; `hint` is the model type to take where
 * the text has none, or NULL. */
enum status model_dir_parse_config(struct view text, const char *what, const char *hint,
                                   struct model_shape *shape, struct err *err);

#endif
