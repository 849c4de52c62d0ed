/* dir.c - the small files of a model directory, read in an order in which later ones may only
 * narrow.
 *
 *     config.json  -->  sizes, max_tokens = positions                      dir_config.c
 *     modules.json, pooling  -->  pooling, normalize; any other module is refused
 *     sentence_bert_config.json / tokenizer_config.json  -->  max_tokens, smaller
 *     config_sentence_transformers.json  -->  prompts
 *     weights  -->  sizes that tensors decide, classes, names of labels     dir_head.c
 *     ember_zero_shot.json  -->  how labels are scored, where there is no head
 *     all of them, vocabulary and weights  -->  fingerprint
 *
 * Invariant of what model_dir_open() gives: every number is inside its limit and fits the
 * others, so products of sizes do not wrap and nobody divides by zero.
 *
 * A setting that we do not implement and that would alter vectors (relative positions, a Dense
 * module, causal attention) is refused by name: a wrong vector looks exactly like a right one. */
#include "model/dir.h"

#include "digest/digest.h"
#include "model/dir_parts.h"
#include "model/mapped.h"
#include "json/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- files of the directory ----------------------------------------------------------------- */

enum status dir_set_path(struct dir_reading *r, const char *name, struct err *err) {
    int n = snprintf(r->path, sizeof r->path, "%s/%s", r->dir->path, name);
    if (n < 0 || (size_t)n >= sizeof r->path)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "path of '%.100s' is too long", name);
    return STATUS_OK;
}

enum status dir_load(struct dir_reading *r, const char *name, bool required, json_t **out,
                     struct err *err) {
    enum status st = dir_set_path(r, name, err);
    if (st != STATUS_OK)
        return st;
    struct err found;
    st = json_load(r->path, LIMIT_CONFIG_BYTES, out, &found);
    if (st == STATUS_NOT_FOUND && !required)
        return STATUS_OK;
    return st == STATUS_OK ? st : err_set(err, st, "%s", found.text);
}

static enum status read_main(struct dir_reading *r, struct err *err) {
    enum status st = dir_load(r, "configuration.json", false, &r->scope, err);
    if (st == STATUS_OK)
        st = dir_load(r, "config.json", true, &r->config, err);
    if (st != STATUS_OK)
        return st;
    const char *hint = json_text(json_get(json_get(r->scope, "model"), "type"));
    st = dir_read_config(r->config, hint, &r->dir->shape, err);
    return st == STATUS_OK ? st : err_prefix(err, st, "%s", r->path);
}

static bool is_plain_name(const char *name) {
    return name[0] && name[0] != '.' && !strpbrk(name, "/\\") && strlen(name) < DIR_POOLING_BYTES;
}

/* modules.json: Transformer, Pooling, then nothing or Normalize. */
static enum status read_modules(struct dir_reading *r, const json_t *root, struct err *err) {
    static const char *const want[] = {"Transformer", "Pooling", "Normalize"};
    uint32_t n = json_size(root), i = 0;
    if (!json_is_array(root) || n == 0)
        return err_set(err, STATUS_DATA_LOSS, "no list of modules");
    for (const json_t *m = json_first(root); m; m = json_next(m), i++) {
        const char *type = json_text(json_get(m, "type")), *path = json_text(json_get(m, "path"));
        if (!type)
            return err_set(err, STATUS_DATA_LOSS, "module %u has no type", i);
        const char *dot = strrchr(type, '.');
        if (i >= 3 || strcmp(dot ? dot + 1 : type, want[i]) != 0)
            return err_set(err, STATUS_UNIMPLEMENTED, "module %u, '%.100s', is not supported here",
                           i, type);
        if (i == 0 && path && path[0])
            return err_set(err, STATUS_UNIMPLEMENTED,
                           "the encoder lies in a folder of its own, '%.60s'", path);
        if (i != 1)
            continue;
        if (!path || !is_plain_name(path))
            return err_set(err, STATUS_PERMISSION_DENIED,
                           "the pooling folder '%.60s' is no folder inside the directory",
                           path ? path : "");
        snprintf(r->pooling, sizeof r->pooling, "%s", path);
    }
    if (n < 2)
        return err_set(err, STATUS_UNIMPLEMENTED, "no Pooling module: a vector per token");
    r->dir->shape.normalize = n == 3;
    return STATUS_OK;
}

