/* worker.h - the whole program but for how a model is opened. */
#ifndef EMBER_WORKER_WORKER_H
#define EMBER_WORKER_WORKER_H

#include "models.h"

/* Settings, models, self-check, runners, loop; returns the exit status (settings.c tells them). */
int worker_main(int argc, char **argv, models_open_fn *open);

#endif
