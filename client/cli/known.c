/* known.c - see known.h. */
#include "known.h"

#include <string.h>
#include <unistd.h>

enum { SETTLE_MS = 200, LOOK_MS = 5 };

void known_look(ember_t *ember, struct known *out) {
    out->settled = true;
    for (out->n = 0; out->n < KNOWN_MAX; out->n++) {
        struct ember_broker_view *v = &out->list[out->n];
        *v = (struct ember_broker_view)EMBER_BROKER_VIEW_INIT;
        if (ember_view_broker(ember, out->n, v, NULL) != EMBER_OK)
            return;
        if (strcmp(v->state, "opening") == 0 || strcmp(v->state, "greeting") == 0)
            out->settled = false;
    }
}

void known_look_settled(ember_t *ember, struct known *out) {
    known_look(ember, out);
    for (int ms = 0; !out->settled && ms < SETTLE_MS; ms += LOOK_MS) {
        usleep(LOOK_MS * 1000);
        known_look(ember, out);
    }
}

bool known_is_same(const struct ember_broker_view *broker) {
    return strcmp(broker->state, "same") == 0;
}
