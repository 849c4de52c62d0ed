/* pickle.c - a stack machine without functions.
 *
 *     bytes --> opcode --> stack of values --STOP--> one dictionary --> its tensors
 *                            |      ^
 *                        put v      | get
 *                            memo[0..]
 *
 * Values are 16 bytes and point to items in chunks that are freed together at the end: nothing
 * is freed one by one, nothing is walked but the dictionary at the end, so neither deep nesting
 * nor "billion laughs" nor cycles cost anything. Every opcode costs at most its own length, and
 * what grows has a limit below.
 *
 * Lists are missing on purpose: a state dict has none, and without APPEND there is one shape
 * less to attack. */
#include "model/pickle.h"

#include "base/limits.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
    MARKS_MAX = 64,                /* open marks; a state dict has at most four */
    STACK_MAX = 256 * 1024,        /* values */
    MEMO_MAX = 16 * LIMIT_TENSORS, /* entries; each tensor puts about ten */
    CELLS_MAX = 3 * 1024 * 1024,   /* values inside tuples and dictionaries, 48 MB */
    STACK_FIRST = 1024,
    CHUNK_CELLS = 16 * 1024,
    PROTOCOL_MAX = 5,
};

enum kind {
    KIND_NONE,
    KIND_BOOL,
    KIND_INT,
    KIND_TEXT,
    KIND_TUPLE,
    KIND_DICT,
    KIND_GLOBAL,
    KIND_STORAGE,
    KIND_TENSOR,
};

enum global {
    GLOBAL_ORDERED_DICT,
    GLOBAL_REBUILD_TENSOR,
    GLOBAL_REBUILD_PARAMETER,
    GLOBAL_STORAGE
};

struct value {
    enum kind kind;
    uint32_t n; /* bytes of a text, items of a tuple, index into storages[] of a storage type */
    union {
        int64_t number; /* also bool */
        const char *text;
        struct value *items;
        struct dict *dict;
        struct storage *storage;
        struct pickle_tensor *tensor;
        enum global global;
    };
};

struct pairs { /* what one SETITEM or SETITEMS added: key, value, key, value ... */
    struct pairs *next;
    struct value *items;
    uint32_t n;
};

struct dict {
    struct pairs *first, *last;
};

struct storage {
    struct view key;
    uint32_t type; /* index into storages[] */
    uint64_t count;
};

struct chunk {
    struct chunk *next;
    size_t used, max; /* cells */
    struct value cells[];
};

struct machine {
    const unsigned char *start, *p, *end;
    struct value *stack;
    uint32_t n_stack, max_stack;
    uint32_t marks[MARKS_MAX]; /* stack heights */
    uint32_t n_marks;
    struct value *memo;
    bool *memo_set;
    uint32_t max_memo, n_memo;
    struct chunk *chunks;
    size_t n_cells;
    bool stopped;
    struct err *err;
};

static const struct {
    const char *name;
    uint32_t bytes;
    enum weights_type type;
} storages[] = {
    {"FloatStorage", 4, WEIGHTS_F32},     {"HalfStorage", 2, WEIGHTS_F16},
    {"BFloat16Storage", 2, WEIGHTS_BF16}, {"DoubleStorage", 8, WEIGHTS_F64},
    {"LongStorage", 8, WEIGHTS_I64},      {"IntStorage", 4, WEIGHTS_I32},
    {"ShortStorage", 2, WEIGHTS_OTHER},   {"CharStorage", 1, WEIGHTS_OTHER},
    {"ByteStorage", 1, WEIGHTS_OTHER},    {"BoolStorage", 1, WEIGHTS_OTHER},
};

/* ---- memory --------------------------------------------------------------------------------- */

static enum status bad(struct machine *m, const char *what) {
    return err_set(m->err, STATUS_DATA_LOSS, "pickle byte %td: %s", m->p - m->start, what);
}

static enum status too_much(struct machine *m, const char *what) {
    return err_set(m->err, STATUS_RESOURCE_EXHAUSTED, "pickle byte %td: %s", m->p - m->start, what);
}

