/* fuzz_config.c - any bytes as config.json: refused, or sizes that a loader can multiply and
 * divide; and as ember_zero_shot.json: refused, or settings that score. */
#include "base/check.h"
#include "base/limits.h"
#include "model/dir.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_zero_shot(struct view text) {
    struct zero_shot s;
    struct err err = {0};
    enum status st = zero_shot_parse(text, "settings", &s, &err);
    if (st != STATUS_OK) {
        CHECK(err.status == st && strstr(err.text, "settings"));
        return;
    }
    CHECK(!s.template_text[0] || strstr(s.template_text, "{}"));
    CHECK(!s.template_han[0] || strstr(s.template_han, "{}"));
    CHECK(s.temperature >= 0 && s.temperature <= 10 && s.midpoint >= -1 && s.midpoint <= 1);
    CHECK(!s.multi || (s.multi_temperature > 0 && s.multi_temperature <= 10));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct model_shape s;
    check_zero_shot(view_make(data, size));
    struct err err = {0};
    enum status st = model_dir_parse_config(view_make(data, size), "config.json", "bert", &s, &err);
    if (st != STATUS_OK) {
        CHECK(err.status == st && strstr(err.text, "config.json"));
        return 0;
    }
    CHECK(s.max_tokens >= 2 && s.max_tokens <= s.positions && s.max_tokens <= LIMIT_TOKENS);
    CHECK(s.head == MODEL_HEAD_NONE && s.classes == 0);
    if (s.family == MODEL_STATIC) { /* its table says the rest */
        CHECK(s.layers == 0 && s.hidden == 0 && s.vocab_rows == 0);
        return 0;
    }
    CHECK(s.heads >= 1 && s.hidden >= 1 && s.hidden <= LIMIT_DIM && s.hidden % s.heads == 0);
    CHECK(s.layers >= 1 && s.layers <= LIMIT_LAYERS);
    CHECK(s.inner >= 1 && s.inner <= LIMIT_HIDDEN);
    CHECK(s.vocab_rows >= 1 && s.vocab_rows <= LIMIT_VOCAB);
    CHECK((s.types == 0) == (s.family == MODEL_DISTILBERT));
    CHECK((s.rotary_base > 0) == (s.family == MODEL_NOMIC) && s.gated == (s.rotary_base > 0));
    CHECK(s.rotary_base == 0 || s.hidden / s.heads % 2 == 0);
    CHECK(s.rotary_factor == 0 || (s.rotary_trained >= 1 && s.hidden / s.heads >= 4));
    CHECK(s.eps > 0 && s.eps <= 1);
    return 0;
}
