/* fleet_test.c - who serves what, and who is chosen. */
#include "support/test.h"

#include "fleet.h"

static struct fleet fleet;

static int setup(void **state) {
    (void)state;
    return fleet_init(&fleet, 200, 16, 1) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    fleet_done(&fleet);
    return 0;
}

static enum status join(uint64_t uuid, const char *model, uint32_t tasks, uint16_t credit,
                        uint32_t *out) {
    struct wire_model m = {.name = view_of(model), .fingerprint = view_of("f"), .tasks = tasks};
    struct wire_ready ready = {
        .uuid = uuid, .name = view_of("w"), .models = &m, .n_models = 1, .tier = view_of("fast")};
    struct err err;
    return fleet_join(&fleet, &ready, credit, 1000, out, &err);
}

enum { EMBED = 1 << WIRE_TASK_EMBED, CLASSIFY = 1 << WIRE_TASK_CLASSIFY };

static void test_numbers(void **state) {
    (void)state;
    uint32_t a = fleet_number(&fleet, view_of("a"), WIRE_TASK_EMBED, false);
    TEST_TRUE(a != 0);
    TEST_EQ(fleet_number(&fleet, view_of("a"), WIRE_TASK_EMBED, true), a);
    TEST_TRUE(fleet_number(&fleet, view_of("a"), WIRE_TASK_CLASSIFY, false) != a);
    TEST_EQ(fleet_find(&fleet, view_of("b"), WIRE_TASK_EMBED), 0);
    char name[8];
    for (int i = 0; i < 100; i++) { /* strangers ask for many names */
        snprintf(name, sizeof name, "x%d", i);
        fleet_number(&fleet, view_of(name), WIRE_TASK_EMBED, false);
    }
    TEST_EQ(fleet_number(&fleet, view_of("one-more"), WIRE_TASK_EMBED, false), 0);
    uint32_t w;
    TEST_EQ(join(1, "real", EMBED | CLASSIFY, 10, &w), STATUS_OK); /* and keep no worker out */
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "y%d", i);
        if (join(2, name, EMBED, 10, &w) != STATUS_OK)
            break;
    }
    TEST_EQ(join(3, "too-many", EMBED, 10, &w), STATUS_RESOURCE_EXHAUSTED);
    TEST_EQ(join(3, "real", EMBED, 10, &w), STATUS_OK);
}

static void test_join_and_leave(void **state) {
    (void)state;
    uint32_t w0, w1;
    TEST_EQ(join(1, "m", EMBED, 10, &w0), STATUS_OK);
    TEST_EQ(join(2, "m", EMBED | CLASSIFY, 10, &w1), STATUS_OK);
    const struct fleet_service *s =
        &fleet.services[fleet_find(&fleet, view_of("m"), WIRE_TASK_EMBED)];
    TEST_EQ(s->n_members, 2);
    TEST_EQ(fleet_by_uuid(&fleet, 2), w1);
    fleet_close(&fleet, w0, 2000);
    TEST_EQ(s->n_members, 1);
    TEST_EQ(fleet.n_workers, 2);
    fleet_leave(&fleet, w0, 3000);
    fleet_leave(&fleet, w1, 4000);
    TEST_EQ(s->n_members, 0);
    TEST_EQ(s->last_us, 4000);
    TEST_TRUE(s->seen);
    TEST_EQ(fleet.n_workers, 0);
    TEST_EQ(fleet_by_uuid(&fleet, 2), FLEET_NONE);
    TEST_EQ(join(3, "m", EMBED, 10, &w0), STATUS_OK);
    TEST_TRUE(w0 < 2); /* an index is used again */
}