/* n values that live as long as the machine. */
static enum status cells(struct machine *m, size_t n, struct value **out) {
    if (n > CELLS_MAX - m->n_cells)
        return too_much(m, "more values than any state dict has");
    struct chunk *c = m->chunks;
    if (!c || n > c->max - c->used) {
        size_t max = n > CHUNK_CELLS ? n : CHUNK_CELLS;
        c = malloc(sizeof *c + max * sizeof *c->cells);
        if (!c)
            return too_much(m, "no memory");
        *c = (struct chunk){.next = m->chunks, .max = max};
        m->chunks = c;
    }
    *out = c->cells + c->used;
    c->used += n;
    m->n_cells += n;
    return STATUS_OK;
}

/* Any object, in cells: they are aligned for it. */
static enum status object(struct machine *m, size_t bytes, void **out) {
    struct value *v = NULL;
    enum status st = cells(m, (bytes + sizeof *v - 1) / sizeof *v, &v);
    if (st == STATUS_OK) {
        memset(v, 0, bytes);
        *out = v;
    }
    return st;
}

static enum status push(struct machine *m, struct value v) {
    if (m->n_stack == m->max_stack) {
        uint32_t max = 2 * m->max_stack;
        struct value *grown = max <= STACK_MAX ? realloc(m->stack, max * sizeof *grown) : NULL;
        if (!grown)
            return too_much(m, "the stack is full");
        m->stack = grown;
        m->max_stack = max;
    }
    m->stack[m->n_stack++] = v;
    return STATUS_OK;
}

/* Values above the last mark; without one, all. */
static uint32_t above_mark(const struct machine *m) {
    return m->n_stack - (m->n_marks ? m->marks[m->n_marks - 1] : 0);
}

/* The last n values, which must not reach below the last mark; the stack loses them, the
 * pointer stays good until the next push(). */
static struct value *pop(struct machine *m, uint32_t n) {
    if (above_mark(m) < n)
        return NULL;
    m->n_stack -= n;
    return m->stack + m->n_stack;
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool get(struct machine *m, unsigned bytes, uint64_t *out) {
    if ((size_t)(m->end - m->p) < bytes)
        return false;
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)m->p[i] << 8 * i;
    m->p += bytes;
    *out = v;
    return true;
}

static enum status push_text(struct machine *m, unsigned length_bytes) {
    uint64_t n;
    if (!get(m, length_bytes, &n) || n > (uint64_t)(m->end - m->p))
        return bad(m, "a text is longer than the pickle");
    struct view text = view_make(m->p, (size_t)n);
    if (utf8_valid_prefix(text) != n || memchr(text.data, 0, text.bytes))
        return bad(m, "a text is not UTF-8");
    m->p += n;
    return push(m, (struct value){.kind = KIND_TEXT, .n = (uint32_t)n, .text = text.data});
}

static enum status push_number(struct machine *m, unsigned bytes, bool has_sign) {
    uint64_t v = 0;
    if (bytes > 8)
        return bad(m, "a number beyond 64 bits");
    if (!get(m, bytes, &v))
        return bad(m, "it ends inside a number");
    unsigned shift = 64 - 8 * bytes;
    int64_t number = bytes == 0 ? 0 : has_sign ? (int64_t)(v << shift) >> shift : (int64_t)v;
    return push(m, (struct value){.kind = KIND_INT, .number = number});
}

static struct view text_of(const struct value *v) {
    return v->kind == KIND_TEXT ? view_make(v->text, v->n) : view_make(NULL, 0);
}

/* ---- names ---------------------------------------------------------------------------------- */

static bool ends_with(struct view text, const char *end) {
    size_t n = strlen(end);
    return text.bytes >= n && memcmp(text.data + text.bytes - n, end, n) == 0;
}

