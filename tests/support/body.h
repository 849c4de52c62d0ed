/* body.h - bodies for tests of the broker's core, which looks at their bytes only to find equal
 * ones.
 *
 * BODY(n): n bytes of zero. They are equal whenever their lengths are, so a core that is told to
 * share executions will share them. */
#ifndef EMBER_TEST_BODY_H
#define EMBER_TEST_BODY_H

#include "base/limits.h"
#include "base/view.h"

static const unsigned char body_zeros[LIMIT_REQUEST_BYTES + 1];

#define BODY(n) view_make(body_zeros, n)

#endif
