/* pages_bench.c - what it costs a forward pass that its weights lie in a mapped file: the same
 * image in memory of several kinds, passes in turns, so that the machine is the same for all.
 *
 *     pages_bench [--shape minilm|base] [--precision f32|bf16|i8] [DIR]
 *
 * private    anonymous memory, huge pages asked for (what a worker without a weights cache has)
 * private4k  the same without huge pages
 * file       mapped from a file in DIR, as the kernel maps it: file systems with large folios
 *            (ext4 from Linux 6.16, XFS) give pages of 2 MB
 * file4k     a file whose pages in memory are 4 KB each, as on other file systems
 *
 * Milliseconds at the tenth part that was least disturbed, and the ratio to `private`. */
#include "base/arena.h"
#include "base/clock.h"
#include "model/encoder_random.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KINDS = 4, ROUNDS_MAX = 400, TOKENS_MAX = 256, SMALL = 4096 };

static const char *const kinds[KINDS] = {"private", "private4k", "file", "file4k"};
static const struct { uint32_t texts, tokens; } cases[] = {{1, 8}, {1, 32}, {8, 32}};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void *anonymous(size_t bytes, int advice) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        die("mmap");
    (void)madvise(p, bytes, advice);
    return p;
}

/* The image in a file without a name, written in pieces of that size, which decides how large the
 * pieces of the page cache are. */
static void *in_file(const char *dir, const void *image, size_t bytes, size_t piece, int advice) {
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        die(dir);
    for (size_t at = 0; at < bytes; at += piece) {
        const size_t n = bytes - at < piece ? bytes - at : piece;
        if (write(fd, (const char *)image + at, n) != (ssize_t)n) /* never short on a disk */
            die("write");
    }
    if (fsync(fd) != 0)
        die("fsync");
    void *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        die("mmap");
    (void)madvise(p, bytes, advice);
    close(fd);
    return p;
}

static int by_time(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void run_case(encoder_t *const encoders[KINDS], uint32_t texts, uint32_t tokens,
                     uint32_t rounds) {
    static uint64_t spent[KINDS][ROUNDS_MAX];
    static int32_t ids[TOKENS_MAX], types[TOKENS_MAX];
    static float out[64 * 1024];
    uint32_t start[65];
    struct arena arena;
    const struct model_shape *shape = encoder_shape(encoders[0]);
    if (!arena_init(&arena, encoder_scratch_bytes(encoders[0], texts * tokens, texts)))
        die("arena");
    for (uint32_t i = 0; i <= texts; i++)
        start[i] = i * tokens;
    for (uint32_t r = 0; r < rounds; r++) {
        for (uint32_t i = 0; i < texts * tokens; i++)
            ids[i] = (int32_t)((r * 7919 + i * 104729) % shape->vocab_rows);
        for (uint32_t k = 0; k < KINDS; k++) {
            const uint64_t begin_ns = clock_ns();
            encoder_forward(encoders[k], ids, types, start, texts, &arena, out);
            spent[k][r] = clock_ns() - begin_ns;
        }
    }
    printf("%u x %-3u", texts, tokens);
    for (uint32_t k = 0; k < KINDS; k++)
        qsort(spent[k], rounds, sizeof spent[k][0], by_time);
    for (uint32_t k = 0; k < KINDS; k++)
        printf("  %s %.3f (%.3f)", kinds[k], (double)spent[k][rounds / 10] / 1e6,
               (double)spent[k][rounds / 10] / (double)spent[0][rounds / 10]);
    putchar('\n');
    arena_done(&arena);
}

int main(int argc, char **argv) {
    const char *dir = "/var/tmp", *name = "minilm";
    enum gemm_precision precision = GEMM_F32;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--shape") == 0 && i + 1 < argc)
            name = argv[++i];
        else if (strcmp(argv[i], "--precision") == 0 && i + 1 < argc &&
                 gemm_precision_parse(argv[i + 1], &precision))
            i++;
        else
            dir = argv[i];
    const bool base = strcmp(name, "base") == 0;
    const struct model_shape shape = {.layers = base ? 12 : 6,
                                      .hidden = base ? 768 : 384,
                                      .heads = 12,
                                      .inner = base ? 3072 : 1536,
                                      .vocab_rows = 30522,
                                      .positions = 512,
                                      .types = 2,
                                      .max_tokens = 512,
                                      .eps = 1e-12f};
    const struct gemm_kernel *kernel = gemm_choose(precision);
    const size_t bytes = encoder_image_bytes(&shape, kernel);
    void *images[KINDS];
    encoder_t *encoders[KINDS];
    images[0] = anonymous(bytes, MADV_HUGEPAGE);
    if (encoder_image_fill(&shape, kernel, &random_source, images[0], NULL) != STATUS_OK)
        die("fill");
    images[1] = anonymous(bytes, MADV_NOHUGEPAGE);
    memcpy(images[1], images[0], bytes);
    images[2] = in_file(dir, images[0], bytes, bytes, MADV_NORMAL);
    images[3] = in_file(dir, images[0], bytes, SMALL, MADV_NOHUGEPAGE);
    for (int k = 0; k < KINDS; k++)
        if (encoder_over(&shape, kernel, images[k], &encoders[k], NULL) != STATUS_OK)
            die("encoder");
    printf("# %s %s %s, %.1f MB, ms (ratio)\n", name, gemm_precision_name(precision), kernel->name,
           (double)bytes / 1e6);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        run_case(encoders, cases[c].texts, cases[c].tokens, base ? 60 : ROUNDS_MAX);
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    char line[256];
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "FilePmdMapped:", 14) == 0 || strncmp(line, "AnonHugePages:", 14) == 0)
            printf("# %s", line);
    if (f)
        fclose(f);
    for (int k = 0; k < KINDS; k++) {
        encoder_destroy(&encoders[k]);
        munmap(images[k], bytes);
    }
    return 0;
}
