/* weights_test.c - real workers on one host: weights are prepared once, lie in memory once, are
 * found again at the next start, and are made anew when the file was damaged; and batches get
 * smaller when memory is short. The model has random weights in all-MiniLM-L6-v2's shape: 90 MB. */
#include "support/golden.h"
#include "support/rig.h"

#include "base/clock.h"

#define PROC_MODEL EMBER_BINARY_DIR "/worker/model_tool/ember-model"

enum { WAIT_MS = 20000, FILE_MB = 80, PRIVATE_MB_MAX = 40 };

static struct rig rig;
static char model[256], cache[256];

static int setup(void **state) {
    (void)state;
    static char named[300];
    static struct proc synth;
    snprintf(model, sizeof model, "%s/model", proc_dir());
    snprintf(named, sizeof named, "m=%s", model);
    snprintf(cache, sizeof cache, "%s/cache", proc_dir());
    proc_start(&synth, "synth",
               (const char *[]){PROC_MODEL, "synth", "--shape", "minilm-l6", "--out", model,
                                "--quiet", NULL});
    TEST_TRUE(proc_wait(&synth, WAIT_MS * PROC_SLOW));
    TEST_EQ(synth.status, 0);
    rig_init(&rig, &(struct rig_cfg){.brokers = 1,
                                     .workers = 2,
                                     .real = true,
                                     .models = {named},
                                     .worker_extra = {"--weights-cache", cache}});
    return 0;
}

static int teardown(void **state) {
    rig_stop(&rig);
    golden_empty(cache, true);
    golden_empty(model, true);
    return proc_stop_all(state);
}

static uint32_t count_in_log(const struct proc *proc, const char *text) {
    size_t bytes;
    uint32_t n = 0;
    char *log = golden_read(proc->log, &bytes);
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
        n++;
    free(log);
    return n;
}

/* Megabytes of a field of smaps, summed over mappings whose name contains `name`. */
static double smaps_mb(const struct proc *proc, const char *name, const char *field) {
    char path[64], line[1024];
    double kb = 0;
    bool ours = false;
    snprintf(path, sizeof path, "/proc/%d/smaps", (int)proc->pid);
    FILE *f = fopen(path, "re");
    TEST_TRUE(f != NULL);
    while (fgets(line, sizeof line, f)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            ours = strstr(line, name) != NULL;
        else if (ours && strncmp(line, field, strlen(field)) == 0)
            kb += strtod(line + strlen(field), NULL);
    }
    fclose(f);
    return kb / 1024;
}

static void ask(ember_t *client) {
    static const char *const texts[] = {"hello",
                                        "how are you today, and what is the weather like?"};
    ember_result_t *result = NULL;
    struct ember_error error;
    if (ember_embed(client, texts, 2, NULL, &result, &error) != EMBER_OK)
        TEST_FAIL("%s: %s", ember_status_name(error.status), error.message);
    TEST_EQ(ember_result_dim(result), 384);
    ember_result_destroy(&result);
}

static void ask_once(void) {
    ember_t *client = NULL;
    TEST_EQ(ember_open(rig.endpoints, NULL, &client, NULL), EMBER_OK);
    ask(client);
    ember_close(&client);
}

static void test_prepared_once(void **state) {
    (void)state;
    TEST_TRUE(rig_start(&rig)); /* both at the same time */
    TEST_EQ(count_in_log(&rig.worker[0], "event=weights-prepare") +
                count_in_log(&rig.worker[1], "event=weights-prepare"),
            1);
    for (int i = 0; i < 2; i++) {
        TEST_EQ(count_in_log(&rig.worker[i], "weights=shared"), 1);
        TEST_EQ(count_in_log(&rig.worker[i], "event=weights-cache"), 0);
    }
    ask_once();
}

/* Both have the file mapped, nobody has a copy, and what is theirs alone is small. */
static void test_one_copy(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct proc *worker = &rig.worker[i];
        TEST_ROW(worker->name);
        const double rss = smaps_mb(worker, ".weights", "Rss:");
        TEST_TRUE(smaps_mb(worker, ".weights", "Size:") > FILE_MB);
        TEST_TRUE(rss > FILE_MB / 4.0); /* the self-check went through all layers */
        TEST_EQ(smaps_mb(worker, ".weights", "Private_Dirty:"), 0);
        TEST_EQ(smaps_mb(worker, ".weights", "Anonymous:"), 0);
        if (smaps_mb(worker, ".weights", "Pss:") > 0.75 * rss)
            TEST_FAIL("%.1f of %.1f MB are its own", smaps_mb(worker, ".weights", "Pss:"), rss);
        if (PROC_SLOW > 1)
            continue; /* a sanitizer's own memory */
        const double own =
            smaps_mb(worker, "", "Private_Clean:") + smaps_mb(worker, "", "Private_Dirty:");
        if (own > PRIVATE_MB_MAX)
            TEST_FAIL("%.1f MB are its own", own);
    }
}

static void test_found_again(void **state) {
    (void)state;
    const size_t from = proc_log_bytes(&rig.worker[1]);
    const uint32_t before = count_in_log(&rig.worker[1], "event=weights-prepare");
    proc_drain(&rig.worker[1], WAIT_MS);
    rig_start_worker(&rig, 1);
    TEST_TRUE(proc_wait_log_from(&rig.worker[1], from, "event=broker-serving", WAIT_MS));
    TEST_EQ(count_in_log(&rig.worker[1], "event=weights-prepare"), before);
    TEST_EQ(count_in_log(&rig.worker[1], "prepare_ms=0.0"), 1 + (before == 0));
}

static void damage(void) {
    DIR *dir = opendir(cache);
    TEST_TRUE(dir != NULL);
    unsigned n = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[600];
        if (!strstr(entry->d_name, ".weights"))
            continue;
        snprintf(path, sizeof path, "%s/%s", cache, entry->d_name);
        FILE *f = fopen(path, "r+e");
        TEST_TRUE(f && fseek(f, 50 * 1000 * 1000, SEEK_SET) == 0 && fputs("damage", f) >= 0);
        fclose(f);
        n++;
    }
    closedir(dir);
    TEST_EQ(n, 1);
}

static void test_damaged(void **state) {
    (void)state;
    rig_stop(&rig); /* nobody has it mapped */
    damage();
    rig_start_broker(&rig, 0);
    rig_start_worker(&rig, 0);
    TEST_TRUE(proc_wait_log(&rig.worker[0], "event=broker-serving", WAIT_MS * PROC_SLOW));
    TEST_EQ(count_in_log(&rig.worker[0], "its weights are damaged"), 1);
    ask_once();
}

/* A limit that no worker could keep: batches shrink to the least, and answers come all the same. */
static void test_memory_short(void **state) {
    (void)state;
    rig_stop(&rig);
    rig.cfg.worker_extra[2] = "--memory-limit";
    rig.cfg.worker_extra[3] = "1M";
    rig_start_broker(&rig, 0);
    rig_start_worker(&rig, 0);
    TEST_TRUE(proc_wait_log(&rig.worker[0], "event=memory-short", WAIT_MS * PROC_SLOW));
    TEST_TRUE(proc_wait_log(&rig.worker[0], "batch_tokens=64 was=128", WAIT_MS));
    TEST_TRUE(proc_wait_log(&rig.worker[0], "batch_tokens=32 was=64", WAIT_MS));
    ask_once();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prepared_once), cmocka_unit_test(test_one_copy),
        cmocka_unit_test(test_found_again), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_memory_short)};
    return proc_report(cmocka_run_group_tests(tests, setup, teardown));
}
