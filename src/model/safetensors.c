/* safetensors.c - a reader for exactly the JSON that a safetensors header may be.
 *
 *     header  = { entry, entry ... } spaces
 *     entry   = "__metadata__" : { text : text ... }
 *             | name : { "dtype": text, "shape": [n ...], "data_offsets": [begin, end] }
 *
 * Invariants: the cursor never passes the end of the header; a tensor is added only when its
 * bytes lie in the data and agree with its shape; after the last one, sorted extents touch each
 * other from 0 to the end.
 *
 * Why not a general JSON parser: a header may have 100 MB, and as a tree of values
 * "[0,0,0,0..." takes thirty times its length. The grammar above has fixed depth, so nothing
 * recurses and nothing is kept but tensors. It also reads 64-bit offsets exactly, where general
 * JSON numbers are doubles. */
#include "model/safetensors.h"

#include "base/limits.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

struct extent {
    uint64_t begin, end;
};

struct reader {
    const char *start, *p, *end; /* the header; p is the next byte */
    struct view data;            /* what follows the header */
    weights_t *into;
    struct extent *extents; /* [n_extents] */
    size_t n_extents, max_extents;
    bool metadata_seen;
    struct err *err;
};

static const struct dtype {
    const char *name;
    uint32_t bytes;
    enum weights_type type;
} dtypes[] = {
    {"F32", 4, WEIGHTS_F32},    {"F16", 2, WEIGHTS_F16},   {"BF16", 2, WEIGHTS_BF16},
    {"F64", 8, WEIGHTS_F64},    {"I64", 8, WEIGHTS_I64},   {"U64", 8, WEIGHTS_OTHER},
    {"I32", 4, WEIGHTS_I32},    {"U32", 4, WEIGHTS_OTHER}, {"I16", 2, WEIGHTS_OTHER},
    {"U16", 2, WEIGHTS_OTHER},  {"I8", 1, WEIGHTS_OTHER},  {"U8", 1, WEIGHTS_OTHER},
    {"BOOL", 1, WEIGHTS_OTHER},
};

/* ---- words of JSON -------------------------------------------------------------------------- */

static enum status bad(struct reader *r, const char *what) {
    return err_set(r->err, STATUS_DATA_LOSS, "header byte %td: %s", r->p - r->start, what);
}

static void skip_blanks(struct reader *r) {
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
        r->p++;
}

/* The next byte that is no blank; 0 at the end. Nothing but the end and a NUL byte reads 0, and
 * a NUL fits nowhere. */
static char peek(struct reader *r) {
    skip_blanks(r);
    return r->p < r->end ? *r->p : '\0';
}

static bool take(struct reader *r, char c) {
    if (peek(r) != c || r->p == r->end)
        return false;
    r->p++;
    return true;
}

static enum status expect(struct reader *r, char c) {
    if (take(r, c))
        return STATUS_OK;
    char what[] = "want ' '";
    what[6] = c;
    return bad(r, what);
}

static bool read_hex4(struct reader *r, uint32_t *out) {
    uint32_t value = 0;
    if (r->end - r->p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = *r->p++;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return false;
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

static size_t put_utf8(uint32_t cp, char out[4]) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)((0xf00 >> n & 0xff) | cp);
    return n;
}

/* Behind a backslash: one character of up to four bytes. */
static bool read_escape(struct reader *r, char out[4], size_t *n) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->p == r->end)
        return false;
    char c = *r->p++;
    if (c != 'u') {
        const char *at = c ? strchr(from, c) : NULL;
        out[0] = at ? to[at - from] : '\0';
        *n = 1;
        return at != NULL;
    }
    uint32_t cp, low;
    if (!read_hex4(r, &cp) || cp == 0 || (cp >= 0xdc00 && cp < 0xe000))
        return false; /* NUL would cut names in two; a lone low surrogate is no character */
    if (cp >= 0xd800 && cp < 0xdc00) {
        if (r->end - r->p < 2 || r->p[0] != '\\' || r->p[1] != 'u')
            return false;
        r->p += 2;
        if (!read_hex4(r, &low) || low < 0xdc00 || low >= 0xe000)
            return false;
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
    }
    *n = put_utf8(cp, out);
    return true;
}

/* A string into out[0..max), not terminated; *bytes is its whole length. Longer ones are read
 * to their end, and what does not fit is dropped: the caller compares *bytes with max where it
 * matters. */
static enum status read_text(struct reader *r, char *out, size_t max, size_t *bytes) {
    enum status st = expect(r, '"');
    if (st != STATUS_OK)
        return st;
    size_t n = 0;
    for (;;) {
        if (r->p == r->end)
            return bad(r, "text without end");
        char c = *r->p++, piece[4] = {c};
        size_t piece_bytes = 1;
        if (c == '"')
            break;
        if ((unsigned char)c < 0x20)
            return bad(r, "control character in text");
        if (c == '\\' && !read_escape(r, piece, &piece_bytes))
            return bad(r, "bad escape");
        if (n + piece_bytes <= max)
            memcpy(out + n, piece, piece_bytes);
        n += piece_bytes;
    }
    *bytes = n;
    return STATUS_OK;
}

