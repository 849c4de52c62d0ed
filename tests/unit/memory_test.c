/* memory_test.c - limits and use out of trees of /proc and /sys that are laid out here. */
#include "base/memory.h"

#include "support/golden.h"

static struct golden_dir work;

static void make_above(char *path) {
    for (char *slash = strchr(path + strlen(work.path) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
}

static void lay(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", work.path, name);
    make_above(path);
    FILE *f = fopen(path, "we");
    TEST_TRUE(f && fputs(text, f) >= 0);
    fclose(f);
}

#define V2 "sys/fs/cgroup/"
#define V1 "sys/fs/cgroup/memory/"
#define V1_STAT                                                                                    \
    "active_file 7\nhierarchical_memory_limit 9000\n"                                              \
    "total_active_file 100\ntotal_inactive_file 200\n"
#define V1_NO_MAX "hierarchical_memory_limit 9223372036854771712\n"

enum { FILES = 8 };

static void test_sources(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct {
            const char *name, *text;
        } files[FILES];
        uint64_t setting;
        enum memory_source source;
        uint64_t limit, used;
    } rows[] = {
        {"nothing to be read", {{NULL, NULL}}, 0, MEMORY_NONE, 0, 0},
        {"a group of its own",
         {{"proc/self/cgroup", "0::/a/b\n"},
          {V2 "a/b/memory.max", "1000\n"},
          {V2 "a/b/memory.current", "700\n"},
          {V2 "a/b/memory.stat", "anon 5\ninactive_file 40\nactive_file 60\n"},
          {V2 "a/memory.max", "max\n"}},
         0,
         MEMORY_CGROUP,
         1000,
         600},
        {"one around it is tighter",
         {{"proc/self/cgroup", "0::/a/b\n"},
          {V2 "a/b/memory.max", "1000\n"},
          {V2 "a/b/memory.current", "70\n"},
          {V2 "a/memory.max", "500\n"},
          {V2 "a/memory.current", "300\n"},
          {V2 "a/memory.stat", "inactive_file 1000\n"}},
         0,
         MEMORY_CGROUP,
         500,
         0},
        {"a container, whose root it is",
         {{"proc/self/cgroup", "0::/\n"},
          {V2 "memory.max", "2000\n"},
          {V2 "memory.current", "1500\n"}},
         0,
         MEMORY_CGROUP,
         2000,
         1500},
        {"no limit anywhere",
         {{"proc/self/cgroup", "0::/a\n"},
          {V2 "a/memory.max", "max\n"},
          {"proc/self/statm", "1000 30 10 1 0 5 0\n"}},
         0,
         MEMORY_NONE,
         0,
         20},
        {"the first kind",
         {{"proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/x/y\n0::/\n"},
          {V1 "x/y/memory.stat", V1_STAT},
          {V1 "x/y/memory.usage_in_bytes", "8000\n"}},
         0,
         MEMORY_CGROUP,
         9000,
         7700},
        {"the first kind in a container",
         {{"proc/self/cgroup", "4:memory:/docker/0123\n"},
          {V1 "memory.stat", V1_STAT},
          {V1 "memory.usage_in_bytes", "8000\n"}},
         0,
         MEMORY_CGROUP,
         9000,
         7700},
        {"the first kind without a limit",
         {{"proc/self/cgroup", "4:memory:/\n"}, {V1 "memory.stat", V1_NO_MAX}},
         0,
         MEMORY_NONE,
         0,
         0},
        {"a controller that only begins like it",
         {{"proc/self/cgroup", "4:memoryless:/\n"}, {V1 "memory.stat", V1_STAT}},
         0,
         MEMORY_NONE,
         0,
         0},
        {"a setting goes first",
         {{"proc/self/cgroup", "0::/\n"},
          {V2 "memory.max", "2000\n"},
          {"proc/self/statm", "1000 30 10 1 0 5 0\n"}},
         777,
         MEMORY_SETTING,
         777,
         20},
        {"lines that are none",
         {{"proc/self/cgroup", "\n::\n0:\nabc\n0::/a"}, {V2 "a/memory.max", "-5\n"}},
         0,
         MEMORY_NONE,
         0,
         0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct memory memory;
        golden_empty(work.path, false);
        for (size_t k = 0; k < FILES && rows[i].files[k].name; k++)
            lay(rows[i].files[k].name, rows[i].files[k].text);
        memory_init(&memory, rows[i].setting, work.path);
        TEST_STR_EQ(memory_source_name(memory.source), memory_source_name(rows[i].source));
        TEST_TRUE(memory.limit == rows[i].limit);
        const uint64_t page = rows[i].source == MEMORY_CGROUP ? 1 : (uint64_t)sysconf(_SC_PAGESIZE);
        TEST_EQ(memory_used(&memory), rows[i].used * page);
    }
}

static void test_here(void **state) { /* this process, as it is */
    (void)state;
    struct memory memory;
    memory_init(&memory, 1 << 30, "");
    const uint64_t before = memory_used(&memory);
    enum { MORE = 32 * 1024 * 1024 };
    char *more = malloc(MORE);
    TEST_TRUE(more != NULL);
    memset(more, 1, MORE);
    TEST_TRUE(more[MORE / 2] == 1);
    TEST_TRUE(before > 0 && memory_used(&memory) >= before + MORE / 2);
    free(more);
}

static int setup(void **state) {
    (void)state;
    golden_make(&work);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    golden_remove(&work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sources), cmocka_unit_test(test_here)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
