/* fuzz_stamp.c - any bytes as a stamp: refused, or a list whose names stay inside the directory.
 * The sum is made right first, so that the lines are reached. */
#include "base/check.h"
#include "base/hash.h"
#include "model/stamp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(struct view text) {
    struct stamp stamp;
    struct err err = {0};
    enum status st = stamp_parse(text, &stamp, &err);
    if (st != STATUS_OK) {
        CHECK(err.status == st && err.text[0] && !stamp.files && !stamp.tensors);
        return;
    }
    CHECK(stamp.n_files <= STAMP_FILES_MAX && stamp.dir[0]);
    for (uint32_t i = 0; i < stamp.n_files; i++) {
        const char *name = stamp.files[i].name;
        CHECK(name[0] && name[0] != '/' && strncmp(name, "../", 3) != 0 && !strstr(name, "/../"));
    }
    for (uint32_t i = 0; i < weights_count(stamp.tensors); i++)
        CHECK(weights_at(stamp.tensors, i)->rank <= WEIGHTS_RANK_MAX);
    char *again = NULL; /* what was read can be written, and reads the same */
    size_t bytes;
    if (stamp_print(&stamp, stamp.tensors, &again, &bytes, NULL) == STATUS_OK) {
        struct stamp second;
        CHECK(stamp_parse(view_make(again, bytes), &second, NULL) == STATUS_OK);
        CHECK(second.n_files == stamp.n_files && second.scheme == stamp.scheme);
        stamp_done(&second);
        free(again);
    }
    stamp_done(&stamp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    judge(view_make(data, size));
    char *text = malloc(size + 32);
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    int n =
        snprintf(text + size, 32, "sum %016llx\n", (unsigned long long)hash_bytes(text, size, 0));
    judge(view_make(text, size + (size_t)n));
    free(text);
    return 0;
}
