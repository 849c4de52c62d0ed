/* vocab.c - one open hash table for whole pieces and for the greedy longest match.
 *
 *  word   f  u  n  d  s              the hash of a prefix is a step of the hash of the next longer
 *         h1 h2 h3 h4 h5             one, so one walk gives all of them; then the table is asked
 *                     <-- asked      from the longest down, one probe each, until a piece is there
 *
 * Pieces that continue a word are stored as they are written ("##s"): their hashes start from the
 * state after the prefix instead of from nothing, so no text is ever put together for a question.
 * Most words are pieces themselves and take a single probe; the walk is no longer than the longest
 * piece.
 *
 * Invariants: slots are a power of two and at most half full, so a probe always meets an empty one;
 * the place comes from the upper bits of the hash and the tag from the lower; a hit compares bytes.
 *
 * A trie was left out: it steps once per byte through memory, where mostly one probe takes a
 * word. */
#include "text/vocab.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

struct slot {
    uint32_t tag;
    int32_t id; /* VOCAB_NONE: empty */
};

struct piece {
    uint32_t at, bytes;
};

struct vocab {
    struct slot *slots; /* [1 << (64 - shift)] */
    unsigned shift;
    uint32_t n_ids;
    struct piece *pieces; /* [n_ids] bytes == 0: a gap */
    char *text;           /* the pieces end to end */
    size_t text_bytes, text_max;
    size_t longest[2]; /* bytes of the longest piece that starts, continues (without prefix) */
    uint64_t start[2]; /* hash state before the first byte of one that starts, continues */
    char prefix[VOCAB_PREFIX_MAX];
    size_t prefix_bytes;
};

/* FNV-1a's form with a full 64-bit odd multiplier, whose upper bits mix better. */
static inline uint64_t step(uint64_t hash, unsigned char byte) {
    return (hash ^ byte) * 0x9e3779b97f4a7c15u;
}

static uint64_t hash_run(uint64_t hash, struct view run) {
    for (size_t i = 0; i < run.bytes; i++)
        hash = step(hash, (unsigned char)run.data[i]);
    return hash;
}

vocab_t *vocab_new(uint32_t n_ids, size_t bytes, struct view prefix) {
    CHECK(prefix.bytes <= VOCAB_PREFIX_MAX && bytes <= UINT32_MAX && n_ids <= INT32_MAX);
    vocab_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    unsigned bits = 4;
    while (((size_t)1 << bits) < (size_t)n_ids * 2)
        bits++;
    self->shift = 64 - bits;
    self->n_ids = n_ids;
    self->text_max = bytes;
    self->slots = malloc(((size_t)1 << bits) * sizeof *self->slots);
    self->pieces = calloc(n_ids ? n_ids : 1, sizeof *self->pieces);
    self->text = malloc(bytes ? bytes : 1);
    if (!self->slots || !self->pieces || !self->text) {
        vocab_destroy(&self);
        return NULL;
    }
    for (size_t i = 0; i < (size_t)1 << bits; i++)
        self->slots[i] = (struct slot){.id = VOCAB_NONE};
    if (prefix.bytes)
        memcpy(self->prefix, prefix.data, prefix.bytes);
    self->prefix_bytes = prefix.bytes;
    self->start[0] = 0xcbf29ce484222325u;
    self->start[1] = hash_run(self->start[0], prefix);
    return self;
}

void vocab_destroy(vocab_t **self) {
    vocab_t *v = *self;
    if (!v)
        return;
    free(v->slots);
    free(v->pieces);
    free(v->text);
    free(v);
    *self = NULL;
}

/* Whether piece `id` is `head` followed by `tail`. */
static inline bool piece_is(const vocab_t *self, int32_t id, struct view head, struct view tail) {
    struct piece p = self->pieces[id];
    const char *text = self->text + p.at;
    return p.bytes == head.bytes + tail.bytes &&
           (head.bytes == 0 || memcmp(text, head.data, head.bytes) == 0) &&
           (tail.bytes == 0 || memcmp(text + head.bytes, tail.data, tail.bytes) == 0);
}