/* The whole list of what a pickle may name. */
static enum status push_global(struct machine *m, struct view module, struct view name) {
    struct value v = {.kind = KIND_GLOBAL};
    bool torch = view_equal(module, view_of("torch"));
    bool utils = view_equal(module, view_of("torch._utils"));
    if (view_equal(module, view_of("collections")) && view_equal(name, view_of("OrderedDict"))) {
        v.global = GLOBAL_ORDERED_DICT;
        return push(m, v);
    }
    if (utils && view_equal(name, view_of("_rebuild_tensor_v2"))) {
        v.global = GLOBAL_REBUILD_TENSOR;
        return push(m, v);
    }
    if (utils && view_equal(name, view_of("_rebuild_parameter"))) {
        v.global = GLOBAL_REBUILD_PARAMETER;
        return push(m, v);
    }
    for (uint32_t i = 0; torch && i < sizeof storages / sizeof *storages; i++)
        if (view_equal(name, view_of(storages[i].name))) {
            v.global = GLOBAL_STORAGE;
            v.n = i;
            return push(m, v);
        }
    int module_shown = module.bytes < 60 ? (int)module.bytes : 60;
    int name_shown = name.bytes < 60 ? (int)name.bytes : 60;
    if (torch && ends_with(name, "Storage"))
        return err_set(m->err, STATUS_UNIMPLEMENTED, "storage type '%.*s' is not supported",
                       name_shown, name.data);
    return err_set(m->err, STATUS_PERMISSION_DENIED,
                   "the pickle asks for '%.*s.%.*s', which no weights need; nothing was run",
                   module_shown, module.data, name_shown, name.data);
}

static bool read_line(struct machine *m, struct view *out) {
    const unsigned char *lf = memchr(m->p, '\n', (size_t)(m->end - m->p));
    if (!lf)
        return false;
    *out = view_make(m->p, (size_t)(lf - m->p));
    m->p = lf + 1;
    return true;
}

static enum status op_global(struct machine *m) {
    struct view module, name;
    if (!read_line(m, &module) || !read_line(m, &name))
        return bad(m, "it ends inside a name");
    return push_global(m, module, name);
}

static enum status op_stack_global(struct machine *m) {
    struct value *v = pop(m, 2);
    if (!v || v[0].kind != KIND_TEXT || v[1].kind != KIND_TEXT)
        return bad(m, "STACK_GLOBAL wants two texts");
    return push_global(m, text_of(&v[0]), text_of(&v[1]));
}

/* ---- containers ----------------------------------------------------------------------------- */

static enum status op_tuple(struct machine *m, uint32_t n) {
    struct value *items = NULL, *from = pop(m, n);
    if (!from)
        return bad(m, "a tuple of more values than there are");
    enum status st = cells(m, n, &items);
    if (st != STATUS_OK)
        return st;
    if (n)
        memcpy(items, from, n * sizeof *items);
    return push(m, (struct value){.kind = KIND_TUPLE, .n = n, .items = items});
}

static enum status op_tuple_from_mark(struct machine *m) {
    if (!m->n_marks)
        return bad(m, "TUPLE without a mark");
    uint32_t n = above_mark(m);
    struct value *items = NULL;
    enum status st = cells(m, n, &items);
    if (st != STATUS_OK)
        return st;
    m->n_stack = m->marks[--m->n_marks];
    if (n)
        memcpy(items, m->stack + m->n_stack, n * sizeof *items);
    return push(m, (struct value){.kind = KIND_TUPLE, .n = n, .items = items});
}

static enum status push_dict(struct machine *m) {
    void *dict = NULL;
    enum status st = object(m, sizeof(struct dict), &dict);
    return st == STATUS_OK ? push(m, (struct value){.kind = KIND_DICT, .dict = dict}) : st;
}

/* The last n values are keys and values for the dictionary below them, which stays. */
static enum status set_items(struct machine *m, uint32_t n) {
    struct value *v = pop(m, n);
    if (!v || n % 2 || above_mark(m) < 1 || m->stack[m->n_stack - 1].kind != KIND_DICT)
        return bad(m, "SETITEM wants a dictionary, keys and values");
    for (uint32_t i = 0; i < n; i += 2)
        if (v[i].kind != KIND_TEXT)
            return bad(m, "a key that is no text");
    struct dict *dict = m->stack[m->n_stack - 1].dict;
    void *made = NULL;
    struct value *items = NULL;
    enum status st = object(m, sizeof(struct pairs), &made);
    if (st == STATUS_OK)
        st = cells(m, n, &items);
    if (st != STATUS_OK)
        return st;
    if (n)
        memcpy(items, v, n * sizeof *items);
    struct pairs *pairs = made;
    *pairs = (struct pairs){.items = items, .n = n};
    *(dict->last ? &dict->last->next : &dict->first) = pairs;
    dict->last = pairs;
    return STATUS_OK;
}

static enum status op_setitems(struct machine *m) {
    if (!m->n_marks)
        return bad(m, "SETITEMS without a mark");
    uint32_t n = above_mark(m);
    m->n_marks--;
    return set_items(m, n);
}

