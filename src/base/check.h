/* check.h - asserts about our own mistakes. They stay in release builds and abort.
 * Bytes from outside never reach one: they are parsed once, at the door. */
#ifndef EMBER_BASE_CHECK_H
#define EMBER_BASE_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) {                                                        \
            fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #cond);               \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
