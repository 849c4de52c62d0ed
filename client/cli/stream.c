/* stream.c - see stream.h. */
#include "stream.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CHUNK_TEXTS = STREAM_CHUNK_TEXTS,
    CHUNK_BYTES = 1 << 20,
    CHUNKS = 4,
    PROGRESS_US = 200 * 1000
};

struct chunk {
    char *text[CHUNK_TEXTS]; /* owned when they come from a file */
    size_t bytes[CHUNK_TEXTS];
    size_t n;
    uint64_t first;
    ember_call_t *call;
};

struct stream {
    struct cli *cli;
    const struct stream_task *task;
    char **words; /* NULL: a file */
    int n_words, word;
    FILE *file;
    size_t chunk_texts;
    uint64_t n_read, n_done;
    bool end, progress;
    uint64_t start_us, told_us;
    struct chunk ring[CHUNKS];
    unsigned head, n_chunks;
};

size_t stream_tab(const char *text, size_t bytes) {
    const char *tab = memchr(text, '\t', bytes);
    return tab ? (size_t)(tab - text) : bytes;
}

/* A word, or two of them as a pair. */
static bool next_word(struct stream *self, char **text, size_t *bytes) {
    if (self->word == self->n_words)
        return false;
    const char *word = self->words[self->word++];
    int n = -1;
    if (self->task->pairs)
        n = asprintf(text, "%s\t%s", word, self->words[self->word++]); /* their number is even */
    else
        n = asprintf(text, "%s", word);
    *bytes = n < 0 ? 0 : (size_t)n;
    return n >= 0;
}

/* The next text; false at the end. */
static bool next_text(struct stream *self, char **text, size_t *bytes) {
    if (self->words)
        return next_word(self, text, bytes);
    size_t room = 0;
    *text = NULL;
    ssize_t n = getline(text, &room, self->file);
    if (n < 0) {
        free(*text);
        return false;
    }
    while (n > 0 && ((*text)[n - 1] == '\n' || (*text)[n - 1] == '\r'))
        n--;
    *bytes = (size_t)n;
    return true;
}

static void chunk_done(struct chunk *chunk) {
    for (size_t i = 0; i < chunk->n; i++)
        free(chunk->text[i]);
    ember_call_destroy(&chunk->call);
    chunk->n = 0;
}

/* False: nothing is left to read. */
static bool fill(struct stream *self, struct chunk *chunk) {
    size_t bytes = 0;
    *chunk = (struct chunk){.first = self->n_read};
    while (chunk->n < self->chunk_texts && bytes < CHUNK_BYTES) {
        if (!next_text(self, &chunk->text[chunk->n], &chunk->bytes[chunk->n])) {
            self->end = true;
            break;
        }
        bytes += chunk->bytes[chunk->n++];
    }
    self->n_read += chunk->n;
    return chunk->n > 0;
}

static int fail_chunk(struct stream *self, const struct chunk *chunk,
                      const struct ember_error *error) {
    uint64_t line = error->item >= 0 ? chunk->first + (uint64_t)error->item + 1 : 0;
    return cli_fail(self->cli, error, line);
}

static int start_chunk(struct stream *self, struct chunk *chunk) {
    struct ember_error error = {.status = EMBER_INVALID_ARGUMENT,
                                .message = "no tab between the two texts of a pair"};
    for (size_t i = 0; self->task->pairs && i < chunk->n; i++)
        if (stream_tab(chunk->text[i], chunk->bytes[i]) == chunk->bytes[i]) {
            error.item = (int64_t)i;
            return fail_chunk(self, chunk, &error);
        }
    enum ember_status status =
        self->task->start(self->task->arg, self->cli->ember, (const char *const *)chunk->text,
                          chunk->n, chunk->bytes, &chunk->call, &error);
    return status == EMBER_OK ? CLI_OK : fail_chunk(self, chunk, &error);
}

