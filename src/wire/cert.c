/* cert.c - a strict reader of ZPL, as far as certificates need it: sections without indentation,
 * values with four blanks, nothing deeper.
 *
 * Why not czmq's zcert: it takes any file, keeps what it read until it is destroyed, does not say
 * what is wrong with a file and cannot be asked to forget a secret.
 *
 * Invariant: bytes of a value go nowhere but into the fields of *out. */
#include "wire/cert.h"

#include "base/cfg.h"
#include "wire/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert((int)CERT_KEY_BYTES == (int)FRAME_KEY_BYTES, "a socket takes our keys");

enum { VALUE_BYTES = 256, INDENT = 4, BARE_NAME_BYTES = 64 };

enum section { SECTION_NONE, SECTION_METADATA, SECTION_CURVE };

enum seen { SEEN_PUBLIC = 1, SEEN_SECRET = 2, SEEN_NAME = 4, SEEN_ROLE = 8, SEEN_LIMITS = 16 };

static const char *const role_names[CERT_ROLES] = {"", "client", "worker", "operator", "server"};

const char *cert_role_name(enum cert_role role) {
    return (unsigned)role < CERT_ROLES ? role_names[role] : "";
}

bool cert_role_from(struct view name, enum cert_role *out) {
    for (int i = CERT_CLIENT; i < CERT_ROLES; i++)
        if (view_equal(name, view_of(role_names[i]))) {
            *out = (enum cert_role)i;
            return true;
        }
    return false;
}

static bool name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool cert_name_ok(struct view name) {
    for (size_t i = 0; i < name.bytes; i++)
        if (!name_byte(name.data[i]))
            return false;
    return name.bytes >= 1 && name.bytes <= LIMIT_NAME_BYTES && name.data[0] != '.';
}

/* ---- keys */

void cert_key_text(const uint8_t key[CERT_KEY_BYTES], char out[CERT_KEY_TEXT]) {
    zmq_z85_encode(out, key, CERT_KEY_BYTES);
}

/* libzmq's decoder looks characters up in a table and trusts them to be in it. */
bool cert_key_bytes(struct view text, uint8_t out[CERT_KEY_BYTES]) {
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   ".-:+=^!/*?&<>()[]{}@%$#";
    char kept[CERT_KEY_TEXT];
    if (text.bytes != CERT_KEY_TEXT - 1)
        return false;
    for (size_t i = 0; i < text.bytes; i++)
        if (!text.data[i] || !strchr(alphabet, text.data[i]))
            return false;
    memcpy(kept, text.data, text.bytes);
    kept[text.bytes] = '\0';
    bool ok = zmq_z85_decode(out, kept) != NULL;
    explicit_bzero(kept, sizeof kept);
    return ok;
}

static bool is_zero(const uint8_t key[CERT_KEY_BYTES]) {
    uint8_t any = 0;
    for (int i = 0; i < CERT_KEY_BYTES; i++)
        any |= key[i];
    return any == 0;
}

/* Does the secret make this public key? */
static bool is_pair(const struct cert *self) {
    char secret[CERT_KEY_TEXT], public[CERT_KEY_TEXT], own[CERT_KEY_TEXT];
    cert_key_text(self->secret_key, secret);
    cert_key_text(self->public_key, own);
    bool ok = zmq_curve_public(public, secret) == 0 && strcmp(public, own) == 0;
    explicit_bzero(secret, sizeof secret);
    return ok;
}

bool cert_make_keys(struct cert *out) {
    char public[CERT_KEY_TEXT], secret[CERT_KEY_TEXT];
    bool ok = zmq_curve_keypair(public, secret) == 0;
    if (ok) {
        zmq_z85_decode(out->public_key, public);
        zmq_z85_decode(out->secret_key, secret);
        out->has_secret = true;
    }
    explicit_bzero(secret, sizeof secret);
    return ok;
}

void cert_clear(struct cert *self) {
    explicit_bzero(self, sizeof *self);
}

/* ---- reading */

struct reader {
    struct cert cert;
    enum section section;
    unsigned seen;
    uint32_t line;
};

