/* overlay.h - a model directory put together for a check: layers laid over each other, files
 * replaced and left out. It lies in a fresh folder under $TMPDIR (or /tmp) and goes away with
 * the struct.
 *
 * Files of layers become symbolic links, so nothing is copied; all names are relative to the
 * model directory and may not lead out of it. Threads: owner only. */
#ifndef EMBER_MODEL_TOOL_OVERLAY_H
#define EMBER_MODEL_TOOL_OVERLAY_H

#include "base/err.h"
#include "base/view.h"
#include "tool.h"

#include <stdint.h>

struct overlay {
    char path[TOOL_PATH_MAX]; /* "" while there is none */
};

enum status overlay_init(struct overlay *self, struct err *err); /* an empty directory */
void overlay_done(struct overlay *self); /* removes it; fine on a zeroed struct */

/* Every file of `layer`, folders included; those that are there already are replaced. */
enum status overlay_layer(struct overlay *self, const char *layer, struct err *err);
/* `name` becomes a link to the file `target`. */
enum status overlay_link(struct overlay *self, const char *name, const char *target,
                         struct err *err);
/* `name` becomes a file with these bytes. */
enum status overlay_write(struct overlay *self, const char *name, struct view bytes,
                          struct err *err);
/* `name` goes, if it is there. */
enum status overlay_remove(struct overlay *self, const char *name, struct err *err);

/* Bytes of all of its files, those behind links too. */
uint64_t overlay_bytes(const struct overlay *self);

#endif