static int finish_chunk(struct stream *self, struct chunk *chunk) {
    struct ember_error error;
    ember_result_t *result = NULL;
    if (ember_call_take(chunk->call, &result, &error) != EMBER_OK)
        return fail_chunk(self, chunk, &error);
    bool printed = self->task->print(self->task->arg, result, (const char *const *)chunk->text,
                                     chunk->bytes, chunk->first);
    ember_result_destroy(&result);
    self->n_done += chunk->n;
    return printed && !ferror(stdout) ? CLI_OK : CLI_FAILED;
}

static void tell(struct stream *self) {
    uint64_t now_us = clock_us();
    if (!self->progress || now_us < self->told_us + PROGRESS_US)
        return;
    self->told_us = now_us;
    double s = (double)(now_us - self->start_us) / 1e6;
    fprintf(stderr, "\r%llu texts, %.0f/s ", (unsigned long long)self->n_done,
            (double)self->n_done / s);
}

static int run(struct stream *self) {
    int code = CLI_OK;
    while (code == CLI_OK && (!self->end || self->n_chunks > 0)) {
        if (!self->end && self->n_chunks < CHUNKS) {
            struct chunk *chunk = &self->ring[(self->head + self->n_chunks) % CHUNKS];
            if (!fill(self, chunk))
                continue;
            self->n_chunks++;
            code = start_chunk(self, chunk);
            if (!self->end && self->chunk_texts > 1)
                continue;
        }
        if (code != CLI_OK || self->n_chunks == 0)
            continue;
        struct chunk *oldest = &self->ring[self->head];
        code = finish_chunk(self, oldest);
        chunk_done(oldest);
        self->head = (self->head + 1) % CHUNKS;
        self->n_chunks--;
        tell(self);
    }
    while (self->n_chunks > 0) { /* after an error */
        chunk_done(&self->ring[(self->head + --self->n_chunks) % CHUNKS]);
    }
    if (self->told_us > self->start_us)
        fputc('\n', stderr);
    return code;
}

/* The first word of a pair with a tab in it, which would end there; NULL: there is none. */
static const char *cut_word(char **words, int n) {
    for (int i = 0; i < n; i += 2)
        if (strchr(words[i], '\t'))
            return words[i];
    return NULL;
}

int stream_run(struct cli *cli, const struct stream_task *task, int n_words, char **argv,
               const char *file) {
    struct stream *self = calloc(1, sizeof *self);
    if (!self)
        return CLI_FAILED;
    int code = CLI_OK;
    self->cli = cli;
    self->task = task;
    self->chunk_texts = CHUNK_TEXTS;
    self->start_us = self->told_us = clock_us();
    self->progress = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO);
    if (n_words > 0 && file[0]) {
        code = cli_usage(cli, "texts as words and --file together");
    } else if (task->pairs && n_words % 2) {
        code = cli_usage(cli, "%d texts cannot be taken two by two", n_words);
    } else if (task->pairs && cut_word(argv + 1, n_words)) {
        code = cli_usage(cli, "the first text of a pair cannot hold a tab, which ends it");
    } else if (n_words > 0) {
        self->words = argv + 1;
        self->n_words = n_words;
    } else if (!file[0] || strcmp(file, "-") == 0) {
        self->file = stdin;
        self->chunk_texts = isatty(STDIN_FILENO) ? 1 : CHUNK_TEXTS;
    } else if (!(self->file = fopen(file, "re"))) {
        fprintf(stderr, "ember: %s: %s: %s\n", cli->command, file, strerror(errno));
        code = CLI_USAGE;
    }
    if (code == CLI_OK)
        code = run(self);
    if (self->file && ferror(self->file)) {
        fprintf(stderr, "ember: %s: cannot read the texts\n", cli->command);
        code = CLI_FAILED;
    }
    if (self->file && self->file != stdin)
        fclose(self->file);
    free(self);
    return cli_done(cli, code);
}