/* BUILD sets attributes; those of an OrderedDict (its _metadata) mean nothing to us. */
static enum status op_build(struct machine *m) {
    struct value *v = pop(m, 2);
    if (!v || v[0].kind != KIND_DICT || v[1].kind != KIND_DICT)
        return bad(m, "BUILD wants two dictionaries");
    m->n_stack++; /* the first one stays */
    return STATUS_OK;
}

/* ---- tensors -------------------------------------------------------------------------------- */

/* ("storage", type, key, device, count) */
static enum status op_persistent(struct machine *m) {
    struct value *v = pop(m, 1);
    if (!v || v->kind != KIND_TUPLE || v->n != 5)
        return bad(m, "a persistent id that is no storage");
    const struct value *a = v->items;
    if (!view_equal(text_of(&a[0]), view_of("storage")) || a[1].kind != KIND_GLOBAL ||
        a[1].global != GLOBAL_STORAGE || a[2].kind != KIND_TEXT || a[3].kind != KIND_TEXT ||
        a[4].kind != KIND_INT || a[4].number < 0)
        return bad(m, "a persistent id that is no storage");
    void *made = NULL;
    enum status st = object(m, sizeof(struct storage), &made);
    if (st != STATUS_OK)
        return st;
    struct storage *storage = made;
    *storage = (struct storage){text_of(&a[2]), a[1].n, (uint64_t)a[4].number};
    return push(m, (struct value){.kind = KIND_STORAGE, .storage = storage});
}

/* shape and stride from two tuples of whole numbers, not negative. */
static enum status read_sizes(struct machine *m, const struct value *size,
                              const struct value *stride, struct pickle_tensor *t) {
    if (size->kind != KIND_TUPLE || stride->kind != KIND_TUPLE || size->n != stride->n)
        return bad(m, "a tensor whose size or stride is no tuple");
    if (size->n > WEIGHTS_RANK_MAX)
        return too_much(m, "a tensor of too many dimensions");
    t->rank = size->n;
    for (uint32_t i = 0; i < t->rank; i++) {
        const struct value *n = &size->items[i], *s = &stride->items[i];
        if (n->kind != KIND_INT || s->kind != KIND_INT || n->number < 0 || s->number < 0)
            return bad(m, "a tensor with a negative size or stride");
        t->shape[i] = (uint64_t)n->number;
        t->stride[i] = (uint64_t)s->number;
    }
    return STATUS_OK;
}

/* The furthest element is offset + sum of (size - 1) x stride. A view may also not have more
 * elements than its storage (stride 0 repeats them): reading it would allocate what no file
 * holds. */
static enum status check_view(struct machine *m, struct pickle_tensor *t) {
    uint64_t last = t->offset, n = 1, step;
    t->last = last;
    for (uint32_t i = 0; i < t->rank; i++)
        if (t->shape[i] == 0)
            return t->offset <= t->count ? STATUS_OK : bad(m, "a tensor beyond its storage");
    for (uint32_t i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &step) ||
            __builtin_add_overflow(last, step, &last) || __builtin_mul_overflow(n, t->shape[i], &n))
            return bad(m, "a tensor beyond its storage");
    if (last >= t->count || n > t->count)
        return bad(m, "a tensor beyond its storage");
    t->last = last;
    return STATUS_OK;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]) */
static enum status rebuild_tensor(struct machine *m, const struct value *args) {
    const struct value *a = args->items;
    if (args->n < 6 || args->n > 7 || a[0].kind != KIND_STORAGE || a[1].kind != KIND_INT ||
        a[4].kind != KIND_BOOL || a[5].kind != KIND_DICT)
        return bad(m, "wrong arguments for _rebuild_tensor_v2");
    if (args->n == 7 && a[6].kind != KIND_NONE && !(a[6].kind == KIND_DICT && !a[6].dict->first))
        return err_set(m->err, STATUS_UNIMPLEMENTED, "a tensor with metadata of its own");
    if (a[1].number < 0)
        return bad(m, "a tensor with a negative offset");
    void *made = NULL;
    enum status st = object(m, sizeof(struct pickle_tensor), &made);
    if (st != STATUS_OK)
        return st;
    struct pickle_tensor *t = made;
    const struct storage *storage = a[0].storage;
    t->key = storage->key;
    t->type = storages[storage->type].type;
    t->element_bytes = storages[storage->type].bytes;
    t->count = storage->count;
    t->offset = (uint64_t)a[1].number;
    st = read_sizes(m, &a[2], &a[3], t);
    if (st == STATUS_OK)
        st = check_view(m, t);
    return st == STATUS_OK ? push(m, (struct value){.kind = KIND_TENSOR, .tensor = t}) : st;
}