/* What a worker says of itself is kept short, in UTF-8 and on one line. */
static void test_words(void **state) {
    (void)state;
    static const struct {
        const char *name, *version, *want;
    } rows[] = {
        {"as it is", "1.2 beta", "1.2 beta"},
        {"cut", "0123456789012345678901234567890123456789", "0123456789012345678901234567890"},
        {"cut between characters", "012345678901234567890123456789\xc3\xa9",
         "012345678901234567890123456789"},
        {"a line of its own", "1\nerror event=forged\x1b[2J\x7f", "1?error event=forged?[2J?"},
        {"nothing", "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct wire_model m = {.name = view_of("m"), .tasks = EMBED};
        struct wire_ready ready = {.uuid = i + 1,
                                   .name = view_of("w"),
                                   .version = view_of(rows[i].version),
                                   .host = view_of(rows[i].version),
                                   .models = &m,
                                   .n_models = 1};
        uint32_t w;
        struct err err;
        TEST_EQ(fleet_join(&fleet, &ready, 1, 1000, &w, &err), STATUS_OK);
        TEST_STR_EQ(fleet.workers[w].version, rows[i].want);
        TEST_TRUE(!strchr(fleet.workers[w].host, '\n'));
    }
}

static uint32_t choose(uint32_t service, uint32_t cost) {
    struct fleet_wish wish = {.cost = cost, .lane = WIRE_LANE_NORMAL, .avoid = FLEET_NONE};
    return fleet_choose(&fleet, service, &wish);
}

static void test_choice(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct fleet_load a, b;
        uint32_t cost;
        int want; /* -1: nobody */
    } rows[] = {
        {"idle before busy",
         {.cost = 4, .n = 1, .credit = 20, .open = true},
         {.credit = 20, .open = true},
         4,
         1},
        {"the smaller share of its window",
         {.cost = 8, .n = 2, .credit = 80, .open = true},
         {.cost = 4, .n = 1, .credit = 20, .open = true},
         4,
         0},
        {"ties: used longest ago",
         {.credit = 20, .open = true, .used = 9},
         {.credit = 20, .open = true, .used = 8},
         4,
         1},
        {"ties, though the turns wrapped",
         {.credit = 20, .open = true, .used = 3},
         {.credit = 20, .open = true, .used = UINT32_MAX},
         4,
         1},
        {"exactly full fits", {.cost = 16, .n = 4, .credit = 20, .open = true}, {0}, 4, 0},
        {"one over does not", {.cost = 17, .n = 4, .credit = 20, .open = true}, {0}, 4, -1},
        {"larger than the window: alone", {.credit = 20, .open = true}, {0}, 500, 0},
        {"but only alone", {.cost = 1, .n = 1, .credit = 20, .open = true}, {0}, 500, -1},
        {"no window, no work", {.credit = 0, .open = true}, {.credit = 9}, 1, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        fleet_done(&fleet);
        TEST_TRUE(fleet_init(&fleet, 200, 16, 1));
        uint32_t a, b;
        TEST_EQ(join(1, "m", EMBED, 10, &a), STATUS_OK);
        TEST_EQ(join(2, "m", EMBED, 10, &b), STATUS_OK);
        fleet.loads[a] = rows[i].a;
        fleet.loads[b] = rows[i].b;
        fleet.loads[a].barred = fleet.loads[b].barred = WIRE_LANES;
        uint32_t got = choose(fleet_find(&fleet, view_of("m"), WIRE_TASK_EMBED), rows[i].cost);
        TEST_EQ(got == FLEET_NONE ? -1 : (int)got, rows[i].want < 0 ? -1
                                                   : rows[i].want   ? (int)b
                                                                    : (int)a);
    }
}

static void test_many_members(void **state) {
    (void)state;
    uint32_t w, last = 0;
    for (uint32_t i = 0; i < 150; i++) {
        TEST_EQ(join(i + 1, "m", EMBED, 10, &w), STATUS_OK);
        fleet.loads[w] = (struct fleet_load){
            .cost = 10, .n = 5, .credit = 10, .open = true, .barred = WIRE_LANES};
        last = w;
    }
    uint32_t service = fleet_find(&fleet, view_of("m"), WIRE_TASK_EMBED);
    TEST_EQ(choose(service, 1), FLEET_NONE);
    fleet.loads[last].cost = 9; /* the only one with room is found, wherever the scan starts */
    for (int i = 0; i < 50; i++)
        TEST_EQ(choose(service, 1), last);
}

static enum status join_tier(uint64_t uuid, const char *tier, uint32_t *out) {
    struct wire_model m = {.name = view_of("m"), .fingerprint = view_of("f"), .tasks = EMBED};
    struct wire_ready ready = {.uuid = uuid,
                               .name = view_of("w"),
                               .models = &m,
                               .n_models = 1,
                               .threads = 2,
                               .tier = view_of(tier)};
    struct err err;
    return fleet_join(&fleet, &ready, 20, 1000, out, &err);
}

static uint32_t choose_lane(uint32_t service, uint8_t lane) {
    struct fleet_wish wish = {.cost = 4, .lane = lane, .avoid = FLEET_NONE};
    return fleet_choose(&fleet, service, &wish);
}

static void test_tiers(void **state) {
    (void)state;
    uint32_t slow, fast, other;
    TEST_EQ(join_tier(1, "standard", &slow), STATUS_OK);
    TEST_EQ(join_tier(2, "fast", &fast), STATUS_OK);
    TEST_EQ(join_tier(3, "", &other), STATUS_OK);
    uint32_t service = fleet_find(&fleet, view_of("m"), WIRE_TASK_EMBED);
    const struct fleet_service *s = &fleet.services[service];
    TEST_TRUE(s->n_fast == 1 && s->members[0] == fast && s->threads == 6 && s->window == 60);
    TEST_EQ(choose_lane(service, WIRE_LANE_HIGH), fast);
    fleet.loads[other].cost = fleet.loads[other].n = 1;
    TEST_EQ(choose_lane(service, WIRE_LANE_NORMAL), slow);
    TEST_EQ(choose_lane(service, WIRE_LANE_BULK), slow);
    fleet.loads[fast].cost = 20, fleet.loads[fast].n = 5; /* each spills over */
    TEST_EQ(choose_lane(service, WIRE_LANE_HIGH), slow);
    fleet.loads[slow].cost = fleet.loads[other].cost = 20;
    fleet.loads[slow].n = fleet.loads[other].n = 5;
    fleet.loads[fast].cost = 10;
    TEST_EQ(choose_lane(service, WIRE_LANE_BULK), fast);
    fleet.loads[fast].cost = 20;
    TEST_EQ(choose_lane(service, WIRE_LANE_BULK), FLEET_NONE);
    fleet_close(&fleet, fast, 2000);
    TEST_TRUE(s->n_fast == 0 && s->n_members == 2 && s->threads == 4 && s->window == 40);
}

/* The faster one, though it has more to do; as soon as it is known to be faster. */
static void test_paces(void **state) {
    (void)state;
    uint32_t slow, fast, unknown;
    TEST_EQ(join_tier(1, "", &slow), STATUS_OK);
    TEST_EQ(join_tier(2, "", &fast), STATUS_OK);
    uint32_t service = fleet_find(&fleet, view_of("m"), WIRE_TASK_EMBED);
    fleet_learn(&fleet, slow, 4, 4, 100); /* it had a fifth of its window: says nothing */
    TEST_TRUE(fleet.loads[slow].pace == 0);
    for (int i = 0; i < 50; i++) {
        fleet_learn(&fleet, slow, 4, 20, 2000);
        fleet_learn(&fleet, fast, 4, 20, 500);
    }
    fleet_measure(&fleet);
    TEST_TRUE(fleet.services[service].pace > 0.049F && fleet.services[service].pace < 0.051F);
    fleet.loads[fast].cost = 10, fleet.loads[fast].n = 2;
    TEST_EQ(choose_lane(service, WIRE_LANE_NORMAL), fast); /* 350 us, and 400 */
    fleet.loads[fast].cost = 16;
    TEST_EQ(choose_lane(service, WIRE_LANE_NORMAL), slow); /* 500 us, and 400 */
    TEST_EQ(join_tier(3, "", &unknown), STATUS_OK);
    TEST_EQ(choose_lane(service, WIRE_LANE_NORMAL), unknown); /* held to be as the mean: 160 */
    fleet.loads[fast].cost = fleet.loads[fast].n = 0;
    for (int i = 0; i < 1000; i++)
        fleet_measure(&fleet); /* nobody asks them: by and by all are the same */
    float ratio = fleet.loads[fast].pace / fleet.loads[slow].pace;
    TEST_TRUE(ratio > 0.99F && ratio < 1.01F);
}

static void test_kept(void **state) {
    (void)state;
    uint32_t w;
    TEST_EQ(join_tier(1, "", &w), STATUS_OK);
    uint32_t service = fleet_find(&fleet, view_of("m"), WIRE_TASK_EMBED);
    struct fleet_load *load = &fleet.loads[w];
    load->cost = 10, load->n = 2;
    struct fleet_wish wish = {.cost = 15, .lane = WIRE_LANE_BULK, .avoid = FLEET_NONE};
    TEST_EQ(fleet_choose(&fleet, service, &wish), FLEET_NONE);
    TEST_EQ(wish.almost, w);
    load->keeper = (uint16_t)service, load->keeper_lane = WIRE_LANE_BULK;
    load->barred = WIRE_LANE_BULK;
    TEST_EQ(choose_lane(service, WIRE_LANE_NORMAL), w);
    TEST_EQ(choose_lane(service, WIRE_LANE_BULK), w); /* the keeper itself */
    load->keeper++;
    TEST_EQ(choose_lane(service, WIRE_LANE_BULK), FLEET_NONE);
    load->barred = 0;
    TEST_EQ(choose_lane(service, WIRE_LANE_HIGH), FLEET_NONE);
    load->barred = WIRE_LANES;
    wish = (struct fleet_wish){.cost = 1, .lane = WIRE_LANE_HIGH, .avoid = w};
    TEST_EQ(fleet_choose(&fleet, service, &wish), FLEET_NONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_join_and_leave, setup, teardown),
        cmocka_unit_test_setup_teardown(test_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_choice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tiers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
