/* search_test.c - the search for a rate against tables, and against queues simulated from a seed:
 * Poisson arrivals, c servers, a fixed time of service (M/D/c), with and without noise. */
#include "latency.h"
#include "search.h"
#include "support/test.h"

#include "base/hash.h"

enum { SERVERS_MAX = 64, SLO_US = 150 * 1000, WARM_US = 1000 * 1000 };

struct service {
    uint32_t servers;
    double service_us;
    double jitter;     /* of the time of service: its share that is drawn, exponential */
    double stalls;     /* share of probes in which all stands still for half a second */
    double errors;     /* share of calls that fail */
    double generator;  /* calls a second that the generator can send at most; 0: any number */
    double slow_above; /* calls a second from which each takes twice as long; 0: none */
};

static double uniform(uint64_t *random) {
    return ((double)(hash_next(random) >> 11) + 1) / 9007199254740992.0;
}

static uint32_t first_free(const double *free_us, uint32_t servers) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < servers; i++)
        if (free_us[i] < free_us[best])
            best = i;
    return best;
}

/* What `ember bench` would see of that service in one probe. */
static struct search_seen probe(const struct service *s, double rate, double probe_us,
                                uint64_t *random) {
    static struct latency latency;
    memset(&latency, 0, sizeof latency);
    double free_us[SERVERS_MAX] = {0}, at_us = 0, end_us = WARM_US + probe_us;
    double stall_us = uniform(random) < s->stalls ? WARM_US + uniform(random) * probe_us : -1;
    double service_us = s->service_us * (s->slow_above > 0 && rate > s->slow_above ? 2 : 1);
    struct search_seen seen = {.behind = s->generator > 0 && rate > s->generator};
    for (;;) {
        at_us += -log(uniform(random)) / rate * 1e6;
        if (at_us >= end_us)
            break;
        if (stall_us >= 0 && at_us > stall_us) {
            for (uint32_t i = 0; i < s->servers; i++)
                free_us[i] = fmax(free_us[i], stall_us + 500e3);
            stall_us = -1;
        }
        uint32_t server = first_free(free_us, s->servers);
        double start_us = fmax(at_us, free_us[server]);
        free_us[server] =
            start_us + service_us * (1 - s->jitter) - s->jitter * service_us * log(uniform(random));
        if (at_us < WARM_US)
            continue;
        if (uniform(random) <= s->errors)
            seen.failed++;
        else
            latency_add(&latency, (uint64_t)(free_us[server] - at_us));
    }
    seen.calls = latency.n;
    seen.p95_us = latency_quantile_us(&latency, 0.95);
    return seen;
}

/* The rate whose P95, over a quarter of an hour, is at the limit. */
static double true_rate(const struct service *s, uint64_t *random) {
    double low = 0, high = s->servers / s->service_us * 1e6;
    for (int i = 0; i < 12; i++) {
        double rate = (low + high) / 2;
        if (probe(s, rate, 900e6, random).p95_us <= SLO_US)
            low = rate;
        else
            high = rate;
    }
    return low;
}

static enum search_step search(const struct service *s, double start, double rate_max,
                               uint64_t *random, double *rate, uint32_t *probes) {
    struct search search;
    search_init(&search, start, rate_max, SLO_US);
    enum search_step step;
    *probes = 0;
    while ((step = search_next(&search, rate)) == SEARCH_PROBE) {
        struct search_seen seen = probe(s, *rate, (double)search_probe_us(*rate, SLO_US), random);
        search_tell(&search, *rate, &seen);
        if (++*probes > SEARCH_VOTES * 2 * SEARCH_RATES_MAX)
            TEST_FAIL("it does not end");
    }
    return step;
}

static void test_queues(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct service service;
        double least, most; /* found over true */
    } rows[] = {
        {"one server", {.servers = 1, .service_us = 5000}, 0.88, 1.07},
        {"eight servers", {.servers = 8, .service_us = 20000}, 0.9, 1.07},
        {"a slow one", {.servers = 2, .service_us = 100000}, 0.75, 1.25},
        {"times differ", {.servers = 4, .service_us = 10000, .jitter = 0.8}, 0.85, 1.1},
        {"a stall in one probe of ten",
         {.servers = 4, .service_us = 10000, .stalls = 0.1},
         0.8,
         1.07},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct service calm = rows[i].service;
        calm.stalls = 0;
        uint64_t random = 7 * (i + 1);
        double want = true_rate(&calm, &random);
        uint32_t near = 0, runs = 20;
        for (uint32_t run = 0; run < runs; run++) {
            double rate;
            uint32_t probes;
            TEST_EQ(search(&rows[i].service, 10, 1e6, &random, &rate, &probes), SEARCH_FOUND);
            TEST_TRUE(probes <= 40);
            near += rate >= rows[i].least * want && rate <= rows[i].most * want;
        }
        if (near < runs * 9 / 10) /* noise may take one or two of twenty astray */
            TEST_FAIL("%u of %u found %g", near, runs, want);
    }
}

