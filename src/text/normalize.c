/* normalize.c - BERT's normalizer as a table of rules; the door to utf8proc.
 *
 *  code point --clean--> --isolate ideographs--> --NFD, without Mn--> --lower--> class of result
 *               |                                                              word alone space
 *               '-> dropped, or a space
 *
 * normalizer_expand() is the definition; the table only remembers its answers. A rule is 32 bits:
 * kind in the low 8, result in the upper 24. Pages of 256 rules are shared when equal, which leaves
 * some 250 of the 4352 pages; ranges whose pages are known to be uniform are asked once per page.
 *
 * Why lists of exceptions: the reference froze parts of Unicode. Marks, punctuation and format
 * characters that came after Unicode 8 are ordinary letters to it, decompositions and combining
 * classes after Unicode 12 do not exist, while lower-casing is newer than utf8proc's. With the
 * lists every code point agrees (tests/unit/normalize_test.c asks all of them). */
#include "text/normalize.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct range {
    uint32_t first, last;
};

/* clang-format off */

/* White_Space of Unicode, stable since version 6.3. */
static const struct range WHITE[] = {
    {0x9, 0xd}, {0x20, 0x20}, {0x85, 0x85}, {0xa0, 0xa0}, {0x1680, 0x1680}, {0x2000, 0x200a},
    {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000},
};

/* Punctuation now, none in Unicode 8. */
static const struct range LATE_PUNCT[] = {
    {0x61d, 0x61d}, {0x9fd, 0x9fd}, {0xa76, 0xa76}, {0xc77, 0xc77}, {0xc84, 0xc84},
    {0x1b7d, 0x1b7e}, {0x2e43, 0x2e5d}, {0x10ead, 0x10ead}, {0x10f55, 0x10f59}, {0x10f86, 0x10f89},
    {0x1144b, 0x1144f}, {0x1145a, 0x1145d}, {0x11660, 0x1166c}, {0x116b9, 0x116b9},
    {0x1183b, 0x1183b}, {0x11944, 0x11946}, {0x119e2, 0x119e2}, {0x11a3f, 0x11a46},
    {0x11a9a, 0x11aa2}, {0x11b00, 0x11b09}, {0x11c41, 0x11c45}, {0x11c70, 0x11c71},
    {0x11ef7, 0x11ef8}, {0x11f43, 0x11f4f}, {0x11fff, 0x11fff}, {0x12ff1, 0x12ff2},
    {0x16e97, 0x16e9a}, {0x16fe2, 0x16fe2}, {0x1e95e, 0x1e95f},
};

/* Punctuation in Unicode 8, something else now. */
static const struct range EARLY_PUNCT[] = {{0x166d, 0x166d}, {0x111c9, 0x111c9}};

/* Category Mn now, not in Unicode 8: accent stripping leaves them. */
static const struct range LATE_MARK[] = {
    {0x7fd, 0x7fd}, {0x898, 0x89f}, {0x8ca, 0x8e1}, {0x9fe, 0x9fe}, {0xafa, 0xaff}, {0xb55, 0xb55},
    {0xc04, 0xc04}, {0xc3c, 0xc3c}, {0xd00, 0xd00}, {0xd3b, 0xd3c}, {0xd81, 0xd81}, {0xeba, 0xeba},
    {0xece, 0xece}, {0x180f, 0x180f}, {0x1885, 0x1886}, {0x1abf, 0x1ace}, {0x1df6, 0x1dfb},
    {0xa82c, 0xa82c}, {0xa8c5, 0xa8c5}, {0xa8ff, 0xa8ff}, {0xa9bd, 0xa9bd}, {0x10d24, 0x10d27},
    {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x11073, 0x11074}, {0x110c2, 0x110c2}, {0x111c9, 0x111c9},
    {0x111cf, 0x111cf}, {0x1123e, 0x1123e}, {0x11241, 0x11241}, {0x1133b, 0x1133b},
    {0x11438, 0x1143f}, {0x11442, 0x11444}, {0x11446, 0x11446}, {0x1145e, 0x1145e},
    {0x1182f, 0x11837}, {0x11839, 0x1183a}, {0x1193b, 0x1193c}, {0x1193e, 0x1193e},
    {0x11943, 0x11943}, {0x119d4, 0x119d7}, {0x119da, 0x119db}, {0x119e0, 0x119e0},
    {0x11a01, 0x11a0a}, {0x11a33, 0x11a38}, {0x11a3b, 0x11a3e}, {0x11a47, 0x11a47},
    {0x11a51, 0x11a56}, {0x11a59, 0x11a5b}, {0x11a8a, 0x11a96}, {0x11a98, 0x11a99},
    {0x11c30, 0x11c36}, {0x11c38, 0x11c3d}, {0x11c3f, 0x11c3f}, {0x11c92, 0x11ca7},
    {0x11caa, 0x11cb0}, {0x11cb2, 0x11cb3}, {0x11cb5, 0x11cb6}, {0x11d31, 0x11d36},
    {0x11d3a, 0x11d3a}, {0x11d3c, 0x11d3d}, {0x11d3f, 0x11d45}, {0x11d47, 0x11d47},
    {0x11d90, 0x11d91}, {0x11d95, 0x11d95}, {0x11d97, 0x11d97}, {0x11ef3, 0x11ef4},
    {0x11f00, 0x11f01}, {0x11f36, 0x11f3a}, {0x11f40, 0x11f40}, {0x11f42, 0x11f42},
    {0x13440, 0x13440}, {0x13447, 0x13455}, {0x16f4f, 0x16f4f}, {0x16fe4, 0x16fe4},
    {0x1cf00, 0x1cf2d}, {0x1cf30, 0x1cf46}, {0x1e000, 0x1e006}, {0x1e008, 0x1e018},
    {0x1e01b, 0x1e021}, {0x1e023, 0x1e024}, {0x1e026, 0x1e02a}, {0x1e08f, 0x1e08f},
    {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
    {0x1e944, 0x1e94a},
};

/* Category Mn in Unicode 8, Mc now. */
static const struct range EARLY_MARK[] = {{0x1734, 0x1734}};

/* Category Cf now, not in Unicode 8: cleaning leaves them. */
static const struct range LATE_FORMAT[] = {
    {0x890, 0x891}, {0x8e2, 0x8e2}, {0x110cd, 0x110cd}, {0x13430, 0x1343f},
};

/* Combining marks and decompositions after Unicode 12: class 0 and no decomposition. */
static const struct range LATE_ORDER[] = {
    {0x898, 0x89f}, {0x8ca, 0x8d2}, {0xc3c, 0xc3c}, {0x1abf, 0x1ace}, {0x1dfa, 0x1dfa},
    {0xa82c, 0xa82c}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943},
    {0x11f42, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e2ae, 0x1e2ae},
    {0x1e4ec, 0x1e4ef},
};

