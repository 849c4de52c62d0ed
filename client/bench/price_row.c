/* price_row.c - see price_row.h. */
#include "price_row.h"

#include <string.h>

static bool is_visible(char c) {
    return c > ' ' && c <= '~';
}

bool price_row_is_name(const char *text) {
    size_t n = 0;
    while (is_visible(text[n]))
        n++;
    return n > 0 && n <= LIMIT_NAME_BYTES && !text[n] && text[0] != '#';
}

/* What the workers of a model have in common; "": they differ, or there are none. */
struct common {
    const char *host, *precision;
    uint32_t n;
};

static const char *both(const char *a, const char *b) {
    return strcmp(a, b) == 0 ? a : "";
}

static struct common common_of(const ember_report_t *status, const char *model) {
    struct common out = {"", "", 0};
    const struct ember_worker_info *w;
    for (size_t i = 0; (w = ember_report_worker(status, i)); i++)
        for (size_t k = 0; k < w->n_models; k++) {
            const struct ember_model_info *m = &w->models[k];
            if (strcmp(m->name, model) != 0)
                continue;
            out.host = out.n ? both(out.host, w->host) : w->host;
            out.precision = out.n ? both(out.precision, m->precision) : m->precision;
            out.n++;
        }
    return out;
}

static void tell(struct outcome *report, const struct common *common, const char *model,
                 double rate, double hourly, bool at_least) {
    const char *named = report->settings->instance;
    struct outcome_price *row = &report->price;
    const char *instance = named[0] ? named : common->host;
    if (!price_row_is_name(instance)) {
        instance = "INSTANCE";
        outcome_note(report, "INSTANCE is yours to name, with --instance: the workers do not share "
                             "a host.");
    }
    if (!(hourly > 0))
        outcome_note(report, "What a worker costs is not known, 0 stands for that: give "
                             "--hourly-cost.");
    snprintf(row->instance, sizeof row->instance, "%s", instance);
    snprintf(row->model, sizeof row->model, "%s", model);
    snprintf(row->precision, sizeof row->precision, "%s", common->precision);
    row->hourly = hourly;
    row->rate = rate;
    outcome_note(report, "price table row:  %s %g %s %s %.6g%s%s", row->instance, hourly,
                 row->model, row->precision, rate, at_least ? "  # at least: it may hold more" : "",
                 report->settings->mix[0] ? "  # calls of --mix" : "");
}

void price_row_tell(const struct cli *cli, struct outcome *report, const char *model,
                    uint32_t workers, const struct found *found, double hourly) {
    ember_report_t *status = NULL;
    if (ember_report(cli->ember, 0, &status, NULL) != EMBER_OK)
        return;
    struct common common = common_of(status, model);
    if (common.n == 0 || !price_row_is_name(model))
        ; /* there is nothing to say */
    else if (!common.precision[0])
        outcome_note(report, "No row for a price table: the workers of %s differ in precision.",
                     model);
    else
        tell(report, &common, model, found->rate / workers, hourly, found->ceiling);
    ember_report_destroy(&status);
}
