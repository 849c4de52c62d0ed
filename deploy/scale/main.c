/* main.c - ember-scale: settings, signals, exit code. */
#include "scaler.h"
#include "units.h"

#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct settings {
    struct cfg_list brokers;
    char key[512], server_key[512];
    char hosts[512], unit[UNITS_NAME_BYTES], systemctl[512], http[128];
    uint32_t min, max;
    uint64_t interval_us, cooldown_us, start_us, retry_us, timeout_us, forget_us;
    bool once, dry_run;
    uint32_t log_level, log_format;
};

#define S struct settings
/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_HEADING("Brokers"),
    CFG_LIST("broker", S, brokers, "tcp://127.0.0.1:5555", "ENDPOINT",
             "where clients connect to a broker; may be repeated: name all of them"),
    CFG_TEXT("key", S, key, "", "FILE", "our secret certificate, of role operator"),
    CFG_TEXT("server-key", S, server_key, "", "FILE",
             "the brokers' public certificate, server.key; goes with --key"),
    CFG_DURATION("forget", S, forget_us, "5m", 0, 86400e6,
                 "a broker that has been silent for so long is not waited for"),
    CFG_HEADING("Hosts"),
    CFG_TEXT("hosts", S, hosts, "/etc/ember/hosts", "FILE",
             "a line for each host: its name, as for ssh(1), or localhost; how many units it\n"
             "may run, 0 to empty it"),
    CFG_TEXT("unit", S, unit, "ember-worker", "NAME",
             "units are NAME@1.service, NAME@2.service ..."),
    CFG_TEXT("systemctl", S, systemctl, "systemctl", "PROGRAM",
             "or another that understands its show, start and stop, --host and --no-block"),
    CFG_HEADING("Workers"),
    CFG_U32("min", S, min, "1", 0, FOLLOW_UNITS_MAX, "N", "workers, however few are wished for"),
    CFG_U32("max", S, max, "4096", 0, FOLLOW_UNITS_MAX, "N", "workers, however many"),
    CFG_HEADING("Times"),
    CFG_DURATION("interval", S, interval_us, "5s", 100e3, 3600e6, "between two looks"),
    CFG_DURATION("cooldown", S, cooldown_us, "1m", 1e6, 86400e6,
                 "from any change to the next stop"),
    CFG_DURATION("start-timeout", S, start_us, "1m", 1e6, 3600e6,
                 "a unit that runs and whose worker no broker sees counts for so long; then\n"
                 "another is started"),
    CFG_DURATION("retry", S, retry_us, "5m", 1e6, 86400e6,
                 "a unit that failed, or could not be stopped, is left alone for so long"),
    CFG_DURATION("command-timeout", S, timeout_us, "10s", 100e3, 600e6, "of a systemctl"),
    CFG_HEADING("Other"),
    CFG_BOOL("once", S, once, "look once and exit; there is no cool-down to wait for"),
    CFG_BOOL("dry-run", S, dry_run,
             "say what would be started and stopped, cool-down or not, and do not"),
    CFG_TEXT("http", S, http, "127.0.0.1:9463", "HOST:PORT", "metrics and health; off: none"),
    CFG_CHOICE("log-level", S, log_level, "info", "debug|info|warn|error", "what is logged"),
    CFG_CHOICE("log-format", S, log_format, "logfmt", "logfmt|json",
               "a line of key=value pairs, or a JSON object"),
};
/* clang-format on */
#undef S

static const struct cfg program = {
    .program = "ember-scale",
    .synopsis = "[OPTION]...",
    .about =
        "Starts and stops workers on systemd hosts, so that there are as many as the brokers wish\n"
        "for (ember_workers_desired). Up at once, spread over the hosts; down by a quarter at\n"
        "most, --cooldown after the last change, by systemctl stop, which drains. While a broker\n"
        "or a host does not answer nothing is stopped there; when this program ends workers stay\n"
        "as they are.",
    .epilog = "SIGHUP: read the file of hosts again. SIGTERM or SIGINT: exit; workers go on.\n"
              "Exit codes: 0 stopped, 1 cannot start, or --once saw no wish or no host, 2 a bad "
              "setting.\n\n"
              "  ember-scale --hosts hosts --dry-run --once      # what would it do now?",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static enum status check(const struct settings *s, struct err *err) {
    if (!units_is_name(s->unit))
        return err_set(err, STATUS_INVALID_ARGUMENT, "unit: '%s' is no name of a unit", s->unit);
    if (s->min > s->max)
        return err_set(err, STATUS_INVALID_ARGUMENT, "min: %u is more than max, %u", s->min,
                       s->max);
    for (uint32_t i = 0; i < s->brokers.n; i++) {
        if (strchr(s->brokers.item[i], ',')) /* two in one would be one wish */
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "broker: '%s' names several; give --broker for each",
                           s->brokers.item[i]);
        for (uint32_t k = 0; k < i; k++) /* one twice would be two */
            if (strcmp(s->brokers.item[i], s->brokers.item[k]) == 0)
                return err_set(err, STATUS_INVALID_ARGUMENT, "broker: '%s' is there twice",
                               s->brokers.item[i]);
    }
    if (!s->key[0] != !s->server_key[0])
        return err_set(err, STATUS_INVALID_ARGUMENT, "key and server-key go together");
    if (strlen(s->systemctl) >= UNITS_WORD_BYTES)
        return err_set(err, STATUS_INVALID_ARGUMENT, "systemctl: longer than %d bytes",
                       UNITS_WORD_BYTES - 1);
    if (!s->brokers.n || !s->systemctl[0])
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s is empty",
                       s->brokers.n ? "systemctl" : "broker");
    return STATUS_OK;
}

