/* fuzz_settings.c - what an operator writes: refused with a text, or a value that makes sense. The
 * first byte chooses:
 *
 *     0 flags, one a line   1 a settings file   2 routes, one a line   3 a Redis URL
 *
 * What is accepted is printed and reads the same again. */
#include "base/cfg.h"
#include "base/check.h"
#include "cache/redis_url.h"
#include "routes.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 4096, WORDS_MAX = 64 };

struct settings {
    char text[32];
    struct cfg_list list;
    uint32_t number, choice;
    double share;
    uint64_t us, bytes;
    bool yes;
};
#define S struct settings
static const struct cfg_row rows[] = {
    CFG_HEADING("All kinds"),
    CFG_TEXT("text", S, text, "a", "TEXT", "some"),
    CFG_LIST("list", S, list, NULL, "TEXT", "several"),
    CFG_U32("number", S, number, "7", 1, 1000, "N", "some"),
    CFG_F64("share", S, share, "0.5", 0, 1, "X", "a part"),
    CFG_DURATION("time", S, us, "5s", 0, 1e12, "how long"),
    CFG_SIZE("size", S, bytes, "1M", 0, 1e12, "how much"),
    CFG_BOOL("yes", S, yes, "whether"),
    CFG_CHOICE("choice", S, choice, "one", "one|two|three", "which"),
};
static const struct cfg cfg = {.program = "p",
                               .synopsis = "s",
                               .about = "a",
                               .rows = rows,
                               .n_rows = sizeof rows / sizeof *rows};

/* The bytes as a file that has a path; the caller closes. */
static int file_of(const char *text, size_t bytes, char path[64]) {
    int fd = memfd_create("settings", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, text, bytes) == (ssize_t)bytes);
    snprintf(path, 64, "--config=/proc/self/fd/%d", fd);
    return fd;
}

static enum status load_file(const char *text, size_t bytes, struct settings *out,
                             struct err *err) {
    char path[64];
    char *argv[] = {(char[]){"p"}, path, NULL};
    enum cfg_action action;
    int fd = file_of(text, bytes, path);
    memset(out, 0, sizeof *out);
    enum status st = cfg_load(&cfg, 2, argv, NULL, out, &action, err);
    close(fd);
    return st;
}

static char *printed(const struct settings *s, size_t *bytes) {
    char *text = NULL;
    FILE *f = open_memstream(&text, bytes);
    CHECK(f);
    cfg_print(&cfg, s, f);
    CHECK(fclose(f) == 0);
    return text;
}

/* A file has lines, and blanks around a value are not part of it: a flag can say more. */
static bool fits_a_line(const char *text) {
    size_t n = strlen(text);
    return n == 0 || (!strpbrk(text, "\n\r") && !isspace((unsigned char)text[0]) &&
                      !isspace((unsigned char)text[n - 1]));
}

static bool fits_a_file(const struct settings *s) {
    bool fits = fits_a_line(s->text);
    for (uint32_t i = 0; i < s->list.n; i++)
        fits = fits && fits_a_line(s->list.item[i]);
    return fits;
}

static void judge(enum status st, const struct settings *s, const struct err *err) {
    if (st != STATUS_OK) {
        CHECK(st == STATUS_INVALID_ARGUMENT && err->status == st && err->text[0]);
        return;
    }
    CHECK(s->number >= 1 && s->number <= 1000 && s->choice < 3 && s->list.n <= CFG_LIST_MAX);
    CHECK(s->share >= 0 && s->share <= 1 && s->us <= 1000000000000 && s->bytes <= 1000000000000);
    CHECK(memchr(s->text, 0, sizeof s->text));
    if (!fits_a_file(s))
        return;
    size_t bytes, again_bytes;
    char *text = printed(s, &bytes);
    struct settings again;
    struct err again_err;
    if (load_file(text, bytes, &again, &again_err) != STATUS_OK) {
        fprintf(stderr, "%s\n%s\n", again_err.text, text);
        abort();
    }
    char *again_text = printed(&again, &again_bytes);
    if (bytes != again_bytes || memcmp(text, again_text, bytes) != 0) {
        fprintf(stderr, "%s\nreads as\n%s\n", text, again_text);
        abort();
    }
    free(again_text);
    free(text);
}

