/* engine_weights.h - from an open model directory to an encoder, whose prepared weights are mapped
 * from the host's cache, made and kept there, or private. For src/engine alone. */
#ifndef EMBER_ENGINE_ENGINE_WEIGHTS_H
#define EMBER_ENGINE_ENGINE_WEIGHTS_H

#include "engine/engine.h"
#include "model/dir.h"
#include "model/encoder.h"
#include "model/prepared.h"

struct engine_weights {
    struct prepared prepared;
    encoder_t *encoder; /* over prepared.image */
};

/* Puts the directory's path in front of a message that does not have it yet; returns `st`. */
enum status engine_name_dir(const struct model_dir *dir, enum status st, struct err *err);

/* `shape`: what is to be computed, of dir->shape; completed from the tensors. The weights of `dir`
 * are opened only when they must be read, and are closed afterwards. Errors as encoder_load(), and
 * STATUS_ABORTED when files changed while they were read. */
enum status engine_weights_load(struct model_dir *dir, const struct model_shape *shape,
                                const struct gemm_kernel *kernel,
                                const struct engine_options *options, struct engine_weights *out,
                                struct err *err);
void engine_weights_done(struct engine_weights *self); /* a zeroed one is fine */

#endif
