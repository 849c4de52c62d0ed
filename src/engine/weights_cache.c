/* weights_cache.c - see weights_cache.h. */
#include "engine/weights_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The environment's directory `name`, up to a ':', with `tail` behind. */
static const char *from(const char *name, const char *tail, char *out, size_t bytes) {
    const char *dir = getenv(name);
    if (!dir || dir[0] != '/')
        return NULL;
    int n = snprintf(out, bytes, "%.*s%s", (int)strcspn(dir, ":"), dir, tail);
    return n > 0 && (size_t)n < bytes ? out : NULL;
}

const char *weights_cache_dir(const char *setting, char *out, size_t bytes) {
    if (strcmp(setting, "off") == 0)
        return NULL;
    if (strcmp(setting, "auto") != 0) {
        int n = snprintf(out, bytes, "%s", setting);
        return n > 0 && (size_t)n < bytes ? out : NULL;
    }
    const char *dir = from("CACHE_DIRECTORY", "", out, bytes);
    if (!dir)
        dir = from("XDG_CACHE_HOME", "/ember", out, bytes);
    return dir ? dir : from("HOME", "/.cache/ember", out, bytes);
}