static void flags(char *text) {
    static const char common[] = "config"; /* it would open any file of this machine */
    char *argv[WORDS_MAX + 2] = {(char[]){"p"}};
    int argc = 1, n_words = 0;
    if (strstr(text, common) || strstr(text, "help") || strstr(text, "print") ||
        strstr(text, "version"))
        return;
    for (char *word; argc <= WORDS_MAX && (word = strsep(&text, "\n"));)
        argv[argc++] = word;
    struct settings s;
    struct err err;
    enum cfg_action action;
    memset(&s, 0, sizeof s);
    enum status st = cfg_load(&cfg, argc, argv, &n_words, &s, &action, &err);
    if (st == STATUS_OK && action == CFG_EXIT)
        return; /* -h, -V: answered, nothing was filled */
    CHECK(st != STATUS_OK || (n_words >= 0 && n_words < argc));
    judge(st, &s, &err);
}

static void routes(char *text) {
    struct routes routes = {0}, again = {0};
    struct err err;
    for (char *line; (line = strsep(&text, "\n"));)
        if (routes_add(&routes, line, &err) != STATUS_OK) {
            CHECK(err.status == STATUS_INVALID_ARGUMENT && err.text[0]);
            return;
        }
    if (routes_check(&routes, &err) != STATUS_OK) {
        CHECK(err.text[0]);
        return;
    }
    CHECK(routes.n <= ROUTES_MAX);
    for (uint32_t i = 0; i < routes.n; i++) {
        const struct route *r = &routes.route[i];
        char told[ROUTE_TEXT_BYTES];
        uint8_t order[ROUTES_TARGETS];
        uint32_t seen = 0;
        CHECK(r->n >= 1 && r->n <= ROUTES_TARGETS && routes_find(&routes, view_of(r->alias)) == r);
        route_order(r, i * 77, order);
        for (uint32_t k = 0; k < r->n; k++) {
            CHECK(order[k] < r->n && r->target[k].weight <= ROUTES_WEIGHT_MAX);
            seen |= 1U << order[k];
        }
        CHECK(seen == (1U << r->n) - 1);
        route_text(r, told);
        CHECK(routes_add(&again, told, &err) == STATUS_OK);
        CHECK(again.n == i + 1 && memcmp(&again.route[i], r, sizeof *r) == 0);
    }
}

static void redis(const char *text) {
    struct redis_url url;
    struct err err;
    if (redis_url_parse(text, &url, &err) != STATUS_OK) {
        CHECK(err.status == STATUS_INVALID_ARGUMENT && err.text[0]);
        return;
    }
    CHECK(memchr(url.host, 0, sizeof url.host) && memchr(url.port, 0, sizeof url.port));
    CHECK(memchr(url.user, 0, sizeof url.user) && memchr(url.password, 0, sizeof url.password));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static FILE *quiet; /* -h answers there */
    if (!quiet)
        CHECK((quiet = freopen("/dev/null", "we", stdout)));
    if (size < 1 || size > TEXT_MAX)
        return 0;
    char *text = calloc(1, size); /* what is behind the first byte, and a NUL */
    CHECK(text);
    memcpy(text, data + 1, size - 1);
    struct settings s;
    struct err err;
    switch (data[0] % 4) {
    case 0:
        flags(text);
        break;
    case 1: {
        enum status st = load_file(text, size - 1, &s, &err);
        judge(st, &s, &err);
        break;
    }
    case 2:
        routes(text);
        break;
    default:
        redis(text);
    }
    free(text);
    return 0;
}
