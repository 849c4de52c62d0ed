/* zip.h - the directory of a zip archive whose records are stored, not compressed (APPNOTE 6.3,
 * ZIP64 included).
 *
 *     [local header, name, extra, bytes] ... [central directory] [ZIP64 end] [end record]
 *
 * Only the central directory is believed, so sizes in data descriptors need no reading.
 * Threads: owner only, as zip_record() remembers which checksums it has seen right. */
#ifndef EMBER_MODEL_ZIP_H
#define EMBER_MODEL_ZIP_H

#include "base/err.h"
#include "base/view.h"

#include <stdint.h>

typedef struct zip zip_t;

/* Read and check the directory of `file`, which must outlive *out: every record lies inside the
 * file, none overlaps another, no name stands twice, local names are the central ones.
 * STATUS_DATA_LOSS otherwise;
 * STATUS_RESOURCE_EXHAUSTED too many records or no memory. */
enum status zip_open(struct view file, zip_t **out, struct err *err);
void zip_close(zip_t **self); /* NULL is fine */

uint32_t zip_count(const zip_t *self);
struct view zip_name(const zip_t *self, uint32_t i); /* in order of name */

/* The bytes of a record, inside the file. STATUS_NOT_FOUND no such name; STATUS_UNIMPLEMENTED
 * it is compressed or encrypted; STATUS_DATA_LOSS its CRC-32 is another. */
enum status zip_record(zip_t *self, struct view name, struct view *out, struct err *err);

#endif