static void on_page(void *arg, struct expose_text *out) {
    scaler_page(arg, out);
}
static bool on_health(void *arg, struct expose_text *why) {
    return scaler_alive(arg, why);
}
static bool on_ready(void *arg, struct expose_text *why) {
    return scaler_ready(arg, why);
}

static enum status serve(const struct settings *s, scaler_t *scaler, expose_t **out,
                         struct err *err) {
    struct expose_cfg cfg = {.listen = s->http,
                             .metrics = on_page,
                             .health = on_health,
                             .ready = on_ready,
                             .arg = scaler};
    if (strcmp(s->http, "off") == 0 || s->once)
        return STATUS_OK;
    enum status status = expose_start(&cfg, out, err);
    return status == STATUS_OK ? status : err_prefix(err, status, "http");
}

static void reload(scaler_t *scaler) {
    struct err err;
    char quoted[ERR_TEXT_MAX];
    if (scaler_reload(scaler, &err) == STATUS_OK)
        log_info("reloaded", "file=hosts");
    else
        log_error("reload-failed", "msg=%s", log_quoted(err.text, quoted, sizeof quoted));
}

/* Waits for the next look, or a signal. False: it is over. */
static bool go_on(const struct settings *s, scaler_t *scaler, int signals_fd) {
    struct pollfd fd = {signals_fd, POLLIN, 0};
    int signal_number = 0;
    if (poll(&fd, 1, (int)(s->interval_us / 1000)) > 0)
        signal_number = thread_signal_read(signals_fd);
    if (signal_number == SIGHUP)
        reload(scaler);
    return signal_number != SIGTERM && signal_number != SIGINT;
}

/* Of --once: whether it saw what it needs. */
static int verdict(scaler_t *scaler) {
    struct expose_text why = {0};
    bool ready = scaler_ready(scaler, &why);
    if (!ready)
        fprintf(stderr, "ember-scale: %s", why.data ? why.data : "not ready\n");
    expose_text_done(&why);
    return ready ? 0 : 1;
}

static int run(const struct settings *s) {
    struct scaler_cfg cfg = {.follow = {.min = s->min,
                                        .max = s->max,
                                        .cool_us = s->once || s->dry_run ? 0 : s->cooldown_us,
                                        .start_us = s->start_us,
                                        .retry_us = s->retry_us},
                             .wish = {.brokers = &s->brokers,
                                      .key_file = s->key,
                                      .server_key_file = s->server_key,
                                      .forget_us = s->forget_us},
                             .hosts_file = s->hosts,
                             .systemctl = s->systemctl,
                             .unit = s->unit,
                             .interval_us = s->interval_us,
                             .timeout_us = s->timeout_us,
                             .dry_run = s->dry_run};
    struct err err = {.status = STATUS_OK};
    scaler_t *scaler = NULL;
    expose_t *http = NULL;
    int code = 0, signals_fd = thread_signals_fd();
    enum status status = signals_fd < 0 ? err_errno(&err, STATUS_INTERNAL, "signals")
                                        : scaler_new(&cfg, &scaler, &err);
    if (status == STATUS_OK)
        status = serve(s, scaler, &http, &err);
    if (status == STATUS_OK) {
        log_info("started", "brokers=%u hosts=%s unit=%s http=%s version=%s", s->brokers.n,
                 s->hosts, s->unit, s->once ? "off" : s->http, EMBER_VERSION);
        do
            scaler_look(scaler);
        while (!s->once && go_on(s, scaler, signals_fd));
        code = s->once ? verdict(scaler) : 0;
        log_info("stopped", "hosts=%s", s->hosts);
    } else {
        fprintf(stderr, "ember-scale: %s\n", err.text);
        code = status == STATUS_INVALID_ARGUMENT ? 2 : 1;
    }
    expose_stop(&http);
    scaler_destroy(&scaler);
    return code;
}

int main(int argc, char **argv) {
    static struct settings settings;
    enum cfg_action action;
    struct err err;
    enum status status = cfg_load(&program, argc, argv, NULL, &settings, &action, &err);
    if (status == STATUS_OK && action == CFG_EXIT)
        return 0;
    if (status == STATUS_OK)
        status = check(&settings, &err);
    if (status != STATUS_OK) {
        fprintf(stderr, "ember-scale: %s\n", err.text);
        return 2;
    }
    log_set_level((enum log_level)settings.log_level);
    log_set_format((enum log_format)settings.log_format);
    return run(&settings);
}
