/* command_test.c - real programs side by side: what they say, how they end, and if not. */
#include "support/test.h"

#include "command.h"

#include "base/thread.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct command commands[COMMANDS_AT_ONCE];

static void sh(uint32_t i, char *const words[]) {
    commands[i].words = words;
}
#define SH(text) ((char *[]){(char *)"sh", (char *)"-c", (char *)(text), NULL})

static void test_ends(void **state) {
    (void)state;
    sh(0, SH("echo one; echo two"));
    sh(1, SH("echo first >&2; echo 'it cannot be done' >&2; exit 3"));
    sh(2, SH("exit 4"));
    sh(3, SH("kill -9 $$"));
    sh(4, (char *[]){(char *)"/nowhere/systemctl", NULL});
    sh(5, SH("yes | head -c 100000"));
    sh(6, SH("cat; echo read"));                            /* nothing to read: it ends */
    sh(7, SH("sleep 30 & echo left"));                      /* a process that keeps the pipes */
    sh(8, SH("kill -TERM $$; echo not reached"));           /* our signal mask is not its own */
    sh(9, SH("yes x | head -c 100000 >&2; echo last >&2")); /* more than is kept of it */
    command_run(commands, 10, 20 * 1000 * 1000);
    TEST_TRUE(commands[0].ok);
    TEST_TRUE(view_equal(view_make(commands[0].out, commands[0].bytes), view_of("one\ntwo\n")));
    TEST_TRUE(!commands[1].ok);
    TEST_STR_EQ(commands[1].trouble, "first ... it cannot be done");
    TEST_STR_EQ(commands[2].trouble, "exit status 4");
    TEST_STR_EQ(commands[3].trouble, "ended by signal 9");
    TEST_TRUE(!commands[4].ok);
    TEST_HAS(commands[4].trouble, "/nowhere/systemctl: No such file");
    TEST_TRUE(!commands[5].ok);
    TEST_HAS(commands[5].trouble, "more than 65536 bytes");
    TEST_TRUE(commands[6].ok);
    TEST_TRUE(commands[7].ok);
    TEST_TRUE(view_equal(view_make(commands[7].out, commands[7].bytes), view_of("left\n")));
    TEST_STR_EQ(commands[8].trouble, "ended by signal 15");
    TEST_TRUE(commands[9].ok);
    TEST_EQ(waitpid(-1, NULL, WNOHANG), -1); /* none is left */
}

static void test_hangs(void **state) {
    (void)state;
    sh(0, SH("sleep 600"));
    sh(1, SH("trap '' TERM INT; while :; do sleep 1; done"));
    sh(2, SH("echo quick"));
    sh(3, SH("exec yes")); /* it never stops to write */
    command_run(commands, 4, 2000 * 1000);
    TEST_STR_EQ(commands[3].trouble, "no answer in time");
    TEST_TRUE(!commands[0].ok && !commands[1].ok && commands[2].ok);
    TEST_STR_EQ(commands[0].trouble, "no answer in time");
    TEST_STR_EQ(commands[1].trouble, "no answer in time");
    TEST_EQ(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_many(void **state) {
    (void)state;
    static char text[COMMANDS_AT_ONCE][16];
    static char *words[COMMANDS_AT_ONCE][3];
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < COMMANDS_AT_ONCE; i++) {
            snprintf(text[i], sizeof text[i], "%u", i);
            words[i][0] = (char *)"echo";
            words[i][1] = text[i];
            sh(i, words[i]);
        }
        command_run(commands, COMMANDS_AT_ONCE, 60 * 1000 * 1000);
        for (uint32_t i = 0; i < COMMANDS_AT_ONCE; i++) {
            TEST_TRUE(commands[i].ok);
            TEST_EQ(strtoul(commands[i].out, NULL, 10), i);
        }
    }
}

int main(void) {
    thread_signals_fd(); /* as the program does */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_hangs),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