static enum status bad(const struct reader *self, struct err *err, const char *what) {
    return err_set(err, STATUS_DATA_LOSS, "line %u: %s", self->line, what);
}

static struct view skip_blanks(struct view text) {
    while (text.bytes && (*text.data == ' ' || *text.data == '\t'))
        text = view_make(text.data + 1, text.bytes - 1);
    return text;
}

static bool is_rest(struct view text) { /* nothing, or a comment */
    text = skip_blanks(text);
    return !text.bytes || *text.data == '#';
}

/* The name at the start of *text, which moves behind it; empty when there is none. */
static struct view take_name(struct view *text) {
    size_t n = 0;
    while (n < text->bytes && n < BARE_NAME_BYTES && name_byte(text->data[n]))
        n++;
    struct view name = view_make(text->data, n);
    *text = view_make(text->data + n, text->bytes - n);
    return name;
}

/* A value in either sort of quotes, or bare up to a blank. */
static bool take_value(struct view text, struct view *out) {
    char quote = text.bytes && (*text.data == '"' || *text.data == '\'') ? *text.data : 0;
    size_t start = quote ? 1 : 0, n = start;
    while (n < text.bytes &&
           (quote ? text.data[n] != quote : text.data[n] != ' ' && text.data[n] != '\t'))
        n++;
    if (quote && n == text.bytes)
        return false; /* no end */
    *out = view_make(text.data + start, n - start);
    n += quote != 0;
    return is_rest(view_make(text.data + n, text.bytes - n)) && out->bytes < VALUE_BYTES;
}

static enum status read_key(struct reader *self, struct view name, struct view value,
                            struct err *err) {
    bool secret = view_equal(name, view_of("secret-key"));
    if (!secret && !view_equal(name, view_of("public-key")))
        return bad(self, err, "a curve section has public-key and secret-key");
    unsigned bit = secret ? SEEN_SECRET : SEEN_PUBLIC;
    uint8_t *key = secret ? self->cert.secret_key : self->cert.public_key;
    if (self->seen & bit)
        return bad(self, err, "a second key of the same sort");
    if (!cert_key_bytes(value, key) || is_zero(key))
        return bad(self, err, "a key is 40 characters of Z85");
    self->seen |= bit;
    self->cert.has_secret |= secret;
    return STATUS_OK;
}

static enum status read_limit(struct reader *self, unsigned index, struct view value,
                              struct err *err) {
    static const double most[] = {LIMIT_CLIENT_TICKETS, UINT32_MAX, 64.0 * (1 << 30),
                                  CERT_WEIGHT_MAX};
    char text[VALUE_BYTES];
    double x;
    unsigned bit = (unsigned)SEEN_LIMITS << index;
    if (self->seen & bit)
        return bad(self, err, "a limit that was given before");
    memcpy(text, value.data, value.bytes);
    text[value.bytes] = '\0';
    size_t digits = strspn(text, "0123456789"); /* strtod() would take 0x10, 1e3 and nan */
    if (!digits || !strchr("KMG", text[digits]) || !cfg_parse_size(text, &x) || x < 1 ||
        x > most[index])
        return bad(self, err, "a limit that is no number, or out of range");
    self->seen |= bit;
    if (index == 0)
        self->cert.max_requests = (uint32_t)x;
    else if (index == 1)
        self->cert.max_cost = (uint32_t)x;
    else if (index == 2)
        self->cert.max_bytes = (uint64_t)x;
    else
        self->cert.weight = (uint32_t)x;
    return STATUS_OK;
}

