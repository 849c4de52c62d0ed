/* units_test.c - the file of hosts, systemctl's words, and what it prints. */
#include "support/test.h"

#include "units.h"

#include <stdlib.h>
#include <string.h>

static struct follow_host hosts[FOLLOW_HOSTS_MAX];

static void test_hosts(void **state) {
    (void)state;
    uint32_t n = 0;
    struct err err;
    static const char good[] = "# ours\n\n  w1.internal\t4   # the large one\nadmin@10.0.0.7 0\r\n"
                               "localhost 2\n[::1] 1";
    TEST_EQ(units_read_hosts(view_of("a-b_c.d 256#x"), hosts, &n, &err), STATUS_OK);
    TEST_EQ(hosts[0].units, 256);
    TEST_STR_EQ(hosts[0].name, "a-b_c.d");
    TEST_EQ(units_read_hosts(view_of(good), hosts, &n, &err), STATUS_INVALID_ARGUMENT);
    TEST_STR_EQ(err.text, "line 6: '[::1]' is no host");
    TEST_EQ(n, 1);
    TEST_EQ(units_read_hosts(view_make(good, strlen(good) - 8), hosts, &n, &err), STATUS_OK);
    TEST_EQ(n, 3);
    TEST_STR_EQ(hosts[0].name, "w1.internal");
    TEST_EQ(hosts[0].units, 4);
    TEST_STR_EQ(hosts[1].name, "admin@10.0.0.7");
    TEST_EQ(hosts[1].units, 0);
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "names no host"},
        {"# none\n", "names no host"},
        {"a\n", "line 1: behind a host stands how many"},
        {"a 1\nb 257\n", "line 2: behind a host stands how many"},
        {"a -1\n", "how many"},
        {"a 1 2\n", "nothing else"},
        {"a 99999999999999999999\n", "how many"},
        {"a 1\na 2\n", "line 2: 'a' is there twice"},
        {"-oProxyCommand=x 1\n", "is no host"},
        {"a;b 1\n", "is no host"},
        {"@a 1\n", "is no host"},
        {"a@ 1\n", "is no host"},
        {"a@-oX 1\n", "is no host"},
        {":22 1\n", "is no host"},
        {"a: 1\n", "is no host"},
        {"\xe4\xbd\xa0 1\n", "is no host"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TEST_ROW(bad[i].text);
        TEST_EQ(units_read_hosts(view_of(bad[i].text), hosts, &n, &err), STATUS_INVALID_ARGUMENT);
        TEST_HAS(err.text, bad[i].says);
    }
    TEST_EQ(units_read_hosts(view_make("a\0b 1", 5), hosts, &n, &err), STATUS_INVALID_ARGUMENT);
    char many[32 * (FOLLOW_HOSTS_MAX + 1)];
    size_t used = 0;
    for (int i = 0; i <= FOLLOW_HOSTS_MAX; i++)
        used += (size_t)snprintf(many + used, sizeof many - used, "h%d 1\n", i);
    TEST_EQ(units_read_hosts(view_make(many, used), hosts, &n, &err), STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "more than 1024 hosts");
    used = 0;
    for (int i = 0; i < 17; i++)
        used += (size_t)snprintf(many + used, sizeof many - used, "h%d 256\n", i);
    TEST_EQ(units_read_hosts(view_make(many, used), hosts, &n, &err), STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "more than 4096 units");
}

static void test_commands(void **state) {
    (void)state;
    static struct units_command c;
    units_list_command(&c, "systemctl", "localhost", "ember-worker");
    TEST_EQ(c.n, 4);
    TEST_STR_EQ(c.words[0], "systemctl");
    TEST_STR_EQ(c.words[1], "show");
    TEST_STR_EQ(c.words[3], "ember-worker@*.service");
    TEST_TRUE(!c.words[4]);
    units_step_command(&c, "/bin/x", "w1", "e", "stop", (uint32_t[]){7, 256}, 2);
    static const char *const words[] = {"/bin/x", "--host=w1",   "--no-block",
                                        "stop",   "e@7.service", "e@256.service"};
    TEST_EQ(c.n, 6);
    for (int i = 0; i < 6; i++)
        TEST_STR_EQ(c.words[i], words[i]);
    TEST_TRUE(!c.words[6]);
    uint32_t all[FOLLOW_HOST_UNITS_MAX];
    for (uint32_t i = 0; i < FOLLOW_HOST_UNITS_MAX; i++)
        all[i] = i + 1;
    units_step_command(&c, "s", "w1", "e", "start", all, FOLLOW_HOST_UNITS_MAX);
    TEST_EQ(c.n, FOLLOW_HOST_UNITS_MAX + 4);
    TEST_TRUE(units_is_name("ember-worker") && units_is_name("a.b:c_d"));
    TEST_TRUE(!units_is_name("") && !units_is_name("-x") && !units_is_name("a b") &&
              !units_is_name("a@"));
}

static void test_list(void **state) {
    (void)state;
    static enum unit_state s[FOLLOW_HOST_UNITS_MAX];
    units_read_list(view_of("Id=ember-worker@1.service\nActiveState=active\n\n"
                            "ActiveState=activating\nId=ember-worker@3.service\n\n"
                            "Id=ember-worker@256.service\nActiveState=deactivating\n\n"
                            "Id=ember-worker@257.service\nActiveState=active\n\n"
                            "Id=ember-worker@02.service\nActiveState=active\n\n"
                            "Id=ember-worker@blue.service\nActiveState=active\n\n"
                            "Id=ember-broker.service\nActiveState=active\n\n"
                            "Id=ember-worker@4.service\nActiveState=failed\n\n"
                            "Id=ember-worker@5.service\nActiveState=inactive\n\n"
                            "Id=ember-worker@6.service\nSomething=new\nActiveState=reloading"),
                    "ember-worker", s);
    TEST_EQ(s[0], UNIT_ACTIVE);
    TEST_EQ(s[1], UNIT_OFF);
    TEST_EQ(s[2], UNIT_STARTING);
    TEST_EQ(s[3], UNIT_FAILED);
    TEST_EQ(s[4], UNIT_OFF);
    TEST_EQ(s[5], UNIT_ACTIVE);
    TEST_EQ(s[255], UNIT_STOPPING);
    units_read_list(view_of(""), "ember-worker", s);
    for (int i = 0; i < FOLLOW_HOST_UNITS_MAX; i++)
        TEST_EQ(s[i], UNIT_OFF);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
