/* synth_dir.c - the small files: configuration and vocabulary. */
#include "synth_dir.h"

#include "base/limits.h"
#include "synth.h"
#include "text/tokenizer.h"
#include "tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_TEXT_MAX = 2048 };

static enum status write_file(const char *dir, const char *name, struct view bytes,
                              struct err *err) {
    char path[TOOL_PATH_MAX];
    enum status st = tool_path(path, dir, name, err);
    if (st != STATUS_OK)
        return st;
    FILE *f = fopen(path, "we");
    if (!f)
        return err_errno(err, STATUS_UNAVAILABLE, "make '%s'", path);
    bool written = fwrite(bytes.data, 1, bytes.bytes, f) == bytes.bytes;
    if (fclose(f) != 0 || !written)
        return err_errno(err, STATUS_UNAVAILABLE, "write '%s'", path);
    return STATUS_OK;
}

__attribute__((format(printf, 4, 5))) static enum status
write_text(const char *dir, const char *name, struct err *err, const char *format, ...) {
    char text[FILE_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0 || n >= FILE_TEXT_MAX)
        return err_set(err, STATUS_INTERNAL, "'%s' is longer than %d bytes", name, FILE_TEXT_MAX);
    return write_file(dir, name, view_make(text, (size_t)n), err);
}

static const char *act_name(enum model_act act) {
    static const char *const names[] = {[MODEL_GELU] = "gelu",
                                        [MODEL_GELU_NEW] = "gelu_new",
                                        [MODEL_RELU] = "relu",
                                        [MODEL_SILU] = "silu"};
    return names[act];
}

static enum status write_bert(const char *dir, const struct model_shape *shape, struct err *err) {
    return write_text(
        dir, "config.json", err,
        "{\n  \"architectures\": [\"BertModel\"],\n  \"model_type\": \"bert\",\n"
        "  \"hidden_act\": \"%s\",\n  \"hidden_size\": %u,\n  \"num_hidden_layers\": %u,\n"
        "  \"num_attention_heads\": %u,\n  \"intermediate_size\": %u,\n"
        "  \"layer_norm_eps\": %g,\n  \"max_position_embeddings\": %u,\n"
        "  \"position_embedding_type\": \"absolute\",\n  \"type_vocab_size\": %u,\n"
        "  \"vocab_size\": %u,\n  \"pad_token_id\": 0,\n  \"torch_dtype\": \"float32\"\n}\n",
        act_name(shape->act), shape->hidden, shape->layers, shape->heads, shape->inner,
        (double)shape->eps, shape->positions, shape->types, shape->vocab_rows);
}

static enum status write_distilbert(const char *dir, const struct model_shape *shape,
                                    struct err *err) {
    return write_text(dir, "config.json", err,
                      "{\n  \"architectures\": [\"DistilBertModel\"],\n"
                      "  \"model_type\": \"distilbert\",\n  \"activation\": \"%s\",\n"
                      "  \"dim\": %u,\n  \"n_layers\": %u,\n  \"n_heads\": %u,\n"
                      "  \"hidden_dim\": %u,\n  \"max_position_embeddings\": %u,\n"
                      "  \"sinusoidal_pos_embds\": false,\n  \"vocab_size\": %u,\n"
                      "  \"pad_token_id\": 0\n}\n",
                      act_name(shape->act), shape->hidden, shape->layers, shape->heads,
                      shape->inner, shape->positions, shape->vocab_rows);
}

static enum status write_nomic(const char *dir, const struct model_shape *shape, struct err *err) {
    return write_text(
        dir, "config.json", err,
        "{\n  \"architectures\": [\"NomicBertModel\"],\n  \"model_type\": \"nomic_bert\",\n"
        "  \"activation_function\": \"swiglu\",\n  \"n_embd\": %u,\n  \"n_layer\": %u,\n"
        "  \"n_head\": %u,\n  \"n_inner\": %u,\n  \"n_positions\": %u,\n"
        "  \"layer_norm_epsilon\": %g,\n  \"rotary_emb_base\": %g,\n"
        "  \"rotary_emb_fraction\": 1.0,\n  \"rotary_emb_interleaved\": false,\n"
        "  \"qkv_proj_bias\": false,\n  \"mlp_fc1_bias\": false,\n  \"mlp_fc2_bias\": false,\n"
        "  \"prenorm\": false,\n  \"causal\": false,\n  \"type_vocab_size\": %u,\n"
        "  \"vocab_size\": %u\n}\n",
        shape->hidden, shape->layers, shape->heads, shape->inner, shape->positions,
        (double)shape->eps, (double)shape->rotary_base, shape->types, shape->vocab_rows);
}

