/* weights.c - the table of tensors, which files it comes from, and widening to float32.
 *
 *     weights_open
 *       |-- model.safetensors                  one file
 *       |-- model.safetensors.index.json  -->  weight_map: tensor -> file; each file once
 *       |-- pytorch_model.bin                  one file
 *       '-- pytorch_model.bin.index.json  -->  as above
 *
 * Invariants after weights_open():
 *   - names are unique over all files and sorted, so weights_find() is a binary search;
 *   - every element of every tensor lies inside the mapping of its file;
 *   - each tensor of an index is in the file that the index names.
 *
 * Why NaN is looked for here and not by the engine: one bad weight turns every vector into NaN,
 * and this is the only place that still knows which tensor it was. */
#include "model/weights.h"

#include "base/check.h"
#include "base/limits.h"
#include "model/mapped.h"
#include "model/safetensors.h"
#include "model/torchbin.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAMES_BLOCK_BYTES = 64 * 1024, PATH_BYTES = 4096, FILE_NAME_BYTES = 256 };

struct names_block { /* names lie end to end, each with its NUL */
    struct names_block *next;
    size_t used;
    char text[NAMES_BLOCK_BYTES];
};

struct file {
    char name[FILE_NAME_BYTES];
    struct mapped mapped;
};

struct weights {
    struct tensor *tensors; /* [n_tensors] */
    uint32_t n_tensors, max_tensors;
    struct names_block *names;
    struct file *files; /* [n_files] */
    uint32_t n_files, max_files;
    char origin[PATH_BYTES]; /* the file that was asked for, in messages */
};

typedef enum status (*reader_fn)(struct view file, weights_t *into, struct err *err);

/* ---- the table ------------------------------------------------------------------------------ */

weights_t *weights_new(void) {
    return calloc(1, sizeof(weights_t));
}

void weights_destroy(weights_t **self) {
    weights_t *w = *self;
    if (!w)
        return;
    for (uint32_t i = 0; i < w->n_files; i++)
        mapped_close(&w->files[i].mapped);
    while (w->names) {
        struct names_block *next = w->names->next;
        free(w->names);
        w->names = next;
    }
    free(w->files);
    free(w->tensors);
    free(w);
    *self = NULL;
}

size_t weights_type_bytes(enum weights_type type) {
    switch (type) {
    case WEIGHTS_F32:
    case WEIGHTS_I32:
        return 4;
    case WEIGHTS_F16:
    case WEIGHTS_BF16:
        return 2;
    case WEIGHTS_F64:
    case WEIGHTS_I64:
        return 8;
    case WEIGHTS_OTHER:
        break;
    }
    return 0;
}

void weights_set_dense(struct tensor *tensor) {
    uint64_t stride = 1;
    for (uint32_t i = tensor->rank; i-- > 0;) {
        tensor->stride[i] = stride;
        stride *= tensor->shape[i] ? tensor->shape[i] : 1;
    }
    tensor->dense = true;
}

static char *keep_name(weights_t *self, struct view name) {
    struct names_block *block = self->names;
    if (!block || NAMES_BLOCK_BYTES - block->used <= name.bytes) {
        block = malloc(sizeof *block);
        if (!block)
            return NULL;
        block->next = self->names;
        block->used = 0;
        self->names = block;
    }
    char *kept = block->text + block->used;
    memcpy(kept, name.data, name.bytes);
    kept[name.bytes] = '\0';
    block->used += name.bytes + 1;
    return kept;
}

