/* cfg.c - walks the table once per source, lowest first: defaults, file, environment, flags. */
#include "base/cfg.h"

#include "base/check.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

enum { LINE_MAX_BYTES = 4096, FIELD_COLUMN = 30, TEXT_COLUMNS = 92 };

struct unit {
    const char *suffix;
    double factor;
};

static bool parse_with_units(const char *text, const struct unit *units, size_t n, double *out) {
    char *end;
    errno = 0;
    double x = strtod(text, &end);
    if (end == text || errno || !isfinite(x) || isspace((unsigned char)*text))
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(end, units[i].suffix) == 0) {
            *out = x * units[i].factor;
            return true;
        }
    return false;
}

bool cfg_parse_duration(const char *text, double *us) {
    static const struct unit units[] = {{"", 1e6},   {"us", 1},     {"ms", 1e3},   {"s", 1e6},
                                        {"m", 60e6}, {"h", 3600e6}, {"d", 86400e6}};
    return parse_with_units(text, units, sizeof units / sizeof *units, us);
}

bool cfg_parse_size(const char *text, double *bytes) {
    static const struct unit units[] = {{"", 1},           {"B", 1},           {"K", 1024},
                                        {"KiB", 1024},     {"M", 1048576},     {"MiB", 1048576},
                                        {"G", 1073741824}, {"GiB", 1073741824}};
    return parse_with_units(text, units, sizeof units / sizeof *units, bytes);
}

static const struct cfg_row *find_row(const struct cfg *cfg, const char *name, size_t bytes) {
    for (size_t i = 0; i < cfg->n_rows; i++) {
        const struct cfg_row *row = &cfg->rows[i];
        if (row->kind != CFG_KIND_HEADING && strlen(row->name) == bytes &&
            memcmp(row->name, name, bytes) == 0)
            return row;
    }
    return NULL;
}

static enum status bad(const struct cfg_row *row, const char *where, const char *value,
                       const char *must, struct err *err) {
    return err_set(err, STATUS_INVALID_ARGUMENT, "%s%s: '%s' is not %s", where, row->name, value,
                   must);
}

static void number_range(const struct cfg_row *row, char *out, size_t bytes) {
    if (row->kind == CFG_KIND_DURATION)
        snprintf(out, bytes, "a time from %gms to %gs (write 250us, 10ms, 5s, 3m, 1h)",
                 row->min / 1e3, row->max / 1e6);
    else if (row->kind == CFG_KIND_SIZE)
        snprintf(out, bytes, "a size from %.0f to %.0f bytes (write 64M, 2G)", row->min, row->max);
    else
        snprintf(out, bytes, "a number from %g to %g", row->min, row->max);
}

static bool choice_index(const char *choices, const char *value, uint32_t *out) {
    uint32_t i = 0;
    for (const char *p = choices; *p; i++) {
        size_t n = strcspn(p, "|");
        if (strlen(value) == n && memcmp(p, value, n) == 0) {
            *out = i;
            return true;
        }
        p += n + (p[n] == '|');
    }
    return false;
}

static bool parse_bool(const char *value, bool *out) {
    static const char *const yes[] = {"yes", "true", "on", "1", ""};
    static const char *const no[] = {"no", "false", "off", "0"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (strcmp(value, yes[i]) == 0)
            return *out = true;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (strcmp(value, no[i]) == 0) {
            *out = false;
            return true;
        }
    return false;
}

static enum status set_number(const struct cfg_row *row, const char *where, const char *value,
                              void *field, struct err *err) {
    char range[160];
    number_range(row, range, sizeof range);
    double x;
    bool ok;
    if (row->kind == CFG_KIND_DURATION)
        ok = cfg_parse_duration(value, &x);
    else if (row->kind == CFG_KIND_SIZE)
        ok = cfg_parse_size(value, &x);
    else
        ok = parse_with_units(value, &(struct unit){"", 1}, 1, &x);
    if (!ok || x < row->min || x > row->max || (row->kind == CFG_KIND_U32 && x != floor(x)))
        return bad(row, where, value, range, err);
    if (row->kind == CFG_KIND_F64)
        *(double *)field = x;
    else if (row->kind == CFG_KIND_U32)
        *(uint32_t *)field = (uint32_t)x;
    else
        *(uint64_t *)field = (uint64_t)x;
    return STATUS_OK;
}

static enum status set_text(const struct cfg_row *row, const char *where, const char *value,
                            char *out, size_t bytes, struct err *err) {
    if (strlen(value) >= bytes)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s%s: longer than %zu bytes", where,
                       row->name, bytes - 1);
    memcpy(out, value, strlen(value) + 1);
    return STATUS_OK;
}

