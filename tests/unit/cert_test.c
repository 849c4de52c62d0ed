/* cert_test.c - what a certificate may look like, what is refused and at which line, who may read a
 * secret file, and that what is written is read back by us and by libzmq's own keys. */
#include "wire/cert.h"

#include "support/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The pair of the CurveZMQ documentation's style: made once with zmq_curve_keypair(). */
#define PUBLIC "cF.cSbj:}3+NZF-pP0e[zlUr?jQ]hPLH5@T3U0U)"
static char public[CERT_KEY_TEXT], secret[CERT_KEY_TEXT], other[CERT_KEY_TEXT];

static int setup(void **state) {
    (void)state;
    struct cert a = {.role = CERT_ANY}, b = a;
    TEST_TRUE(cert_make_keys(&a) && cert_make_keys(&b));
    cert_key_text(a.public_key, public);
    cert_key_text(a.secret_key, secret);
    cert_key_text(b.secret_key, other);
    return 0;
}

/* %P, %S and %O of a row's text become our keys. */
static size_t fill(const char *text, char *out, size_t bytes) {
    size_t n = 0;
    for (const char *p = text; *p && n + CERT_KEY_TEXT < bytes; p++) {
        const char *key = p[0] != '%'   ? NULL
                          : p[1] == 'P' ? public
                          : p[1] == 'S' ? secret
                          : p[1] == 'O' ? other
                                        : NULL;
        if (!key) {
            out[n++] = *p;
            continue;
        }
        memcpy(out + n, key, CERT_KEY_TEXT - 1);
        n += CERT_KEY_TEXT - 1;
        p++;
    }
    return n;
}