/* The same of a static model: StaticEmbedding, then nothing or Normalize. */
static enum status read_static_modules(struct model_shape *shape, const json_t *root,
                                       struct err *err) {
    static const char *const want[] = {"StaticEmbedding", "Normalize"};
    uint32_t n = json_size(root), i = 0;
    if (!json_is_array(root) || n == 0)
        return err_set(err, STATUS_DATA_LOSS, "no list of modules");
    for (const json_t *m = json_first(root); m; m = json_next(m), i++) {
        const char *type = json_text(json_get(m, "type")), *path = json_text(json_get(m, "path"));
        const char *dot = type ? strrchr(type, '.') : NULL;
        if (!type || i >= 2 || strcmp(dot ? dot + 1 : type, want[i]) != 0)
            return err_set(err, STATUS_UNIMPLEMENTED, "module %u, '%.100s', is not supported here",
                           i, type ? type : "");
        if (i == 0 && path && path[0] && strcmp(path, ".") != 0)
            return err_set(err, STATUS_UNIMPLEMENTED,
                           "the table lies in a folder of its own, '%.60s'", path);
    }
    shape->normalize = n == 2;
    return STATUS_OK;
}

/* Every pooling_mode_... that is true counts, known to us or not. */
static enum status read_pooling(const json_t *root, struct model_shape *shape, struct err *err) {
    static const char prefix[] = "pooling_mode_";
    const char *chosen = NULL;
    if (!json_is_object(root))
        return err_set(err, STATUS_DATA_LOSS, "no JSON object");
    for (const json_t *m = json_first(root); m; m = json_next(m)) {
        bool on = false;
        if (strncmp(json_key(m), prefix, sizeof prefix - 1) != 0 || !json_bool(m, &on) || !on)
            continue;
        if (chosen)
            return err_set(err, STATUS_UNIMPLEMENTED, "%.60s together with %.60s is not supported",
                           chosen, json_key(m));
        chosen = json_key(m);
    }
    if (!chosen)
        return err_set(err, STATUS_UNIMPLEMENTED, "no pooling mode is chosen");
    if (strcmp(chosen, "pooling_mode_cls_token") == 0)
        shape->pooling = MODEL_POOL_CLS;
    else if (strcmp(chosen, "pooling_mode_mean_tokens") == 0)
        shape->pooling = MODEL_POOL_MEAN;
    else
        return err_set(err, STATUS_UNIMPLEMENTED, "%.60s is not supported", chosen);
    bool with_prompt = true;
    if (json_bool(dir_get(root, "include_prompt"), &with_prompt) && !with_prompt)
        return err_set(err, STATUS_UNIMPLEMENTED, "include_prompt false is not supported");
    const json_t *width = dir_get(root, "word_embedding_dimension");
    double x = shape->hidden;
    if (width && (!json_f64(width, &x) || x != shape->hidden))
        return err_set(err, STATUS_DATA_LOSS, "word_embedding_dimension is not hidden_size %u",
                       shape->hidden);
    return STATUS_OK;
}

static enum status read_vectors(struct dir_reading *r, struct err *err) {
    json_t *modules = NULL, *pooling = NULL;
    const bool is_static = r->dir->shape.family == MODEL_STATIC;
    snprintf(r->pooling, sizeof r->pooling, "%s", "1_Pooling");
    enum status st = dir_load(r, "modules.json", false, &modules, err);
    if (st == STATUS_OK && modules) {
        st = is_static ? read_static_modules(&r->dir->shape, modules, err)
                       : read_modules(r, modules, err);
        if (st != STATUS_OK)
            st = err_prefix(err, st, "%s", r->path);
    }
    char name[DIR_POOLING_BYTES + 16];
    snprintf(name, sizeof name, "%s/config.json", r->pooling);
    if (st == STATUS_OK && !is_static)
        st = dir_load(r, name, modules != NULL, &pooling, err);
    r->embeds = modules || pooling;
    if (st == STATUS_OK && pooling &&
        (st = read_pooling(pooling, &r->dir->shape, err)) != STATUS_OK)
        st = err_prefix(err, st, "%s", r->path);
    json_destroy(&modules);
    json_destroy(&pooling);
    return st;
}

/* Narrow max_tokens to a limit; the "very large" 1e30 of tokenizers without one is fine. */
static enum status narrow(const json_t *root, const char *key, struct model_shape *shape,
                          bool *found, struct err *err) {
    const json_t *v = dir_get(root, key);
    double x;
    *found = v != NULL;
    if (!v)
        return STATUS_OK;
    if (!json_f64(v, &x) || x < DIR_TOKENS_MIN || x != floor(x))
        return err_set(err, STATUS_DATA_LOSS, "%s is no whole number from %d", key, DIR_TOKENS_MIN);
    if (x < shape->max_tokens)
        shape->max_tokens = (uint32_t)x;
    return STATUS_OK;
}

