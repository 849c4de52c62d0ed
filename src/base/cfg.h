/* cfg.h - one table of settings makes flags, a file, the environment, --help and --print-config.
 *
 *     struct settings { char listen[128]; uint32_t threads; struct cfg_list models; };
 *     static const struct cfg_row rows[] = {
 *         CFG_TEXT("listen", struct settings, listen, "tcp://127.0.0.1:1", "ENDPOINT", "where"),
 *         CFG_U32("threads", struct settings, threads, "0", 0, 256, "N", "runner threads"),
 *     };
 *
 * Order: flag over environment over file over default. `--cache-ttl 5m` is `cache-ttl = 5m` in
 * the file and EMBER_CACHE_TTL=5m in the environment. A repeatable setting (CFG_LIST) takes
 * several flags, several lines in the file, or a comma-separated value in the environment; one
 * source replaces the lower ones. A bad value stops the start with one line: setting, value, what
 * it must be.
 *
 * Units: durations are written 250us, 10ms, 5s, 3m, 1h, 2d and stored in microseconds; a bare
 * number means seconds. Sizes are written 512K, 64M, 2G (powers of 1024) and stored in bytes. */
#ifndef EMBER_BASE_CFG_H
#define EMBER_BASE_CFG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CFG_LIST_MAX = 16, CFG_TEXT_MAX = 512 };

enum cfg_kind {
    CFG_KIND_TEXT,
    CFG_KIND_LIST,
    CFG_KIND_U32,
    CFG_KIND_F64,
    CFG_KIND_DURATION,
    CFG_KIND_SIZE,
    CFG_KIND_BOOL,
    CFG_KIND_CHOICE,
    CFG_KIND_HEADING
};

struct cfg_list {
    uint32_t n;
    char item[CFG_LIST_MAX][CFG_TEXT_MAX];
};

struct cfg_row {
    const char *name; /* as in the flag, without the dashes; a heading: its text */
    enum cfg_kind kind;
    char short_name;      /* 'h' makes -h; 0: none */
    size_t offset;        /* of the field in the settings struct */
    size_t bytes;         /* size of the field: text fields are arrays */
    const char *fallback; /* the default, written as a user would; NULL: empty */
    double min, max;      /* numbers, durations (us), sizes (bytes) */
    const char *choices;  /* CHOICE: "f32|bf16|int8"; the field is a uint32_t index */
    const char *meta;     /* what --help calls the value */
    const char *help;     /* one or more lines, no full stop needed */
};

#define CFG_FIELD(type, field) offsetof(type, field), sizeof(((type *)0)->field)
#define CFG_HEADING(text)                                                                          \
    { text, CFG_KIND_HEADING, 0, 0, 0, NULL, 0, 0, NULL, NULL, NULL }
#define CFG_TEXT(name, type, field, fallback, meta, help)                                          \
    { name, CFG_KIND_TEXT, 0, CFG_FIELD(type, field), fallback, 0, 0, NULL, meta, help }
#define CFG_LIST(name, type, field, fallback, meta, help)                                          \
    { name, CFG_KIND_LIST, 0, CFG_FIELD(type, field), fallback, 0, 0, NULL, meta, help }
#define CFG_U32(name, type, field, fallback, min, max, meta, help)                                 \
    { name, CFG_KIND_U32, 0, CFG_FIELD(type, field), fallback, min, max, NULL, meta, help }
#define CFG_F64(name, type, field, fallback, min, max, meta, help)                                 \
    { name, CFG_KIND_F64, 0, CFG_FIELD(type, field), fallback, min, max, NULL, meta, help }
#define CFG_DURATION(name, type, field, fallback, min_us, max_us, help)                            \
    {                                                                                              \
        name, CFG_KIND_DURATION, 0, CFG_FIELD(type, field), fallback, min_us, max_us, NULL,        \
            "TIME", help                                                                           \
    }
#define CFG_SIZE(name, type, field, fallback, min, max, help)                                      \
    { name, CFG_KIND_SIZE, 0, CFG_FIELD(type, field), fallback, min, max, NULL, "SIZE", help }
#define CFG_BOOL(name, type, field, help)                                                          \
    { name, CFG_KIND_BOOL, 0, CFG_FIELD(type, field), "no", 0, 0, NULL, NULL, help }
#define CFG_CHOICE(name, type, field, fallback, choices, help)                                     \
    { name, CFG_KIND_CHOICE, 0, CFG_FIELD(type, field), fallback, 0, 0, choices, NULL, help }

struct cfg {
    const char *program;  /* "ember-broker" */
    const char *synopsis; /* "[OPTION]..." or "embed [OPTION]... [TEXT]..." */
    const char *about;    /* what it does, a short paragraph */
    const char *epilog;   /* examples, files, exit codes; may be NULL */
    const struct cfg_row *rows;
    size_t n_rows;
};

enum cfg_action {
    CFG_RUN,
    CFG_EXIT
}; /* CFG_EXIT: --help, --version or --print-config was answered */

/* Fill *settings (of the struct the rows name) from defaults, file (`--config FILE` or
 * EMBER_CONFIG), environment and argv. Words that are no options are moved to argv[1..*n_words]
 * in their order; everything after "--" is a word. With n_words NULL a word is an error. --help,
 * --version, --config and --print-config exist in every program. STATUS_INVALID_ARGUMENT with a
 * line for the user when anything is off. */
enum status cfg_load(const struct cfg *cfg, int argc, char **argv, int *n_words, void *settings,
                     enum cfg_action *action, struct err *err);

void cfg_help(const struct cfg *cfg, FILE *out);
void cfg_print(const struct cfg *cfg, const void *settings,
               FILE *out); /* a settings file with comments */

/* The parsers behind it, for other places that read such values. */
bool cfg_parse_duration(const char *text, double *us);
bool cfg_parse_size(const char *text, double *bytes);

#endif
