/* weights_cache.h - which directory keeps prepared weights, for programs that have a setting. */
#ifndef EMBER_ENGINE_WEIGHTS_CACHE_H
#define EMBER_ENGINE_WEIGHTS_CACHE_H

#include <stddef.h>

/* For engine_options.weights_cache. `setting`: a directory; "off" gives NULL; "auto" the first of
 *     $CACHE_DIRECTORY        of a systemd unit with CacheDirectory=; of several the first
 *     $XDG_CACHE_HOME/ember   (freedesktop.org's base directories: an absolute path)
 *     $HOME/.cache/ember
 * and NULL with none of these. The text lies in out[0..bytes); NULL when it does not fit. */
const char *weights_cache_dir(const char *setting, char *out, size_t bytes);

#endif