static enum status op_reduce(struct machine *m) {
    struct value *v = pop(m, 2);
    if (!v || v[0].kind != KIND_GLOBAL || v[1].kind != KIND_TUPLE)
        return bad(m, "REDUCE wants a name and a tuple");
    struct value args = v[1];
    switch (v[0].global) {
    case GLOBAL_ORDERED_DICT:
        if (args.n == 0)
            return push_dict(m);
        break;
    case GLOBAL_REBUILD_TENSOR:
        return rebuild_tensor(m, &args);
    case GLOBAL_REBUILD_PARAMETER: /* (tensor, requires_grad, hooks): the tensor is all we want */
        if (args.n == 3 && args.items[0].kind == KIND_TENSOR && args.items[1].kind == KIND_BOOL &&
            args.items[2].kind == KIND_DICT)
            return push(m, args.items[0]);
        break;
    case GLOBAL_STORAGE:
        break;
    }
    return bad(m, "wrong arguments");
}

/* ---- memo ----------------------------------------------------------------------------------- */

static enum status memo_put(struct machine *m, uint64_t i) {
    if (above_mark(m) < 1)
        return bad(m, "PUT without a value");
    if (i >= MEMO_MAX)
        return too_much(m, "a memo larger than any state dict has");
    if (i >= m->max_memo) {
        uint32_t max = m->max_memo ? m->max_memo : 1024;
        while (max <= i)
            max *= 2;
        struct value *memo = realloc(m->memo, max * sizeof *memo);
        if (memo)
            m->memo = memo;
        bool *set = realloc(m->memo_set, max * sizeof *set);
        if (set)
            m->memo_set = set;
        if (!memo || !set)
            return too_much(m, "no memory");
        memset(set + m->max_memo, 0, (max - m->max_memo) * sizeof *set);
        m->max_memo = max;
    }
    m->n_memo += !m->memo_set[i];
    m->memo_set[i] = true;
    m->memo[i] = m->stack[m->n_stack - 1];
    return STATUS_OK;
}

static enum status memo_get(struct machine *m, uint64_t i) {
    if (i >= m->max_memo || !m->memo_set[i])
        return bad(m, "GET of what was never put");
    return push(m, m->memo[i]);
}

/* ---- opcodes -------------------------------------------------------------------------------- */

static enum status op_mark(struct machine *m) {
    if (m->n_marks == MARKS_MAX)
        return too_much(m, "nested deeper than any state dict");
    m->marks[m->n_marks++] = m->n_stack;
    return STATUS_OK;
}

static enum status op_memo(struct machine *m, unsigned char op) {
    uint64_t i = m->n_memo;
    if (op != 0x94 && !get(m, op == 'q' || op == 'h' ? 1 : 4, &i))
        return bad(m, "it ends inside an opcode");
    return op == 'h' || op == 'j' ? memo_get(m, i) : memo_put(m, i);
}

static enum status op_protocol(struct machine *m) {
    uint64_t version;
    if (!get(m, 1, &version))
        return bad(m, "it ends inside an opcode");
    if (version > PROTOCOL_MAX)
        return err_set(m->err, STATUS_UNIMPLEMENTED, "pickle protocol %u, at most %d is read",
                       (unsigned)version, PROTOCOL_MAX);
    return STATUS_OK;
}

static enum status op_frame(struct machine *m) {
    uint64_t n;
    if (!get(m, 8, &n) || n > (uint64_t)(m->end - m->p))
        return bad(m, "a frame is longer than the pickle");
    return STATUS_OK;
}

static enum status op_long1(struct machine *m) {
    uint64_t n;
    if (!get(m, 1, &n))
        return bad(m, "it ends inside a number");
    return push_number(m, (unsigned)n, true);
}

