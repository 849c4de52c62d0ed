/* engine_cpu.h - the engine over this CPU for programs that look at models rather than serve them:
 * they have the directory open already, or want what engine.h does not tell. */
#ifndef EMBER_ENGINE_ENGINE_CPU_H
#define EMBER_ENGINE_ENGINE_CPU_H

#include "engine/engine.h"
#include "model/dir.h"
#include "text/tokenizer.h"

/* engine_open() over a directory that is open: its files are not read and hashed again. *dir is
 * taken as soon as the options make sense, and its weights are closed once they are prepared. */
enum status engine_open_dir(struct model_dir **dir, const struct engine_options *options,
                            engine_t **out, struct err *err);

/* What the engine was made from, for as long as it lives; the weights are NULL, but for a static
 * model, whose table is used where it lies. */
const struct model_dir *engine_dir(const engine_t *self);
const tokenizer_t *engine_tokenizer(const engine_t *self);

#endif
