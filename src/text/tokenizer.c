/* tokenizer.c - one pass over the text, a word at a time, ids straight into the caller's array.
 *
 *  bytes --> code point --> rule --> word[]  --space, punctuation, end--> pieces --> sink --> ids
 *     |                      |                                                       ^
 *     |                      '-> alone: an ideograph or a mark, one table look-up ---+
 *     '-> [SEP] and the like, searched in the raw text first ------------------------'
 *
 * The sink counts every token but keeps `room` of them: the first ones, or, for a cut on the left,
 * the last ones in a ring that is turned straight at the end. So nothing is allocated and the
 * length before the cut is exact; when nobody asks for it and the cut is on the right, the pass
 * ends early.
 *
 * Invariants: word[] holds at most word_chars code points, word_n counts on beyond them (such a
 * word is [UNK], so its text is not needed); ids[] is written below room only; every id is below
 * size.
 *
 * The order of combining marks: NFD sorts a run of marks by class, and stripping then drops most of
 * them. Kept marks are put into their place in word[] as they come; starters have class 0 and stop
 * them, and so does the fence, which stands where a starter was dropped. */
#include "text/tokenizer.h"

#include "base/check.h"
#include "base/utf8.h"
#include "text/tokenizer_parts.h"

#include <string.h>

struct sink {
    int32_t *ids;
    uint32_t room;   /* ids that may be kept */
    bool ring;       /* keep the last ones, not the first */
    int32_t dropped; /* a token that counts for nothing, or VOCAB_NONE */
    uint32_t n;      /* tokens so far */
};

struct run {
    const struct tokenizer *tok;
    struct sink sink;
    uint32_t stop_at;   /* tokens after which the rest does not matter */
    uint32_t word_n;    /* code points of the word so far */
    uint32_t word_size; /* bytes of them in word[] */
    uint32_t fence;     /* marks do not move before this byte of word[] */
    char word[TOKENIZER_WORD_CHARS * 4];
};

static inline void push(struct sink *sink, int32_t id) {
    if (id == sink->dropped)
        return;
    if (sink->n < sink->room)
        sink->ids[sink->n] = id;
    else if (sink->ring && sink->room)
        sink->ids[sink->n % sink->room] = id;
    sink->n++;
}

/* Greedy longest match; a word with a part that is no piece is one [UNK]. */
static void push_pieces(struct run *run) {
    const struct tokenizer *tok = run->tok;
    int32_t pieces[TOKENIZER_WORD_CHARS];
    unsigned n = 0;
    for (size_t at = 0; at < run->word_size;) {
        size_t bytes = 0;
        struct view rest = view_make(run->word + at, run->word_size - at);
        pieces[n] = vocab_longest(tok->vocab, rest, at > 0, &bytes);
        if (pieces[n] == VOCAB_NONE) {
            push(&run->sink, tok->unk);
            return;
        }
        n++;
        at += bytes;
    }
    for (unsigned i = 0; i < n; i++)
        push(&run->sink, pieces[i]);
}

static inline void end_word(struct run *run) {
    if (run->word_n > run->tok->word_chars)
        push(&run->sink, run->tok->unk);
    else if (run->word_n > 0)
        push_pieces(run);
    run->word_n = run->word_size = run->fence = 0;
}

static inline void add_char(struct run *run, uint32_t cp) {
    if (run->word_n < run->tok->word_chars) {
        if (cp < 0x80)
            run->word[run->word_size++] = (char)cp;
        else
            run->word_size += utf8_put(cp, run->word + run->word_size);
    }
    run->word_n++;
}

/* Puts a combining mark behind the last one of the same or a lower class. */
static void add_mark(struct run *run, uint32_t cp, uint8_t order) {
    if (run->word_n >= run->tok->word_chars) {
        run->word_n++;
        return;
    }
    uint32_t at = run->word_size;
    while (at > run->fence) {
        uint32_t before = at - 1;
        while (((unsigned char)run->word[before] & 0xc0) == 0x80)
            before--;
        unsigned bytes;
        if (normalizer_order(utf8_next(run->word + before, run->word + at, &bytes)) <= order)
            break;
        at = before;
    }
    char mark[4];
    unsigned n = utf8_put(cp, mark);
    memmove(run->word + at + n, run->word + at, run->word_size - at);
    memcpy(run->word + at, mark, n);
    run->word_size += n;
    run->word_n++;
}

static inline void add_alone(struct run *run, uint32_t cp) {
    const struct tokenizer *tok = run->tok;
    end_word(run);
    if (cp < TOKENIZER_SINGLES) {
        push(&run->sink, tok->singles[cp]);
        return;
    }
    add_char(run, cp);
    end_word(run);
}