static void test_ends(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct service service;
        double start, rate_max;
        enum search_step want;
        double least, most;
    } rows[] = {
        {"slower than the limit",
         {.servers = 4, .service_us = 200e3},
         10,
         1e6,
         SEARCH_NOWHERE,
         0,
         0},
        {"every call fails",
         {.servers = 4, .service_us = 1000, .errors = 1},
         10,
         1e6,
         SEARCH_NOWHERE,
         0,
         0},
        {"the generator ends first",
         {.servers = 64, .service_us = 1000, .generator = 900},
         10,
         1e6,
         SEARCH_CEILING,
         800,
         900},
        {"the highest rate holds",
         {.servers = 64, .service_us = 1000},
         10,
         500,
         SEARCH_CEILING,
         500,
         500},
        {"starts too high", {.servers = 1, .service_us = 50e3}, 5000, 1e6, SEARCH_FOUND, 8, 19},
        {"starts above the highest",
         {.servers = 64, .service_us = 1000},
         5000,
         100,
         SEARCH_CEILING,
         100,
         100},
        {"a step in the service",
         {.servers = 1, .service_us = 8e3, .slow_above = 80},
         10,
         1e6,
         SEARCH_FOUND,
         70,
         80},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint64_t random = 11 * (i + 1);
        double rate = 0;
        uint32_t probes;
        TEST_EQ(search(&rows[i].service, rows[i].start, rows[i].rate_max, &random, &rate, &probes),
                rows[i].want);
        if (rows[i].want != SEARCH_NOWHERE && (rate < rows[i].least || rate > rows[i].most))
            TEST_FAIL("%g", rate);
    }
}

/* Votes by hand: G far below the limit, g within it, b above, f failed, n nothing came, l the
 * generator was late. Rates are asked from 100 up to 400. */
static void test_votes(void **state) {
    (void)state;
    static const struct {
        const char *name, *votes;
        double rates[12];
        enum search_step want;
        double want_rate;
    } rows[] = {
        {"clear ones count alone, the edge does not",
         "GGGG",
         {100, 200, 400, 400},
         SEARCH_CEILING,
         400},
        {"one bad vote is not believed",
         "bggggg",
         {100, 100, 100, 200, 200, 400},
         SEARCH_PROBE,
         400},
        {"nor one good", "gbb", {100, 100, 100}, SEARCH_PROBE, 50},
        {"a failure is a bad vote", "Gff", {100, 200, 200}, SEARCH_PROBE, 141.42},
        {"so is silence", "Gnn", {100, 200, 200}, SEARCH_PROBE, 141.42},
        {"the edge turns bad", "GGGbb", {100, 200, 400, 400, 400}, SEARCH_PROBE, 282.84},
        {"nothing holds",
         "bbbbbbbbbb",
         {100, 100, 50, 50, 25, 25, 12.5, 12.5, 6.25, 6.25},
         SEARCH_PROBE,
         3.125},
        {"the generator's fault is told apart", "Gll", {100, 200, 200}, SEARCH_PROBE, 141.42},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct search s;
        search_init(&s, 100, 400, SLO_US);
        double rate;
        for (size_t k = 0; rows[i].votes[k]; k++) {
            char vote = rows[i].votes[k];
            TEST_EQ(search_next(&s, &rate), SEARCH_PROBE);
            TEST_NEAR(rate, rows[i].rates[k], 0.01);
            struct search_seen seen = {.calls = vote == 'n' ? 0 : 400,
                                       .failed = vote == 'f',
                                       .p95_us = vote == 'G'   ? SLO_US / 3
                                                 : vote == 'b' ? SLO_US + 1
                                                               : SLO_US,
                                       .behind = vote == 'l'};
            TEST_EQ(search_tell(&s, rate, &seen), vote == 'G' || vote == 'g');
        }
        TEST_EQ(search_next(&s, &rate), rows[i].want);
        TEST_NEAR(rate, rows[i].want_rate, 0.01);
    }
}

static void test_lengths(void **state) {
    (void)state;
    TEST_EQ(search_probe_us(10, SLO_US), 40 * 1000 * 1000);  /* its calls */
    TEST_EQ(search_probe_us(1000, SLO_US), 3 * 1000 * 1000); /* a queue of the limit */
    TEST_EQ(search_probe_us(1000, 1000), SEARCH_PROBE_LEAST_US);
    TEST_EQ(search_probe_us(0.5, SLO_US), SEARCH_PROBE_MOST_US);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_votes), cmocka_unit_test(test_lengths),
                                       cmocka_unit_test(test_ends), cmocka_unit_test(test_queues)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
