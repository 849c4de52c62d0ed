/* prepared.c - see prepared.h.
 *
 *     map ---- there, and right --------------------------------------------> shared
 *      | not there, old, damaged
 *     lock --- and map again: somebody else may have made it meanwhile -----> shared
 *      |
 *     make in private memory --- write, map ---------------------------------> shared, memory freed
 *      '---------------------- cannot be written, or no lock ---------------> private
 *
 * Why the image is made in memory and then written, and not made in the mapped file: writing into
 * a mapping on a full disk is SIGBUS, write() is an error. It costs one copy, once.
 *
 * Huge pages: private memory asks for them, a file of an ordinary file system has none.
 * docs/PERFORMANCE.md tells what that costs. */
#include "model/prepared.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "model/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK_BYTES = 256 * 1024 };

_Static_assert(sizeof(struct prepared_header) == PREPARED_HEADER_BYTES, "no gaps");
_Static_assert(CHUNK_BYTES % HASH_SUM_BLOCK == 0, "as hash_sum_add() wants its pieces");

/* ---- header ---- */

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

_Static_assert(sizeof(struct model_shape) == 88,
               "a new field of the shape belongs into the header");

static void put_shape(const struct model_shape *s, uint32_t out[32]) {
    const uint32_t words[] = {
        s->family,
        s->act,
        s->pooling,
        s->normalize,
        s->layers,
        s->hidden,
        s->heads,
        s->inner,
        s->vocab_rows,
        s->positions,
        s->types,
        s->max_tokens,
        bits_of(s->eps),
        s->gated,
        bits_of(s->rotary_base),
        bits_of(s->rotary_factor),
        s->rotary_trained,
        s->head,
        s->classes,
        s->sigmoid,
        s->entailment,
        s->contradiction,
    };
    memcpy(out, words, sizeof words);
}

void prepared_expect(const struct prepared_key *key, struct prepared_header *out) {
    memset(out, 0, sizeof *out);
    snprintf(out->magic, sizeof out->magic, "ember prepared\n");
    out->version = PREPARED_VERSION;
    out->header_bytes = PREPARED_HEADER_BYTES;
    out->image_bytes = key->bytes;
    memcpy(out->fingerprint, key->fingerprint, sizeof out->fingerprint);
    out->layout = key->layout;
    out->kernel_layout = key->kernel->layout;
    out->head_layout = key->head_layout;
    snprintf(out->precision, sizeof out->precision, "%s",
             gemm_precision_name(key->kernel->precision));
    snprintf(out->kernel, sizeof out->kernel, "%s", key->kernel->name);
    put_shape(key->shape, out->shape);
}

static uint64_t sum_of_header(const struct prepared_header *header) {
    struct prepared_header copy = *header;
    copy.header_sum = 0;
    return hash_bytes(&copy, sizeof copy, PREPARED_VERSION);
}

enum status prepared_check(struct view head, uint64_t file_bytes, const struct prepared_key *key,
                           struct err *err) {
    struct prepared_header header, want;
    if (head.bytes < sizeof header)
        return err_set(err, STATUS_DATA_LOSS, "its header is cut");
    memcpy(&header, head.data, sizeof header);
    prepared_expect(key, &want);
    if (memcmp(header.magic, want.magic, sizeof want.magic) != 0 ||
        header.header_sum != sum_of_header(&header))
        return err_set(err, STATUS_DATA_LOSS, "its header is damaged");
    if (header.version != want.version)
        return err_set(err, STATUS_FAILED_PRECONDITION, "it is of version %u, wanted is %u",
                       header.version, want.version);
    want.image_sum = header.image_sum;
    want.header_sum = header.header_sum;
    if (memcmp(&header, &want, sizeof want) != 0)
        return err_set(err, STATUS_FAILED_PRECONDITION,
                       "it was made for another model, kernel or version of ember");
    if (file_bytes != PREPARED_HEADER_BYTES + (uint64_t)key->bytes)
        return err_set(err, STATUS_DATA_LOSS, "it has %llu bytes, wanted are %llu",
                       (unsigned long long)file_bytes,
                       PREPARED_HEADER_BYTES + (unsigned long long)key->bytes);
    return STATUS_OK;
}

void prepared_name(const struct prepared_key *key, char *out, size_t bytes) {
    char hex[17];
    for (int i = 0; i < 8; i++)
        snprintf(hex + 2 * i, 3, "%02x", key->fingerprint[i]);
    snprintf(out, bytes, "%s-%s-%s.weights", hex, gemm_precision_name(key->kernel->precision),
             key->kernel->name);
}

/* ---- opening ---- */

