/* Any bytes as text over a fixed vocabulary, or as a vocabulary over a fixed text; the first byte
 * chooses.
 *
 *     0 text, lower-cased   1 text, cased   2 a pair   3 a vocab.txt   4 a tokenizer.json
 *     plus 5: 4 with texts bare, plus 10: unknown words dropped
 *
 * The second byte is the length to cut at. Arrays have exactly the size that the header asks for,
 * so that ASan sees a write behind it; ids stay below the vocabulary's size, and a cut keeps an end
 * of the whole. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char VOCAB[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nab\n##ab\nabc\n##bcd\ne\n#"
                            "#e\n,\n.\n[\n]\n中\n##中\n国\n"
                            "\xe1\x84\x80\n##\xe1\x85\xa1\n##\xe1\x86\xa8\n\xe3\x80\xae\n##"
                            "\xe3\x80\xae\n##\xf0\x9d\x85\xad\n"
                            "\xf0\xa0\x80\x80\nS\n##E\nP\n0\n##0\n##1\n";

static void must(bool ok) {
    if (!ok)
        abort();
}

static void check_ids(const tokenizer_t *tok, const int32_t *ids, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        must(ids[i] >= 0 && (uint32_t)ids[i] < tokenizer_vocab_size(tok));
}

/* `bare`: the tokenizer puts no mark before and behind. */
static void one_text(const tokenizer_t *tok, bool bare, struct view text, uint32_t max) {
    uint32_t full = 0, full_left = 0, most = (uint32_t)text.bytes * 8 + 2;
    int32_t *all = malloc(most * sizeof *all), *cut = malloc(max * sizeof *cut);
    must(all && cut);
    uint32_t n_all = tokenizer_encode(tok, text, most, TOKENIZER_CUT_RIGHT, all, &full);
    must(n_all == full);
    check_ids(tok, all, n_all);
    uint32_t kept = n_all < max ? n_all : max;
    must(tokenizer_encode(tok, text, max, TOKENIZER_CUT_RIGHT, cut, NULL) == kept);
    if (bare)
        must(memcmp(cut, all, kept * sizeof *cut) == 0);
    else
        must(memcmp(cut, all, (kept - 1) * sizeof *cut) == 0 && cut[kept - 1] == all[n_all - 1]);
    must(tokenizer_encode(tok, text, max, TOKENIZER_CUT_LEFT, cut, &full_left) == kept);
    must(full_left == full && (bare || cut[0] == all[0]));
    const uint32_t mark = bare ? 0 : 1;
    must(memcmp(cut + mark, all + mark + (n_all - kept), (kept - mark) * sizeof *cut) == 0);
    must(tokenizer_estimate(text) >= 2);
    free(all);
    free(cut);
}

static void two_texts(const tokenizer_t *tok, struct view text, uint32_t max) {
    const char *bar = text.bytes ? memchr(text.data, '|', text.bytes) : NULL;
    size_t at = bar ? (size_t)(bar - text.data) : text.bytes;
    struct view a = view_make(text.data, at), b = view_make(text.data + at, text.bytes - at);
    int32_t *ids = malloc(max * sizeof *ids), *types = malloc(max * sizeof *types);
    must(ids && types);
    for (int cut = TOKENIZER_LONGEST_FIRST; cut <= TOKENIZER_ONLY_FIRST; cut++) {
        uint32_t full = 0;
        uint32_t n =
            tokenizer_encode_pair(tok, a, b, max, (enum tokenizer_pair_cut)cut, ids, types, &full);
        must(n >= 3 && n == (full < max ? full : max));
        check_ids(tok, ids, n);
        must(types[0] == 0 && types[n - 1] == 1);
        for (uint32_t i = 1; i < n; i++)
            must(types[i] == types[i - 1] || types[i] == 1);
    }
    free(ids);
    free(types);
}

static void a_vocabulary(bool json, struct view text, uint32_t max,
                         const struct tokenizer_options *options) {
    tokenizer_t *tok = NULL;
    struct err err;
    enum status st = json ? tokenizer_from_json_with(text, options, &tok, &err)
                          : tokenizer_from_vocab(text, true, &tok, &err);
    must((st == STATUS_OK) == (tok != NULL));
    if (!tok)
        return;
    const bool bare = json && options->bare;
    one_text(tok, bare, view_of("[CLS] abc ab\xcc\x81 e中国, 0!"), max);
    one_text(tok, bare, text, max);
    must(tokenizer_median_piece(tok) >= 1);
    for (uint32_t id = 0; id <= tokenizer_vocab_size(tok); id++)
        must(id < tokenizer_vocab_size(tok) || tokenizer_piece(tok, (int32_t)id).bytes == 0);
    tokenizer_destroy(&tok);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tokenizer_t *lower, *cased;
    if (!lower) {
        must(tokenizer_from_vocab(view_of(VOCAB), true, &lower, NULL) == STATUS_OK);
        must(tokenizer_from_vocab(view_of(VOCAB), false, &cased, NULL) == STATUS_OK);
    }
    if (size < 2)
        return 0;
    struct view text = view_make(data + 2, size - 2);
    uint32_t max = 3 + data[1] % 64;
    switch (data[0] % 5) {
    case 0:
        one_text(lower, false, text, max);
        break;
    case 1:
        one_text(cased, false, text, max - 1);
        break;
    case 2:
        two_texts(lower, text, max);
        break;
    default:
        a_vocabulary(
            data[0] % 5 == 4, text, max,
            &(struct tokenizer_options){.bare = data[0] / 5 & 1, .drop_unknown = data[0] / 5 & 2});
    }
    return 0;
}
