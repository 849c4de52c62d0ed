/* fuzz_prices.c - any bytes as a price table: refused with a line, or rows within their limits that
 * can be written and read again. */
#include "base/check.h"
#include "prices.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge_row(const struct price *row) {
    CHECK(row->instance[0] && row->instance[0] != '#' && row->model[0] && row->line > 0);
    CHECK(memchr(row->instance, '\0', sizeof row->instance));
    CHECK(memchr(row->model, '\0', sizeof row->model));
    for (const char *p = row->instance; *p; p++)
        CHECK(*p > ' ' && *p <= '~');
    CHECK(row->hourly >= 0 && row->hourly <= PRICES_HOURLY_MAX);
    CHECK(row->rate >= PRICES_RATE_MIN && row->rate <= PRICES_RATE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct prices prices, again;
    static char text[LIMIT_PRICES_ROWS * 256];
    struct err err = {.text = ""};
    enum status st = prices_parse(view_make(data, size), "t", &prices, &err);
    if (st != STATUS_OK) {
        CHECK(st == STATUS_INVALID_ARGUMENT || st == STATUS_RESOURCE_EXHAUSTED);
        CHECK(err.status == st && err.text[0] && strlen(err.text) < sizeof err.text);
        return 0;
    }
    CHECK(prices.n > 0 && prices.n <= LIMIT_PRICES_ROWS);
    size_t n = 0;
    for (uint32_t i = 0; i < prices.n; i++) {
        const struct price *row = &prices.row[i];
        judge_row(row);
        const struct price *found = prices_find(&prices, row->instance, row->model, row->precision);
        CHECK(found == row);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s %.17g %s %s %.17g\n", row->instance,
                              row->hourly, row->model, row->precision, row->rate);
    }
    CHECK(n < sizeof text);
    st = prices_parse(view_make(text, n), "t", &again, NULL);
    CHECK(st == STATUS_OK || n > LIMIT_PRICES_BYTES);
    for (uint32_t i = 0; st == STATUS_OK && i < again.n; i++) {
        again.row[i].line = prices.row[i].line;
        CHECK(memcmp(&again.row[i], &prices.row[i], sizeof again.row[i]) == 0);
    }
    char list[64];
    CHECK(strlen(prices_list(&prices, list, sizeof list)) < sizeof list);
    return 0;
}
