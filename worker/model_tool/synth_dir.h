/* synth_dir.h - the files of a model directory with random weights. Each function writes whole
 * files and names the one that could not be written. */
#ifndef EMBER_MODEL_TOOL_SYNTH_DIR_H
#define EMBER_MODEL_TOOL_SYNTH_DIR_H

#include "base/err.h"
#include "base/view.h"
#include "model/shape.h"

#include <stdbool.h>
#include <stdint.h>

/* config.json, modules.json, 1_Pooling/config.json, sentence_bert_config.json. */
enum status synth_write_config(const char *dir, const struct model_shape *shape, struct err *err);

/* vocab.txt and tokenizer_config.json: made up when `from` is "", else copied from a vocab.txt
 * or from a model directory, whose tokenizer.json comes along. STATUS_INVALID_ARGUMENT when it
 * has more pieces than the shape's word table has rows. */
enum status synth_write_vocab(const char *dir, const struct model_shape *shape, const char *from,
                              struct err *err);

/* model.safetensors with every tensor of an encoder of the shape's family in F32, no head.
 * `progress`: a line on stderr. */
enum status synth_write_weights(const char *dir, const struct model_shape *shape, uint32_t seed,
                                bool progress, struct err *err);

#endif
