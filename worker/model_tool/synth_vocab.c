/* synth_vocab.c - pieces in order of how much is lost without them, until the vocabulary is
 * full.
 *
 *     special | ASCII | ##a..##z ##0..##9 | punctuation | CJK | words, syllables | fillers
 *
 * The English-like part is made, not taken from anywhere: frequent short words first, then
 * syllables (onset + vowel + coda) at the beginning and inside of words. English words come out
 * as two to three pieces, about twice as many as with a trained vocabulary. */
#include "synth.h"

#include "base/utf8.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_MAX = 24, SPECIAL_AND_ASCII = 5 + 68 + 36 };

struct pieces {
    char *text;
    size_t bytes, room;
    uint32_t n, max;
    uint64_t *seen; /* open addressing over hashes of pieces; 0 is empty */
    size_t slots;   /* a power of two, at least twice max */
};

static uint64_t hash_piece(const char *piece) { /* FNV-1a: enough to find repeats */
    uint64_t h = 14695981039346656037ULL;
    for (const char *p = piece; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211ULL;
    return h ? h : 1;
}

/* Two pieces with one 64-bit hash would lose the second: harmless, and it does not happen. */
static void add(struct pieces *self, const char *piece) {
    if (self->n == self->max)
        return;
    uint64_t hash = hash_piece(piece);
    size_t at = hash & (self->slots - 1);
    while (self->seen[at] && self->seen[at] != hash)
        at = (at + 1) & (self->slots - 1);
    if (self->seen[at])
        return;
    self->seen[at] = hash;
    self->bytes +=
        (size_t)snprintf(self->text + self->bytes, self->room - self->bytes, "%s\n", piece);
    self->n++;
}

static void add_point(struct pieces *self, uint32_t cp) {
    char piece[8];
    piece[utf8_put(cp, piece)] = '\0';
    add(self, piece);
}

static void add_range(struct pieces *self, uint32_t first, uint32_t last) {
    for (uint32_t cp = first; cp <= last; cp++)
        add_point(self, cp);
}

static void add_ascii(struct pieces *self) {
    static const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        add(self, special[i]);
    for (char c = '!'; c <= '~'; c++)
        if (c < 'A' || c > 'Z')
            add_point(self, (unsigned char)c);
    for (char c = '0'; c <= 'z'; c++)
        if (c <= '9' || c >= 'a')
            add(self, (char[]){'#', '#', c, '\0'});
}

/* Signs of Chinese and English text; the less common ones come after the characters. */
static void add_punctuation(struct pieces *self) {
    static const uint32_t common[] = {
        0x3001, 0x3002, 0xff0c, 0xff1f, 0xff01, 0xff1a, 0xff1b, 0x201c, 0x201d, 0x2018, 0x2019,
        0xff08, 0xff09, 0x300a, 0x300b, 0x3008, 0x3009, 0x300c, 0x300d, 0x300e, 0x300f, 0x3010,
        0x3011, 0x2014, 0x2013, 0x2026, 0x00b7, 0xff5e, 0xffe5, 0xff0e, 0xff0f, 0xff05, 0xff0b,
        0xff0d, 0x2022, 0x00a3, 0x20ac, 0x00b0, 0x00d7, 0x00a5, 0x2103, 0x3007};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        add_point(self, common[i]);
}

static void add_more_signs(struct pieces *self) {
    add_range(self, 0x2010, 0x2027);
    add_range(self, 0x3003, 0x301f);
    add_range(self, 0xff10, 0xff19); /* full-width digits, lower-case letters, signs */
    add_range(self, 0xff41, 0xff5a);
    add_range(self, 0xff02, 0xff0f);
    add_range(self, 0x3041, 0x3096); /* kana, Greek, Cyrillic, and their continuations */
    add_range(self, 0x30a1, 0x30fa);
    add_range(self, 0x03b1, 0x03c9);
    add_range(self, 0x0430, 0x044f);
}

static void add_words(struct pieces *self) {
    static const char words[] =
        "the of and to a in is it you that he was for on are with as his they be at one have this "
        "from or had by not but what all were we when your can said there use an each which she do "
        "how their if will up other about out many then them these so some her would make like him "
        "into time has look two more write go see no way could people my than first been call who "
        "its now find long down day did get come made may part over new sound take only little "
        "work "
        "know place year live me back give most very after thing our just name good man think say "
        "great where help through much before line right too mean old any same tell follow want "
        "show "
        "also around three small set put end does another well large must big even such because "
        "turn "
        "here why ask need house off play away again off try still should never last let thought "
        "city "
        "order refund account card bank pay payment money transfer cancel please thank thanks "
        "service "
        "customer phone number email address ship item price cost open close today week month hour "
        "minute issue problem question answer information change update check status help contact";
    for (const char *p = words; *p;) {
        char piece[PIECE_MAX];
        size_t n = strcspn(p, " ");
        snprintf(piece, sizeof piece, "%.*s", (int)n, p);
        add(self, piece);
        p += n + (p[n] == ' ');
    }
    static const char *const endings[] = {
        "##s",  "##ed",  "##ing", "##er",  "##ly",  "##ion", "##tion", "##ment", "##ness", "##able",
        "##al", "##est", "##ity", "##ous", "##ive", "##ful", "##less", "##ers",  "##ies"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        add(self, endings[i]);
}

/* Syllables: inside of words first, since they finish what a beginning leaves over. */
static void add_syllables(struct pieces *self) {
    static const char *const onsets[] = {
        "",   "t",  "s",  "r",  "n",  "l",  "d",  "c",  "m",  "p",  "b",   "f",  "g",  "h",
        "v",  "w",  "st", "tr", "pr", "ch", "sh", "th", "k",  "j",  "cr",  "br", "gr", "pl",
        "cl", "fr", "dr", "sp", "fl", "bl", "qu", "sl", "sc", "wh", "str", "y",  "z",  "sw"};
    static const char *const vowels[] = {"e",  "a",  "i",  "o",  "u", "ea",
                                         "ou", "ai", "ee", "oo", "y"};
    static const char *const codas[] = {"",   "n",  "r",  "t",  "l",  "s",  "m",  "d",
                                        "c",  "nt", "ng", "st", "ck", "p",  "nd", "ss",
                                        "ll", "g",  "ct", "rt", "x",  "te", "ne", "ble"};
    const size_t n_onsets = sizeof onsets / sizeof *onsets,
                 n_vowels = sizeof vowels / sizeof *vowels;
    const size_t n_codas = sizeof codas / sizeof *codas;
    for (size_t rank = 0; rank < n_onsets + n_vowels + n_codas; rank++) /* common parts first */
        for (size_t o = 0; o < n_onsets && o <= rank; o++)
            for (size_t v = 0; v < n_vowels && o + v <= rank; v++) {
                size_t c = rank - o - v;
                if (c >= n_codas)
                    continue;
                char piece[PIECE_MAX];
                snprintf(piece, sizeof piece, "##%s%s%s", onsets[o], vowels[v], codas[c]);
                add(self, piece);
                add(self, piece + 2);
            }
}

static void add_fillers(struct pieces *self) { /* names that no text has, for the rest */
    for (uint32_t i = 0; self->n < self->max; i++) {
        char piece[PIECE_MAX];
        snprintf(piece, sizeof piece, "[unused%u]", i);
        add(self, piece);
    }
}

enum status synth_vocab(uint32_t n, char **out, size_t *bytes, struct err *err) {
    if (n < SPECIAL_AND_ASCII)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "a vocabulary of %u pieces has no room for letters and digits: at least %d",
                       n, SPECIAL_AND_ASCII);
    struct pieces self = {.max = n, .room = (size_t)n * PIECE_MAX, .slots = 1024};
    while (self.slots < 2 * (size_t)n)
        self.slots *= 2;
    self.text = malloc(self.room);
    self.seen = calloc(self.slots, sizeof *self.seen);
    if (!self.text || !self.seen) {
        free(self.text);
        free(self.seen);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a vocabulary");
    }
    add_ascii(&self);
    add_punctuation(&self);
    add_range(&self, 0x4e00, 0x9fa5); /* the characters of Unicode 1.1 ... */
    add_more_signs(&self);
    add_range(&self, 0x9fa6, 0x9fff); /* ... and those that came later */
    add_words(&self);
    add_syllables(&self);
    add_fillers(&self);
    free(self.seen);
    *out = self.text;
    *bytes = self.bytes;
    return STATUS_OK;
}
