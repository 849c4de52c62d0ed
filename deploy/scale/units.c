/* units.c - see units.h. `systemctl show` is what systemd keeps stable for programs; the tables of
 * `list-units` are for people. */
#include "units.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the file of hosts */

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static struct view next_line(struct view *text) {
    const char *end = text->bytes ? memchr(text->data, '\n', text->bytes) : NULL;
    size_t bytes = end ? (size_t)(end - text->data) : text->bytes;
    struct view line = view_make(text->data, bytes);
    bytes += end != NULL;
    *text = view_make(text->data + bytes, text->bytes - bytes);
    return line;
}

static struct view next_word(struct view *line) {
    while (line->bytes && is_blank(*line->data))
        *line = view_make(line->data + 1, line->bytes - 1);
    size_t bytes = 0;
    while (bytes < line->bytes && !is_blank(line->data[bytes]) && line->data[bytes] != '#')
        bytes++;
    struct view word = view_make(line->data, bytes);
    *line = view_make(line->data + bytes, line->bytes - bytes);
    return word;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* What ssh(1) takes, user and port included, and nothing that could be an option: letters and
 * marks, a user, a name and a port that have each a letter next to their mark. */
static bool is_host(struct view word) {
    if (!word.bytes || word.bytes > FOLLOW_HOST_BYTES || word.data[0] == '-')
        return false;
    for (size_t i = 0; i < word.bytes; i++) {
        char c = word.data[i];
        bool between = i > 0 && i + 1 < word.bytes && is_letter(word.data[i - 1]) &&
                       is_letter(word.data[i + 1]);
        bool mark = c == '@' || c == ':';
        if (!is_letter(c) && !(mark ? between : c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static bool read_number(struct view word, uint32_t max, uint32_t *out) {
    uint32_t value = 0;
    for (size_t i = 0; i < word.bytes; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(word.data[i] - '0');
        if (value > max)
            return false;
    }
    *out = value;
    return word.bytes > 0;
}

static bool is_known(const struct follow_host *hosts, uint32_t n, struct view name) {
    for (uint32_t i = 0; i < n; i++)
        if (view_equal(view_of(hosts[i].name), name))
            return true;
    return false;
}

static enum status read_host(struct view line, struct follow_host *hosts, uint32_t *n,
                             struct err *err) {
    struct view name = next_word(&line);
    if (!name.bytes && (!line.bytes || *line.data == '#'))
        return STATUS_OK;
    struct view units = next_word(&line), more = next_word(&line);
    if (!is_host(name))
        return err_set(err, STATUS_INVALID_ARGUMENT, "'%.*s' is no host", (int)name.bytes,
                       name.data);
    if (*n == FOLLOW_HOSTS_MAX)
        return err_set(err, STATUS_INVALID_ARGUMENT, "more than %d hosts", FOLLOW_HOSTS_MAX);
    if (is_known(hosts, *n, name))
        return err_set(err, STATUS_INVALID_ARGUMENT, "'%.*s' is there twice", (int)name.bytes,
                       name.data);
    struct follow_host *host = &hosts[*n];
    if (!read_number(units, FOLLOW_HOST_UNITS_MAX, &host->units) || more.bytes ||
        (line.bytes && *line.data != '#'))
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "behind a host stands how many units it may run, 0 to %d, and nothing else",
                       FOLLOW_HOST_UNITS_MAX);
    memcpy(host->name, name.data, name.bytes);
    host->name[name.bytes] = '\0';
    ++*n;
    return STATUS_OK;
}

enum status units_read_hosts(struct view text, struct follow_host *hosts, uint32_t *n,
                             struct err *err) {
    uint32_t all = 0, read = 0;
    for (uint32_t number = 1; text.bytes; number++) {
        uint32_t before = read;
        enum status status = read_host(next_line(&text), hosts, &read, err);
        if (status == STATUS_OK && read > before)
            all += hosts[before].units;
        if (status == STATUS_OK && all > FOLLOW_UNITS_MAX)
            status = err_set(err, STATUS_INVALID_ARGUMENT, "more than %d units in all",
                             FOLLOW_UNITS_MAX);
        if (status != STATUS_OK)
            return err_prefix(err, status, "line %u", number);
    }
    if (!read)
        return err_set(err, STATUS_INVALID_ARGUMENT, "it names no host");
    *n = read;
    return STATUS_OK;
}

bool units_is_name(const char *name) {
    size_t bytes = strlen(name);
    for (size_t i = 0; i < bytes; i++)
        if (!is_letter(name[i]) && !strchr("._-:", name[i]))
            return false;
    return bytes && bytes < UNITS_NAME_BYTES && name[0] != '-';
}

/* ---- commands */

static void say(struct units_command *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct units_command *self, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(self->text[self->n], sizeof self->text[0], format, args);
    va_end(args);
    self->words[self->n] = self->text[self->n];
    self->words[++self->n] = NULL;
}

static void begin(struct units_command *self, const char *systemctl, const char *host) {
    self->n = 0;
    say(self, "%s", systemctl);
    if (strcmp(host, "localhost") != 0)
        say(self, "--host=%s", host);
}

void units_list_command(struct units_command *self, const char *systemctl, const char *host,
                        const char *name) {
    begin(self, systemctl, host);
    say(self, "show");
    say(self, "--property=Id,ActiveState");
    say(self, "%s@*.service", name);
}

void units_step_command(struct units_command *self, const char *systemctl, const char *host,
                        const char *name, const char *verb, const uint32_t *units, uint32_t n) {
    begin(self, systemctl, host);
    say(self, "--no-block");
    say(self, "%s", verb);
    for (uint32_t i = 0; i < n; i++)
        say(self, "%s@%u.service", name, units[i]);
}

/* ---- what systemctl prints */

static bool take_prefix(struct view *text, const char *prefix) {
    size_t bytes = strlen(prefix);
    if (text->bytes < bytes || memcmp(text->data, prefix, bytes) != 0)
        return false;
    *text = view_make(text->data + bytes, text->bytes - bytes);
    return true;
}

static uint32_t unit_number(struct view id, const char *name) {
    static const char end[] = ".service";
    uint32_t number = 0;
    if (!take_prefix(&id, name) || !take_prefix(&id, "@") || id.bytes <= sizeof end - 1 ||
        memcmp(id.data + id.bytes - (sizeof end - 1), end, sizeof end - 1) != 0)
        return 0;
    struct view digits = view_make(id.data, id.bytes - (sizeof end - 1));
    if (digits.data[0] == '0' || !read_number(digits, FOLLOW_HOST_UNITS_MAX, &number))
        return 0; /* ember-worker@01 is another unit than ember-worker@1 */
    return number;
}

static enum unit_state state_of(struct view word) {
    static const struct {
        const char *word;
        enum unit_state state;
    } words[] = {
        {"active", UNIT_ACTIVE},       {"reloading", UNIT_ACTIVE},
        {"activating", UNIT_STARTING}, {"deactivating", UNIT_STOPPING},
        {"maintenance", UNIT_FAILED},  {"failed", UNIT_FAILED},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (view_equal(word, view_of(words[i].word)))
            return words[i].state;
    return UNIT_OFF;
}

void units_read_list(struct view text, const char *name,
                     enum unit_state states[FOLLOW_HOST_UNITS_MAX]) {
    struct view id = view_of(""), state = view_of("");
    for (uint32_t i = 0; i < FOLLOW_HOST_UNITS_MAX; i++)
        states[i] = UNIT_OFF;
    bool more = true;
    while (more) {
        more = text.bytes > 0;
        struct view line = next_line(&text);
        if (take_prefix(&line, "Id=")) {
            id = line;
        } else if (take_prefix(&line, "ActiveState=")) {
            state = line;
        } else if (!line.bytes) { /* the end of a block, or of the text */
            uint32_t number = unit_number(id, name);
            if (number)
                states[number - 1] = state_of(state);
            id = state = view_of("");
        }
    }
}
