/* screen.c - see screen.h. */
#include "screen.h"

#include "base/utf8.h"

#include <sys/ioctl.h>
#include <unistd.h>

struct range {
    uint32_t first, last;
};

static const struct range wide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},
    {0x2614, 0x2615},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xa960, 0xa97f},
    {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe10, 0xfe19},   {0xfe30, 0xfe6f},
    {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x18cff}, {0x1b000, 0x1b2ff},
    {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x1fa70, 0x1faff},
    {0x20000, 0x3fffd},
};

static const struct range none[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x064b, 0x065f},   {0x0e31, 0x0e31},
    {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e}, {0x1ab0, 0x1aff}, {0x200b, 0x200f},   {0x20d0, 0x20ff},
    {0x302a, 0x302d}, {0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xe0100, 0xe01ef},
};

static bool in(const struct range *ranges, size_t n, uint32_t cp) {
    for (size_t i = 0; i < n; i++)
        if (cp >= ranges[i].first && cp <= ranges[i].last)
            return true;
    return false;
}

unsigned screen_columns_of(uint32_t cp) {
    if (cp < 0x300)
        return 1;
    if (in(none, sizeof none / sizeof *none, cp))
        return 0;
    return in(wide, sizeof wide / sizeof *wide, cp) ? 2 : 1;
}

static bool is_control(uint32_t cp) {
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x202a && cp <= 0x202e) ||
           (cp >= 0x2066 && cp <= 0x2069); /* the last two turn the direction of a line */
}

unsigned screen_columns(struct view text) {
    unsigned columns = 0, bytes;
    const char *end = text.data + text.bytes;
    for (const char *p = text.data; p < end; p += bytes)
        columns += screen_columns_of(utf8_next(p, end, &bytes));
    return columns;
}

static void put(FILE *out, uint32_t cp) {
    char bytes[4];
    unsigned n = utf8_put(is_control(cp) ? ' ' : cp, bytes);
    fwrite(bytes, 1, n, out);
}

void screen_print(FILE *out, struct view text, unsigned columns) {
    unsigned used = 0, bytes;
    bool cut = columns && screen_columns(text) > columns;
    const char *end = text.data + text.bytes;
    for (const char *p = text.data; p < end; p += bytes) {
        uint32_t cp = utf8_next(p, end, &bytes);
        unsigned width = screen_columns_of(cp);
        if (cut && used + width + 1 > columns)
            break;
        put(out, cp);
        used += width;
    }
    if (cut) {
        fputs("\xe2\x80\xa6", out);
        used++;
    }
    for (; used < columns; used++)
        fputc(' ', out);
}

unsigned screen_width(FILE *out) {
    struct winsize size;
    if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
        return size.ws_col;
    return 100;
}

void screen_json_text(FILE *out, struct view text) {
    const char *end = text.data + text.bytes;
    unsigned bytes;
    fputc('"', out);
    for (const char *p = text.data; p < end; p += bytes) {
        uint32_t cp = utf8_next(p, end, &bytes);
        if (cp == '"' || cp == '\\') {
            fprintf(out, "\\%c", (int)cp);
        } else if (cp == '\n') {
            fputs("\\n", out);
        } else if (cp == '\t') {
            fputs("\\t", out);
        } else if (cp < 0x20 || cp == 0x7f) {
            fprintf(out, "\\u%04x", cp);
        } else {
            char utf8[4];
            fwrite(utf8, 1, utf8_put(cp, utf8), out);
        }
    }
    fputc('"', out);
}

void screen_json_floats(FILE *out, const float *numbers, size_t n) {
    fputc('[', out);
    for (size_t i = 0; i < n; i++) /* nine digits bring a float back exactly */
        fprintf(out, "%s%.9g", i ? "," : "", (double)numbers[i]);
    fputc(']', out);
}

void screen_base64(FILE *out, const void *data, size_t bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i += 3) {
        size_t n = bytes - i < 3 ? bytes - i : 3;
        uint32_t x = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (n > 2 ? (uint32_t)p[i + 2] : 0);
        fputc(digits[x >> 18], out);
        fputc(digits[x >> 12 & 63], out);
        fputc(n > 1 ? digits[x >> 6 & 63] : '=', out);
        fputc(n > 2 ? digits[x & 63] : '=', out);
    }
}
