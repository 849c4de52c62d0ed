/* cli.h - what the subcommands of `ember` share: settings, texts in, lines out, errors and exit
 * codes.
 *
 * Threads: one. */
#ifndef EMBER_CLI_H
#define EMBER_CLI_H

#include <ember/ember.h>

#include "base/cfg.h"
#include "base/view.h"

#include <stdbool.h>
#include <stdio.h>

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,      /* the service or the output failed */
    CLI_USAGE = 2,       /* a bad option or argument, or a text that no service takes */
    CLI_UNAVAILABLE = 3, /* no broker, no worker, or no answer in time */
    CLI_BUSY = 4,        /* refused because of load, or for want of room */
    CLI_NOT_FOUND = 5,   /* no such model or cache entry */
    CLI_MISSED = 6,      /* of bench: a limit that was set was missed */
};

#define CLI_EXIT_HELP                                                                              \
    "Exit status: 0 done, 1 failed, 2 wrong usage or a text that no service takes, 3 no broker,\n" \
    "worker or answer in time, 4 refused because of load, 5 no such model or cache entry."

enum cli_output { CLI_TABLE, CLI_JSON, CLI_RAW };

/* Settings of every subcommand; the first field of its own struct, called `common`. */
struct cli_common {
    char broker[512];
    char model[80];
    char key[512], server_key[512];
    uint64_t timeout_us;
    uint32_t output; /* enum cli_output */
    uint32_t policy; /* enum ember_policy */
    uint64_t latency_limit_us, attempt_us;
    uint32_t discovery; /* 0: off */
};

#define CLI_COMMON_ROWS(type)                                                                      \
    CFG_HEADING("Service"),                                                                        \
        CFG_TEXT("broker", type, common.broker, "tcp://127.0.0.1:5555", "ENDPOINTS",               \
                 "where the broker is, or several, separated by commas; one\n"                     \
                 "may say what it costs: tcp://eu:5555#cost=0.2"),                                 \
        CFG_CHOICE("policy", type, common.policy, "order", "order|least-latency|cheapest",         \
                   "which of several is asked: the first, who answers\n"                           \
                   "soonest, or the cheapest within --latency-limit"),                             \
        CFG_DURATION("latency-limit", type, common.latency_limit_us, "50ms", 1e3, 600e6,           \
                     "of network and queue, with --policy cheapest"),                              \
        CFG_DURATION("attempt", type, common.attempt_us, "0ms", 0, 600e6,                          \
                     "after that a second broker is asked, too; 0: a third of\n"                   \
                     "the time left, at least 100ms"),                                             \
        CFG_CHOICE("discovery", type, common.discovery, "on", "off|on",                            \
                   "use brokers that those given name as their like"),                             \
        CFG_TEXT("model", type, common.model, "", "NAME",                                          \
                 "model or alias; default: the broker's"),                                         \
        CFG_TEXT("key", type, common.key, "", "FILE",                                              \
                 "our secret certificate, NAME.key_secret of ember keygen"),                       \
        CFG_TEXT("server-key", type, common.server_key, "", "FILE",                                \
                 "the brokers' public certificate, server.key; goes with --key"),                  \
        CFG_DURATION("timeout", type, common.timeout_us, "10s", 1e3, 600e6, "for each call"),      \
        CFG_CHOICE("output", type, common.output, "table", "table|json|raw",                       \
                   "for people, one JSON object a line, or bare values")

/* Options of texts: in addition to words of the command line. */
struct cli_texts {
    char file[512];
};

#define CLI_TEXT_ROWS(type)                                                                        \
    CFG_HEADING("Texts"),                                                                          \
        CFG_TEXT("file", type, texts.file, "", "FILE",                                             \
                 "one text a line; - is standard input, also used without any TEXT")

struct cli {
    const char *command; /* for messages: "embed", "cache get" */
    struct cli_common *common;
    uint32_t request_texts; /* of ember_options */
    ember_t *ember;         /* after cli_open() */
};

/* cfg_load() with messages and exit codes. True: go on. False: *code is the exit status. */
bool cli_load(struct cli *self, const struct cfg *cfg, int argc, char **argv, int *n_words,
              void *settings, int *code);

bool cli_open(struct cli *self, int *code);
enum ember_status cli_connect(struct cli *self, struct ember_error *error); /* without a message */
/* Another client, of one broker alone; NULL with *code. */
ember_t *cli_open_one(const struct cli *self, const char *endpoint, int *code);

uint32_t cli_timeout_ms(const struct cli *self);

/* "ember: embed: UNAVAILABLE: ..." on standard error; returns the exit status. `line`: number of
 * the text at fault as the user counts them, 0: none. */
int cli_fail(const struct cli *self, const struct ember_error *error, uint64_t line);
int cli_fail_err(const struct cli *self, const struct err *err);
int cli_usage(const struct cli *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Flushes standard output and tells whether all of it was written. */
int cli_done(const struct cli *self, int code);

int cmd_embed(int argc, char **argv);
int cmd_classify(int argc, char **argv);
int cmd_rerank(int argc, char **argv);
int cmd_similarity(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_ping(int argc, char **argv);
int cmd_cache(int argc, char **argv);
int cmd_cost(int argc, char **argv);
int cmd_keygen(int argc, char **argv);
int cmd_bench(int argc, char **argv); /* client/bench */

#endif
