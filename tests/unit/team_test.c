/* team_test.c - every part of every step runs once, whoever comes and goes. */
#include "base/team.h"
#include "base/thread.h"
#include "support/test.h"

#include <unistd.h>

enum { PARTS = 37, STEPS = 20000, HELPERS = 3 };

struct job {
    uint32_t runs[PARTS]; /* of the parts of this step, each written by whoever takes it */
    uint32_t step;        /* plain memory: the team must make it visible */
    _Atomic uint32_t wrong;
};

static void part_run(void *arg, uint32_t part, void *own) {
    struct job *job = arg;
    uint32_t *mine = own;
    job->runs[part] += job->step;
    ++*mine;
    if (part >= PARTS)
        atomic_fetch_add(&job->wrong, 1);
}

static void test_alone(void **state) {
    (void)state;
    struct team team = {0};
    struct job job = {.step = 1};
    uint32_t mine = 0;
    team_begin(&team);
    TEST_EQ(team_helpers(&team), 0);
    team_run(&team, part_run, &job, PARTS, &mine);
    team_run(&team, part_run, &job, 0, &mine);
    team_run(&team, part_run, &job, 1, &mine);
    team_end(&team);
    TEST_EQ(mine, PARTS + 1);
    TEST_EQ(job.runs[0], 2);
    for (uint32_t i = 1; i < PARTS; i++)
        TEST_EQ(job.runs[i], 1);
}

struct helper {
    struct team *team;
    atomic_bool *stop;
    uint32_t mine, visits, calls;
    pthread_t thread;
};

/* Now and then a helper has something better to do. */
static bool leave(void *arg) {
    struct helper *helper = arg;
    return ++helper->calls % 5000 == 0;
}

static void *help(void *arg) {
    struct helper *helper = arg;
    while (!atomic_load(helper->stop)) {
        team_help(helper->team, leave, helper, &helper->mine);
        helper->visits++;
    }
    return NULL;
}

static void test_helpers_come_and_go(void **state) {
    (void)state;
    struct team team = {0};
    atomic_bool stop = false;
    struct helper helpers[HELPERS];
    for (int i = 0; i < HELPERS; i++) {
        helpers[i] = (struct helper){.team = &team, .stop = &stop};
        TEST_EQ(thread_start(&helpers[i].thread, "helper", help, &helpers[i], NULL), STATUS_OK);
    }
    struct job job = {0};
    uint32_t mine = 0, wrong = 0, parts_run = 0;
    for (uint32_t step = 1; step <= STEPS; step++) {
        const uint32_t parts = step % (PARTS + 1);
        memset(job.runs, 0, sizeof job.runs);
        job.step = step;
        if (step % 100 == 1)
            team_begin(&team);
        team_run(&team, part_run, &job, parts, &mine);
        for (uint32_t i = 0; i < PARTS; i++)
            wrong += job.runs[i] != (i < parts ? step : 0);
        parts_run += parts;
        if (step % 100 == 0)
            team_end(&team);
    }
    team_end(&team);
    atomic_store(&stop, true);
    for (int i = 0; i < HELPERS; i++) {
        pthread_join(helpers[i].thread, NULL);
        mine += helpers[i].mine;
    }
    TEST_EQ(wrong, 0);
    TEST_EQ(job.wrong, 0);
    TEST_EQ(mine, parts_run);
    TEST_EQ(team_helpers(&team), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_helpers_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