static enum status read_lengths(struct dir_reading *r, struct err *err) {
    json_t *sentence = NULL, *tokens = NULL;
    bool found = false, asked = false, keeps_case = false;
    enum status st = dir_load(r, "sentence_bert_config.json", false, &sentence, err);
    if (st == STATUS_OK && sentence) {
        st = narrow(sentence, "max_seq_length", &r->dir->shape, &found, err);
        json_bool(json_get(sentence, "do_lower_case"), &asked);
        if (st != STATUS_OK)
            st = err_prefix(err, st, "%s", r->path);
    }
    if (st == STATUS_OK)
        st = dir_load(r, "tokenizer_config.json", false, &tokens, err);
    if (st == STATUS_OK && tokens && !found) {
        st = narrow(tokens, "model_max_length", &r->dir->shape, &found, err);
        if (st != STATUS_OK)
            st = err_prefix(err, st, "%s", r->path);
    }
    bool lowers = true;
    if (json_bool(json_get(tokens, "do_lower_case"), &lowers))
        keeps_case = !lowers;
    if (st == STATUS_OK && asked && keeps_case)
        st = err_set(err, STATUS_UNIMPLEMENTED,
                     "%s keeps case, sentence_bert_config.json lowers it: not supported", r->path);
    json_destroy(&sentence);
    json_destroy(&tokens);
    return st;
}

/* ---- prompts -------------------------------------------------------------------------------- */

static enum status add_prompts(struct model_dir *dir, const json_t *prompts, struct err *err) {
    uint32_t n = json_size(prompts);
    if (!json_is_object(prompts))
        return err_set(err, STATUS_DATA_LOSS, "prompts is no object");
    if (n > LIMIT_PROMPTS)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "%u prompts, at most %d", n, LIMIT_PROMPTS);
    dir->prompts = calloc(n ? n : 1, sizeof *dir->prompts);
    if (!dir->prompts)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    for (const json_t *m = json_first(prompts); m; m = json_next(m)) {
        const char *name = json_key(m), *text = json_text(m);
        if (!text)
            return err_set(err, STATUS_DATA_LOSS, "prompt '%.60s' is no text", name);
        if (strlen(name) > LIMIT_NAME_BYTES || strlen(text) > LIMIT_TEXT_BYTES)
            return err_set(err, STATUS_RESOURCE_EXHAUSTED, "prompt '%.60s' is too long", name);
        struct model_prompt *prompt = &dir->prompts[dir->n_prompts++];
        prompt->name = strdup(name);
        prompt->text = strdup(text);
        if (!prompt->name || !prompt->text)
            return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    }
    return STATUS_OK;
}

static enum status read_prompts(struct dir_reading *r, struct err *err) {
    json_t *root = NULL;
    enum status st = dir_load(r, "config_sentence_transformers.json", false, &root, err);
    const json_t *prompts = dir_get(root, "prompts"),
                 *chosen = dir_get(root, "default_prompt_name");
    if (st == STATUS_OK && root && !json_is_object(root))
        st = err_set(err, STATUS_DATA_LOSS, "%s: no JSON object", r->path);
    if (st == STATUS_OK && prompts && (st = add_prompts(r->dir, prompts, err)) != STATUS_OK)
        st = err_prefix(err, st, "%s", r->path);
    if (st == STATUS_OK && chosen) {
        const char *name = json_text(chosen);
        const struct model_prompt *prompt = name ? model_dir_prompt(r->dir, name) : NULL;
        if (prompt)
            r->dir->default_prompt = prompt->name;
        else
            st = err_set(err, STATUS_DATA_LOSS, "%s: default_prompt_name is none of the prompts",
                         r->path);
    }
    json_destroy(&root);
    return st;
}

const struct model_prompt *model_dir_prompt(const struct model_dir *self, const char *name) {
    for (uint32_t i = 0; i < self->n_prompts; i++)
        if (strcmp(self->prompts[i].name, name) == 0)
            return &self->prompts[i];
    return NULL;
}

/* ---- name and fingerprint ------------------------------------------------------------------- */

/* .../models--org--name/snapshots/<commit> is how the Hugging Face cache lays out "name";
 * elsewhere the last folder is the name. */
