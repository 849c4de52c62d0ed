/* memory.c - see memory.h. Nothing here is trusted to exist: what cannot be read is no limit, or 0
 * bytes used. */
#include "base/memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 1024 };

/* Beyond this a number means that there is no limit: v1 writes about 1 << 63. */
#define UNLIMITED (UINT64_C(1) << 60)

/* A file that begins with a number; "max" and what cannot be read are false. */
static bool read_number(const char *path, uint64_t *out) {
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    unsigned long long value;
    bool ok = fscanf(f, "%llu", &value) == 1;
    fclose(f);
    if (ok)
        *out = value;
    return ok;
}

/* The number behind `key` in a file of "key number" lines. */
static bool read_key(const char *path, const char *key, uint64_t *out) {
    FILE *f = fopen(path, "re");
    char line[LINE_BYTES];
    bool found = false;
    const size_t n = strlen(key);
    while (f && !found && fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0 && line[n] == ' ') {
            *out = strtoull(line + n + 1, NULL, 10);
            found = true;
        }
    if (f)
        fclose(f);
    return found;
}

/* Of names with commas between. */
static bool lists_memory(const char *list) {
    static const char name[] = "memory";
    for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
        if (strcspn(list, ",") == strlen(name) && strncmp(list, name, strlen(name)) == 0)
            return true;
    return false;
}

/* The process's group from /proc/self/cgroup: of v2 the line "0::/path", of v1 the one that has
 * `memory` among its controllers. */
static bool own_group(const char *root, bool v2, char *out, size_t bytes) {
    char path[LINE_BYTES], line[LINE_BYTES];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        char *controllers = strchr(line, ':'), *group;
        if (!controllers || !(group = strchr(controllers + 1, ':')))
            continue;
        *group++ = 0;
        group[strcspn(group, "\n")] = 0;
        found = v2 ? strcmp(line, "0:") == 0 : lists_memory(controllers + 1);
        if (found)
            found = (size_t)snprintf(out, bytes, "%s", group) < bytes;
    }
    if (f)
        fclose(f);
    return found;
}

/* All groups from ours up to the root; a container often sees only its own, as the root. */
static void find_v2(struct memory *self, const char *root) {
    char group[256], file[512];
    uint64_t limit;
    if (!own_group(root, true, group, sizeof group))
        return;
    for (;;) {
        snprintf(file, sizeof file, "%s/sys/fs/cgroup%s/memory.max", root, group);
        if (read_number(file, &limit) && limit > 0 && limit < UNLIMITED &&
            (!self->limit || limit < self->limit)) {
            self->source = MEMORY_CGROUP;
            self->limit = limit;
            snprintf(self->usage, sizeof self->usage, "%s/sys/fs/cgroup%s/memory.current", root,
                     group);
            snprintf(self->stat, sizeof self->stat, "%s/sys/fs/cgroup%s/memory.stat", root, group);
        }
        char *slash = strrchr(group, '/');
        if (!slash)
            return;
        *slash = 0; /* "/a/b" -> "/a" -> "", the root */
    }
}

static void find_v1(struct memory *self, const char *root) {
    char group[256], file[512];
    uint64_t limit;
    if (!own_group(root, false, group, sizeof group))
        return;
    for (int i = 0; i < 2; i++) { /* in a container the group's path is that of the host */
        const char *below = i == 0 && strcmp(group, "/") != 0 ? group : "";
        snprintf(file, sizeof file, "%s/sys/fs/cgroup/memory%s/memory.stat", root, below);
        if (!read_key(file, "hierarchical_memory_limit", &limit))
            continue;
        if (limit == 0 || limit >= UNLIMITED)
            return;
        self->source = MEMORY_CGROUP;
        self->limit = limit;
        snprintf(self->stat, sizeof self->stat, "%s", file);
        snprintf(self->usage, sizeof self->usage, "%s/sys/fs/cgroup/memory%s/memory.usage_in_bytes",
                 root, below);
        return;
    }
}

void memory_init(struct memory *self, uint64_t setting, const char *root) {
    *self = (struct memory){.source = MEMORY_NONE};
    snprintf(self->statm, sizeof self->statm, "%s/proc/self/statm", root);
    if (setting) {
        self->source = MEMORY_SETTING;
        self->limit = setting;
        return;
    }
    find_v2(self, root);
    if (self->source == MEMORY_NONE)
        find_v1(self, root);
}

static uint64_t used_by_process(const struct memory *self) {
    unsigned long long total = 0, resident = 0, shared = 0;
    FILE *f = fopen(self->statm, "re");
    bool ok = f && fscanf(f, "%llu %llu %llu", &total, &resident, &shared) == 3;
    if (f)
        fclose(f);
    return ok && resident > shared ? (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t used_by_group(const struct memory *self) {
    uint64_t usage = 0, active = 0, inactive = 0;
    if (!read_number(self->usage, &usage))
        return 0;
    /* v1 tells the group's own pages alone by the short names */
    if (!read_key(self->stat, "total_active_file", &active))
        read_key(self->stat, "active_file", &active);
    if (!read_key(self->stat, "total_inactive_file", &inactive))
        read_key(self->stat, "inactive_file", &inactive);
    return usage > active + inactive ? usage - active - inactive : 0;
}

uint64_t memory_used(const struct memory *self) {
    return self->source == MEMORY_CGROUP ? used_by_group(self) : used_by_process(self);
}

const char *memory_source_name(enum memory_source source) {
    return source == MEMORY_CGROUP ? "cgroup" : source == MEMORY_SETTING ? "setting" : "none";
}