enum status synth_write_config(const char *dir, const struct model_shape *shape, struct err *err) {
    bool cls = shape->pooling == MODEL_POOL_CLS;
    enum status st = shape->family == MODEL_NOMIC        ? write_nomic(dir, shape, err)
                     : shape->family == MODEL_DISTILBERT ? write_distilbert(dir, shape, err)
                                                         : write_bert(dir, shape, err);
    if (st == STATUS_OK)
        st = write_text(dir, "modules.json", err,
                        "[\n"
                        "  {\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": "
                        "\"sentence_transformers.models.Transformer\"},\n"
                        "  {\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": "
                        "\"sentence_transformers.models.Pooling\"}%s\n]\n",
                        shape->normalize ? ",\n  {\"idx\": 2, \"name\": \"2\", \"path\": "
                                           "\"2_Normalize\", \"type\": "
                                           "\"sentence_transformers.models.Normalize\"}"
                                         : "");
    if (st == STATUS_OK)
        st = write_text(dir, "1_Pooling/config.json", err,
                        "{\n  \"word_embedding_dimension\": %u,\n"
                        "  \"pooling_mode_cls_token\": %s,\n  \"pooling_mode_mean_tokens\": %s,\n"
                        "  \"pooling_mode_max_tokens\": false,\n"
                        "  \"pooling_mode_mean_sqrt_len_tokens\": false\n}\n",
                        shape->hidden, cls ? "true" : "false", cls ? "false" : "true");
    if (st == STATUS_OK)
        st = write_text(dir, "sentence_bert_config.json", err,
                        "{\n  \"max_seq_length\": %u,\n  \"do_lower_case\": false\n}\n",
                        shape->max_tokens);
    return st;
}

/* ---- vocabulary ---- */

static enum status make_up(const char *dir, const struct model_shape *shape, struct err *err) {
    char *text;
    size_t bytes;
    enum status st = synth_vocab(shape->vocab_rows, &text, &bytes, err);
    if (st != STATUS_OK)
        return st;
    st = write_file(dir, "vocab.txt", view_make(text, bytes), err);
    free(text);
    if (st == STATUS_OK)
        st = write_text(dir, "tokenizer_config.json", err,
                        "{\n  \"do_lower_case\": true,\n  \"tokenize_chinese_chars\": true,\n"
                        "  \"strip_accents\": null,\n  \"model_max_length\": %u,\n"
                        "  \"tokenizer_class\": \"BertTokenizer\"\n}\n",
                        shape->max_tokens);
    return st;
}

/* Copies from/name to dir/name; STATUS_OK without a copy when it is not there. */
static enum status copy_if_there(const char *from, const char *dir, const char *name,
                                 struct err *err) {
    char path[TOOL_PATH_MAX];
    struct view text;
    enum status st = tool_path(path, from, name, err);
    if (st != STATUS_OK || access(path, F_OK) != 0)
        return st;
    st = tool_read(path, LIMIT_JSON_BYTES, &text, err);
    if (st != STATUS_OK)
        return st;
    st = write_file(dir, name, text, err);
    free((char *)(uintptr_t)text.data);
    return st;
}

static enum status copy_vocab(const char *dir, const char *from, struct err *err) {
    struct stat info;
    if (stat(from, &info) != 0)
        return err_errno(err, STATUS_NOT_FOUND, "--vocab '%s'", from);
    if (S_ISDIR(info.st_mode)) {
        enum status st = copy_if_there(from, dir, "vocab.txt", err);
        if (st == STATUS_OK)
            st = copy_if_there(from, dir, "tokenizer.json", err);
        return st == STATUS_OK ? copy_if_there(from, dir, "tokenizer_config.json", err) : st;
    }
    struct view text;
    enum status st = tool_read(from, LIMIT_JSON_BYTES, &text, err);
    if (st != STATUS_OK)
        return st;
    st = write_file(dir, "vocab.txt", text, err);
    free((char *)(uintptr_t)text.data);
    return st;
}

enum status synth_write_vocab(const char *dir, const struct model_shape *shape, const char *from,
                              struct err *err) {
    static const char *const old[] = {"vocab.txt", "tokenizer.json", "tokenizer_config.json"};
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) { /* of a model that is written over */
        char path[TOOL_PATH_MAX];
        enum status st = tool_path(path, dir, old[i], err);
        if (st != STATUS_OK)
            return st;
        if (unlink(path) != 0 && errno != ENOENT)
            return err_errno(err, STATUS_UNAVAILABLE, "remove '%s'", path);
    }
    if (!*from)
        return make_up(dir, shape, err);
    enum status st = copy_vocab(dir, from, err);
    tokenizer_t *tokenizer = NULL;
    if (st == STATUS_OK)
        st = tokenizer_load(dir, &tokenizer, err);
    if (st == STATUS_OK && tokenizer_vocab_size(tokenizer) > shape->vocab_rows)
        st = err_set(err, STATUS_INVALID_ARGUMENT,
                     "--vocab '%s' has %u pieces, but the shape's word table has %u rows", from,
                     tokenizer_vocab_size(tokenizer), shape->vocab_rows);
    tokenizer_destroy(&tokenizer);
    return st;
}