static enum status read_metadata(struct reader *self, struct view name, struct view value,
                                 struct err *err) {
    static const char *const limits[] = {"max-requests", "max-cost", "max-bytes", "weight"};
    for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++)
        if (view_equal(name, view_of(limits[i])))
            return read_limit(self, i, value, err);
    if (view_equal(name, view_of("name"))) {
        if (self->seen & SEEN_NAME || !cert_name_ok(value))
            return bad(self, err, "a name is 1 to 64 of A-Z a-z 0-9 . _ - and given once");
        memcpy(self->cert.name, value.data, value.bytes);
        self->seen |= SEEN_NAME;
    } else if (view_equal(name, view_of("role"))) {
        if (self->seen & SEEN_ROLE || !cert_role_from(value, &self->cert.role))
            return bad(self, err, "a role is client, worker, operator or server, given once");
        self->seen |= SEEN_ROLE;
    } else if (name.bytes >= 4 && (memcmp(name.data, "max-", 4) == 0)) {
        return bad(self, err, "a limit that is not known");
    }
    return STATUS_OK; /* czmq's users write e-mail addresses and the like */
}

static enum status read_section(struct reader *self, struct view line, struct err *err) {
    struct view name = take_name(&line);
    if (!is_rest(line))
        return bad(self, err, "not a section's name");
    if (view_equal(name, view_of("metadata")))
        self->section = SECTION_METADATA;
    else if (view_equal(name, view_of("curve")))
        self->section = SECTION_CURVE;
    else
        return bad(self, err, "sections are metadata and curve");
    return STATUS_OK;
}

static enum status read_line(struct reader *self, struct view line, struct err *err) {
    for (size_t i = 0; i < line.bytes; i++)
        if ((unsigned char)line.data[i] < 0x20 && line.data[i] != '\t')
            return bad(self, err, "a control character");
    if (is_rest(line))
        return STATUS_OK;
    if (*line.data != ' ')
        return read_section(self, line, err);
    if (line.bytes <= INDENT || memcmp(line.data, "    ", INDENT) != 0 || line.data[INDENT] == ' ')
        return bad(self, err, "values are indented by four blanks");
    if (self->section == SECTION_NONE)
        return bad(self, err, "a value outside of a section");
    line = view_make(line.data + INDENT, line.bytes - INDENT);
    struct view name = take_name(&line), value;
    line = skip_blanks(line);
    if (!name.bytes || !line.bytes || *line.data != '=')
        return bad(self, err, "not of the form name = value");
    if (!take_value(skip_blanks(view_make(line.data + 1, line.bytes - 1)), &value))
        return bad(self, err, "a value that does not end, is too long or has something behind it");
    return self->section == SECTION_CURVE ? read_key(self, name, value, err)
                                          : read_metadata(self, name, value, err);
}

static enum status read_lines(struct reader *self, struct view text, struct err *err) {
    if (text.bytes >= CERT_FILE_BYTES)
        return err_set(err, STATUS_DATA_LOSS, "a certificate has less than %d bytes",
                       CERT_FILE_BYTES);
    for (size_t at = 0; at < text.bytes;) {
        const char *end = memchr(text.data + at, '\n', text.bytes - at);
        size_t n = (end ? (size_t)(end - text.data) : text.bytes) - at;
        struct view line = view_make(text.data + at, n);
        if (n && line.data[n - 1] == '\r')
            line.bytes--;
        self->line++;
        enum status st = read_line(self, line, err);
        if (st != STATUS_OK)
            return st;
        at += n + (end != NULL);
    }
    if (!(self->seen & SEEN_PUBLIC))
        return err_set(err, STATUS_DATA_LOSS, "no public-key in a curve section");
    if (self->cert.has_secret && !is_pair(&self->cert))
        return err_set(err, STATUS_DATA_LOSS, "the secret key is not of this public key");
    return STATUS_OK;
}

enum status cert_parse(struct view text, struct cert *out, struct err *err) {
    struct reader reader = {.section = SECTION_NONE};
    enum status st = read_lines(&reader, text, err);
    if (st == STATUS_OK)
        *out = reader.cert;
    explicit_bzero(&reader, sizeof reader);
    return st;
}

/* ---- files */

static bool for_us_alone(const struct stat *info) {
    if (info->st_uid == geteuid())
        return (info->st_mode & 077) == 0;
    return info->st_uid == 0 && (info->st_mode & 037) == 0;
}

