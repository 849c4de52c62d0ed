/* cmd_keygen.c - ember keygen: a pair of certificates, laid out as ember-broker --curve-dir wants
 * them.
 *
 *     DIR/server.key_secret   DIR/server.key         --role server, which also makes the folders
 *     DIR/NAME.key_secret     DIR/clients/NAME.key   --role client, and so on
 *
 * Nothing is ever overwritten: a file is written under a name of its own, flushed, and gets its
 * real name only when there is none yet. When the second file fails, the first is taken back. */
#include "cli.h"

#include "wire/cert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 1024 };

struct settings {
    uint32_t role; /* index of the choice below */
    char name[LIMIT_NAME_BYTES + 1], dir[512];
    uint32_t max_requests, max_cost, weight;
    uint64_t max_bytes;
};

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_CHOICE("role", struct settings, role, "client", "client|worker|operator|server",
               "an operator is a client who may see the status"),
    CFG_TEXT("name", struct settings, name, "", "NAME",
             "of the client, worker or operator, in logs; a server is called server"),
    CFG_TEXT("dir", struct settings, dir, ".", "DIR", "where the files go; made when missing"),
    CFG_HEADING("What a client may have, all its connections together; 0: as the broker says"),
    CFG_U32("max-requests", struct settings, max_requests, "0", 0, LIMIT_CLIENT_TICKETS, "N",
            "requests waiting or at a worker"),
    CFG_SIZE("max-bytes", struct settings, max_bytes, "0", 0, 64.0 * (1 << 30), "of their bodies"),
    CFG_U32("max-cost", struct settings, max_cost, "0", 0, UINT32_MAX, "N",
            "of them: 1 and 1 per 64 bytes each"),
    CFG_U32("weight", struct settings, weight, "0", 0, CERT_WEIGHT_MAX, "N",
            "share of the workers while several wait; 0: 1"),
};
/* clang-format on */

