/* by_hand.h - what a person would type: md5sum over bytes. */
#ifndef EMBER_TEST_BY_HAND_H
#define EMBER_TEST_BY_HAND_H

#include "support/proc.h"

/* 32 hex digits and a NUL, from the program of that name. */
static inline void md5_by_hand(const char *bytes, char out[33]) {
    char path[128], command[256];
    snprintf(path, sizeof path, "%s/digest-input", proc_dir());
    FILE *f = fopen(path, "we");
    TEST_TRUE(f && fwrite(bytes, 1, strlen(bytes), f) == strlen(bytes) && fclose(f) == 0);
    snprintf(command, sizeof command, "md5sum < %s", path);
    f = popen(command, "re");
    TEST_TRUE(f && fread(out, 1, 32, f) == 32);
    pclose(f);
    out[32] = '\0';
}

#endif