/* Up to CERT_FILE_BYTES of it: a longer file is refused by its length. */
static ssize_t read_all(int fd, char out[CERT_FILE_BYTES]) {
    size_t n = 0;
    while (n < CERT_FILE_BYTES) {
        ssize_t got = read(fd, out + n, CERT_FILE_BYTES - n);
        if (got < 0 && errno != EINTR)
            return -1;
        if (got == 0)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)n;
}

static enum status load(const char *path, struct cert *out, struct err *err) {
    char text[CERT_FILE_BYTES];
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_errno(err, STATUS_UNAVAILABLE, "'%s'", path);
    bool is_file = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    ssize_t n = is_file ? read_all(fd, text) : -1;
    close(fd);
    if (!is_file)
        return err_set(err, STATUS_UNAVAILABLE, "'%s': not a file", path);
    struct cert cert;
    enum status st = n < 0 ? err_errno(err, STATUS_UNAVAILABLE, "'%s'", path)
                           : cert_parse(view_make(text, (size_t)n), &cert, err);
    if (n >= 0 && st != STATUS_OK)
        err_prefix(err, st, "'%s'", path);
    if (st == STATUS_OK && cert.has_secret && !for_us_alone(&info))
        st = err_set(err, STATUS_PERMISSION_DENIED,
                     "'%s': others may read or change this secret key, or it is another user's; "
                     "chmod 600",
                     path);
    if (st == STATUS_OK)
        *out = cert;
    explicit_bzero(text, sizeof text);
    cert_clear(&cert);
    return st;
}

enum status cert_load(const char *path, struct cert *out, struct err *err) {
    return load(path, out, err);
}

enum status cert_load_secret(const char *path, struct cert *out, struct err *err) {
    struct cert cert;
    enum status st = load(path, &cert, err);
    if (st != STATUS_OK)
        return st;
    if (!cert.has_secret)
        st = err_set(err, STATUS_INVALID_ARGUMENT,
                     "'%s' has no secret key: that is in the file whose name ends with _secret",
                     path);
    else
        *out = cert;
    cert_clear(&cert);
    return st;
}

enum status cert_load_public(const char *path, struct cert *out, struct err *err) {
    struct cert cert;
    enum status st = load(path, &cert, err);
    if (st != STATUS_OK)
        return st;
    if (cert.has_secret)
        st = err_set(err, STATUS_INVALID_ARGUMENT,
                     "'%s' has a secret key: a certificate for others must have none", path);
    else
        *out = cert;
    cert_clear(&cert);
    return st;
}

/* ---- writing */

static size_t add(char *out, size_t n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static size_t add(char *out, size_t n, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int m = vsnprintf(out + n, CERT_FILE_BYTES - n, format, args);
    va_end(args);
    return n + (m > 0 ? (size_t)m : 0); /* the whole has some 600 bytes */
}

size_t cert_print(const struct cert *self, bool secret, char out[CERT_FILE_BYTES]) {
    char key[CERT_KEY_TEXT];
    size_t n = add(out, 0, "# EmberMQ %s certificate%s\n", cert_role_name(self->role),
                   secret ? ", SECRET: for its owner alone" : ", public");
    n = add(out, n, "metadata\n");
    if (self->name[0])
        n = add(out, n, "    name = \"%s\"\n", self->name);
    if (self->role != CERT_ANY)
        n = add(out, n, "    role = \"%s\"\n", cert_role_name(self->role));
    if (self->max_requests)
        n = add(out, n, "    max-requests = \"%u\"\n", self->max_requests);
    if (self->max_bytes)
        n = add(out, n, "    max-bytes = \"%llu\"\n", (unsigned long long)self->max_bytes);
    if (self->max_cost)
        n = add(out, n, "    max-cost = \"%u\"\n", self->max_cost);
    if (self->weight)
        n = add(out, n, "    weight = \"%u\"\n", self->weight);
    cert_key_text(self->public_key, key);
    n = add(out, n, "curve\n    public-key = \"%s\"\n", key);
    if (secret) {
        cert_key_text(self->secret_key, key);
        n = add(out, n, "    secret-key = \"%s\"\n", key);
    }
    explicit_bzero(key, sizeof key);
    return n;
}
