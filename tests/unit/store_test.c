/* store_test.c - who may have altered a directory or a file, writing in one step, the lock, and
 * what is swept. */
#include "model/store.h"

#include "support/golden.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static struct golden_dir work;

static void path_of(const char *name, char out[256]) {
    snprintf(out, 256, "%s/%s", work.path, name);
}

static int setup(void **state) {
    (void)state;
    golden_make(&work); /* mode 0700 */
    return 0;
}

static int teardown(void **state) {
    (void)state;
    golden_remove(&work);
    return 0;
}

static void open_work(struct store *out) {
    struct err err;
    if (store_open(work.path, out, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
}

static void write_text(const struct store *store, const char *name, const char *first,
                       const char *second) {
    struct err err;
    if (store_write(store, name, view_of(first), view_of(second), &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
}

static unsigned count_files(void) {
    unsigned n = 0;
    DIR *dir = opendir(work.path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void test_open(void **state) {
    (void)state;
    char file[256], link_to[256], deep[256], deeper[256];
    path_of("file", file);
    path_of("link", link_to);
    path_of("new/cache", deep);
    path_of("a/b/c", deeper);
    golden_write(&work, "file", "x", 1);
    TEST_EQ(symlink(work.path, link_to), 0);
    const struct {
        const char *name, *path;
        mode_t mode; /* of the work directory */
        enum status want;
    } rows[] = {
        {"ours alone", work.path, 0700, STATUS_OK},
        {"others may read", work.path, 0755, STATUS_OK},
        {"our group may write", work.path, 0770, STATUS_PERMISSION_DENIED},
        {"the world may write", work.path, 0777, STATUS_PERMISSION_DENIED},
        {"sticky like /tmp", work.path, 01777, STATUS_PERMISSION_DENIED},
        {"a link to ours", link_to, 0700, STATUS_OK},
        {"a file", file, 0700, STATUS_UNAVAILABLE},
        {"made, and the one above", deep, 0700, STATUS_OK},
        {"two above are missing", deeper, 0700, STATUS_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct store store = {-1};
        struct err err = {0};
        TEST_EQ(chmod(work.path, rows[i].mode), 0);
        enum status st = store_open(rows[i].path, &store, &err);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        if (st == STATUS_OK)
            TEST_TRUE(store.dir >= 0);
        else
            TEST_HAS(err.text, rows[i].path);
        store_close(&store);
        store_close(&store);
    }
    TEST_EQ(chmod(work.path, 0700), 0);
    struct stat info;
    TEST_EQ(stat(deep, &info), 0);
    TEST_EQ(info.st_mode & 07777, 0700);
}

static void test_remote(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t type;
        bool remote;
    } rows[] = {
        {"ext4", 0xef53, false},        {"xfs", 0x58465342, false},
        {"btrfs", 0x9123683e, false},   {"tmpfs", 0x01021994, false},
        {"overlay", 0x794c7630, false}, {"NFS", 0x6969, true},
        {"CIFS", 0xff534d42, true},     {"CIFS, signed", UINT64_C(0xffffffffff534d42), true},
        {"SMB 2", 0xfe534d42, true},    {"FUSE", 0x65735546, true},
        {"9p", 0x01021997, true},       {"GPFS", 0x47504653, true},
        {"OCFS2", 0x7461636f, true},    {"GFS2", 0x01161970, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_EQ(store_remote(rows[i].type), rows[i].remote);
    }
}

/* Somebody else's directory, as root alone can arrange it. */
static void test_foreign_owner(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    char path[256];
    struct store store = {-1};
    path_of("file", path);
    golden_write(&work, "file", "x", 1);
    TEST_EQ(chown(path, 12345, 12345), 0);
    open_work(&store);
    int fd;
    uint64_t bytes;
    TEST_EQ(store_file(&store, "file", &fd, &bytes, NULL), STATUS_PERMISSION_DENIED);
    store_close(&store);
    TEST_EQ(chown(work.path, 12345, 12345), 0);
    TEST_EQ(store_open(work.path, &store, NULL), STATUS_PERMISSION_DENIED);
    TEST_EQ(chown(work.path, 0, 0), 0);
}

static void test_file(void **state) {
    (void)state;
    struct store store;
    char path[256];
    open_work(&store);
    golden_write(&work, "plain", "hello", 5);
    golden_write(&work, "group", "hello", 5);
    golden_write(&work, "world", "hello", 5);
    golden_write(&work, "folder/file", "", 0);
    path_of("plain", path);
    TEST_EQ(chmod(path, 0644), 0);
    path_of("group", path);
    TEST_EQ(chmod(path, 0664), 0);
    path_of("world", path);
    TEST_EQ(chmod(path, 0606), 0);
    path_of("link", path);
    TEST_EQ(symlink("plain", path), 0);
    path_of("fifo", path);
    TEST_EQ(mkfifo(path, 0600), 0);
    static const struct {
        const char *name;
        enum status want;
    } rows[] = {
        {"plain", STATUS_OK},
        {"absent", STATUS_NOT_FOUND},
        {"group", STATUS_PERMISSION_DENIED},
        {"world", STATUS_PERMISSION_DENIED},
        {"link", STATUS_PERMISSION_DENIED},
        {"folder", STATUS_PERMISSION_DENIED},
        {"fifo", STATUS_PERMISSION_DENIED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        int fd = -1;
        uint64_t bytes = 0;
        struct err err = {0};
        enum status st = store_file(&store, rows[i].name, &fd, &bytes, &err);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        TEST_EQ(fd >= 0, st == STATUS_OK);
        if (st != STATUS_OK) {
            TEST_HAS(err.text, rows[i].name);
            continue;
        }
        TEST_EQ(bytes, 5);
        close(fd);
    }
    store_close(&store);
}

static void test_write(void **state) {
    (void)state;
    struct store store;
    char path[256], text[16] = "";
    int old, fd;
    uint64_t bytes;
    open_work(&store);
    write_text(&store, "file", "hello ", "you");
    TEST_EQ(store_file(&store, "file", &old, &bytes, NULL), STATUS_OK);
    TEST_EQ(bytes, 9);
    struct stat info;
    TEST_EQ(fstat(old, &info), 0);
    TEST_EQ(info.st_mode & 07777, 0644);
    write_text(&store, "file", "", "other");
    TEST_EQ(read(old, text, sizeof text), 9); /* who has the old one open keeps it whole */
    TEST_STR_EQ(text, "hello you");
    TEST_EQ(store_file(&store, "file", &fd, &bytes, NULL), STATUS_OK);
    TEST_EQ(bytes, 5);
    TEST_EQ(count_files(), 1); /* nothing temporary is left */
    close(old);
    close(fd);

    struct err err = {0}; /* a folder in its place cannot be replaced */
    path_of("folder", path);
    TEST_EQ(mkdir(path, 0700), 0);
    TEST_EQ(store_write(&store, "folder", view_of("a"), view_of("b"), &err), STATUS_UNAVAILABLE);
    TEST_HAS(err.text, "folder");
    TEST_EQ(count_files(), 2);
    store_close(&store);
}

/* A file system that is full: /dev/full cannot be a directory, but a limit on sizes is as good. */
static void test_write_full(void **state) {
    (void)state;
    fflush(NULL);
    pid_t child = fork();
    TEST_TRUE(child >= 0);
    if (child == 0) {
        struct store store;
        struct err err;
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {1000, 1000};
        static char many[5000];
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0 ||
            store_open(work.path, &store, NULL) != STATUS_OK)
            _exit(2);
        _exit(store_write(&store, "big", view_of("head"), view_make(many, sizeof many), &err) ==
                      STATUS_UNAVAILABLE
                  ? 0
                  : 1);
    }
    int status;
    TEST_EQ(waitpid(child, &status, 0), child);
    TEST_EQ(status, 0);
    TEST_EQ(count_files(), 0);
}

static void test_lock(void **state) {
    (void)state;
    struct store store;
    int lock, second;
    struct err err;
    open_work(&store);
    TEST_EQ(store_lock(&store, 0, &lock, &err), STATUS_OK);
    TEST_EQ(store_lock(&store, 20 * 1000, &second, &err), STATUS_DEADLINE_EXCEEDED);
    close(lock);
    TEST_EQ(store_lock(&store, 0, &lock, &err), STATUS_OK);
    pid_t child = fork(); /* waits until we let go */
    TEST_TRUE(child >= 0);
    if (child == 0) {
        close(lock); /* the copy that fork() made */
        _exit(store_lock(&store, 10 * 1000 * 1000, &second, NULL) == STATUS_OK ? 0 : 1);
    }
    usleep(20 * 1000);
    int status;
    TEST_EQ(waitpid(child, &status, WNOHANG), 0); /* it waits */
    flock(lock, LOCK_UN);
    close(lock);
    TEST_EQ(waitpid(child, &status, 0), child);
    TEST_EQ(status, 0);
    char path[256];
    path_of("lock", path);
    TEST_EQ(unlink(path), 0);
    TEST_EQ(mkdir(path, 0700), 0);
    TEST_EQ(store_lock(&store, 0, &lock, &err), STATUS_UNAVAILABLE);
    TEST_HAS(err.text, "lock");
    store_close(&store);
}

static void set_age(const char *name, time_t seconds) {
    char path[256];
    path_of(name, path);
    const struct timespec then = {.tv_sec = time(NULL) - seconds};
    TEST_EQ(utimensat(AT_FDCWD, path, (const struct timespec[]){then, then}, 0), 0);
}

static void test_sweep(void **state) {
    (void)state;
    enum { HOUR = 3600, DAY = 24 * HOUR };
    static const struct {
        const char *name;
        time_t age;
        bool stays;
    } rows[] = {
        {"new.weights", 0, true},
        {"used.weights", 29 * DAY, true},
        {"unused.weights", 31 * DAY, false},
        {"unused.stamp", 31 * DAY, false},
        {"being.written.tmp", HOUR / 2, true},
        {"left.over.tmp", 2 * HOUR, false},
        {"lock", 365 * DAY, true},
        {"of somebody else", 365 * DAY, true},
    };
    struct store store;
    open_work(&store);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        golden_write(&work, rows[i].name, "x", 1);
        set_age(rows[i].name, rows[i].age);
    }
    store_sweep(&store);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char path[256];
        path_of(rows[i].name, path);
        TEST_EQ(access(path, F_OK) == 0, rows[i].stays);
    }
    int fd; /* what is used is young again */
    uint64_t bytes;
    TEST_EQ(store_file(&store, "used.weights", &fd, &bytes, NULL), STATUS_OK);
    store_touch(fd);
    struct stat info;
    TEST_EQ(fstat(fd, &info), 0);
    TEST_TRUE(info.st_mtime + 60 > time(NULL));
    close(fd);
    store_close(&store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_open, setup, teardown),
        cmocka_unit_test(test_remote),
        cmocka_unit_test_setup_teardown(test_foreign_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
