/* zero_shot.c - keys first, then values: a misspelt key is told before what it would have set. */
#include "model/zero_shot.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static const json_t *get(const json_t *root, const char *key) {
    const json_t *v = json_get(root, key);
    return v && !json_is_null(v) ? v : NULL;
}

static enum status check_keys(const json_t *root, const char *const *known, size_t n,
                              const char *where, struct err *err) {
    char list[120] = "";
    for (const json_t *m = json_first(root); m; m = json_next(m)) {
        size_t i = 0;
        while (i < n && strcmp(json_key(m), known[i]) != 0)
            i++;
        if (i < n)
            continue;
        for (i = 0; i < n; i++)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                     known[i]);
        return err_set(err, STATUS_DATA_LOSS, "there is no '%s%.60s'; there are %s", where,
                       json_key(m), list);
    }
    return STATUS_OK;
}

static enum status get_template(const json_t *root, const char *key,
                                char out[LIMIT_TEMPLATE_BYTES + 1], struct err *err) {
    const json_t *v = get(root, key);
    const char *text = json_text(v);
    unsigned slots = 0;
    if (!v)
        return STATUS_OK;
    if (!text)
        return err_set(err, STATUS_DATA_LOSS, "%s is no text", key);
    const size_t bytes = strlen(text);
    if (bytes > LIMIT_TEMPLATE_BYTES)
        return err_set(err, STATUS_DATA_LOSS, "%s '%.40s...' has %zu bytes, at most %d", key, text,
                       bytes, LIMIT_TEMPLATE_BYTES);
    if (!utf8_valid(view_of(text)))
        return err_set(err, STATUS_DATA_LOSS, "%s is not UTF-8", key);
    for (const char *p = text; (p = strstr(p, "{}")) != NULL; p += 2)
        slots++;
    if (slots != 1)
        return err_set(err, STATUS_DATA_LOSS, "%s '%.100s' must hold {} once, it has %u", key, text,
                       slots);
    memcpy(out, text, bytes + 1);
    return STATUS_OK;
}

static enum status get_number(const json_t *root, const char *where, const char *key, double min,
                              double max, float *out, struct err *err) {
    const json_t *v = get(root, key);
    double x;
    if (!v)
        return STATUS_OK;
    if (!json_f64(v, &x))
        return err_set(err, STATUS_DATA_LOSS, "%s%s is no number", where, key);
    if (!(x >= min && x <= max)) /* nor is NaN */
        return err_set(err, STATUS_DATA_LOSS, "%s%s is %g, want %g to %g", where, key, x, min, max);
    *out = (float)x;
    return STATUS_OK;
}

/* Both or neither: half a curve has no sensible default. */
static enum status get_multi(const json_t *root, struct zero_shot *out, struct err *err) {
    static const char *const keys[] = {"midpoint", "temperature"};
    const json_t *multi = get(root, "multi_label");
    if (!multi)
        return STATUS_OK;
    if (!json_is_object(multi))
        return err_set(err, STATUS_DATA_LOSS, "multi_label is no object");
    enum status st = check_keys(multi, keys, 2, "multi_label.", err);
    for (size_t i = 0; i < 2 && st == STATUS_OK; i++)
        if (!get(multi, keys[i]))
            st = err_set(err, STATUS_DATA_LOSS, "multi_label.%s is missing", keys[i]);
    if (st == STATUS_OK)
        st = get_number(multi, "multi_label.", "midpoint", -1, 1, &out->midpoint, err);
    if (st == STATUS_OK)
        st = get_number(multi, "multi_label.", "temperature", ZERO_SHOT_TEMPERATURE_MIN,
                        ZERO_SHOT_TEMPERATURE_MAX, &out->multi_temperature, err);
    out->multi = true;
    return st;
}

enum status zero_shot_read(const json_t *root, struct zero_shot *out, struct err *err) {
    static const char *const keys[] = {"template", "template_han", "temperature", "multi_label"};
    struct zero_shot got = {0};
    if (!json_is_object(root))
        return err_set(err, STATUS_DATA_LOSS, "no JSON object");
    enum status st = check_keys(root, keys, sizeof keys / sizeof *keys, "", err);
    if (st == STATUS_OK)
        st = get_template(root, "template", got.template_text, err);
    if (st == STATUS_OK)
        st = get_template(root, "template_han", got.template_han, err);
    if (st == STATUS_OK)
        st = get_number(root, "", "temperature", ZERO_SHOT_TEMPERATURE_MIN,
                        ZERO_SHOT_TEMPERATURE_MAX, &got.temperature, err);
    if (st == STATUS_OK)
        st = get_multi(root, &got, err);
    if (st == STATUS_OK)
        *out = got;
    return st;
}

enum status zero_shot_parse(struct view text, const char *what, struct zero_shot *out,
                            struct err *err) {
    json_t *root = NULL;
    enum status st = json_parse(text, LIMIT_ZERO_SHOT_BYTES, what, &root, err);
    if (st != STATUS_OK)
        return st;
    st = zero_shot_read(root, out, err);
    json_destroy(&root);
    return st == STATUS_OK ? st : err_prefix(err, st, "%s", what);
}
