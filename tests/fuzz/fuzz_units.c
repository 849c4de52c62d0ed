/* fuzz_units.c - what ember-scale reads: the file of hosts, and what systemctl prints. The first
 * byte chooses: 0 the file, else the list. */
#include "base/check.h"
#include "units.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hosts(struct view text) {
    static struct follow_host list[FOLLOW_HOSTS_MAX];
    struct err err;
    uint32_t n = 0, units = 0;
    if (units_read_hosts(text, list, &n, &err) != STATUS_OK) {
        CHECK(n == 0 && err.text[0] && strlen(err.text) < ERR_TEXT_MAX);
        return;
    }
    CHECK(n > 0 && n <= FOLLOW_HOSTS_MAX);
    static struct units_command command;
    for (uint32_t i = 0; i < n; i++) {
        size_t bytes = strlen(list[i].name);
        CHECK(bytes && bytes <= FOLLOW_HOST_BYTES && list[i].name[0] != '-');
        CHECK(list[i].units <= FOLLOW_HOST_UNITS_MAX);
        units += list[i].units;
        units_list_command(&command, "systemctl", list[i].name, "ember-worker");
        CHECK(command.n >= 4 && !command.words[command.n]);
    }
    CHECK(units <= FOLLOW_UNITS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    char *text = malloc(size); /* exactly as large: what is beyond is not ours */
    CHECK(text);
    memcpy(text, data + 1, size - 1);
    if (data[0] == 0) {
        hosts(view_make(text, size - 1));
    } else {
        static enum unit_state states[FOLLOW_HOST_UNITS_MAX];
        units_read_list(view_make(text, size - 1), "ember-worker", states);
        for (int i = 0; i < FOLLOW_HOST_UNITS_MAX; i++)
            CHECK(states[i] < UNIT_STATES);
    }
    free(text);
    return 0;
}
