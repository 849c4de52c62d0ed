/* main.c - ember-broker: settings, signals, exit code. */
#include "base/log.h"
#include "base/thread.h"
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct {
    int argc;
    char **argv;
    struct options options;
} self;

/* SIGHUP. What is wrong with the new settings changes nothing. */
static void reload(loop_t *loop) {
    struct err err;
    char waits[256], quoted[ERR_TEXT_MAX];
    loop_reload_keys(loop);
    if (options_reload(self.argc, self.argv, &self.options, waits, sizeof waits, &err) !=
        STATUS_OK) {
        log_error("reload-failed", "msg=%s", log_quoted(err.text, quoted, sizeof quoted));
        return;
    }
    log_set_level((enum log_level)self.options.log_level);
    log_set_format((enum log_format)self.options.log_format);
    loop_set_routes(loop, &self.options.routes);
    log_info("reloaded", "routes=%u waits_for_restart=\"%s\"", self.options.routes.n, waits);
}

int main(int argc, char **argv) {
    static struct loop_cfg cfg;
    enum cfg_action action;
    struct err err = {.status = STATUS_OK};
    const struct options *options = &self.options;
    self.argc = argc;
    self.argv = argv;
    if (options_load(argc, argv, &self.options, &action, &err) != STATUS_OK) {
        fprintf(stderr, "ember-broker: %s\n", err.text);
        return 2;
    }
    if (action == CFG_EXIT)
        return 0;
    log_set_level((enum log_level)options->log_level);
    log_set_format((enum log_format)options->log_format);
    options_to_loop(options, &cfg);
    cfg.on_hup = reload;
    cfg.signals_fd = thread_signals_fd();
    loop_t *loop = NULL;
    if (cfg.signals_fd < 0 || loop_new(&cfg, &loop, &err) != STATUS_OK) {
        fprintf(stderr, "ember-broker: %s\n", cfg.signals_fd < 0 ? strerror(errno) : err.text);
        return err.status == STATUS_INVALID_ARGUMENT ? 2 : 1;
    }
    log_info("started", "name=%s clients=%s workers=%s http=%s keys=%s version=%s", options->name,
             loop_clients_endpoint(loop), loop_workers_endpoint(loop), options->http,
             options->curve_dir[0] ? "on" : "off", EMBER_VERSION);
    loop_run(loop);
    loop_destroy(&loop);
    log_info("stopped", "name=%s", options->name);
    return 0;
}
