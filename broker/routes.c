/* routes.c - see routes.h. The choice: each target draws a number u from (client, alias, target),
 * and the largest weight / -ln(u) wins; so a target wins with the probability of its weight's
 * share, and the others' draws do not change when it comes, goes, or gets another weight. */
#include "routes.h"

#include "base/hash.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct view trimmed(const char *from, const char *to) {
    while (from < to && isspace((unsigned char)*from))
        from++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    return view_make(from, (size_t)(to - from));
}

static enum status take_name(struct view word, const char *what, char out[LIMIT_NAME_BYTES + 1],
                             struct err *err) {
    bool fine = word.bytes > 0 && word.bytes <= LIMIT_NAME_BYTES;
    for (size_t i = 0; fine && i < word.bytes; i++)
        fine = isalnum((unsigned char)word.data[i]) || strchr("._-", word.data[i]);
    if (!fine)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "'%.*s' is no name of %s: 1 to %d of A-Z a-z 0-9 . _ -",
                       (int)(word.bytes < 80 ? word.bytes : 80), word.bytes ? word.data : "", what,
                       LIMIT_NAME_BYTES);
    memcpy(out, word.data, word.bytes);
    out[word.bytes] = '\0';
    return STATUS_OK;
}

static enum status take_weight(struct view word, uint32_t *out, struct err *err) {
    uint64_t value = 0;
    bool fine = word.bytes > 0 && word.bytes <= 7;
    for (size_t i = 0; fine && i < word.bytes; i++) {
        fine = isdigit((unsigned char)word.data[i]);
        value = 10 * value + (uint64_t)(word.data[i] - '0');
    }
    if (!fine || value > ROUTES_WEIGHT_MAX)
        return err_set(err, STATUS_INVALID_ARGUMENT, "'%.*s' is no weight: 0 to %d",
                       (int)(word.bytes < 80 ? word.bytes : 80), word.bytes ? word.data : "",
                       ROUTES_WEIGHT_MAX);
    *out = (uint32_t)value;
    return STATUS_OK;
}

static enum status add_target(struct route *route, const char *from, const char *to,
                              struct err *err) {
    if (route->n == ROUTES_TARGETS)
        return err_set(err, STATUS_INVALID_ARGUMENT, "'%s' has more than %d models", route->alias,
                       ROUTES_TARGETS);
    struct route_target target = {.weight = 1};
    const char *colon = memchr(from, ':', (size_t)(to - from));
    enum status status = take_name(trimmed(from, colon ? colon : to), "a model", target.model, err);
    if (status == STATUS_OK && colon)
        status = take_weight(trimmed(colon + 1, to), &target.weight, err);
    for (uint32_t i = 0; status == STATUS_OK && i < route->n; i++)
        if (strcmp(route->target[i].model, target.model) == 0)
            status = err_set(err, STATUS_INVALID_ARGUMENT, "'%s' names '%s' twice", route->alias,
                             target.model);
    if (status == STATUS_OK)
        route->target[route->n++] = target;
    return status;
}

static enum status add_alias(struct routes *self, const char *from, const char *to,
                             struct err *err) {
    if (self->n == ROUTES_MAX)
        return err_set(err, STATUS_INVALID_ARGUMENT, "there are more than %d routes", ROUTES_MAX);
    struct route route = {.n = 0};
    enum status status = take_name(trimmed(from, to), "an alias", route.alias, err);
    if (status == STATUS_OK && routes_find(self, view_of(route.alias)))
        status = err_set(err, STATUS_INVALID_ARGUMENT, "there are two routes '%s'", route.alias);
    if (status == STATUS_OK)
        self->route[self->n++] = route;
    return status;
}

enum status routes_add(struct routes *self, const char *text, struct err *err) {
    const char *equals = strchr(text, '=');
    if (!equals)
        return err_set(err, STATUS_INVALID_ARGUMENT, "'%.80s' is no route: ALIAS=MODEL:WEIGHT,...",
                       text);
    enum status status = add_alias(self, text, equals, err);
    const char *at = equals + 1;
    for (bool more = true; status == STATUS_OK && more;) {
        const char *end = at + strcspn(at, ",+");
        status = add_target(&self->route[self->n - 1], at, end, err);
        more = *end != '\0';
        at = end + 1;
    }
    return status;
}

enum status routes_check(const struct routes *self, struct err *err) {
    for (uint32_t i = 0; i < self->n; i++) {
        const struct route *route = &self->route[i];
        uint64_t sum = 0;
        for (uint32_t k = 0; k < route->n; k++)
            sum += route->target[k].weight;
        if (!sum)
            return err_set(err, STATUS_INVALID_ARGUMENT, "all weights of route '%s' are 0",
                           route->alias);
    }
    return STATUS_OK;
}

const struct route *routes_find(const struct routes *self, struct view alias) {
    for (uint32_t i = 0; i < self->n; i++)
        if (view_equal(view_of(self->route[i].alias), alias))
            return &self->route[i];
    return NULL;
}

void route_text(const struct route *self, char out[ROUTE_TEXT_BYTES]) {
    int used = snprintf(out, ROUTE_TEXT_BYTES, "%s=", self->alias);
    for (uint32_t i = 0; i < self->n; i++)
        used += snprintf(out + used, (size_t)(ROUTE_TEXT_BYTES - used), "%s%s:%u", i ? "," : "",
                         self->target[i].model, self->target[i].weight);
}

void route_order(const struct route *self, uint64_t who, uint8_t order[ROUTES_TARGETS]) {
    double score[ROUTES_TARGETS];
    for (uint32_t i = 0; i < self->n; i++) {
        const struct route_target *target = &self->target[i];
        uint64_t seed = hash_bytes(self->alias, strlen(self->alias), who);
        uint64_t draw = hash_bytes(target->model, strlen(target->model), seed);
        double u = ((double)(draw >> 11) + 0.5) / 9007199254740992.0; /* in (0, 1): 2^53 */
        /* Those without a weight come last, in an order of the client's own. */
        score[i] = target->weight ? target->weight / -log(u) : u - 1;
        uint32_t k = i;
        for (; k > 0 && score[order[k - 1]] < score[i]; k--)
            order[k] = order[k - 1];
        order[k] = (uint8_t)i;
    }
}