enum status weights_add(weights_t *self, struct view name, const struct tensor *tensor,
                        struct err *err) {
    CHECK(tensor->rank <= WEIGHTS_RANK_MAX);
    if (name.bytes > LIMIT_TENSOR_NAME_BYTES)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "a tensor name has %zu bytes, at most %d",
                       name.bytes, LIMIT_TENSOR_NAME_BYTES);
    if (self->n_tensors == LIMIT_TENSORS)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "more than %d tensors", LIMIT_TENSORS);
    if (self->n_tensors == self->max_tensors) {
        uint32_t max = self->max_tensors ? 2 * self->max_tensors : 256;
        struct tensor *grown = realloc(self->tensors, max * sizeof *grown);
        if (!grown)
            return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
        self->tensors = grown;
        self->max_tensors = max;
    }
    char *kept = keep_name(self, name.bytes ? name : view_of(""));
    if (!kept)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    struct tensor *added = &self->tensors[self->n_tensors++];
    *added = *tensor;
    added->name = kept;
    return STATUS_OK;
}

static int by_tensor_name(const void *a, const void *b) {
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static int by_file_name(const void *a, const void *b) {
    return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

enum status weights_seal(weights_t *self, struct err *err) {
    if (self->n_tensors)
        qsort(self->tensors, self->n_tensors, sizeof *self->tensors, by_tensor_name);
    if (self->n_files)
        qsort(self->files, self->n_files, sizeof *self->files, by_file_name);
    for (uint32_t i = 1; i < self->n_tensors; i++)
        if (strcmp(self->tensors[i - 1].name, self->tensors[i].name) == 0)
            return err_set(err, STATUS_DATA_LOSS, "tensor '%.100s' stands twice",
                           self->tensors[i].name);
    return STATUS_OK;
}

const struct tensor *weights_find(const weights_t *self, const char *name) {
    struct tensor key = {.name = name};
    if (!self->n_tensors)
        return NULL;
    return bsearch(&key, self->tensors, self->n_tensors, sizeof *self->tensors, by_tensor_name);
}

uint32_t weights_count(const weights_t *self) {
    return self->n_tensors;
}

const struct tensor *weights_at(const weights_t *self, uint32_t i) {
    CHECK(i < self->n_tensors);
    return &self->tensors[i];
}

bool weights_have_values(const weights_t *self) {
    return self->n_files > 0;
}

uint32_t weights_files(const weights_t *self) {
    return self->n_files;
}

const char *weights_file_name(const weights_t *self, uint32_t i) {
    CHECK(i < self->n_files);
    return self->files[i].name;
}

struct view weights_file_bytes(const weights_t *self, uint32_t i) {
    CHECK(i < self->n_files);
    return self->files[i].mapped.bytes;
}

const struct mapped_look *weights_file_look(const weights_t *self, uint32_t i) {
    CHECK(i < self->n_files);
    return &self->files[i].mapped.look;
}

/* ---- files ---------------------------------------------------------------------------------- */

static enum status join(const char *dir, const char *name, char *path, struct err *err) {
    int n = snprintf(path, PATH_BYTES, "%s/%s", dir, name);
    if (n < 0 || n >= PATH_BYTES)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "path of '%.100s' is too long", name);
    return STATUS_OK;
}

/* Map <dir>/<name> and keep the mapping; *bytes are its contents. */
static enum status add_file(weights_t *self, const char *dir, const char *name, struct view *bytes,
                            struct err *err) {
    char path[PATH_BYTES];
    enum status st = join(dir, name, path, err);
    if (st != STATUS_OK)
        return st;
    if (self->n_files == self->max_files) {
        uint32_t max = self->max_files ? 2 * self->max_files : 4;
        struct file *grown = realloc(self->files, max * sizeof *grown);
        if (!grown)
            return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
        self->files = grown;
        self->max_files = max;
    }
    struct file *file = &self->files[self->n_files];
    *file = (struct file){0};
    snprintf(file->name, sizeof file->name, "%s", name);
    st = mapped_open(path, &file->mapped, err);
    if (st != STATUS_OK)
        return st;
    self->n_files++;
    *bytes = file->mapped.bytes;
    return STATUS_OK;
}

static enum status open_one(weights_t *self, const char *dir, const char *name, reader_fn read,
                            struct err *err) {
    struct view bytes;
    enum status st = add_file(self, dir, name, &bytes, err);
    if (st != STATUS_OK)
        return st;
    st = read(bytes, self, err);
    return st == STATUS_OK ? st : err_prefix(err, st, "weights '%s/%s'", dir, name);
}

/* A file name from an index may only name a file beside it: a downloaded model must not make us
 * read what its author chose elsewhere on this machine. */
static bool is_plain_name(const char *name) {
    size_t n = strlen(name);
    return n > 0 && n < FILE_NAME_BYTES && name[0] != '.' && !strpbrk(name, "/\\");
}

struct shard {
    const char *tensor, *file;
};

static int by_shard_file(const void *a, const void *b) {
    return strcmp(((const struct shard *)a)->file, ((const struct shard *)b)->file);
}

/* Collect the weight_map as pairs sorted by file: each file is then opened once. */
static enum status read_map(const json_t *map, struct shard *shards, uint32_t n, struct err *err) {
    const json_t *m = json_first(map);
    for (uint32_t i = 0; i < n; i++, m = json_next(m)) {
        shards[i] = (struct shard){json_key(m), json_text(m)};
        if (!shards[i].file)
            return err_set(err, STATUS_DATA_LOSS, "weight_map: the file of '%.100s' is no text",
                           shards[i].tensor);
        if (!is_plain_name(shards[i].file))
            return err_set(err, STATUS_PERMISSION_DENIED,
                           "weight_map: '%.100s' is not a file name inside the directory",
                           shards[i].file);
    }
    qsort(shards, n, sizeof *shards, by_shard_file);
    return STATUS_OK;
}

/* The tensors that files[.] brought are those between two counts; look up what the index
 * promised. */
static enum status check_shard(const weights_t *self, const struct shard *shards, uint32_t n,
                               struct view file, struct err *err) {
    for (uint32_t i = 0; i < n; i++) {
        const struct tensor *t = weights_find(self, shards[i].tensor);
        const char *data = t ? t->data : NULL;
        if (!t || data < file.data || data > file.data + file.bytes)
            return err_set(err, STATUS_DATA_LOSS, "tensor '%.100s' is not in '%.100s'",
                           shards[i].tensor, shards[i].file);
    }
    return STATUS_OK;
}

static struct view find_file(const weights_t *self, const char *name) {
    for (uint32_t i = 0; i < self->n_files; i++)
        if (strcmp(self->files[i].name, name) == 0)
            return self->files[i].mapped.bytes;
    return view_make(NULL, 0);
}

static enum status open_shards(weights_t *self, const char *dir, const struct shard *shards,
                               uint32_t n, reader_fn read, struct err *err) {
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        if (i && strcmp(shards[i - 1].file, shards[i].file) == 0)
            continue;
        if (self->n_files > LIMIT_SHARDS)
            return err_set(err, STATUS_RESOURCE_EXHAUSTED, "more than %d files", LIMIT_SHARDS);
        st = open_one(self, dir, shards[i].file, read, err);
    }
    if (st == STATUS_OK)
        st = weights_seal(self, err);
    for (uint32_t i = 0, end; i < n && st == STATUS_OK; i = end) {
        for (end = i + 1; end < n && strcmp(shards[end].file, shards[i].file) == 0;)
            end++;
        st = check_shard(self, shards + i, end - i, find_file(self, shards[i].file), err);
    }
    return st;
}

