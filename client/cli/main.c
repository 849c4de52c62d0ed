/* main.c - `ember COMMAND`: finds the command. Each has its own settings, help and file. */
#include "cli.h"

#include <locale.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"embed", cmd_embed, "vectors of texts"},
    {"classify", cmd_classify, "scores of labels for texts"},
    {"rerank", cmd_rerank, "documents in the order in which they answer a query"},
    {"similarity", cmd_similarity, "cosine between texts"},
    {"tokenize", cmd_tokenize, "the tokens a model sees"},
    {"status", cmd_status, "broker, workers and services"},
    {"ping", cmd_ping, "whether the broker answers"},
    {"cache", cmd_cache, "look into the shared cache: key, get, stat, purge"},
    {"cost", cmd_cost, "what requests cost, what saves how much, what would be cheaper"},
    {"keygen", cmd_keygen, "keys of clients, workers and brokers"},
    {"bench", cmd_bench, "measure latency and throughput"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int help(FILE *out) {
    fputs("Usage: ember COMMAND [OPTION]...\n\n"
          "Text embeddings, label scores and rankings from an EmberMQ broker.\n\nCommands:\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].what);
    fputs("  help        this; ember help COMMAND tells more\n\n"
          "EMBER_BROKER says where the broker is (tcp://127.0.0.1:5555); EMBER_KEY and\n"
          "EMBER_SERVER_KEY name the certificates for brokers that ask for them.\n\n" CLI_EXIT_HELP
          "\n",
          out);
    return out == stdout ? CLI_OK : CLI_USAGE;
}

int main(int argc, char **argv) {
    setlocale(LC_MESSAGES, ""); /* not LC_NUMERIC: JSON has its own decimal point */
    if (argc < 2)
        return help(stderr);
    const char *name = argv[1];
    bool asked = strcmp(name, "help") == 0;
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("ember %s\n", ember_version());
        return CLI_OK;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (asked && argc == 2))
        return help(stdout);
    if (asked)
        name = argv[2];
    char *help_args[] = {argv[0], (char *)"--help", NULL};
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return asked ? commands[i].run(2, help_args) : commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "ember: no command is called '%s'; see ember help\n", name);
    return CLI_USAGE;
}