static void add_slowly(struct run *run, uint32_t cp) {
    struct normal_item items[NORMAL_ITEMS_MAX];
    unsigned n = normalizer_expand(&run->tok->normal, cp, items);
    for (unsigned i = 0; i < n; i++) {
        if (items[i].kind == NORMAL_FENCE)
            run->fence = run->word_size;
        else if (items[i].kind == NORMAL_SPACE)
            end_word(run);
        else if (items[i].kind == NORMAL_ALONE)
            add_alone(run, items[i].cp);
        else if (items[i].order)
            add_mark(run, items[i].cp, items[i].order);
        else
            add_char(run, items[i].cp);
    }
}

static inline void add_code_point(struct run *run, uint32_t cp) {
    normal_rule_t rule = normalizer_rule(&run->tok->normal, cp);
    switch (normal_rule_kind(rule)) {
    case NORMAL_WORD:
        add_char(run, normal_rule_cp(rule, cp));
        break;
    case NORMAL_ALONE:
        add_alone(run, normal_rule_cp(rule, cp));
        break;
    case NORMAL_SPACE:
        end_word(run);
        break;
    case NORMAL_DROP:
        break;
    case NORMAL_FENCE:
        run->fence = run->word_size;
        break;
    case NORMAL_SLOW:
        add_slowly(run, cp);
        break;
    }
}

/* The code point at p; the three-byte form of most Chinese text is taken without a call. */
static inline uint32_t next_code_point(const char *p, const char *end, unsigned *bytes) {
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] < 0x80) {
        *bytes = 1;
        return u[0];
    }
    if (u[0] > 0xe0 && u[0] < 0xed && end - p >= 3 && (u[1] & 0xc0) == 0x80 &&
        (u[2] & 0xc0) == 0x80) {
        *bytes = 3;
        return (uint32_t)(u[0] & 0x0f) << 12 | (uint32_t)(u[1] & 0x3f) << 6 | (u[2] & 0x3f);
    }
    return utf8_next(p, end, bytes);
}

static void run_text(struct run *run, struct view text) {
    const struct tokenizer *tok = run->tok;
    const char *p = text.data, *end = p + text.bytes;
    while (p < end && run->sink.n < run->stop_at) {
        if (tok->starts[(unsigned char)*p]) {
            size_t bytes = 0;
            struct view rest = view_make(p, (size_t)(end - p));
            int32_t id = vocab_longest(tok->added, rest, false, &bytes);
            if (id != VOCAB_NONE) {
                end_word(run);
                push(&run->sink, id);
                p += bytes;
                continue;
            }
        }
        unsigned bytes;
        uint32_t cp = next_code_point(p, end, &bytes);
        add_code_point(run, cp);
        p += bytes;
    }
    end_word(run);
}

/* Tokens of `text` without special ones around; at most `room` are kept. Returns how many there
 * are, or, when `exact` is false, at least `room` of them. */
static uint32_t tokens_of(const tokenizer_t *tok, struct view text, int32_t *ids, uint32_t room,
                          bool ring, bool exact) {
    struct run run; /* not cleared: word[] is written before it is read */
    run.tok = tok;
    run.sink = (struct sink){.ids = ids, .room = room, .ring = ring, .dropped = tok->dropped};
    run.stop_at = exact || ring ? UINT32_MAX : room;
    run.word_n = run.word_size = run.fence = 0;
    if (text.bytes)
        run_text(&run, text);
    return run.sink.n;
}

static void reverse(int32_t *ids, uint32_t n) {
    for (uint32_t i = 0; i < n / 2; i++) {
        int32_t id = ids[i];
        ids[i] = ids[n - 1 - i];
        ids[n - 1 - i] = id;
    }
}

/* Turns a full ring whose oldest id is at `oldest` so that it stands at 0. */
static void straighten(int32_t *ids, uint32_t n, uint32_t oldest) {
    reverse(ids, oldest);
    reverse(ids + oldest, n - oldest);
    reverse(ids, n);
}

uint32_t tokenizer_encode(const tokenizer_t *self, struct view text, uint32_t max_tokens,
                          enum tokenizer_side side, int32_t *ids, uint32_t *n_full) {
    const uint32_t mark = self->bare ? 0 : 1; /* one before, one behind */
    CHECK(max_tokens >= 1 + mark);
    uint32_t room = max_tokens - 2 * mark;
    bool left = side == TOKENIZER_CUT_LEFT;
    uint32_t n = tokens_of(self, text, ids + mark, room, left, n_full != NULL);
    if (left && n > room && room)
        straighten(ids + mark, room, n % room);
    if (n_full)
        *n_full = n + 2 * mark;
    uint32_t kept = n < room ? n : room;
    if (!self->bare) {
        ids[0] = self->cls;
        ids[kept + 1] = self->sep;
    }
    return kept + 2 * mark;
}