/* Up to `bytes` bytes at `offset`; fewer at the end of the file or when it cannot be read. */
static size_t read_at(int fd, void *out, size_t bytes, uint64_t offset) {
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = pread(fd, (char *)out + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

static enum status check_image(int fd, const struct prepared_header *header, struct err *err) {
    char *chunk = malloc(CHUNK_BYTES);
    if (!chunk)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    /* After a boot it is read from the disk: in large pieces, which become large pages. */
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    struct hash_sum sum;
    hash_sum_begin(&sum);
    uint64_t at = 0;
    while (at < header->image_bytes) {
        const uint64_t left = header->image_bytes - at;
        const size_t n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
        if (read_at(fd, chunk, n, PREPARED_HEADER_BYTES + at) != n)
            break;
        hash_sum_add(&sum, chunk, n);
        at += n;
    }
    free(chunk);
    if (at != header->image_bytes || hash_sum_end(&sum) != header->image_sum)
        return err_set(err, STATUS_DATA_LOSS, "its weights are damaged");
    return STATUS_OK;
}

static enum status map_checked(int fd, uint64_t bytes, const struct prepared_key *key,
                               struct prepared *out, struct err *err) {
    struct prepared_header header;
    const size_t n = read_at(fd, &header, sizeof header, 0);
    enum status st = prepared_check(view_make(&header, n), bytes, key, err);
    if (st == STATUS_OK)
        st = check_image(fd, &header, err);
    if (st != STATUS_OK)
        return st;
    char *mapping = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED)
        return err_errno(err, STATUS_UNAVAILABLE, "map");
    out->mapping = mapping;
    out->mapping_bytes = (size_t)bytes;
    out->image = mapping + PREPARED_HEADER_BYTES;
    out->bytes = key->bytes;
    out->shared = true;
    return STATUS_OK;
}

static enum status map(const struct store *store, const char *name, const struct prepared_key *key,
                       struct prepared *out, struct err *err) {
    const uint64_t begin_us = clock_us();
    uint64_t bytes;
    int fd;
    enum status st = store_file(store, name, &fd, &bytes, err);
    if (st != STATUS_OK)
        return st;
    st = map_checked(fd, bytes, key, out, err);
    if (st == STATUS_OK)
        store_touch(fd);
    else
        err_prefix(err, st, "'%s'", name);
    close(fd); /* the mapping outlives the descriptor */
    out->map_us += clock_us() - begin_us;
    return st;
}

/* ---- making ---- */

static void done_mapping(struct prepared *self) {
    if (self->mapping)
        munmap(self->mapping, self->mapping_bytes);
    self->mapping = NULL;
    self->image = NULL;
    self->bytes = self->mapping_bytes = 0;
}

static enum status make_private(const struct prepared_key *key, prepared_make_fn *make, void *arg,
                                struct prepared *out, struct err *err) {
    const uint64_t begin_us = clock_us();
    const size_t bytes = key->bytes ? key->bytes : 1;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %zu bytes of weights",
                       key->bytes);
    /* Weights are read from end to end all the time: with pages of 2 MB that costs fewer address
     * look-ups. The kernel may say no, and nothing depends on it. */
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    out->mapping = memory;
    out->mapping_bytes = bytes;
    out->image = memory;
    out->bytes = key->bytes;
    out->made = true;
    enum status st = make(arg, memory, err);
    if (st != STATUS_OK)
        done_mapping(out);
    out->make_us = clock_us() - begin_us;
    return st;
}

static enum status save(const struct store *store, const char *name, const struct prepared_key *key,
                        const void *image, struct err *err) {
    struct prepared_header *header = malloc(sizeof *header);
    if (!header)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    struct hash_sum sum;
    hash_sum_begin(&sum);
    hash_sum_add(&sum, image, key->bytes);
    prepared_expect(key, header);
    header->image_sum = hash_sum_end(&sum);
    header->header_sum = sum_of_header(header);
    store_sweep(store);
    enum status st = store_write(store, name, view_make(header, sizeof *header),
                                 view_make(image, key->bytes), err);
    free(header);
    return st;
}

/* Private memory becomes a file of all, when it can. */
static enum status share(const struct store *store, const char *name,
                         const struct prepared_key *key, struct prepared *self, struct err *err) {
    struct prepared mapped = {0};
    enum status st = save(store, name, key, self->image, err);
    if (st == STATUS_OK)
        st = map(store, name, key, &mapped, err);
    if (st != STATUS_OK)
        return st;
    done_mapping(self);
    self->mapping = mapped.mapping;
    self->mapping_bytes = mapped.mapping_bytes;
    self->image = mapped.image;
    self->bytes = mapped.bytes;
    self->shared = true;
    self->map_us += mapped.map_us;
    return STATUS_OK;
}

static void note(struct prepared *self, const char *text) {
    snprintf(self->note, sizeof self->note, "%s", text);
}

/* With the directory open. */
static enum status get_in(const struct store *store, const struct prepared_key *key,
                          prepared_make_fn *make, void *arg, struct prepared *out,
                          struct err *err) {
    char name[STORE_NAME_MAX];
    struct err why;
    int lock = -1;
    prepared_name(key, name, sizeof name);
    if (map(store, name, key, out, &why) == STATUS_OK)
        return STATUS_OK;
    if (why.status != STATUS_NOT_FOUND)
        note(out, why.text); /* what was there is made anew, or in private memory */
    enum status locked = store_lock(store, PREPARED_WAIT_US, &lock, &why);
    if (locked != STATUS_OK)
        note(out, why.text);
    else if (map(store, name, key, out, NULL) == STATUS_OK) {
        close(lock);
        return STATUS_OK;
    }
    enum status st = make_private(key, make, arg, out, err);
    if (st == STATUS_OK && locked == STATUS_OK && share(store, name, key, out, &why) != STATUS_OK)
        note(out, why.text);
    if (lock >= 0)
        close(lock);
    return st;
}

enum status prepared_get(const char *cache, const struct prepared_key *key, prepared_make_fn *make,
                         void *arg, struct prepared *out, struct err *err) {
    struct store store = {-1};
    struct err why;
    *out = (struct prepared){0};
    if (!cache)
        return make_private(key, make, arg, out, err);
    enum status st = store_open(cache, &store, &why);
    if (st != STATUS_OK) {
        note(out, why.text);
        return make_private(key, make, arg, out, err);
    }
    st = get_in(&store, key, make, arg, out, err);
    store_close(&store);
    return st;
}

void prepared_done(struct prepared *self) {
    done_mapping(self);
    *self = (struct prepared){0};
}