static const struct cfg cfg = {
    .program = "ember keygen",
    .synopsis = "--role ROLE [--name NAME] [--dir DIR] [OPTION]...",
    .about = "Makes a new pair of keys: a public certificate for the brokers' directory and a\n"
             "secret one for its owner. Existing files are never overwritten.",
    .epilog = "Examples:\n"
              "  ember keygen --role server --dir /etc/ember/curve\n"
              "  ember keygen --role client --name indexer --max-requests 256 --dir "
              "/etc/ember/curve\n"
              "  ember embed --key indexer.key_secret --server-key server.key 'some text'\n\n"
              "Exit status: 0 done, 1 failed, 2 wrong usage.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static const enum cert_role roles[] = {CERT_CLIENT, CERT_WORKER, CERT_OPERATOR, CERT_SERVER};
static const char *const folders[] = {"clients", "workers", "operators", NULL};

static enum status make_folder(const char *path, struct err *err) {
    if (mkdir(path, 0750) == 0 || errno == EEXIST)
        return STATUS_OK;
    return err_errno(err, STATUS_UNAVAILABLE, "make '%s'", path);
}

static bool write_all(int fd, const char *text, size_t bytes) {
    while (bytes) {
        ssize_t n = write(fd, text, bytes);
        if (n < 0 && errno != EINTR)
            return false;
        text += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* `temp` becomes `path` unless that is there; false with errno. */
static bool give_name(const char *temp, const char *path) {
    if (renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    return link(temp, path) == 0 && unlink(temp) == 0; /* file systems without that call */
}

static enum status write_file(const char *path, const struct cert *cert, bool secret,
                              struct err *err) {
    char text[CERT_FILE_BYTES], temp[PATH_BYTES + 16];
    const char *slash = strrchr(path, '/'); /* lay_out() has put one in */
    snprintf(temp, sizeof temp, "%.*s/.%s.XXXXXX", (int)(slash - path), path, slash + 1);
    int fd = mkostemp(temp, O_CLOEXEC); /* for its owner alone */
    if (fd < 0)
        return err_errno(err, STATUS_UNAVAILABLE, "write '%s'", path);
    size_t n = cert_print(cert, secret, text);
    bool ok = write_all(fd, text, n) && (secret || fchmod(fd, 0644) == 0) && fsync(fd) == 0;
    explicit_bzero(text, sizeof text);
    ok = close(fd) == 0 && ok && give_name(temp, path);
    if (ok)
        return STATUS_OK;
    enum status st = err_errno(err, errno == EEXIST ? STATUS_ALREADY_EXISTS : STATUS_UNAVAILABLE,
                               "write '%s'", path);
    unlink(temp);
    return st;
}

/* The two paths, with the folders they need. */
static enum status lay_out(const struct settings *s, char *public_path, char *secret_path,
                           struct err *err) {
    bool server = roles[s->role] == CERT_SERVER;
    enum status st = make_folder(s->dir, err);
    for (size_t i = 0; st == STATUS_OK && folders[i]; i++) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/%s", s->dir, folders[i]);
        if (server || i == s->role)
            st = make_folder(path, err);
    }
    const char *name = server ? "server" : s->name;
    snprintf(secret_path, PATH_BYTES, "%s/%s.key_secret", s->dir, name);
    if (server)
        snprintf(public_path, PATH_BYTES, "%s/server.key", s->dir);
    else
        snprintf(public_path, PATH_BYTES, "%s/%s/%s.key", s->dir, folders[s->role], name);
    return st;
}

static void tell(const struct settings *s, const char *public_path, const char *secret_path) {
    if (roles[s->role] == CERT_SERVER) {
        printf("%s\n  secret: for the brokers alone, the same for all brokers of a fleet\n"
               "  (ember-broker --curve-dir %s)\n",
               secret_path, s->dir);
        printf("%s\n  public: for every client (--server-key) and worker (--curve-server-key)\n",
               public_path);
        return;
    }
    const char *role = cert_role_name(roles[s->role]);
    printf("%s\n  secret: move it to where the %s runs, for its user alone (%s)\n", secret_path,
           role, roles[s->role] == CERT_WORKER ? "--curve-key" : "--key, EMBER_KEY");
    printf(
        "%s\n  public: belongs in %s/ of every broker's --curve-dir; a broker that runs sees it\n"
        "  within a second\n",
        public_path, folders[s->role]);
}

static enum status make(const struct settings *s, char *public_path, char *secret_path,
                        struct err *err) {
    struct cert cert = {.role = roles[s->role],
                        .max_requests = s->max_requests,
                        .max_bytes = s->max_bytes,
                        .max_cost = s->max_cost,
                        .weight = s->weight};
    snprintf(cert.name, sizeof cert.name, "%s", s->name);
    enum status st = lay_out(s, public_path, secret_path, err);
    if (st == STATUS_OK && !cert_make_keys(&cert))
        st = err_set(err, STATUS_UNIMPLEMENTED, "this libzmq has no CURVE");
    if (st == STATUS_OK)
        st = write_file(secret_path, &cert, true, err);
    if (st == STATUS_OK) {
        st = write_file(public_path, &cert, false, err);
        if (st != STATUS_OK)
            unlink(secret_path);
    }
    cert_clear(&cert);
    return st;
}

int cmd_keygen(int argc, char **argv) {
    struct settings s;
    struct cli cli = {.command = "keygen"};
    struct err err;
    char public_path[PATH_BYTES], secret_path[PATH_BYTES];
    int code;
    if (!cli_load(&cli, &cfg, argc, argv, NULL, &s, &code))
        return code;
    bool server = roles[s.role] == CERT_SERVER, client = roles[s.role] == CERT_CLIENT;
    if (server && !s.name[0])
        snprintf(s.name, sizeof s.name, "server");
    if (!cert_name_ok(view_of(s.name)))
        return cli_usage(&cli, "--name NAME is 1 to %d of A-Z a-z 0-9 . _ -", LIMIT_NAME_BYTES);
    if (!server && strcmp(s.name, "server") == 0) /* its files would be those of the brokers */
        return cli_usage(&cli, "only a server is called server");
    if (!client && roles[s.role] != CERT_OPERATOR &&
        (s.max_requests || s.max_bytes || s.max_cost || s.weight))
        return cli_usage(&cli, "limits are for clients and operators");
    if (make(&s, public_path, secret_path, &err) != STATUS_OK)
        return cli_fail_err(&cli, &err) == CLI_USAGE ? CLI_USAGE : CLI_FAILED;
    tell(&s, public_path, secret_path);
    return cli_done(&cli, CLI_OK);
}