/* How many tokens of a and b stay when there is room for `room` of them. */
static void share(enum tokenizer_pair_cut cut, uint32_t room, uint32_t *a, uint32_t *b) {
    if ((uint64_t)*a + *b <= room)
        return;
    if (cut == TOKENIZER_ONLY_FIRST) {
        *b = *b < room ? *b : room;
        *a = room - *b;
        return;
    }
    /* longest_first of the reference, in its own steps: s for the shorter, l for the longer. */
    uint32_t *shorter = *a <= *b ? a : b, *longer = *a <= *b ? b : a;
    uint32_t s = *shorter, l = s > room ? s : room - s > s ? room - s : s;
    if ((uint64_t)s + l > room) {
        s = room / 2;
        l = room - s;
    }
    *shorter = s;
    *longer = l;
}

uint32_t tokenizer_encode_pair(const tokenizer_t *self, struct view a, struct view b,
                               uint32_t max_tokens, enum tokenizer_pair_cut cut, int32_t *ids,
                               int32_t *types, uint32_t *n_full) {
    CHECK(max_tokens >= 3);
    const uint32_t mark = self->bare ? 0 : 1;
    uint32_t room = max_tokens - 3 * mark;
    uint32_t full_a = tokens_of(self, a, ids + mark, room, false, true);
    uint32_t kept_a = full_a < room ? full_a : room;
    uint32_t full_b = tokens_of(self, b, ids + 2 * mark + kept_a, room - kept_a, false, true);
    uint32_t n_a = full_a, n_b = full_b;
    share(cut, room, &n_a, &n_b);
    if (n_a < kept_a) /* b was written behind more of a than stays: once more, further left */
        tokens_of(self, b, ids + 2 * mark + n_a, n_b, false, false);
    if (!self->bare) {
        ids[0] = self->cls;
        ids[n_a + 1] = self->sep;
        ids[n_a + n_b + 2] = self->sep;
    }
    const uint32_t second = n_a + 2 * mark, end = second + n_b + mark;
    for (uint32_t i = 0; i < second; i++)
        types[i] = 0;
    for (uint32_t i = second; i < end; i++)
        types[i] = self->second_type;
    if (n_full)
        *n_full = full_a + full_b + 3 * mark;
    return end;
}

uint32_t tokenizer_vocab_size(const tokenizer_t *self) {
    return self->size;
}

bool tokenizer_lowercase(const tokenizer_t *self) {
    return self->normal.options.lowercase;
}

static uint32_t code_points(struct view piece) {
    uint32_t n = 0;
    for (size_t i = 0; i < piece.bytes; i++)
        n += ((unsigned char)piece.data[i] & 0xc0) != 0x80;
    return n;
}

uint32_t tokenizer_median_piece(const tokenizer_t *self) {
    enum { LONGEST = 1024 }; /* whatever is longer lies above every median that makes sense */
    uint32_t of_length[LONGEST + 1] = {0}, n = 0;
    for (uint32_t id = 0; id < self->size; id++) {
        const uint32_t length = code_points(tokenizer_piece(self, (int32_t)id));
        of_length[length < LONGEST ? length : LONGEST]++;
        n += length > 0;
    }
    uint32_t below = 0, length = 0, middle = 0;
    for (uint32_t half = 0; half < 2 && n; half++) { /* the two in the middle, or one twice */
        while (below <= (n - 1 + half) / 2)
            below += of_length[++length];
        middle += length;
    }
    return middle / 2;
}

struct view tokenizer_piece(const tokenizer_t *self, int32_t id) {
    struct view piece = vocab_piece(self->vocab, id);
    return piece.bytes ? piece : vocab_piece(self->added, id);
}

/* Fitted to the reference texts (within 5% over ordinary Chinese and English, 20% low for URLs,
 * code and numbers): five bytes of a word and its space, each ASCII mark, each ideograph, two
 * letters else. */
uint32_t tokenizer_estimate(struct view text) {
    uint32_t ascii = 0, marks = 0, two = 0, more = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned char c = (unsigned char)text.data[i];
        unsigned char folded = c | 0x20; /* both cases of a letter are one */
        bool letter = folded >= 'a' && folded <= 'z', digit = c >= '0' && c <= '9';
        ascii += c < 0x80;
        marks += c > ' ' && c < 0x7f && !letter && !digit;
        two += (c & 0xe0) == 0xc0;
        more += c >= 0xe0;
    }
    return 2 + (ascii - marks + 4) / 5 + marks + (two + 1) / 2 + more;
}
