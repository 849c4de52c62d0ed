/* clock_step.h - steps of the wall clock, of this process's children and its own; see the .c file.
 *
 *     clock_step(path, 3600);             the file; one hour on for all that map it
 *     {"env", "LD_PRELOAD=" CLOCK_STEP_LIBRARY, "CLOCK_STEP_FILE=...", program ...} */
#ifndef EMBER_TEST_CLOCK_STEP_H
#define EMBER_TEST_CLOCK_STEP_H

__attribute__((visibility("default"))) void clock_step(const char *path, long seconds);

#endif