static enum status read_u64(struct reader *r, uint64_t *out) {
    uint64_t value = 0;
    char first = peek(r);
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') {
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*r->p - '0'), &value))
            return bad(r, "number beyond 64 bits");
        r->p++;
    }
    if (r->p == from || (first == '0' && r->p - from > 1))
        return bad(r, "want a whole number, not negative");
    *out = value;
    return STATUS_OK;
}

/* ---- entries -------------------------------------------------------------------------------- */

static enum status read_shape(struct reader *r, struct tensor *t) {
    enum status st = expect(r, '[');
    if (st != STATUS_OK || take(r, ']'))
        return st;
    do {
        if (t->rank == WEIGHTS_RANK_MAX)
            return err_set(r->err, STATUS_RESOURCE_EXHAUSTED,
                           "header byte %td: more than %d dimensions", r->p - r->start,
                           WEIGHTS_RANK_MAX);
        st = read_u64(r, &t->shape[t->rank++]);
    } while (st == STATUS_OK && take(r, ','));
    return st == STATUS_OK ? expect(r, ']') : st;
}

static enum status read_offsets(struct reader *r, struct extent *x) {
    enum status st = expect(r, '[');
    if (st == STATUS_OK)
        st = read_u64(r, &x->begin);
    if (st == STATUS_OK)
        st = expect(r, ',');
    if (st == STATUS_OK)
        st = read_u64(r, &x->end);
    return st == STATUS_OK ? expect(r, ']') : st;
}

static enum status read_dtype(struct reader *r, struct tensor *t, uint32_t *element_bytes) {
    char text[16];
    size_t n;
    enum status st = read_text(r, text, sizeof text, &n);
    if (st != STATUS_OK)
        return st;
    t->type = WEIGHTS_OTHER;
    *element_bytes = 0; /* a type of the future: its size is anybody's guess */
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (n == strlen(dtypes[i].name) && memcmp(text, dtypes[i].name, n) == 0) {
            t->type = dtypes[i].type;
            *element_bytes = dtypes[i].bytes;
        }
    return STATUS_OK;
}

/* The three fields, each once, in any order. */
static enum status read_fields(struct reader *r, struct tensor *t, struct extent *x,
                               uint32_t *element_bytes) {
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4, ALL = 7 };
    unsigned seen = 0, field;
    enum status st = expect(r, '{');
    do {
        char key[16];
        size_t n = 0;
        if (st == STATUS_OK)
            st = read_text(r, key, sizeof key, &n);
        if (st == STATUS_OK)
            st = expect(r, ':');
        if (st != STATUS_OK)
            return st;
        struct view name = view_make(key, n < sizeof key ? n : sizeof key);
        field = view_equal(name, view_of("dtype"))          ? DTYPE
                : view_equal(name, view_of("shape"))        ? SHAPE
                : view_equal(name, view_of("data_offsets")) ? OFFSETS
                                                            : 0;
        if (field == 0)
            return bad(r, "a tensor has a field other than dtype, shape and data_offsets");
        if (seen & field)
            return bad(r, "a tensor has a field twice");
        seen |= field;
        st = field == DTYPE   ? read_dtype(r, t, element_bytes)
             : field == SHAPE ? read_shape(r, t)
                              : read_offsets(r, x);
    } while (st == STATUS_OK && take(r, ','));
    if (st == STATUS_OK)
        st = expect(r, '}');
    if (st == STATUS_OK && seen != ALL)
        st = bad(r, "a tensor lacks dtype, shape or data_offsets");
    return st;
}

static enum status keep_extent(struct reader *r, struct extent x) {
    if (r->n_extents == r->max_extents) {
        size_t max = r->max_extents ? 2 * r->max_extents : 256;
        struct extent *grown = realloc(r->extents, max * sizeof *grown);
        if (!grown)
            return err_set(r->err, STATUS_RESOURCE_EXHAUSTED, "no memory");
        r->extents = grown;
        r->max_extents = max;
    }
    r->extents[r->n_extents++] = x;
    return STATUS_OK;
}

static enum status read_tensor(struct reader *r, struct view name) {
    struct tensor t = {0};
    struct extent x = {0};
    uint32_t element_bytes = 0;
    enum status st = read_fields(r, &t, &x, &element_bytes);
    if (st != STATUS_OK)
        return st;
    int shown = name.bytes < 100 ? (int)name.bytes : 100;
    if (x.begin > x.end || x.end > r->data.bytes)
        return err_set(r->err, STATUS_DATA_LOSS,
                       "tensor '%.*s' is at bytes %llu to %llu of the data, which has %zu", shown,
                       name.data, (unsigned long long)x.begin, (unsigned long long)x.end,
                       r->data.bytes);
    uint64_t want = element_bytes ? element_bytes : 1;
    bool overflow = false, empty = false;
    for (uint32_t i = 0; i < t.rank; i++)
        empty |= t.shape[i] == 0;
    for (uint32_t i = 0; i < t.rank && !empty; i++)
        overflow |= __builtin_mul_overflow(want, t.shape[i], &want);
    want = empty ? 0 : want;
    if (overflow || (element_bytes && want != x.end - x.begin))
        return err_set(r->err, STATUS_DATA_LOSS,
                       "tensor '%.*s' has %llu bytes, its shape and type want another number",
                       shown, name.data, (unsigned long long)(x.end - x.begin));
    t.data = r->data.data + x.begin;
    t.bytes = (size_t)(x.end - x.begin);
    if (!empty) /* strides of an empty shape could overflow, and nobody follows them */
        weights_set_dense(&t);
    t.dense = true;
    st = weights_add(r->into, name, &t, r->err);
    return st == STATUS_OK ? keep_extent(r, x) : st;
}

