/* usage.h - what a process holds, from /proc. Zero where it has ended. */
#ifndef EMBER_TEST_USAGE_H
#define EMBER_TEST_USAGE_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

struct usage {
    uint32_t rss_kb, descriptors, threads;
};

static inline uint32_t usage_descriptors(pid_t pid) {
    char path[64];
    uint32_t n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

static inline struct usage usage_of(pid_t pid) {
    struct usage usage = {.descriptors = usage_descriptors(pid)};
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            usage.rss_kb = (uint32_t)strtoul(line + 6, NULL, 10);
        if (strncmp(line, "Threads:", 8) == 0)
            usage.threads = (uint32_t)strtoul(line + 8, NULL, 10);
    }
    if (f)
        fclose(f);
    return usage;
}

#endif
