/* prepared.h - prepared weights: found in a file that all processes of the host map, or made.
 *
 *     <directory of model/store.h>/
 *         94fa57b3c01d2e4f-f32-avx512.weights       header, image: encoder_parts.h
 *         lock                                      held by whoever is making a file
 *
 *     0     header, 4096 bytes: struct prepared_header
 *     4096  image, its bytes; the file ends with it
 *
 * The header is not read but compared: everything in it but the sums is known beforehand to
 * whoever looks for the file, so a stranger's number is never used. The image is numbers without
 * pointers or indexes: wrong ones give wrong vectors, nothing worse. Both sums are checked at each
 * opening (a few milliseconds per 100 MB; by reading and not through the mapping, so that only the
 * rows of the tables that are used later count as this process's memory).
 *
 * A file that cannot be had is never fatal: whoever asks gets private memory and the reason.
 * Files that are mapped lose their names at most (model/store.h); whoever else shortens one kills
 * its readers with SIGBUS.
 *
 * Threads: none of it is shared; the image is immutable. */
#ifndef EMBER_MODEL_PREPARED_H
#define EMBER_MODEL_PREPARED_H

#include "base/err.h"
#include "base/view.h"
#include "model/gemm.h"
#include "model/shape.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PREPARED_VERSION = 2, /* of the file: raise it when struct prepared_header changes */
    PREPARED_HEADER_BYTES = 4096,
    PREPARED_FINGERPRINT_BYTES = 32,
    PREPARED_WAIT_US = 60 * 1000 * 1000, /* for somebody else who is making the file */
};

/* What an image is of. Everything that decides one of its bytes is here. */
struct prepared_key {
    uint8_t fingerprint[PREPARED_FINGERPRINT_BYTES]; /* of the model's files */
    const struct model_shape *shape;                 /* complete: encoder_complete() */
    const struct gemm_kernel *kernel;                /* with precision and layout */
    uint32_t layout;                                 /* ENCODER_IMAGE_LAYOUT */
    uint32_t head_layout;                            /* encoder_head_layout() */
    size_t bytes;                                    /* of the image */
};

/* Little-endian, no gaps. */
struct prepared_header {
    char magic[16];
    uint32_t version, header_bytes;
    uint64_t image_bytes;
    uint64_t image_sum;  /* struct hash_sum of the image */
    uint64_t header_sum; /* hash_bytes() of the header with this field 0 */
    uint8_t fingerprint[PREPARED_FINGERPRINT_BYTES];
    uint32_t layout, kernel_layout;
    char precision[8], kernel[32]; /* names, padded with zeros */
    uint32_t shape[32];            /* in the order of struct model_shape; floats as their bits */
    uint32_t head_layout;
    uint8_t zero[PREPARED_HEADER_BYTES - 260];
};

struct prepared {
    const void *image; /* [key.bytes], aligned to a page; read only */
    size_t bytes;
    bool shared;              /* mapped from a file; else private memory */
    bool made;                /* by this call */
    char note[ERR_TEXT_MAX];  /* why it is not shared, or why a file was made anew; or empty */
    uint64_t map_us, make_us; /* what opening (and checking) and making took */
    void *mapping;            /* what prepared_done() unmaps */
    size_t mapping_bytes;
};

/* Writes the image, over zeros. */
typedef enum status prepared_make_fn(void *arg, void *image, struct err *err);

/* The image of `key`: from the directory `cache` when it has it, else from `make`, and then kept
 * in the directory for all. `cache` NULL: private memory. Processes that ask at the same time
 * make it once: the others wait, PREPARED_WAIT_US at most. Only `make`'s errors and
 * STATUS_RESOURCE_EXHAUSTED (no memory) are errors. */
enum status prepared_get(const char *cache, const struct prepared_key *key, prepared_make_fn *make,
                         void *arg, struct prepared *out, struct err *err);
void prepared_done(struct prepared *self); /* a zeroed one is fine */

/* ---- for tests */

/* The header that a file of this key has; the sums are left 0. */
void prepared_expect(const struct prepared_key *key, struct prepared_header *out);

/* Whether the file's first bytes are the header of such a file. STATUS_DATA_LOSS cut or altered;
 * STATUS_FAILED_PRECONDITION it is whole, but of something else. */
enum status prepared_check(struct view head, uint64_t file_bytes, const struct prepared_key *key,
                           struct err *err);

/* The file's name. */
void prepared_name(const struct prepared_key *key, char *out, size_t bytes);

#endif
