/* main.c - ember-worker with engines for published models. */
#include "worker.h"

int main(int argc, char **argv) {
    return worker_main(argc, argv, engine_open);
}