/* Sets one value; `where` names the source for messages ("--", "file.conf:3: ", "EMBER_"). */
static enum status set_value(const struct cfg_row *row, const char *where, const char *value,
                             void *settings, struct err *err) {
    void *field = (char *)settings + row->offset;
    switch (row->kind) {
    case CFG_KIND_TEXT:
        return set_text(row, where, value, field, row->bytes, err);
    case CFG_KIND_LIST: {
        struct cfg_list *list = field;
        if (list->n == CFG_LIST_MAX)
            return err_set(err, STATUS_INVALID_ARGUMENT, "%s%s: more than %d values", where,
                           row->name, CFG_LIST_MAX);
        enum status st = set_text(row, where, value, list->item[list->n], CFG_TEXT_MAX, err);
        if (st == STATUS_OK)
            list->n++;
        return st;
    }
    case CFG_KIND_BOOL:
        if (!parse_bool(value, field))
            return bad(row, where, value, "yes or no", err);
        return STATUS_OK;
    case CFG_KIND_CHOICE:
        if (!choice_index(row->choices, value, field))
            return bad(row, where, value, row->choices, err);
        return STATUS_OK;
    case CFG_KIND_U32:
    case CFG_KIND_F64:
    case CFG_KIND_DURATION:
    case CFG_KIND_SIZE:
        return set_number(row, where, value, field, err);
    case CFG_KIND_HEADING:
        break;
    }
    return STATUS_OK;
}

static enum status set_split(const struct cfg_row *row, const char *where, const char *value,
                             void *settings, struct err *err) { /* a,b,c into a list */
    char part[CFG_TEXT_MAX];
    for (const char *p = value; *p;) {
        size_t n = strcspn(p, ",");
        if (n >= sizeof part)
            return err_set(err, STATUS_INVALID_ARGUMENT, "%s%s: longer than %zu bytes", where,
                           row->name, sizeof part - 1);
        memcpy(part, p, n);
        part[n] = '\0';
        enum status st = n ? set_value(row, where, part, settings, err) : STATUS_OK;
        if (st != STATUS_OK)
            return st;
        p += n + (p[n] == ',');
    }
    return STATUS_OK;
}

static void clear_list(const struct cfg_row *row, void *settings) {
    if (row->kind == CFG_KIND_LIST)
        ((struct cfg_list *)(void *)((char *)settings + row->offset))->n = 0;
}

static enum status from_defaults(const struct cfg *cfg, void *settings, struct err *err) {
    for (size_t i = 0; i < cfg->n_rows; i++) {
        const struct cfg_row *row = &cfg->rows[i];
        if (row->kind == CFG_KIND_HEADING)
            continue;
        memset((char *)settings + row->offset, 0, row->bytes);
        if (!row->fallback)
            continue;
        enum status st = row->kind == CFG_KIND_LIST
                             ? set_split(row, "default of ", row->fallback, settings, err)
                             : set_value(row, "default of ", row->fallback, settings, err);
        if (st != STATUS_OK)
            return st;
    }
    return STATUS_OK;
}

static char *trim(char *s) {
    while (isspace((unsigned char)*s))
        s++;
    for (char *end = s + strlen(s); end > s && isspace((unsigned char)end[-1]);)
        *--end = '\0';
    return s;
}

static enum status file_line(const struct cfg *cfg, const char *path, unsigned number, char *line,
                             bool *seen, void *settings, struct err *err) {
    char where[300];
    snprintf(where, sizeof where, "%s:%u: ", path, number);
    char *text = trim(line);
    if (*text == '\0' || *text == '#')
        return STATUS_OK;
    char *equals = strchr(text, '=');
    if (!equals)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%snot 'name = value': '%s'", where, text);
    *equals = '\0';
    char *name = trim(text), *value = trim(equals + 1);
    const struct cfg_row *row = find_row(cfg, name, strlen(name));
    if (!row)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%sno setting is called '%s'", where, name);
    bool *first = &seen[row - cfg->rows];
    if (!*first)
        clear_list(row, settings);
    *first = true;
    return set_value(row, where, value, settings, err);
}