/* The slot of the piece head + tail, or the empty one where it belongs. */
static inline struct slot *find_slot(const vocab_t *self, uint64_t hash, struct view head,
                                     struct view tail) {
    size_t mask = ((size_t)1 << (64 - self->shift)) - 1;
    size_t i = (size_t)(hash >> self->shift);
    uint32_t tag = (uint32_t)hash;
    for (;; i = (i + 1) & mask) {
        struct slot *slot = &self->slots[i];
        if (slot->id == VOCAB_NONE || (slot->tag == tag && piece_is(self, slot->id, head, tail)))
            return slot;
    }
}

bool vocab_add(vocab_t *self, int32_t id, struct view piece) {
    CHECK(id >= 0 && (uint32_t)id < self->n_ids && piece.bytes > 0);
    CHECK(piece.bytes <= self->text_max - self->text_bytes);
    struct view none = {0};
    uint64_t hash = hash_run(self->start[0], piece);
    struct slot *slot = find_slot(self, hash, none, piece);
    if (slot->id != VOCAB_NONE || self->pieces[id].bytes)
        return false;
    *slot = (struct slot){(uint32_t)hash, id};
    memcpy(self->text + self->text_bytes, piece.data, piece.bytes);
    self->pieces[id] = (struct piece){(uint32_t)self->text_bytes, (uint32_t)piece.bytes};
    self->text_bytes += piece.bytes;
    if (piece.bytes > self->longest[0])
        self->longest[0] = piece.bytes;
    size_t head = self->prefix_bytes;
    if (piece.bytes > head && memcmp(piece.data, self->prefix, head) == 0 &&
        piece.bytes - head > self->longest[1])
        self->longest[1] = piece.bytes - head;
    return true;
}

int32_t vocab_find(const vocab_t *self, struct view piece) {
    struct view none = {0};
    if (piece.bytes == 0)
        return VOCAB_NONE;
    return find_slot(self, hash_run(self->start[0], piece), none, piece)->id;
}

static inline bool starts_char(char c) {
    return ((unsigned char)c & 0xc0) != 0x80;
}

int32_t vocab_longest(const vocab_t *self, struct view rest, bool continuing, size_t *bytes) {
    uint64_t hashes[VOCAB_MATCH_CHARS]; /* of the prefixes of `rest` that end with a code point */
    uint32_t ends[VOCAB_MATCH_CHARS];
    size_t most = rest.bytes < self->longest[continuing] ? rest.bytes : self->longest[continuing];
    uint64_t hash = self->start[continuing];
    unsigned n = 0;
    for (size_t i = 0; i < most && n < VOCAB_MATCH_CHARS; i++) {
        hash = step(hash, (unsigned char)rest.data[i]);
        if (i + 1 == rest.bytes || starts_char(rest.data[i + 1])) {
            hashes[n] = hash;
            ends[n++] = (uint32_t)(i + 1);
        }
    }
    struct view head = {self->prefix, continuing ? self->prefix_bytes : 0};
    while (n-- > 0) {
        int32_t id = find_slot(self, hashes[n], head, view_make(rest.data, ends[n]))->id;
        if (id != VOCAB_NONE) {
            *bytes = ends[n];
            return id;
        }
    }
    return VOCAB_NONE;
}

struct view vocab_piece(const vocab_t *self, int32_t id) {
    if (id < 0 || (uint32_t)id >= self->n_ids || self->pieces[id].bytes == 0)
        return (struct view){0};
    return view_make(self->text + self->pieces[id].at, self->pieces[id].bytes);
}

uint32_t vocab_size(const vocab_t *self) {
    return self->n_ids;
}

/* Cuts the next line off *rest; false at the end. A last line without LF counts, nothing after the
 * last LF. */
