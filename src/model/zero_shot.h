/* zero_shot.h - ember_zero_shot.json: how a model of vectors scores labels by cosine, written by
 * whoever runs it, after `ember-model eval --task zeroshot --calibrate`.
 *
 *     {"template": "This text is about {}.", "template_han": "这段话的内容是{}。",
 *      "temperature": 0.05, "multi_label": {"midpoint": 0.3, "temperature": 0.08}}
 *
 * All of it is optional, null is absent, and a key that is not among these is refused by name: a
 * published file may hold more than we know, our own may not.
 *
 * Threads: pure functions. */
#ifndef EMBER_MODEL_ZERO_SHOT_H
#define EMBER_MODEL_ZERO_SHOT_H

#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"
#include "json/json.h"

#include <stdbool.h>

#define ZERO_SHOT_FILE "ember_zero_shot.json"

/* Temperatures below make every score 0 or 1, above all of them alike. */
#define ZERO_SHOT_TEMPERATURE_MIN 0.001
#define ZERO_SHOT_TEMPERATURE_MAX 10.0

struct zero_shot {                                /* zeros: the file says nothing */
    char template_text[LIMIT_TEMPLATE_BYTES + 1]; /* holds {} once; "": absent */
    char template_han[LIMIT_TEMPLATE_BYTES + 1];  /* the same, for labels with a Han character */
    float temperature;                            /* of the softmax over labels; 0: absent */
    bool multi;     /* labels of their own: sigmoid((cosine - midpoint) / multi_temperature) */
    float midpoint; /* -1 to 1 */
    float multi_temperature;
};

/* Reads the document `root`; *out is written on STATUS_OK. STATUS_DATA_LOSS with key and value, but
 * without the file. */
enum status zero_shot_read(const json_t *root, struct zero_shot *out, struct err *err);

/* The same from bytes; `what` is the name in messages. Also as json_parse(). */
enum status zero_shot_parse(struct view text, const char *what, struct zero_shot *out,
                            struct err *err);

#endif
