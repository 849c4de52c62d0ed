/* services_test.c - numbers of models and tasks across HELLOs and sessions. */
#include "services.h"
#include "support/test.h"

static struct services s;

static void welcome(const struct wire_service *list, uint32_t n) {
    struct wire_welcome m = {.services = list, .n_services = n};
    services_welcome(&s, &m);
}

static void test_hellos_in_flight(void **state) {
    (void)state;
    memset(&s, 0, sizeof s);
    struct wire_service_name want[SERVICES_MAX];
    uint32_t a = services_index(&s, "a", WIRE_TASK_EMBED);
    TEST_EQ(services_index(&s, "a", WIRE_TASK_EMBED), a);
    TEST_TRUE(services_index(&s, "a", WIRE_TASK_CLASSIFY) != a);
    TEST_EQ(services_want(&s, want), 2);
    services_asked(&s);
    TEST_TRUE(!services_answered(&s, &s.list[a]));
    uint32_t b = services_index(&s, "b", WIRE_TASK_EMBED); /* too late for that HELLO */
    TEST_EQ(s.list[b].asked, 0);
    TEST_EQ(services_want(&s, want), 3);
    services_asked(&s);
    struct wire_service first[] = {{.number = 9, .model = view_of("a"), .task = WIRE_TASK_EMBED},
                                   {.number = 8, .model = view_of("a"), .task = WIRE_TASK_CLASSIFY},
                                   {.number = 7, .model = view_of("x"), .task = WIRE_TASK_EMBED}};
    welcome(first, 3);
    TEST_TRUE(services_answered(&s, &s.list[a]));
    TEST_EQ(s.list[a].number, 9);
    TEST_ROW("the first WELCOME says nothing about b");
    TEST_TRUE(!services_answered(&s, &s.list[b]));
    welcome(first, 2);
    TEST_ROW("the second does: no room for it");
    TEST_TRUE(services_answered(&s, &s.list[b]));
    TEST_EQ(s.list[b].number, 0);
    TEST_ROW("a new session");
    services_forget(&s);
    TEST_TRUE(!services_answered(&s, &s.list[a]));
    TEST_EQ(s.list[a].number, 0);
    welcome(first, 3); /* one that nobody asked for changes no count */
    TEST_EQ(s.welcomes, 0);
}

static void test_full(void **state) {
    (void)state;
    memset(&s, 0, sizeof s);
    char name[80];
    for (uint32_t i = 0; i < SERVICES_MAX; i++) {
        snprintf(name, sizeof name, "m%u", i);
        TEST_EQ(services_index(&s, name, WIRE_TASK_EMBED), i);
    }
    TEST_EQ(services_index(&s, "one more", WIRE_TASK_EMBED), SERVICE_NONE);
    TEST_EQ(services_index(&s, "m3", WIRE_TASK_EMBED), 3);
    memset(&s, 0, sizeof s);
    memset(name, 'x', sizeof name);
    name[LIMIT_NAME_BYTES + 1] = '\0';
    TEST_EQ(services_index(&s, name, WIRE_TASK_EMBED), SERVICE_NONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hellos_in_flight),
                                       cmocka_unit_test(test_full)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