/* Capitals after Unicode 15: code points first..last become `to` and the ones behind it. */
static const struct {
    uint32_t first, last, to;
} LATE_LOWER[] = {
    {0x1c89, 0x1c89, 0x1c8a}, {0xa7cb, 0xa7cb, 0x264}, {0xa7cc, 0xa7cc, 0xa7cd},
    {0xa7ce, 0xa7ce, 0xa7cf}, {0xa7d2, 0xa7d2, 0xa7d3}, {0xa7d4, 0xa7d4, 0xa7d5},
    {0xa7da, 0xa7da, 0xa7db}, {0xa7dc, 0xa7dc, 0x19b}, {0x10d50, 0x10d65, 0x10d70},
    {0x16ea0, 0x16eb8, 0x16ebb},
};

/* Pages within which every code point has the same rule, itself aside; as first and last page.
 * Ideographs, Hangul (always expanded, or never), private use, and what nobody has assigned. */
static const struct range UNIFORM[] = {
    {0x34, 0x4c}, {0x4e, 0x9e}, {0xad, 0xd6}, {0xd8, 0xdf}, {0xe1, 0xf7}, {0x200, 0x2a5},
    {0x2a8, 0x2b6}, {0x2ba, 0x2cd}, {0x2cf, 0x2f7}, {0x2fb, 0xdff}, {0xe10, 0xeff},
    {0xf01, 0xffe}, {0x1001, 0x10fe},
};

/* clang-format on */

#define IN(table, x) in_ranges((table), sizeof(table) / sizeof *(table), (x))

static bool in_ranges(const struct range *table, size_t n, uint32_t x) {
    while (n > 0) { /* what is left is table[0..n) */
        size_t mid = n / 2;
        if (x < table[mid].first) {
            n = mid;
        } else if (x > table[mid].last) {
            table += mid + 1;
            n -= mid + 1;
        } else {
            return true;
        }
    }
    return false;
}

static bool is_white(uint32_t cp) {
    return IN(WHITE, cp);
}

/* Cc, Cf and Co go, tab and line ends are white space; unassigned code points stay. */
static bool is_control(uint32_t cp) {
    if (cp == '\t' || cp == '\n' || cp == '\r')
        return false;
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    if (c == UTF8PROC_CATEGORY_CF)
        return !IN(LATE_FORMAT, cp);
    return c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CO;
}

static bool is_mark(uint32_t cp) {
    if (utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_MN)
        return !IN(LATE_MARK, cp);
    return IN(EARLY_MARK, cp);
}

static bool is_punct(uint32_t cp) {
    if (cp < 0x80)
        return (cp >= 33 && cp <= 47) || (cp >= 58 && cp <= 64) || (cp >= 91 && cp <= 96) ||
               (cp >= 123 && cp <= 126);
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    if (c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO)
        return !IN(LATE_PUNCT, cp);
    return IN(EARLY_PUNCT, cp);
}

uint8_t normalizer_order(uint32_t cp) {
    utf8proc_propval_t order = utf8proc_get_property((utf8proc_int32_t)cp)->combining_class;
    return order == 0 || IN(LATE_ORDER, cp) ? 0 : (uint8_t)order;
}

