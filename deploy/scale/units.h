/* units.h - what hosts say and are told, as text: the file of hosts, and systemctl(1).
 *
 *     # host       units                      systemctl --host=w1.internal --no-block start
 *     w1.internal  4                              ember-worker@2.service
 *     localhost    2
 *
 * Pure; bytes from outside are read here and nowhere else. */
#ifndef EMBER_SCALE_UNITS_H
#define EMBER_SCALE_UNITS_H

#include "follow.h"

#include "base/view.h"

enum {
    UNITS_FILE_BYTES = 1024 * 1024,
    UNITS_NAME_BYTES = 128,                      /* of a template, "ember-worker@" */
    UNITS_WORDS_MAX = FOLLOW_HOST_UNITS_MAX + 8, /* of a command */
    UNITS_WORD_BYTES = FOLLOW_HOST_BYTES + 16    /* and UNITS_NAME_BYTES are less */
};

/* The file of hosts, into hosts[0..FOLLOW_HOSTS_MAX): a name, as ssh(1) takes it, or "localhost",
 * and how many units it may run; 0 empties it. STATUS_INVALID_ARGUMENT names the line. */
enum status units_read_hosts(struct view text, struct follow_host *hosts, uint32_t *n,
                             struct err *err);

/* A template's name: "ember-worker" of ember-worker@.service. */
bool units_is_name(const char *name);

/* A command: words[n] is NULL. Its words live in the struct. */
struct units_command {
    char *words[UNITS_WORDS_MAX + 1];
    uint32_t n;
    char text[UNITS_WORDS_MAX][UNITS_WORD_BYTES];
};

/* systemctl's words: what units of `name` a host has, and start or stop `units` of them. */
void units_list_command(struct units_command *self, const char *systemctl, const char *host,
                        const char *name);
void units_step_command(struct units_command *self, const char *systemctl, const char *host,
                        const char *name, const char *verb, const uint32_t *units, uint32_t n);

/* What the first prints: blocks of `Id=` and `ActiveState=`, in either order. Units it does not
 * name are off; numbers beyond FOLLOW_HOST_UNITS_MAX are none of ours. */
void units_read_list(struct view text, const char *name,
                     enum unit_state states[FOLLOW_HOST_UNITS_MAX]);

#endif
