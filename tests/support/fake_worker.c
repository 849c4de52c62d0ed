/* fake_worker.c - ember-worker with an engine that needs no model, for tests of messaging alone.
 *     ember-worker-fake --model m=fake:dim=384,us=200 */
#include "engine/engine_fake.h"
#include "worker.h"

#include <string.h>

static enum status open_fake(const char *dir, const struct engine_options *options, engine_t **out,
                             struct err *err) {
    (void)options;
    if (strncmp(dir, "fake:", 5) != 0)
        return err_set(err, STATUS_INVALID_ARGUMENT, "'%s' is not fake:SPEC", dir);
    return engine_fake_open(dir + 5, out, err);
}

int main(int argc, char **argv) {
    return worker_main(argc, argv, open_fake);
}