static uint32_t lower(uint32_t cp) {
    for (size_t i = 0; i < sizeof LATE_LOWER / sizeof *LATE_LOWER; i++)
        if (cp >= LATE_LOWER[i].first && cp <= LATE_LOWER[i].last)
            return LATE_LOWER[i].to + (cp - LATE_LOWER[i].first);
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

/* Canonical decomposition; returns how many, at least 1. */
static unsigned decompose(uint32_t cp, utf8proc_int32_t out[NORMAL_ITEMS_MAX]) {
    if (!IN(LATE_ORDER, cp)) {
        int boundary = 0;
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, out, NORMAL_ITEMS_MAX,
                                                     UTF8PROC_DECOMPOSE, &boundary);
        if (n >= 1 && n <= NORMAL_ITEMS_MAX)
            return (unsigned)n;
    }
    out[0] = (utf8proc_int32_t)cp;
    return 1;
}

static enum normal_kind class_of(uint32_t cp) {
    if (is_white(cp))
        return NORMAL_SPACE;
    return is_punct(cp) ? NORMAL_ALONE : NORMAL_WORD;
}

unsigned normalizer_expand(const struct normalizer *self, uint32_t cp,
                           struct normal_item items[NORMAL_ITEMS_MAX]) {
    const struct normalizer_options *o = &self->options;
    if (o->clean && (cp == 0 || cp == 0xfffd || is_control(cp)))
        return 0;
    if (o->clean && is_white(cp)) {
        items[0] = (struct normal_item){.kind = NORMAL_SPACE};
        return 1;
    }
    bool ideograph = o->ideograph && utf8_is_ideograph(cp);
    utf8proc_int32_t parts[NORMAL_ITEMS_MAX] = {(utf8proc_int32_t)cp};
    unsigned n_parts = o->strip ? decompose(cp, parts) : 1, n = 0;
    for (unsigned i = 0; i < n_parts; i++) {
        uint32_t part = (uint32_t)parts[i];
        if (o->strip && is_mark(part)) {
            if (normalizer_order(part) == 0)
                items[n++] = (struct normal_item){.kind = NORMAL_FENCE};
            continue;
        }
        /* Without NFD the one capital that becomes two code points is still whole. */
        bool dotted = o->lowercase && part == 0x130;
        if (o->lowercase)
            part = dotted ? 'i' : lower(part);
        items[n++] = (struct normal_item){
            .kind = ideograph ? NORMAL_ALONE : class_of(part),
            .cp = part,
            .order = o->strip ? normalizer_order(part) : 0,
        };
        if (dotted && n < NORMAL_ITEMS_MAX)
            items[n++] = (struct normal_item){.kind = NORMAL_WORD, .cp = 0x307};
    }
    return n;
}

static normal_rule_t rule_of(const struct normalizer *self, uint32_t cp) {
    struct normal_item items[NORMAL_ITEMS_MAX];
    unsigned n = normalizer_expand(self, cp, items);
    if (n == 0)
        return NORMAL_DROP;
    if (n > 1 || items[0].order != 0)
        return NORMAL_SLOW;
    if (items[0].kind == NORMAL_SPACE || items[0].kind == NORMAL_FENCE || items[0].cp == cp)
        return items[0].kind;
    return items[0].cp << 8 | items[0].kind;
}

static void fill_page(const struct normalizer *self, uint32_t page, normal_rule_t *rules) {
    bool uniform = IN(UNIFORM, page);
    for (uint32_t i = 0; i < NORMAL_PAGE; i++)
        rules[i] = uniform && i > 0 ? rules[0] : rule_of(self, page * NORMAL_PAGE + i);
}

/* Place of a page with these rules among those kept, added when it is new. */
static bool keep_page(struct normalizer *self, const normal_rule_t *rules, uint32_t *room,
                      uint16_t *place) {
    enum { BYTES = NORMAL_PAGE * sizeof *rules };
    for (uint32_t i = self->n_pages; i-- > 0;) /* the last ones first: equal pages are neighbours */
        if (memcmp(&self->pages[i * NORMAL_PAGE], rules, BYTES) == 0) {
            *place = (uint16_t)i;
            return true;
        }
    if (self->n_pages == *room) {
        uint32_t more = *room ? *room * 2 : 256;
        uint32_t *pages = realloc(self->pages, (size_t)more * BYTES);
        if (!pages)
            return false;
        self->pages = pages;
        *room = more;
    }
    memcpy(&self->pages[self->n_pages * NORMAL_PAGE], rules, BYTES);
    *place = (uint16_t)self->n_pages++;
    return true;
}

bool normalizer_init(struct normalizer *self, struct normalizer_options options) {
    *self = (struct normalizer){.options = options};
    uint32_t room = 0;
    for (uint32_t page = 0; page < NORMAL_PAGES; page++) {
        normal_rule_t rules[NORMAL_PAGE];
        fill_page(self, page, rules);
        if (!keep_page(self, rules, &room, &self->page_of[page])) {
            normalizer_done(self);
            return false;
        }
    }
    return true;
}

void normalizer_done(struct normalizer *self) {
    free(self->pages);
    *self = (struct normalizer){0};
}

const char *normalizer_unicode(void) {
    return utf8proc_unicode_version();
}
