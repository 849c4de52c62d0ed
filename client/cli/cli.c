/* cli.c - see cli.h. */
#include "cli.h"

#include <stdarg.h>
#include <string.h>

bool cli_load(struct cli *self, const struct cfg *cfg, int argc, char **argv, int *n_words,
              void *settings, int *code) {
    struct err err;
    enum cfg_action action;
    if (cfg_load(cfg, argc, argv, n_words, settings, &action, &err) != STATUS_OK) {
        fprintf(stderr, "ember: %s: %s\n", self->command, err.text);
        *code = CLI_USAGE;
        return false;
    }
    *code = CLI_OK;
    return action == CFG_RUN;
}

static struct ember_options options_of(const struct cli *self) {
    const struct cli_common *c = self->common;
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.name = "ember-cli";
    options.model = c->model;
    options.key_file = c->key;
    options.server_key_file = c->server_key;
    options.timeout_ms = cli_timeout_ms(self);
    options.request_texts = self->request_texts;
    options.give_up_ms = 3000; /* somebody waits at a terminal */
    options.policy = (enum ember_policy)c->policy;
    options.latency_limit_ms = (uint32_t)((c->latency_limit_us + 999) / 1000);
    options.attempt_ms = (uint32_t)((c->attempt_us + 999) / 1000);
    options.no_discovery = c->discovery == 0;
    return options;
}

enum ember_status cli_connect(struct cli *self, struct ember_error *error) {
    struct ember_options options = options_of(self);
    return ember_open(self->common->broker, &options, &self->ember, error);
}

bool cli_open(struct cli *self, int *code) {
    struct ember_error error;
    if (cli_connect(self, &error) == EMBER_OK)
        return true;
    *code = cli_fail(self, &error, 0);
    return false;
}

ember_t *cli_open_one(const struct cli *self, const char *endpoint, int *code) {
    ember_t *one = NULL;
    struct ember_error error;
    struct ember_options options = options_of(self);
    options.no_discovery = 1;
    if (ember_open(endpoint, &options, &one, &error) != EMBER_OK)
        *code = cli_fail(self, &error, 0);
    return one;
}

uint32_t cli_timeout_ms(const struct cli *self) {
    return (uint32_t)((self->common->timeout_us + 999) / 1000);
}

static int exit_code(enum ember_status status) {
    switch (status) {
    case EMBER_OK:
        return CLI_OK;
    case EMBER_INVALID_ARGUMENT:
        return CLI_USAGE;
    case EMBER_UNAVAILABLE:
    case EMBER_DEADLINE_EXCEEDED:
        return CLI_UNAVAILABLE;
    case EMBER_RESOURCE_EXHAUSTED:
        return CLI_BUSY;
    case EMBER_NOT_FOUND:
        return CLI_NOT_FOUND;
    default:
        return CLI_FAILED;
    }
}

int cli_fail(const struct cli *self, const struct ember_error *error, uint64_t line) {
    fflush(stdout);
    fprintf(stderr, "ember: %s: %s: ", self->command, ember_status_name(error->status));
    if (line)
        fprintf(stderr, "text %llu: ", (unsigned long long)line);
    fprintf(stderr, "%s", error->message);
    if (error->retry_after_ms)
        fprintf(stderr, " (try again in %u ms)", error->retry_after_ms);
    fputc('\n', stderr);
    return exit_code(error->status);
}

int cli_fail_err(const struct cli *self, const struct err *err) {
    fflush(stdout);
    fprintf(stderr, "ember: %s: %s: %s\n", self->command, status_name(err->status), err->text);
    return exit_code((enum ember_status)err->status);
}

int cli_usage(const struct cli *self, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "ember: %s: ", self->command);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "; see ember %s --help\n", self->command);
    return CLI_USAGE;
}

int cli_done(const struct cli *self, int code) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "ember: %s: cannot write the output\n", self->command);
    return code == CLI_OK ? CLI_FAILED : code;
}
