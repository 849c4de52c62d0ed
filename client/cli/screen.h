/* screen.h - text on a terminal, where a Chinese character takes two columns and a control
 * character none; and values as JSON. */
#ifndef EMBER_CLI_SCREEN_H
#define EMBER_CLI_SCREEN_H

#include "base/view.h"

#include <stdint.h>
#include <stdio.h>

/* Columns of one code point: 0 (combining), 1 or 2 (East Asian wide, emoji). After Unicode's
 * EastAsianWidth.txt, in ranges coarse enough to be read. */
unsigned screen_columns_of(uint32_t code_point);

unsigned screen_columns(struct view text);

/* Prints `text` in exactly `columns`: padded, or cut with an ellipsis. Control characters and bytes
 * that are not UTF-8 print as a blank and U+FFFD. columns 0: all of it, unpadded. */
void screen_print(FILE *out, struct view text, unsigned columns);

unsigned screen_width(FILE *out); /* of the terminal behind it; 100 when it is none */

void screen_json_text(FILE *out, struct view text); /* a JSON string; bad UTF-8 as U+FFFD */
void screen_json_floats(FILE *out, const float *numbers, size_t n);
void screen_base64(FILE *out, const void *data, size_t bytes);

#endif