static enum status from_file(const struct cfg *cfg, const char *path, void *settings,
                             struct err *err) {
    FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(err, STATUS_INVALID_ARGUMENT, "open '%s'", path);
    char line[LINE_MAX_BYTES];
    bool *seen = calloc(cfg->n_rows, sizeof *seen);
    enum status st = seen ? STATUS_OK : err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    for (unsigned number = 1; st == STATUS_OK && fgets(line, sizeof line, f); number++)
        st = file_line(cfg, path, number, line, seen, settings, err);
    free(seen);
    fclose(f);
    return st;
}

static void environment_name(const struct cfg_row *row, char *out, size_t bytes) {
    int n = snprintf(out, bytes, "EMBER_%s", row->name);
    for (int i = 0; i < n && (size_t)i < bytes; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

static enum status from_environment(const struct cfg *cfg, void *settings, struct err *err) {
    for (size_t i = 0; i < cfg->n_rows; i++) {
        const struct cfg_row *row = &cfg->rows[i];
        if (row->kind == CFG_KIND_HEADING)
            continue;
        char name[128];
        environment_name(row, name, sizeof name);
        const char *value = getenv(name);
        if (!value)
            continue;
        clear_list(row, settings);
        enum status st = row->kind == CFG_KIND_LIST
                             ? set_split(row, "environment EMBER_", value, settings, err)
                             : set_value(row, "environment EMBER_", value, settings, err);
        if (st != STATUS_OK)
            return st;
    }
    return STATUS_OK;
}

/* What the flags that every program has asked for. */
struct common {
    bool help, version, print;
    const char *config;
};

struct flag {
    const struct cfg_row *row; /* NULL: one of struct common */
    const char *name;
    size_t name_bytes;
    const char *value; /* behind '=', or NULL */
};

static bool is_common(const struct flag *flag, const char *name) {
    return flag->name_bytes == strlen(name) && memcmp(flag->name, name, flag->name_bytes) == 0;
}

static enum status take_common(struct flag *flag, int argc, char **argv, int *i,
                               struct common *common, struct err *err) {
    if (is_common(flag, "help"))
        common->help = true;
    else if (is_common(flag, "version"))
        common->version = true;
    else if (is_common(flag, "print-config"))
        common->print = true;
    else if (is_common(flag, "config")) {
        common->config = flag->value ? flag->value : *i + 1 < argc ? argv[++*i] : NULL;
        if (!common->config)
            return err_set(err, STATUS_INVALID_ARGUMENT, "--config needs a file name");
    } else
        return err_set(err, STATUS_INVALID_ARGUMENT, "no option is called '--%.*s'; see --help",
                       (int)flag->name_bytes, flag->name);
    return STATUS_OK;
}

static const struct cfg_row *find_short(const struct cfg *cfg, char c) {
    for (size_t i = 0; i < cfg->n_rows; i++)
        if (c && cfg->rows[i].short_name == c)
            return &cfg->rows[i];
    return NULL;
}

/* Splits argv[i] into a flag; false when it is a word. */
static bool split_flag(const struct cfg *cfg, const char *arg, struct flag *out) {
    *out = (struct flag){0};
    if (arg[0] != '-' || arg[1] == '\0')
        return false;
    if (arg[1] == '-') {
        out->name = arg + 2;
        out->name_bytes = strcspn(out->name, "=");
        out->value = out->name[out->name_bytes] == '=' ? out->name + out->name_bytes + 1 : NULL;
        out->row = find_row(cfg, out->name, out->name_bytes);
        return true;
    }
    if (isdigit((unsigned char)arg[1]) || arg[1] == '.')
        return false; /* a negative number is a word */
    out->row = find_short(cfg, arg[1]);
    out->name = out->row        ? out->row->name
                : arg[1] == 'h' ? "help"
                : arg[1] == 'V' ? "version"
                                : arg + 1;
    out->name_bytes = strlen(out->name);
    out->value = out->row && arg[2] ? arg + 2 : NULL;
    return true;
}

/* One pass over argv. With settings NULL only the common flags are looked at (the file comes
 * before the flags but is named by one). */
static enum status walk_flags(const struct cfg *cfg, int argc, char **argv, int *n_words,
                              void *settings, struct common *common, struct err *err) {
    bool *seen = calloc(cfg->n_rows ? cfg->n_rows : 1, sizeof *seen);
    if (!seen)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    enum status st = STATUS_OK;
    int words = 0;
    bool only_words = false;
    for (int i = 1; i < argc && st == STATUS_OK; i++) {
        struct flag flag;
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (only_words || !split_flag(cfg, argv[i], &flag)) {
            words++;
            if (settings && n_words)
                argv[words] = argv[i];
            else if (!n_words)
                st = err_set(err, STATUS_INVALID_ARGUMENT, "unexpected word '%s'; see --help",
                             argv[i]);
        } else if (!flag.row) {
            st = take_common(&flag, argc, argv, &i, common, err);
        } else {
            const char *value = flag.value;
            if (!value && flag.row->kind == CFG_KIND_BOOL)
                value = "yes";
            else if (!value)
                value = i + 1 < argc ? argv[++i] : NULL;
            if (!value)
                st = err_set(err, STATUS_INVALID_ARGUMENT, "--%s needs a value (%s)",
                             flag.row->name, flag.row->meta ? flag.row->meta : "see --help");
            else if (settings) {
                if (!seen[flag.row - cfg->rows])
                    clear_list(flag.row, settings);
                seen[flag.row - cfg->rows] = true;
                st = set_value(flag.row, "--", value, settings, err);
            }
        }
    }
    free(seen);
    if (n_words)
        *n_words = words;
    return st;
}

enum status cfg_load(const struct cfg *cfg, int argc, char **argv, int *n_words, void *settings,
                     enum cfg_action *action, struct err *err) {
    struct common common = {0};
    enum status st = walk_flags(cfg, argc, argv, n_words, NULL, &common, err);
    if (common.help || common.version) {
        if (common.help)
            cfg_help(cfg, stdout);
        else
            printf("%s %s\n", cfg->program, EMBER_VERSION);
        *action = CFG_EXIT;
        return STATUS_OK;
    }
    if (st == STATUS_OK)
        st = from_defaults(cfg, settings, err);
    const char *path = common.config ? common.config : getenv("EMBER_CONFIG");
    if (st == STATUS_OK && path && *path)
        st = from_file(cfg, path, settings, err);
    if (st == STATUS_OK)
        st = from_environment(cfg, settings, err);
    if (st == STATUS_OK)
        st = walk_flags(cfg, argc, argv, n_words, settings, &common, err);
    if (st != STATUS_OK)
        return st;
    *action = common.print ? CFG_EXIT : CFG_RUN;
    if (common.print)
        cfg_print(cfg, settings, stdout);
    return STATUS_OK;
}

static void format_scaled(double x, const struct unit *units, size_t n, char *out, size_t bytes) {
    for (size_t i = 0; i < n; i++)
        if (x >= units[i].factor && fmod(x, units[i].factor) == 0) {
            snprintf(out, bytes, "%.0f%s", x / units[i].factor, units[i].suffix);
            return;
        }
    snprintf(out, bytes, "%.0f%s", x, n ? units[n - 1].suffix : "");
}

static void format_value(const struct cfg_row *row, const void *field, char *out, size_t bytes) {
    static const struct unit times[] = {
        {"h", 3600e6}, {"m", 60e6}, {"s", 1e6}, {"ms", 1e3}, {"us", 1}};
    static const struct unit sizes[] = {{"G", 1073741824}, {"M", 1048576}, {"K", 1024}, {"", 1}};
    switch (row->kind) {
    case CFG_KIND_TEXT:
        snprintf(out, bytes, "%s", (const char *)field);
        break;
    case CFG_KIND_U32:
        snprintf(out, bytes, "%u", *(const uint32_t *)field);
        break;
    case CFG_KIND_F64:
        snprintf(out, bytes, "%g", *(const double *)field);
        break;
    case CFG_KIND_DURATION:
        format_scaled((double)*(const uint64_t *)field, times, 5, out, bytes);
        break;
    case CFG_KIND_SIZE:
        format_scaled((double)*(const uint64_t *)field, sizes, 4, out, bytes);
        break;
    case CFG_KIND_BOOL:
        snprintf(out, bytes, "%s", *(const bool *)field ? "yes" : "no");
        break;
    case CFG_KIND_CHOICE: {
        const char *p = row->choices;
        for (uint32_t i = *(const uint32_t *)field; i > 0; i--)
            p += strcspn(p, "|") + 1;
        snprintf(out, bytes, "%.*s", (int)strcspn(p, "|"), p);
        break;
    }
    case CFG_KIND_LIST:
    case CFG_KIND_HEADING:
        *out = '\0';
        break;
    }
}

static void print_row(const struct cfg_row *row, const void *field, FILE *out) {
    if (row->kind == CFG_KIND_LIST) {
        const struct cfg_list *list = field;
        for (uint32_t k = 0; k < list->n; k++)
            fprintf(out, "%s = %s\n", row->name, list->item[k]);
        if (list->n == 0)
            fprintf(out, "# %s =\n", row->name);
        return;
    }
    char value[CFG_TEXT_MAX];
    format_value(row, field, value, sizeof value);
    if (*value || (row->fallback && *row->fallback)) /* empty in place of a default is told */
        fprintf(out, "%s = %s\n", row->name, value);
    else
        fprintf(out, "# %s =\n", row->name);
}

void cfg_print(const struct cfg *cfg, const void *settings, FILE *out) {
    for (size_t i = 0; i < cfg->n_rows; i++) {
        const struct cfg_row *row = &cfg->rows[i];
        if (row->kind == CFG_KIND_HEADING) {
            fprintf(out, "%s## %s\n\n", i ? "\n" : "", row->name);
            continue;
        }
        for (const char *line = row->help; *line;) { /* each line of its help as a comment */
            size_t bytes = strcspn(line, "\n");
            fprintf(out, "# %.*s\n", (int)bytes, line);
            line += bytes + (line[bytes] == '\n');
        }
        print_row(row, (const char *)settings + row->offset, out);
    }
}

/* `text`, broken at blanks, in columns FIELD_COLUMN..TEXT_COLUMNS; the first line goes on where the
 * cursor is. */
static void put_wrapped(const char *text, int column, FILE *out) {
    int at = column;
    for (const char *p = text; *p;) {
        size_t word = strcspn(p, " \n");
        if (at > column && at + 1 + (int)word > TEXT_COLUMNS) {
            fprintf(out, "\n%*s", column, "");
            at = column;
        }
        at += fprintf(out, "%s%.*s", at > column ? " " : "", (int)word, p);
        p += word;
        if (*p == '\n') {
            fprintf(out, "\n%*s", column, "");
            at = column;
        }
        p += *p != '\0';
    }
    fputc('\n', out);
}

static void help_row(const char *name, char short_name, const char *meta, const char *help,
                     const char *fallback, FILE *out) {
    char left[128], text[1024];
    snprintf(left, sizeof left, "  %c%c%s --%s%s%s", short_name ? '-' : ' ',
             short_name ? short_name : ' ', short_name ? "," : " ", name, meta ? " " : "",
             meta ? meta : "");
    bool shown = fallback && *fallback;
    snprintf(text, sizeof text, "%s%s%s%s", help, shown ? " [" : "", shown ? fallback : "",
             shown ? "]" : "");
    if (strlen(left) >= FIELD_COLUMN - 1)
        fprintf(out, "%s\n%*s", left, FIELD_COLUMN, "");
    else
        fprintf(out, "%-*s", FIELD_COLUMN, left);
    put_wrapped(text, FIELD_COLUMN, out);
}

void cfg_help(const struct cfg *cfg, FILE *out) {
    fprintf(out, "Usage: %s %s\n\n", cfg->program, cfg->synopsis);
    put_wrapped(cfg->about, 0, out);
    if (cfg->n_rows && cfg->rows[0].kind != CFG_KIND_HEADING)
        fputs("\nOptions:\n", out);
    for (size_t i = 0; i < cfg->n_rows; i++) {
        const struct cfg_row *row = &cfg->rows[i];
        if (row->kind == CFG_KIND_HEADING)
            fprintf(out, "\n%s:\n", row->name);
        else if (row->kind == CFG_KIND_CHOICE)
            help_row(row->name, row->short_name, row->choices, row->help, row->fallback, out);
        else
            help_row(row->name, row->short_name, row->meta, row->help,
                     row->kind == CFG_KIND_BOOL ? NULL : row->fallback, out);
    }
    fputs("\nCommon:\n", out);
    help_row("config", 0, "FILE", "read settings from FILE, `name = value` lines", NULL, out);
    help_row("print-config", 0, NULL, "print the settings in force, as such a file, and exit", NULL,
             out);
    help_row("help", 'h', NULL, "print this and exit", NULL, out);
    help_row("version", 'V', NULL, "print the version and exit", NULL, out);
    fputs("\nEach option can stand in the environment too: --some-name is EMBER_SOME_NAME.\n", out);
    if (cfg->epilog)
        fprintf(out, "\n%s\n", cfg->epilog);
}
