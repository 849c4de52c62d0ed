/* shapes.h - sizes of well-known models, as their published config.json files have them. */
#ifndef EMBER_MODEL_TOOL_SHAPES_H
#define EMBER_MODEL_TOOL_SHAPES_H

#include "model/shape.h"

/* "minilm-l6", "bert-base" ..., or short "minilm", "base" ...; false: no such name. */
bool shapes_find(const char *name, struct model_shape *out);

/* All names, comma-separated, for messages and help. */
#define SHAPES_NAMES                                                                               \
    "minilm-l6 (minilm), bert-base (base), bert-tiny (tiny), gte-base-zh, bge-small-zh (small), "  \
    "distilbert, nomic"

#endif