static enum status open_index(weights_t *self, const char *dir, const char *name, reader_fn read,
                              struct err *err) {
    struct view bytes;
    json_t *root = NULL;
    struct shard *shards = NULL;
    enum status st = add_file(self, dir, name, &bytes, err);
    if (st != STATUS_OK)
        return st;
    st = json_parse(bytes, LIMIT_CONFIG_BYTES, "index", &root, err);
    if (st != STATUS_OK)
        goto out;
    const json_t *map = json_get(root, "weight_map");
    uint32_t n = json_is_object(map) ? json_size(map) : 0;
    if (n == 0) {
        st = err_set(err, STATUS_DATA_LOSS, "there is no weight_map, or it is empty");
        goto out;
    }
    shards = calloc(n, sizeof *shards);
    if (!shards) {
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
        goto out;
    }
    st = read_map(map, shards, n, err);
    if (st == STATUS_OK)
        st = open_shards(self, dir, shards, n, read, err);
out:
    free(shards);
    json_destroy(&root);
    return st == STATUS_OK ? st : err_prefix(err, st, "weights '%s/%s'", dir, name);
}

static bool exists(const char *dir, const char *name) {
    char path[PATH_BYTES];
    struct stat info;
    return join(dir, name, path, NULL) == STATUS_OK && stat(path, &info) == 0;
}

