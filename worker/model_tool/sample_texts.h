/* sample_texts.h - texts of our own in English and Chinese, short and long, for measurements that
 * need some and were given none. */
#ifndef EMBER_MODEL_TOOL_SAMPLE_TEXTS_H
#define EMBER_MODEL_TOOL_SAMPLE_TEXTS_H

#include <stdint.h>

extern const char *const sample_texts[];
extern const uint32_t sample_texts_n;

#endif