static enum status op_other(struct machine *m, unsigned char op) {
    switch (op) {
    case 'i':  /* INST */
    case 'o':  /* OBJ */
    case 0x81: /* NEWOBJ */
    case 0x92: /* NEWOBJ_EX */
    case 0x82: /* EXT1 */
    case 0x83: /* EXT2 */
    case 0x84: /* EXT4 */
    case 'P':  /* PERSID */
        return err_set(m->err, STATUS_PERMISSION_DENIED,
                       "pickle byte %td: opcode 0x%02x makes objects that no weights need; "
                       "nothing was run",
                       m->p - m->start - 1, op);
    default:
        return err_set(m->err, STATUS_DATA_LOSS,
                       "pickle byte %td: opcode 0x%02x has no place in a state dict",
                       m->p - m->start - 1, op);
    }
}

/* clang-format off */
static enum status step(struct machine *m) {
    unsigned char op = *m->p++;
    switch (op) {
    case 0x80: return op_protocol(m);
    case 0x95: return op_frame(m);
    case '.':  m->stopped = true; return STATUS_OK;
    case '(':  return op_mark(m);
    case 'N':  return push(m, (struct value){.kind = KIND_NONE});
    case 0x88: return push(m, (struct value){.kind = KIND_BOOL, .number = 1});
    case 0x89: return push(m, (struct value){.kind = KIND_BOOL, .number = 0});
    case 'J':  return push_number(m, 4, true);
    case 'K':  return push_number(m, 1, false);
    case 'M':  return push_number(m, 2, false);
    case 0x8a: return op_long1(m);
    case 'X':  return push_text(m, 4);
    case 0x8c: return push_text(m, 1);
    case 0x8d: return push_text(m, 8);
    case ')':  return op_tuple(m, 0);
    case 0x85: return op_tuple(m, 1);
    case 0x86: return op_tuple(m, 2);
    case 0x87: return op_tuple(m, 3);
    case 't':  return op_tuple_from_mark(m);
    case '}':  return push_dict(m);
    case 's':  return set_items(m, 2);
    case 'u':  return op_setitems(m);
    case 'b':  return op_build(m);
    case 'c':  return op_global(m);
    case 0x93: return op_stack_global(m);
    case 'R':  return op_reduce(m);
    case 'Q':  return op_persistent(m);
    case 'q':
    case 'r':
    case 'h':
    case 'j':
    case 0x94: return op_memo(m, op);
    default:   return op_other(m, op);
    }
}
/* clang-format on */

static enum status report(struct machine *m, pickle_found_fn found, void *arg) {
    const struct value *top = &m->stack[m->n_stack - 1];
    if (top->kind != KIND_DICT)
        return bad(m, "it holds no dictionary of tensors");
    enum status st = STATUS_OK;
    for (const struct pairs *p = top->dict->first; p && st == STATUS_OK; p = p->next)
        for (uint32_t i = 0; i < p->n && st == STATUS_OK; i += 2)
            if (p->items[i + 1].kind == KIND_TENSOR)
                st = found(arg, text_of(&p->items[i]), p->items[i + 1].tensor, m->err);
    return st;
}

enum status pickle_read(struct view text, pickle_found_fn found, void *arg, struct err *err) {
    if (text.bytes > LIMIT_PICKLE_BYTES)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "a pickle of %zu bytes, at most %d are read",
                       text.bytes, LIMIT_PICKLE_BYTES);
    const unsigned char *start = (const unsigned char *)text.data;
    struct machine m = {.start = start, .p = start, .end = start + text.bytes, .err = err};
    m.stack =
        malloc(STACK_FIRST * sizeof *m.stack); /* never NULL below, so pop() of nothing is not */
    m.max_stack = STACK_FIRST;
    enum status st = m.stack ? STATUS_OK : too_much(&m, "no memory");
    while (st == STATUS_OK && !m.stopped)
        st = m.p < m.end ? step(&m) : bad(&m, "it ends without STOP");
    if (st == STATUS_OK && (m.p != m.end || m.n_stack != 1 || m.n_marks))
        st = bad(&m, "it does not end with one value");
    if (st == STATUS_OK)
        st = report(&m, found, arg);
    while (m.chunks) {
        struct chunk *next = m.chunks->next;
        free(m.chunks);
        m.chunks = next;
    }
    free(m.stack);
    free(m.memo);
    free(m.memo_set);
    return st;
}