static const struct {
    const char *name;
    bool index;
    reader_fn read;
} forms[] = {
    {"model.safetensors", false, safetensors_read},
    {"model.safetensors.index.json", true, safetensors_read},
    {"pytorch_model.bin", false, torchbin_read},
    {"pytorch_model.bin.index.json", true, torchbin_read},
};

const char *weights_entry(uint32_t i) {
    return i < sizeof forms / sizeof *forms ? forms[i].name : NULL;
}

enum status weights_open(const char *dir, weights_t **out, struct err *err) {
    size_t i = 0, n = sizeof forms / sizeof *forms;
    while (i < n && !exists(dir, forms[i].name))
        i++;
    if (i == n)
        return err_set(err, STATUS_NOT_FOUND,
                       "'%s' has no model.safetensors, no pytorch_model.bin and no index of either",
                       dir);
    weights_t *self = weights_new();
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "weights '%s': no memory", dir);
    enum status st = join(dir, forms[i].name, self->origin, err);
    if (st != STATUS_OK) {
        weights_destroy(&self);
        return st;
    }
    if (forms[i].index) {
        st = open_index(self, dir, forms[i].name, forms[i].read, err);
    } else {
        st = open_one(self, dir, forms[i].name, forms[i].read, err);
        if (st == STATUS_OK && (st = weights_seal(self, err)) != STATUS_OK)
            err_prefix(err, st, "weights '%s/%s'", dir, forms[i].name);
    }
    if (st == STATUS_OK) {
        *out = self;
        self = NULL; /* moved to the caller */
    }
    weights_destroy(&self);
    return st;
}

/* ---- widening ------------------------------------------------------------------------------- */

/* Files promise no alignment, so elements are read through types that promise none either. Each
 * loop below is branch-free and reports NaN and infinity (all exponent bits set) as one flag at
 * the end. */
typedef uint32_t u32_any __attribute__((aligned(1), may_alias));
typedef uint16_t u16_any __attribute__((aligned(1), may_alias));
typedef double f64_any __attribute__((aligned(1), may_alias));

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static bool widen_f32(const u32_any *src, size_t step, size_t n, float *out) {
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = src[i * step];
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
        out[i] = float_of(bits);
    }
    return !bad;
}

/* Half to float without tables: the 15 bits moved to float's place have an exponent that is 112
 * too small, so one multiplication by 2^112 makes the value exact, subnormal halves included. */
static bool widen_f16(const u16_any *src, size_t step, size_t n, float *out) {
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t h = src[i * step];
        bad |= (h & 0x7c00u) == 0x7c00u;
        float magnitude = float_of((h & 0x7fffu) << 13) * 0x1p112f;
        uint32_t bits;
        memcpy(&bits, &magnitude, sizeof bits);
        out[i] = float_of(bits | (h & 0x8000u) << 16);
    }
    return !bad;
}

static bool widen_bf16(const u16_any *src, size_t step, size_t n, float *out) {
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t h = src[i * step];
        bad |= (h & 0x7f80u) == 0x7f80u;
        out[i] = float_of(h << 16);
    }
    return !bad;
}

/* A double beyond float's range would become infinity: the same flag. */
static bool widen_f64(const f64_any *src, size_t step, size_t n, float *out) {
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        float f = (float)src[i * step];
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
        out[i] = f;
    }
    return !bad;
}