static bool next_line(struct view *rest, struct view *line) {
    if (rest->bytes == 0)
        return false;
    const char *lf = memchr(rest->data, '\n', rest->bytes);
    size_t bytes = lf ? (size_t)(lf - rest->data) : rest->bytes;
    size_t skip = lf ? bytes + 1 : bytes;
    *line = view_make(rest->data, bytes && rest->data[bytes - 1] == '\r' ? bytes - 1 : bytes);
    *rest = view_make(rest->data + skip, rest->bytes - skip);
    return true;
}

static enum status add_line(vocab_t *self, uint32_t number, struct view line, struct err *err) {
    if (line.bytes == 0)
        return STATUS_OK;
    if (!utf8_valid(line))
        return err_set(err, STATUS_DATA_LOSS, "line %u is not UTF-8", number + 1);
    if (memchr(line.data, 0, line.bytes))
        return err_set(err, STATUS_DATA_LOSS, "line %u holds a NUL", number + 1);
    if (!vocab_add(self, (int32_t)number, line))
        return err_set(err, STATUS_DATA_LOSS, "line %u: piece '%.*s' stands there twice",
                       number + 1, line.bytes < 80 ? (int)line.bytes : 80, line.data);
    return STATUS_OK;
}

enum status vocab_from_lines(struct view text, struct view prefix, vocab_t **out, struct err *err) {
    struct view rest = text, line = {0};
    uint32_t n = 0;
    while (n <= LIMIT_VOCAB && next_line(&rest, &line))
        n++;
    if (n > LIMIT_VOCAB || text.bytes > UINT32_MAX)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "more than %d pieces", LIMIT_VOCAB);
    vocab_t *self = vocab_new(n, text.bytes, prefix);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u pieces", n);
    enum status st = STATUS_OK;
    rest = text;
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        next_line(&rest, &line);
        st = add_line(self, i, line, err);
    }
    if (st == STATUS_OK) {
        *out = self;
        self = NULL;
    }
    vocab_destroy(&self);
    return st;
}

/* Largest id + 1 and the bytes of all pieces, so that memory is taken once and only for what is
 * sound. */
static enum status measure(const json_t *map, uint32_t *n_ids, size_t *bytes, struct err *err) {
    uint64_t last = 0;
    *n_ids = 0;
    *bytes = 0;
    for (const json_t *m = json_first(map); m; m = json_next(m)) {
        uint64_t id;
        if (!json_u64(m, &id))
            return err_set(err, STATUS_DATA_LOSS, "the id of piece '%.80s' is no number",
                           json_key(m));
        if (id >= LIMIT_VOCAB)
            return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                           "piece '%.80s' has id %llu, at most %d pieces are read", json_key(m),
                           (unsigned long long)id, LIMIT_VOCAB);
        last = id > last ? id : last;
        *n_ids = (uint32_t)last + 1;
        *bytes += strlen(json_key(m));
    }
    return STATUS_OK;
}

enum status vocab_from_json(const json_t *map, struct view prefix, vocab_t **out, struct err *err) {
    uint32_t n_ids;
    size_t bytes;
    if (!json_is_object(map))
        return err_set(err, STATUS_DATA_LOSS, "the vocabulary is no object");
    enum status st = measure(map, &n_ids, &bytes, err);
    if (st != STATUS_OK)
        return st;
    if (bytes > UINT32_MAX)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "pieces of %zu bytes", bytes);
    vocab_t *self = vocab_new(n_ids, bytes, prefix);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u pieces", n_ids);
    for (const json_t *m = json_first(map); m; m = json_next(m)) {
        struct view piece = view_of(json_key(m));
        uint64_t id = 0;
        json_u64(m, &id);
        if (piece.bytes == 0 || vocab_add(self, (int32_t)id, piece))
            continue;
        vocab_destroy(&self);
        return err_set(err, STATUS_DATA_LOSS, "piece '%.80s' or its id %u stands there twice",
                       piece.data, (uint32_t)id);
    }
    *out = self;
    return STATUS_OK;
}
