/* synth.h - a vocabulary of our own for models with random weights. */
#ifndef EMBER_MODEL_TOOL_SYNTH_H
#define EMBER_MODEL_TOOL_SYNTH_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* `pieces` lines for vocab.txt, each ended by LF: special pieces, ASCII with continuations,
 * punctuation, Chinese characters, then English-like pieces. Any lower-cased English or Chinese
 * text is covered; characters at the rare end of the Chinese block are left out when `pieces` is
 * small. The caller frees *out. STATUS_INVALID_ARGUMENT when `pieces` has no room even for
 * ASCII. */
enum status synth_vocab(uint32_t pieces, char **out, size_t *bytes, struct err *err);

#endif
