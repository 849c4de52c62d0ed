/* describe.h - what a broker says about itself and its services, in the words of ember.h. */
#ifndef EMBER_CLIENT_DESCRIBE_H
#define EMBER_CLIENT_DESCRIBE_H

#include <ember/ember.h>

#include "services.h"

#include "base/arena.h"
#include "base/err.h"

/* A StatusReply as a report that owns all it points to. STATUS_INTERNAL when it cannot be read. */
enum status describe_report(struct view body, struct arena *arena, const char *endpoint,
                            ember_report_t **out, struct err *err);

void describe_service(const struct service *service, struct ember_model *out);

#endif
