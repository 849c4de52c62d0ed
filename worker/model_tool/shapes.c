/* shapes.c - a table. */
#include "shapes.h"

#include <string.h>

static const struct named_shape {
    const char *name, *brief;
    struct model_shape shape;
} shapes[] = {
    {"minilm-l6",
     "minilm",
     {.layers = 6,
      .hidden = 384,
      .heads = 12,
      .inner = 1536,
      .vocab_rows = 30522,
      .positions = 512,
      .max_tokens = 256}},
    {"bert-base",
     "base",
     {.layers = 12,
      .hidden = 768,
      .heads = 12,
      .inner = 3072,
      .vocab_rows = 30522,
      .positions = 512,
      .max_tokens = 512}},
    {"bert-tiny",
     "tiny",
     {.layers = 2,
      .hidden = 128,
      .heads = 2,
      .inner = 512,
      .vocab_rows = 30522,
      .positions = 512,
      .max_tokens = 512}},
    {"gte-base-zh",
     "gte",
     {.layers = 12,
      .hidden = 768,
      .heads = 12,
      .inner = 3072,
      .vocab_rows = 21128,
      .positions = 512,
      .max_tokens = 512,
      .pooling = MODEL_POOL_CLS}},
    {"bge-small-zh",
     "small",
     {.layers = 4,
      .hidden = 512,
      .heads = 8,
      .inner = 2048,
      .vocab_rows = 21128,
      .positions = 512,
      .max_tokens = 512,
      .pooling = MODEL_POOL_CLS}},
    {"distilbert",
     "distilbert",
     {.family = MODEL_DISTILBERT,
      .layers = 6,
      .hidden = 768,
      .heads = 12,
      .inner = 3072,
      .vocab_rows = 30522,
      .positions = 512,
      .max_tokens = 512}},
    {"nomic",
     "nomic",
     {.family = MODEL_NOMIC,
      .act = MODEL_SILU,
      .layers = 12,
      .hidden = 768,
      .heads = 12,
      .inner = 3072,
      .vocab_rows = 30528,
      .positions = 8192,
      .max_tokens = 8192,
      .gated = true,
      .rotary_base = 1000}},
};

bool shapes_find(const char *name, struct model_shape *out) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(shapes[i].name, name) != 0 && strcmp(shapes[i].brief, name) != 0)
            continue;
        *out = shapes[i].shape;
        out->types = 2;
        out->eps = 1e-12f;
        out->normalize = true;
        return true;
    }
    return false;
}
