/* process.c - see process.h. */
#include "metrics/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

bool process_parse(const char *text, struct process_stat *out) {
    const char *name_end = strrchr(text, ')');
    uint64_t user, system, start, bytes, pages;
    /* The fields behind the name, from the third on: proc(5). */
    if (!name_end || sscanf(name_end + 1,
                            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
                            " %*d %*d %*d %*d %*d %*d %" SCNu64 " %" SCNu64 " %" SCNu64,
                            &user, &system, &start, &bytes, &pages) != 5)
        return false;
    *out = (struct process_stat){.cpu_ticks = user + system,
                                 .start_ticks = start,
                                 .virtual_bytes = bytes,
                                 .resident_pages = pages};
    return true;
}

/* The file's beginning, as text. */
static bool read_text(const char *path, char *out, size_t out_bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, out, out_bytes - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Seconds since 1970 at which the host booted; 0: not known. */
static uint64_t boot_time(void) {
    char line[256];
    uint64_t seconds = 0;
    FILE *f = fopen("/proc/stat", "re");
    while (f && !seconds && fgets(line, sizeof line, f))
        if (strncmp(line, "btime ", 6) == 0)
            seconds = strtoull(line + 6, NULL, 10);
    if (f)
        fclose(f);
    return seconds;
}

static uint64_t open_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    uint64_t n = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n ? n - 1 : 0; /* the one that it was read with */
}

static void one(struct expose_text *out, const char *name, const char *type, const char *help,
                double value) {
    expose_family(out, name, type, help);
    expose_f64(out, name, NULL, value);
}

void process_expose(struct expose_text *out) {
    char text[1024];
    struct process_stat stat;
    struct rlimit files;
    long hertz = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
    uint64_t boot = boot_time(), n_files = open_fds();
    if (hertz > 0 && page > 0 && read_text("/proc/self/stat", text, sizeof text) &&
        process_parse(text, &stat)) {
        one(out, "process_cpu_seconds_total", "counter", "CPU time, user and system.",
            (double)stat.cpu_ticks / (double)hertz);
        one(out, "process_resident_memory_bytes", "gauge", "Memory resident.",
            (double)stat.resident_pages * (double)page);
        one(out, "process_virtual_memory_bytes", "gauge", "Address space.",
            (double)stat.virtual_bytes);
        if (boot)
            one(out, "process_start_time_seconds", "gauge", "Start, since 1970.",
                (double)boot + (double)stat.start_ticks / (double)hertz);
    }
    if (n_files)
        one(out, "process_open_fds", "gauge", "Open descriptors.", (double)n_files);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
        one(out, "process_max_fds", "gauge", "Descriptors it may have.", (double)files.rlim_cur);
}
