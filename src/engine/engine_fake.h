/* engine_fake.h - an engine without a model, for tests of messaging alone, faults
 * included. A library of its own
 * (ember::engine_fake), never linked into what users run.
 *
 * A vector is drawn from the hash of the tokens used, so equal texts have equal vectors, another
 * text or another cut has another one, and a test can compute what it must receive. Tokens are
 * bytes: id 0..255, then 256 in front and 257 behind, where a model has [CLS] and [SEP]; a pair has
 * one more 257 between its texts. With a head the numbers are logits, drawn in the same way, the
 * hash of a pair's second text going on from that of its first.
 *
 * Threads: as engine.h. */
#ifndef EMBER_ENGINE_FAKE_H
#define EMBER_ENGINE_FAKE_H

#include "engine/engine.h"

/* `spec` is a comma-separated list, "" for all defaults:
 *     dim=384         numbers of a vector, 1 to LIMIT_DIM
 *     tokens=512      longest sequence, 2 to LIMIT_TOKENS
 *     us=0            microseconds of computing per text, spent spinning
 *     sleep_us=0      microseconds per text, spent asleep: many workers on one core
 *     nan=0           with 1, texts that contain "NaN" end with INTERNAL
 *     head=none       what the model does: none (embed, and labels by cosine), labels (classify
 *                     with its own: "label 0", "label 1" ...), nli (classify by entailment:
 *                     contradiction, neutral, entailment), score (rerank)
 *     labels=4        of head=labels, 1 to LIMIT_LABELS
 *     sigmoid=0       with 1, its labels are scored one by one
 *     zero_shot=0     with 1, it has settings for labels by cosine: engine_fake_zero_shot
 * Faults, each on texts (either text of a pair, as the engine gets them, prompt in front) that
 * begin with PREFIX, of 1 to 31 bytes but ',' and, where a time may follow, ':':
 *     nan=PREFIX      ends with INTERNAL (nan=0 and nan=1 are the setting above)
 *     slow=PREFIX:US  takes so many microseconds more, asleep, at most ten seconds
 *     hang=PREFIX     never returns; hang=PREFIX:US returns after so long, at most an hour
 *     crash=PREFIX    aborts the process: poison
 * STATUS_INVALID_ARGUMENT for anything else. */
extern const struct zero_shot engine_fake_zero_shot;
enum status engine_fake_open(const char *spec, engine_t **out, struct err *err);

#endif