static bool widen(enum weights_type type, const char *src, size_t step, size_t n, float *out) {
    switch (type) {
    case WEIGHTS_F32:
        return step == 1 ? widen_f32((const u32_any *)src, 1, n, out)
                         : widen_f32((const u32_any *)src, step, n, out);
    case WEIGHTS_F16:
        return step == 1 ? widen_f16((const u16_any *)src, 1, n, out)
                         : widen_f16((const u16_any *)src, step, n, out);
    case WEIGHTS_BF16:
        return step == 1 ? widen_bf16((const u16_any *)src, 1, n, out)
                         : widen_bf16((const u16_any *)src, step, n, out);
    case WEIGHTS_F64:
        return widen_f64((const f64_any *)src, step, n, out);
    case WEIGHTS_I64:
    case WEIGHTS_I32:
    case WEIGHTS_OTHER:
        break;
    }
    return false;
}

static enum status check_tensor(const struct tensor *t, const char *name, uint64_t rows,
                                uint64_t cols, struct err *err) {
    if (!t)
        return err_set(err, STATUS_NOT_FOUND, "tensor '%s' is missing", name);
    if (t->type == WEIGHTS_I64 || t->type == WEIGHTS_I32 || t->type == WEIGHTS_OTHER)
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "tensor '%s' is of a type other than F32, F16, BF16 and F64", name);
    bool fits = t->rank == 2   ? t->shape[0] == rows && t->shape[1] == cols
                : t->rank == 1 ? rows == 1 && t->shape[0] == cols
                               : false;
    if (fits)
        return STATUS_OK;
    char shape[WEIGHTS_RANK_MAX * 24] = "";
    int at = 0;
    for (uint32_t i = 0; i < t->rank; i++)
        at += snprintf(shape + at, sizeof shape - (size_t)at, "%s%llu", i ? "," : "",
                       (unsigned long long)t->shape[i]);
    return err_set(err, STATUS_DATA_LOSS, "tensor '%s' has shape [%s], want [%llu,%llu]", name,
                   shape, (unsigned long long)rows, (unsigned long long)cols);
}

/* Rows first .. first + rows. */
static enum status read_tensor(const struct tensor *t, uint64_t first, uint64_t rows, uint64_t cols,
                               float *out, struct err *err) {
    size_t size = weights_type_bytes(t->type);
    size_t row_step = t->rank == 2 ? (size_t)t->stride[0] : 0;
    size_t col_step = (size_t)t->stride[t->rank - 1];
    const char *data = (const char *)t->data + first * row_step * size;
    bool ok = true;
    if (t->dense) {
        ok = widen(t->type, data, 1, (size_t)(rows * cols), out);
    } else {
        for (uint64_t r = 0; r < rows; r++)
            ok &=
                widen(t->type, data + r * row_step * size, col_step, (size_t)cols, out + r * cols);
    }
    if (!ok)
        return err_set(err, STATUS_DATA_LOSS,
                       "tensor '%s' holds NaN, infinity or a number beyond float32", t->name);
    return STATUS_OK;
}

enum status weights_read_rows(const weights_t *self, const char *name, uint64_t rows, uint64_t cols,
                              uint64_t first, uint64_t n, float *out, struct err *err) {
    CHECK(first <= rows && n <= rows - first);
    const struct tensor *t = weights_find(self, name);
    enum status st = check_tensor(t, name, rows, cols, err);
    if (st == STATUS_OK && out && !t->data)
        st = err_set(err, STATUS_FAILED_PRECONDITION, "tensor '%s' has no values here", name);
    if (st == STATUS_OK && out)
        st = read_tensor(t, first, n, cols, out, err);
    if (st == STATUS_OK || !self->origin[0]) /* which is empty where only shapes are known */
        return st;
    return err_prefix(err, st, "weights '%s'", self->origin);
}

enum status weights_read(const weights_t *self, const char *name, uint64_t rows, uint64_t cols,
                         float *out, struct err *err) {
    return weights_read_rows(self, name, rows, cols, 0, rows, out, err);
}