static void guess_name(struct model_dir *dir) {
    char real[PATH_MAX];
    snprintf(real, sizeof real, "%s", dir->path);
    char *base = strrchr(real, '/');
    char *snapshots = strstr(real, "/snapshots/");
    if (snapshots && base == snapshots + strlen("/snapshots")) {
        *snapshots = '\0';
        base = strrchr(real, '/');
        for (char *dashes; base && (dashes = strstr(base, "--")) != NULL;)
            base = dashes + 1;
    }
    base = base ? base + 1 : real;
    size_t n = 0;
    for (; *base && n < LIMIT_NAME_BYTES; base++) {
        unsigned char c = (unsigned char)*base;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '.' || c == '_' || c == '-';
        dir->name[n++] = plain ? (char)c : '-';
    }
    if (n == 0)
        dir->name[n++] = '-';
    dir->name[n] = '\0';
}

static void hash_file(digest_sha256_t *sum, const char *name, struct view bytes) {
    uint64_t n = bytes.bytes;
    digest_sha256_add(sum, view_make(name, strlen(name) + 1));
    digest_sha256_add(sum, view_make(&n, sizeof n));
    digest_sha256_add(sum, bytes);
}

static enum status hash_small(struct dir_reading *r, digest_sha256_t *sum, const char *name,
                              struct err *err) {
    struct mapped mapped;
    struct err found;
    enum status st = dir_set_path(r, name, err);
    if (st != STATUS_OK)
        return st;
    st = mapped_open(r->path, &mapped, &found);
    if (st == STATUS_NOT_FOUND)
        return STATUS_OK; /* which files there are is in the digest through their names */
    if (st != STATUS_OK)
        return err_set(err, st, "%s", found.text);
    hash_file(sum, name, mapped.bytes);
    mapped_close(&mapped);
    return STATUS_OK;
}

static enum status fingerprint(struct dir_reading *r, struct err *err) {
    struct model_dir *dir = r->dir;
    digest_sha256_t *sum = digest_sha256_new();
    if (!sum)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s': no memory", dir->path);
    enum status st = STATUS_OK;
    for (size_t i = 0; i < DIR_SMALL && st == STATUS_OK; i++)
        st = hash_small(r, sum, dir_small[i], err);
    char name[DIR_POOLING_BYTES + 16];
    snprintf(name, sizeof name, "%s/config.json", r->pooling);
    if (st == STATUS_OK)
        st = hash_small(r, sum, name, err);
    for (uint32_t i = 0; i < weights_files(dir->weights) && st == STATUS_OK; i++) {
        struct mapped bytes = {.bytes = weights_file_bytes(dir->weights, i)};
        mapped_sequential(&bytes);
        hash_file(sum, weights_file_name(dir->weights, i), bytes.bytes);
        mapped_release(&bytes); /* or the worker would count the file as its own memory */
    }
    digest_sha256_finish(&sum, dir->files_sha256);
    return st;
}

enum status model_dir_mark(struct model_dir *self, const char *what, struct err *err) {
    digest_sha256_t *sum = digest_sha256_new();
    if (!sum)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s': no memory", self->path);
    digest_sha256_add(sum, view_make(self->fingerprint, sizeof self->fingerprint));
    digest_sha256_add(sum, view_of(what));
    digest_sha256_finish(&sum, self->fingerprint);
    digest_hex(self->fingerprint, 4, self->fingerprint8);
    return STATUS_OK;
}

/* ---- open and close ------------------------------------------------------------------------- */