static enum status read_metadata(struct reader *r) {
    if (r->metadata_seen)
        return bad(r, "__metadata__ stands twice");
    r->metadata_seen = true;
    size_t n;
    enum status st = expect(r, '{');
    if (st != STATUS_OK || take(r, '}'))
        return st;
    do {
        st = read_text(r, NULL, 0, &n);
        if (st == STATUS_OK)
            st = expect(r, ':');
        if (st == STATUS_OK)
            st = read_text(r, NULL, 0, &n);
    } while (st == STATUS_OK && take(r, ','));
    return st == STATUS_OK ? expect(r, '}') : st;
}

static enum status read_header(struct reader *r) {
    char name[LIMIT_TENSOR_NAME_BYTES];
    enum status st = expect(r, '{');
    if (st == STATUS_OK && !take(r, '}')) {
        do {
            size_t n = 0;
            st = read_text(r, name, sizeof name, &n);
            if (st == STATUS_OK && n > sizeof name)
                st = err_set(r->err, STATUS_RESOURCE_EXHAUSTED,
                             "header byte %td: a tensor name has %zu bytes, at most %d",
                             r->p - r->start, n, LIMIT_TENSOR_NAME_BYTES);
            if (st == STATUS_OK)
                st = expect(r, ':');
            if (st != STATUS_OK)
                break;
            struct view view = view_make(name, n);
            st =
                view_equal(view, view_of("__metadata__")) ? read_metadata(r) : read_tensor(r, view);
        } while (st == STATUS_OK && take(r, ','));
        if (st == STATUS_OK)
            st = expect(r, '}');
    }
    skip_blanks(r);
    if (st == STATUS_OK && r->p != r->end)
        st = bad(r, "something follows the JSON");
    return st;
}

static int by_place(const void *a, const void *b) {
    const struct extent *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Bytes that no tensor owns, or that two own, mean that the index belongs to another file. */
static enum status check_cover(struct reader *r) {
    if (r->n_extents)
        qsort(r->extents, r->n_extents, sizeof *r->extents, by_place);
    uint64_t at = 0;
    for (size_t i = 0; i < r->n_extents; i++) {
        const struct extent *x = &r->extents[i];
        if (x->begin != at)
            return err_set(r->err, STATUS_DATA_LOSS, "tensors %s at byte %llu of the data",
                           x->begin < at ? "overlap" : "leave a gap", (unsigned long long)at);
        at = x->end;
    }
    if (at != r->data.bytes)
        return err_set(r->err, STATUS_DATA_LOSS,
                       "the tensors end at byte %llu of the data, which has %zu",
                       (unsigned long long)at, r->data.bytes);
    return STATUS_OK;
}

enum status safetensors_read(struct view file, weights_t *into, struct err *err) {
    uint64_t header_bytes = 0;
    if (file.bytes < sizeof header_bytes)
        return err_set(err, STATUS_DATA_LOSS, "%zu bytes are too few for a safetensors file",
                       file.bytes);
    memcpy(&header_bytes, file.data,
           sizeof header_bytes); /* little-endian, as every CPU we run on */
    if (header_bytes > LIMIT_ST_HEADER_BYTES)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "a header of %llu bytes, at most %d are read; is this a safetensors file?",
                       (unsigned long long)header_bytes, LIMIT_ST_HEADER_BYTES);
    struct view rest = view_make(file.data + 8, file.bytes - 8);
    if (header_bytes > rest.bytes)
        return err_set(err, STATUS_DATA_LOSS, "the file ends inside its header of %llu bytes",
                       (unsigned long long)header_bytes);
    struct view header = view_make(rest.data, (size_t)header_bytes);
    size_t valid = utf8_valid_prefix(header);
    if (valid != header.bytes)
        return err_set(err, STATUS_DATA_LOSS, "header byte %zu is not UTF-8", valid);
    struct reader r = {
        .start = header.data,
        .p = header.data,
        .end = header.data + header.bytes,
        .data = view_make(rest.data + header.bytes, rest.bytes - header.bytes),
        .into = into,
        .err = err,
    };
    enum status st = read_header(&r);
    if (st == STATUS_OK)
        st = check_cover(&r);
    free(r.extents);
    return st;
}
