/* main.c - ember-model: looks at, checks and makes published model directories. */
#include "tool.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct command {
    const char *name;
    enum tool_exit (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"inspect", inspect_main, "what a model directory is: family, sizes, pooling, weights, memory"},
    {"check", check_main, "compare with golden vectors, token ids and hostile files"},
    {"bench", bench_main, "time forward passes, beside what this core could do at most"},
    {"eval", eval_main, "judge a model by rows with known answers: similarity, retrieval, labels"},
    {"embed", embed_main, "vectors of a file of texts, without a broker, as NumPy or JSON lines"},
    {"prepare", prepare_main, "prepare weights before the first worker of a host starts"},
    {"quantize", quantize_main, "prepare int8 or bfloat16 weights, measured against float32"},
    {"synth", synth_main, "write a model with random weights in a published shape"},
};

static void usage(FILE *out) {
    fputs("Usage: ember-model COMMAND [OPTION]... [WORD]...\n\nCommands:\n", out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\n`ember-model COMMAND --help` tells the options of one.\n"
          "Exit status: 0 done, 1 a check failed or it could not be done, 2 wrong usage.\n",
          out);
}

enum tool_exit tool_fail(const struct err *err) {
    fprintf(stderr, "ember-model: %s\n", err->text);
    return err->status == STATUS_INVALID_ARGUMENT ? TOOL_USAGE : TOOL_FAILED;
}

enum status tool_path(char out[TOOL_PATH_MAX], const char *dir, const char *name, struct err *err) {
    int n = snprintf(out, TOOL_PATH_MAX, "%s/%s", dir, name);
    if (n < 0 || n >= TOOL_PATH_MAX)
        return err_set(err, STATUS_OUT_OF_RANGE, "the path '%.60s.../%.60s' is too long", dir,
                       name);
    return STATUS_OK;
}

enum status tool_read(const char *path, size_t max_bytes, struct view *out, struct err *err) {
    FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_UNAVAILABLE, "open '%s'",
                         path);
    struct stat info;
    char *data = NULL;
    enum status st = STATUS_OK;
    if (fstat(fileno(f), &info) != 0 || !S_ISREG(info.st_mode))
        st = err_set(err, STATUS_UNAVAILABLE, "'%s' is not a file", path);
    else if ((uint64_t)info.st_size > max_bytes)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s' has more than %zu bytes", path,
                     max_bytes);
    else if (!(data = malloc((size_t)info.st_size + 1)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s': no memory", path);
    else if (fread(data, 1, (size_t)info.st_size, f) != (size_t)info.st_size)
        st = err_errno(err, STATUS_UNAVAILABLE, "read '%s'", path);
    fclose(f);
    if (st != STATUS_OK)
        free(data);
    else
        *out = view_make(data, (size_t)info.st_size);
    return st;
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0)
            return (int)commands[i].run(argc - 1, argv + 1);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        usage(stdout);
        return TOOL_OK;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("ember-model " EMBER_VERSION);
        return TOOL_OK;
    }
    if (*name)
        fprintf(stderr, "ember-model: no command is called '%s'\n\n", name);
    usage(stderr);
    return TOOL_USAGE;
}