static int64_t wall_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Settings that nothing would use are refused: whoever wrote them expects something. */
static enum status read_zero_shot(struct dir_reading *r, struct err *err) {
    struct zero_shot *settings = NULL;
    json_t *root = NULL;
    struct err found;
    enum status st = dir_set_path(r, ZERO_SHOT_FILE, err);
    if (st != STATUS_OK)
        return st;
    st = json_load(r->path, LIMIT_ZERO_SHOT_BYTES, &root, &found);
    if (st == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (st != STATUS_OK)
        return err_set(err, st, "%s", found.text);
    if (r->dir->shape.head != MODEL_HEAD_NONE)
        st = err_set(err, STATUS_UNIMPLEMENTED,
                     "%s: the model has a head, and these settings are for models of vectors",
                     r->path);
    else if (!(settings = calloc(1, sizeof *settings)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "%s: no memory", r->path);
    else if ((st = zero_shot_read(root, settings, err)) != STATUS_OK)
        st = err_prefix(err, st, "%s", r->path);
    if (st == STATUS_OK) {
        r->dir->zero_shot = settings;
        settings = NULL; /* moved to the directory */
    }
    free(settings);
    json_destroy(&root);
    return st;
}

/* What the tensors decide, and the fingerprint. */
static enum status read_weights(struct dir_reading *r, const struct store *store, struct err *err) {
    struct model_dir *dir = r->dir;
    const int64_t opened_ns = wall_ns();
    enum status st = STATUS_OK;
    dir->known = store && dir_recall(dir, store);
    if (!dir->known)
        st = weights_open(dir->path, &dir->weights, err);
    if (st == STATUS_OK)
        st = dir_settle_sizes(dir, err);
    if (st == STATUS_OK)
        st = dir_read_head(r, err);
    if (st == STATUS_OK)
        st = read_zero_shot(r, err);
    if (st == STATUS_OK && !dir->known && store)
        st = dir_hash_and_remember(r, store, fingerprint, opened_ns, err);
    else if (st == STATUS_OK && !dir->known)
        st = fingerprint(r, err);
    memcpy(dir->fingerprint, dir->files_sha256, sizeof dir->fingerprint);
    digest_hex(dir->fingerprint, 4, dir->fingerprint8);
    return st;
}

/* The path is resolved once: a link on it that is turned to another version meanwhile must not make
 * us read one version and remember it as the other. One that cannot be resolved fails at its first
 * file, which the message then names. */
static enum status open_dir(const char *path, const struct store *store, struct model_dir **out,
                            struct err *err) {
    struct model_dir *dir = calloc(1, sizeof *dir);
    struct dir_reading *r = calloc(1, sizeof *r);
    enum status st = STATUS_OK;
    char real[PATH_MAX];
    const bool resolved = realpath(path, real) != NULL;
    if (!dir || !r || !(dir->path = strdup(resolved ? real : path))) {
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s': no memory", path);
        goto out;
    }
    r->dir = dir;
    guess_name(dir);
    st = read_main(r, err);
    if (st == STATUS_OK)
        st = read_vectors(r, err);
    if (st == STATUS_OK && dir->shape.family != MODEL_STATIC) /* whose classes ask nobody */
        st = read_lengths(r, err);
    if (st == STATUS_OK)
        st = read_prompts(r, err);
    if (st == STATUS_OK)
        st = read_weights(r, resolved ? store : NULL, err);
    if (st == STATUS_OK) {
        *out = dir;
        dir = NULL; /* moved to the caller */
    }
out:
    model_dir_close(&dir);
    if (r) {
        json_destroy(&r->config);
        json_destroy(&r->scope);
    }
    free(r);
    return st;
}

enum status model_dir_open(const char *path, struct model_dir **out, struct err *err) {
    return open_dir(path, NULL, out, err);
}

enum status model_dir_open_known(const char *path, const char *cache, struct model_dir **out,
                                 struct err *err) {
    struct store store;
    if (!cache || store_open(cache, &store, NULL) != STATUS_OK)
        return open_dir(path, NULL, out, err);
    enum status st = open_dir(path, &store, out, err);
    store_close(&store);
    return st;
}

/* Files that look as remembered after they were mapped are those that were remembered. */
enum status model_dir_need_weights(struct model_dir *self, const char *cache, struct err *err) {
    if (!self->known || (self->weights && weights_have_values(self->weights)))
        return STATUS_OK;
    weights_t *weights;
    enum status st = weights_open(self->path, &weights, err);
    if (st != STATUS_OK)
        return st;
    weights_destroy(&self->weights);
    self->weights = weights;
    struct store store;
    bool same = false;
    if (store_open(cache, &store, NULL) == STATUS_OK) {
        same = dir_still_known(self, &store);
        store_close(&store);
    }
    return same ? st
                : err_set(err, STATUS_ABORTED, "'%s': its files are being changed", self->path);
}

void model_dir_close(struct model_dir **self) {
    struct model_dir *dir = *self;
    if (!dir)
        return;
    for (uint32_t i = 0; i < dir->n_prompts; i++) {
        free(dir->prompts[i].name);
        free(dir->prompts[i].text);
    }
    free(dir->prompts);
    for (uint32_t i = 0; dir->labels && i < dir->shape.classes; i++)
        free(dir->labels[i]);
    free(dir->labels);
    free(dir->zero_shot);
    weights_destroy(&dir->weights);
    free(dir->path);
    free(dir);
    *self = NULL;
}
