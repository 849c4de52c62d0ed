/* known.h - the brokers that a client knows, as far as a command shows or asks them.
 *
 * Threads: one. */
#ifndef EMBER_CLI_KNOWN_H
#define EMBER_CLI_KNOWN_H

#include <ember/ember.h>

#include <stdbool.h>
#include <stddef.h>

enum { KNOWN_MAX = 8 };

struct known {
    struct ember_broker_view list[KNOWN_MAX];
    size_t n;
    bool settled; /* none is on its way up */
};

void known_look(ember_t *ember, struct known *out);

/* Once a broker has answered: the others have a moment to come up. */
void known_look_settled(ember_t *ember, struct known *out);

/* Another name of a broker that is in the list, too. */
bool known_is_same(const struct ember_broker_view *broker);

#endif