static void test_good(void **state) {
    (void)state;
    static const struct {
        const char *row, *text, *name;
        enum cert_role role;
        bool has_secret;
        uint32_t max_requests, max_cost, weight;
        uint64_t max_bytes;
    } rows[] = {
        {"least", "curve\n    public-key = \"%P\"\n", "", CERT_ANY, false, 0, 0, 0, 0},
        {"no newline at the end", "curve\n    public-key = \"%P\"", "", CERT_ANY, false, 0, 0, 0,
         0},
        {"lines of Windows", "curve\r\n    public-key = '%P'\r\n", "", CERT_ANY, false, 0, 0, 0, 0},
        {"secret", "curve\n    public-key = \"%P\"\n    secret-key = \"%S\"\n", "", CERT_ANY, true,
         0, 0, 0, 0},
        {"secret first", "curve\n    secret-key = \"%S\"\n    public-key = \"%P\"\n", "", CERT_ANY,
         true, 0, 0, 0, 0},
        {"as czmq writes it",
         "#   ****  Generated on 2026-01-02 03:04:05 by CZMQ  ****\n"
         "#   ZeroMQ CURVE Public Certificate\n\nmetadata\n    name = \"web-1\"\n"
         "    email = \"someone@example.org\"\ncurve\n    public-key = \"%P\"\n",
         "web-1", CERT_ANY, false, 0, 0, 0, 0},
        {"metadata behind", "curve\n    public-key = \"%P\"\nmetadata\n    role = \"worker\"\n", "",
         CERT_WORKER, false, 0, 0, 0, 0},
        {"limits",
         "metadata\n    role = client\n    max-requests = 256 # of it\n    max-bytes = \"4M\"\n"
         "    max-cost = \"9000\"\n    weight = 3\ncurve # keys\n    public-key = \"%P\" # "
         "public\n",
         "", CERT_CLIENT, false, 256, 9000, 3, 4 << 20},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        char text[CERT_FILE_BYTES];
        struct cert cert;
        struct err err = {.text = ""};
        size_t n = fill(rows[i].text, text, sizeof text);
        if (cert_parse(view_make(text, n), &cert, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        char key[CERT_KEY_TEXT];
        cert_key_text(cert.public_key, key);
        TEST_STR_EQ(key, public);
        TEST_STR_EQ(cert.name, rows[i].name);
        TEST_EQ(cert.role, rows[i].role);
        TEST_EQ(cert.has_secret, rows[i].has_secret);
        TEST_EQ(cert.max_requests, rows[i].max_requests);
        TEST_EQ(cert.max_cost, rows[i].max_cost);
        TEST_EQ(cert.weight, rows[i].weight);
        TEST_EQ(cert.max_bytes, rows[i].max_bytes);
    }
}

static void test_bad(void **state) {
    (void)state;
    static const struct {
        const char *row, *text, *want;
    } rows[] = {
        {"empty", "", "no public-key"},
        {"only metadata", "metadata\n    name = \"x\"\n", "no public-key"},
        {"only a secret", "curve\n    secret-key = \"%S\"\n", "no public-key"},
        {"another's secret", "curve\n    public-key = \"%P\"\n    secret-key = \"%O\"\n",
         "not of this public key"},
        {"key too short", "curve\n    public-key = \"abc\"\n", "line 2: a key is 40"},
        {"key of something else",
         "curve\n    public-key = \"~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\"\n",
         "line 2: a key is 40"},
        {"key of 41", "curve\n    public-key = \"%Pa\"\n", "line 2: a key is 40"},
        {"key of zeros", "curve\n    public-key = \"0000000000000000000000000000000000000000\"\n",
         "line 2: a key is 40"},
        {"two keys", "curve\n    public-key = \"%P\"\n    public-key = \"%P\"\n",
         "line 3: a second"},
        {"unknown key", "curve\n    private-key = \"%P\"\n", "line 2: a curve section has"},
        {"no section", "    public-key = \"%P\"\n", "line 1: a value outside"},
        {"unknown section", "curves\n", "line 1: sections are"},
        {"section with a value", "curve = x\n", "line 1: not a section's name"},
        {"three blanks", "curve\n   public-key = \"%P\"\n", "line 2: values are indented"},
        {"eight blanks", "curve\n        public-key = \"%P\"\n", "line 2: values are indented"},
        {"a tab", "curve\n\tpublic-key = \"%P\"\n", "line 2: "},
        {"no equals sign", "curve\n    public-key \"%P\"\n", "line 2: not of the form"},
        {"no name", "curve\n    = \"%P\"\n", "line 2: not of the form"},
        {"quote without end", "curve\n    public-key = \"%P\n",
         "line 2: a value that does not end"},
        {"something behind", "curve\n    public-key = \"%P\" x\n", "line 2: a value that does not"},
        {"control character", "curve\n    public-key = \"\x01\"\n", "line 2: a control"},
        {"unknown role", "metadata\n    role = \"king\"\n", "line 2: a role is"},
        {"two roles", "metadata\n    role = client\n    role = operator\n", "line 3: a role is"},
        {"name with a slash", "metadata\n    name = \"../x\"\n", "line 2: a name is"},
        {"hidden name", "metadata\n    name = \".x\"\n", "line 2: a name is"},
        {"limit 0", "metadata\n    max-requests = 0\n", "line 2: a limit"},
        {"negative limit", "metadata\n    max-cost = -1\n", "line 2: a limit"},
        {"limit that is no number", "metadata\n    max-cost = nan\n", "line 2: a limit"},
        {"hexadecimal", "metadata\n    weight = 0x5\n", "line 2: a limit"},
        {"exponent", "metadata\n    max-cost = 1e3\n", "line 2: a limit"},
        {"limit too large", "metadata\n    max-requests = 999999999\n", "line 2: a limit"},
        {"weight too large", "metadata\n    weight = 101\n", "line 2: a limit"},
        {"fraction", "metadata\n    weight = 1.5\n", "line 2: a limit"},
        {"limit twice", "metadata\n    weight = 1\n    weight = 2\n", "line 3: a limit that was"},
        {"misspelt limit", "metadata\n    max-request = 5\n", "line 2: a limit that is not known"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        char text[CERT_FILE_BYTES];
        struct cert cert, before;
        struct err err = {.text = ""};
        memset(&cert, 0x5a, sizeof cert);
        before = cert;
        size_t n = fill(rows[i].text, text, sizeof text);
        TEST_EQ(cert_parse(view_make(text, n), &cert, &err), STATUS_DATA_LOSS);
        TEST_HAS(err.text, rows[i].want);
        TEST_TRUE(!strstr(err.text, secret) && !strstr(err.text, public)); /* quotes no value */
        TEST_MEM_EQ(&cert, &before, sizeof cert);
    }
    TEST_ROW("NUL in a key");
    char text[256] = "curve\n    public-key = \"";
    size_t n = strlen(text);
    memcpy(text + n, public, 40);
    text[n + 20] = '\0';
    memcpy(text + n + 40, "\"\n", 2);
    struct cert cert;
    TEST_EQ(cert_parse(view_make(text, n + 42), &cert, NULL), STATUS_DATA_LOSS);
}

static void test_too_long(void **state) {
    (void)state;
    static char text[CERT_FILE_BYTES + 1];
    struct cert cert;
    size_t n = fill("curve\n    public-key = \"%P\"\n", text, sizeof text);
    memset(text + n, '\n', sizeof text - n);
    TEST_EQ(cert_parse(view_make(text, CERT_FILE_BYTES - 1), &cert, NULL), STATUS_OK);
    TEST_EQ(cert_parse(view_make(text, CERT_FILE_BYTES), &cert, NULL), STATUS_DATA_LOSS);
}

static void test_print(void **state) {
    (void)state;
    struct cert cert = {.role = CERT_OPERATOR,
                        .max_requests = 7,
                        .max_cost = UINT32_MAX,
                        .max_bytes = 64ull << 30,
                        .weight = 100},
                again;
    memset(cert.name, 'n', LIMIT_NAME_BYTES);
    TEST_TRUE(cert_make_keys(&cert));
    for (int with = 0; with < 2; with++) {
        char text[CERT_FILE_BYTES], key[CERT_KEY_TEXT];
        size_t n = cert_print(&cert, with, text);
        TEST_TRUE(n < CERT_FILE_BYTES / 2);
        TEST_EQ(cert_parse(view_make(text, n), &again, NULL), STATUS_OK);
        TEST_EQ(again.has_secret, with);
        TEST_MEM_EQ(again.public_key, cert.public_key, CERT_KEY_BYTES);
        if (with)
            TEST_MEM_EQ(again.secret_key, cert.secret_key, CERT_KEY_BYTES);
        TEST_STR_EQ(again.name, cert.name);
        TEST_EQ(again.role, cert.role);
        TEST_EQ(again.max_requests, cert.max_requests);
        TEST_EQ(again.max_cost, cert.max_cost);
        TEST_EQ(again.max_bytes, cert.max_bytes);
        TEST_EQ(again.weight, cert.weight);
        text[n] = '\0';
        cert_key_text(cert.secret_key, key);
        TEST_EQ(strstr(text, key) != NULL, with);
    }
    cert_clear(&cert);
    static const struct cert nothing;
    TEST_MEM_EQ(&cert, &nothing, sizeof cert);
}

static void test_keys(void **state) {
    (void)state;
    uint8_t bytes[CERT_KEY_BYTES];
    char text[CERT_KEY_TEXT];
    TEST_TRUE(cert_key_bytes(view_of(PUBLIC), bytes));
    cert_key_text(bytes, text);
    TEST_STR_EQ(text, PUBLIC);
    TEST_TRUE(!cert_key_bytes(view_make(PUBLIC, 39), bytes));
    TEST_TRUE(!cert_key_bytes(view_of(PUBLIC "0"), bytes));
    TEST_TRUE(!cert_key_bytes(view_make(NULL, 0), bytes));
    TEST_TRUE(!cert_key_bytes(view_of("cF.cSbj:}3+NZF-pP0e[zlUr?jQ]hPLH5@T3U0U\x80"), bytes));
}

static void write_file(const char *path, bool with_secret, mode_t mode) {
    char text[256];
    size_t n = fill(with_secret ? "curve\n    public-key = \"%P\"\n    secret-key = \"%S\"\n"
                                : "curve\n    public-key = \"%P\"\n",
                    text, sizeof text);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    TEST_TRUE(fd >= 0 && write(fd, text, n) == (ssize_t)n && fchmod(fd, mode) == 0);
    close(fd);
}

static void test_files(void **state) {
    (void)state;
    char dir[] = "/tmp/ember-cert-XXXXXX", path[64];
    TEST_TRUE(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/key", dir);
    static const struct {
        const char *row;
        bool secret;
        mode_t mode;
        enum status any, with, without;
    } rows[] = {
        {"public", false, 0644, STATUS_OK, STATUS_INVALID_ARGUMENT, STATUS_OK},
        {"secret", true, 0600, STATUS_OK, STATUS_OK, STATUS_INVALID_ARGUMENT},
        {"secret, not to be written", true, 0400, STATUS_OK, STATUS_OK, STATUS_INVALID_ARGUMENT},
        {"group reads", true, 0640, STATUS_PERMISSION_DENIED, STATUS_PERMISSION_DENIED,
         STATUS_PERMISSION_DENIED},
        {"world reads", true, 0604, STATUS_PERMISSION_DENIED, STATUS_PERMISSION_DENIED,
         STATUS_PERMISSION_DENIED},
        {"group writes", true, 0620, STATUS_PERMISSION_DENIED, STATUS_PERMISSION_DENIED,
         STATUS_PERMISSION_DENIED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        struct cert cert;
        struct err err = {.text = ""};
        write_file(path, rows[i].secret, rows[i].mode);
        TEST_EQ(cert_load(path, &cert, &err), rows[i].any);
        TEST_EQ(cert_load_secret(path, &cert, &err), rows[i].with);
        TEST_EQ(cert_load_public(path, &cert, &err), rows[i].without);
        if (rows[i].with != STATUS_OK)
            TEST_HAS(err.text, i == 0 ? "" : path);
        unlink(path);
    }
    struct cert cert;
    struct err err;
    TEST_ROW("not there, a directory, a device");
    TEST_EQ(cert_load(path, &cert, &err), STATUS_UNAVAILABLE);
    TEST_HAS(err.text, path);
    TEST_EQ(cert_load(dir, &cert, &err), STATUS_UNAVAILABLE);
    TEST_EQ(cert_load("/dev/zero", &cert, &err), STATUS_UNAVAILABLE);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),  cmocka_unit_test(test_bad),  cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_print), cmocka_unit_test(test_keys), cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
