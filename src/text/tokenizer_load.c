/* tokenizer_load.c - from the files of a model folder to a tokenizer.
 *
 *  tokenizer.json                      ---> settings + vocabulary + added tokens --.
 *  vocab.txt + tokenizer_config.json   ---> settings + vocabulary + special names --+--> assemble()
 *
 * tokenizer.json says everything, so it decides alone when it is there; it is the file that
 * the reference implementation reads. Whatever it asks for that would give other ids than ours is
 * refused by name: a model with silently wrong tokens still answers, only badly.
 *
 * lstrip and rstrip of an added token are read over: they swallow white space, which gives no
 * token. */
#include "text/tokenizer_parts.h"

#include "base/limits.h"
#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ADDED_MAX = 4096 };

/* Borrowed from the JSON documents; `pad` and `mask` are only known to vocab.txt folders. */
struct settings {
    struct normalizer_options normal;
    const char *cls, *sep, *unk, *pad, *mask;
    const char *prefix;
    uint32_t word_chars;
    int32_t second_type;
    struct tokenizer_options asked;
};

static struct settings settings_default(const struct tokenizer_options *asked) {
    return (struct settings){
        .asked = asked ? *asked : (struct tokenizer_options){0},
        .normal = {.clean = true, .ideograph = true, .strip = true, .lowercase = true},
        .cls = "[CLS]",
        .sep = "[SEP]",
        .unk = "[UNK]",
        .pad = "[PAD]",
        .mask = "[MASK]",
        .prefix = "##",
        .word_chars = 100,
        .second_type = 1,
    };
}

static enum status wrong(struct err *err, const char *name) {
    return err_set(err, STATUS_DATA_LOSS, "%s is missing or of the wrong type", name);
}

static bool absent(const json_t *value) {
    return !value || json_is_null(value);
}

/* A member that may be absent or null, in which case *out stays. */
static enum status read_bool(const json_t *object, const char *name, bool *out, struct err *err) {
    const json_t *value = json_get(object, name);
    return absent(value) || json_bool(value, out) ? STATUS_OK : wrong(err, name);
}

static enum status read_text(const json_t *object, const char *name, const char **out,
                             struct err *err) {
    const json_t *value = json_get(object, name);
    if (absent(value))
        return STATUS_OK;
    if (json_is_object(value)) /* an AddedToken written out */
        value = json_get(value, "content");
    const char *text = json_text(value);
    if (!text)
        return wrong(err, name);
    *out = text;
    return STATUS_OK;
}

static const char *type_of(const json_t *object) {
    const char *type = json_text(json_get(object, "type"));
    return type ? type : "none";
}

static enum status unsupported(struct err *err, const char *part, const char *what) {
    return err_set(err, STATUS_UNIMPLEMENTED, "%s '%.60s' is not supported", part, what);
}

/* ---- tokenizer.json ---- */

static enum status read_normalizer(const json_t *root, struct normalizer_options *out,
                                   struct err *err) {
    const json_t *self = json_get(root, "normalizer");
    if (absent(self)) {
        *out = (struct normalizer_options){0};
        return STATUS_OK;
    }
    if (strcmp(type_of(self), "BertNormalizer") != 0)
        return unsupported(err, "normalizer", type_of(self));
    enum status st = read_bool(self, "clean_text", &out->clean, err);
    if (st == STATUS_OK)
        st = read_bool(self, "handle_chinese_chars", &out->ideograph, err);
    if (st == STATUS_OK)
        st = read_bool(self, "lowercase", &out->lowercase, err);
    out->strip = out->lowercase; /* unless it is said */
    if (st == STATUS_OK)
        st = read_bool(self, "strip_accents", &out->strip, err);
    return st;
}

static enum status read_model(const json_t *model, struct settings *out, struct err *err) {
    if (!json_is_object(model))
        return wrong(err, "model");
    /* The oldest files do not name the type; BPE then shows by its merges, Unigram by a list. */
    const char *type = json_text(json_get(model, "type"));
    if (!type && (json_get(model, "merges") || json_is_array(json_get(model, "vocab"))))
        type = "without a type";
    if (type && strcmp(type, "WordPiece") != 0)
        return unsupported(err, "tokenizer model", type);
    enum status st = read_text(model, "unk_token", &out->unk, err);
    if (st == STATUS_OK)
        st = read_text(model, "continuing_subword_prefix", &out->prefix, err);
    if (st != STATUS_OK)
        return st;
    if (strlen(out->prefix) > VOCAB_PREFIX_MAX)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "continuing_subword_prefix has more than %d bytes", VOCAB_PREFIX_MAX);
    const json_t *chars = json_get(model, "max_input_chars_per_word");
    uint64_t n = out->word_chars;
    if (!absent(chars) && (!json_u64(chars, &n) || n == 0))
        return wrong(err, "max_input_chars_per_word");
    if (n > TOKENIZER_WORD_CHARS)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "max_input_chars_per_word is above %d",
                       TOKENIZER_WORD_CHARS);
    out->word_chars = (uint32_t)n;
    return STATUS_OK;
}

/* One step of a template: a special token, or a sequence; the other name is NULL. */
struct template_step {
    const char *special, *sequence;
    uint64_t type;
};

static bool read_step(const json_t *self, struct template_step *out) {
    const json_t *special = json_get(self, "SpecialToken"), *sequence = json_get(self, "Sequence");
    *out = (struct template_step){
        .special = json_text(json_get(special, "id")),
        .sequence = json_text(json_get(sequence, "id")),
    };
    return json_u64(json_get(special ? special : sequence, "type_id"), &out->type);
}

/* Whether `list` is  special, A, special  or  special, A, special, B, special  (n steps). */
static bool read_template(const json_t *list, struct template_step *steps, uint32_t n) {
    static const char *const NAMES[] = {NULL, "A", NULL, "B", NULL};
    if (json_size(list) != n)
        return false;
    const json_t *item = json_first(list);
    for (uint32_t i = 0; i < n; i++, item = json_next(item)) {
        if (!read_step(item, &steps[i]))
            return false;
        const char *name = steps[i].sequence;
        if (NAMES[i] ? !name || strcmp(name, NAMES[i]) != 0 : !steps[i].special)
            return false;
    }
    return true;
}

static bool read_templates(const json_t *self, struct settings *out) {
    struct template_step one[3], two[5];
    if (!read_template(json_get(self, "single"), one, 3) ||
        !read_template(json_get(self, "pair"), two, 5))
        return false;
    if (one[0].type || one[1].type || one[2].type || two[0].type || two[1].type || two[2].type)
        return false;
    if (two[3].type > 1 || two[3].type != two[4].type)
        return false;
    if (strcmp(one[0].special, two[0].special) != 0 ||
        strcmp(one[2].special, two[2].special) != 0 || strcmp(two[2].special, two[4].special) != 0)
        return false;
    out->cls = one[0].special;
    out->sep = one[2].special;
    out->second_type = (int32_t)two[3].type;
    return true;
}

static enum status read_post_processor(const json_t *root, struct settings *out, struct err *err) {
    const json_t *self = json_get(root, "post_processor");
    if (absent(self) || out->asked.bare) /* all it could do is add special tokens */
        return STATUS_OK;
    const char *type = type_of(self);
    if (strcmp(type, "BertProcessing") == 0) {
        const char *cls = json_text(json_first(json_get(self, "cls")));
        const char *sep = json_text(json_first(json_get(self, "sep")));
        if (!cls || !sep)
            return wrong(err, "cls or sep of post_processor");
        out->cls = cls;
        out->sep = sep;
        return STATUS_OK;
    }
    if (strcmp(type, "TemplateProcessing") != 0)
        return unsupported(err, "post_processor", type);
    if (!read_templates(self, out))
        return err_set(
            err, STATUS_UNIMPLEMENTED,
            "post_processor: only [CLS] A [SEP] and [CLS] A [SEP] B [SEP] are supported");
    return STATUS_OK;
}

/* ---- added tokens ---- */

struct added {
    struct view text;
    int32_t id;
};

struct added_list {
    struct added *items; /* [room] */
    uint32_t n, room;
    size_t bytes; /* of all their texts */
    int32_t last; /* largest id */
};

static bool added_init(struct added_list *self, uint32_t room) {
    *self = (struct added_list){.room = room, .last = -1};
    self->items = calloc(room ? room : 1, sizeof *self->items);
    return self->items != NULL;
}

static void added_put(struct added_list *self, struct view text, int32_t id) {
    for (uint32_t i = 0; i < self->n; i++)
        if (self->items[i].id == id && view_equal(self->items[i].text, text))
            return; /* the same token named twice, as cls and in the list */
    if (self->n == self->room || text.bytes == 0)
        return;
    self->items[self->n++] = (struct added){text, id};
    self->bytes += text.bytes;
    self->last = id > self->last ? id : self->last;
}

static enum status read_added(const json_t *item, uint64_t id, const vocab_t *vocab,
                              struct added_list *list, struct err *err) {
    const char *content = json_text(json_get(item, "content"));
    if (!content || !*content)
        return wrong(err, "content of an added token");
    struct view text = view_of(content);
    bool special = false, single_word = false;
    enum status st = read_bool(item, "special", &special, err);
    bool normalized = !special;
    if (st == STATUS_OK)
        st = read_bool(item, "normalized", &normalized, err);
    if (st == STATUS_OK)
        st = read_bool(item, "single_word", &single_word, err);
    if (st != STATUS_OK)
        return st;
    if (normalized || single_word)
        return err_set(err, STATUS_UNIMPLEMENTED, "added token '%.60s': %s is not supported",
                       content, normalized ? "normalized" : "single_word");
    if (id >= LIMIT_VOCAB || text.bytes > VOCAB_MATCH_CHARS)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "added token '%.60s' is beyond the limits",
                       content);
    int32_t known = vocab_find(vocab, text);
    struct view taken = vocab_piece(vocab, (int32_t)id);
    if ((known != VOCAB_NONE && known != (int32_t)id) || (taken.bytes && !view_equal(taken, text)))
        return err_set(err, STATUS_DATA_LOSS,
                       "added token '%.60s' has id %u, the vocabulary says otherwise", content,
                       (uint32_t)id);
    added_put(list, text, (int32_t)id);
    return STATUS_OK;
}

/* `list` is an array whose items hold their id, or an object whose keys are the ids. */
static enum status read_added_list(const json_t *list, const vocab_t *vocab, struct added_list *out,
                                   struct err *err) {
    for (const json_t *item = json_first(list); item; item = json_next(item)) {
        uint64_t id;
        if (json_is_array(list)) {
            if (!json_u64(json_get(item, "id"), &id))
                return wrong(err, "id of an added token");
        } else {
            char *end = NULL;
            const char *key = json_key(item);
            errno = 0;
            id = strtoull(key, &end, 10);
            if (*key < '0' || *key > '9' || *end || errno)
                return wrong(err, "id of an added token");
        }
        enum status st = read_added(item, id, vocab, out, err);
        if (st != STATUS_OK)
            return st;
    }
    return STATUS_OK;
}

/* ---- both together ---- */

static enum status build_added(struct tokenizer *self, const struct added_list *list,
                               struct err *err) {
    self->added = vocab_new((uint32_t)(list->last + 1), list->bytes, (struct view){0});
    if (!self->added)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for added tokens");
    for (uint32_t i = 0; i < list->n; i++) {
        struct added token = list->items[i];
        if (!vocab_add(self->added, token.id, token.text))
            return err_set(err, STATUS_DATA_LOSS, "added token '%.60s' or its id %d is there twice",
                           token.text.data, token.id);
        self->starts[(unsigned char)token.text.data[0]] = true;
    }
    return STATUS_OK;
}

static enum status find_special(const struct tokenizer *self, const char *name, int32_t *id,
                                struct err *err) {
    struct view piece = view_of(name);
    *id = vocab_find(self->vocab, piece);
    if (*id == VOCAB_NONE)
        *id = vocab_find(self->added, piece);
    if (*id == VOCAB_NONE)
        return err_set(err, STATUS_DATA_LOSS, "the special piece '%.60s' is missing", name);
    return STATUS_OK;
}

static bool build_singles(struct tokenizer *self) {
    self->singles = malloc(TOKENIZER_SINGLES * sizeof *self->singles);
    if (!self->singles)
        return false;
    for (uint32_t cp = 0; cp < TOKENIZER_SINGLES; cp++)
        self->singles[cp] = self->unk;
    for (uint32_t id = 0; id < vocab_size(self->vocab); id++) {
        struct view piece = vocab_piece(self->vocab, (int32_t)id);
        unsigned bytes;
        if (piece.bytes == 0)
            continue;
        uint32_t cp = utf8_next(piece.data, piece.data + piece.bytes, &bytes);
        if (bytes == piece.bytes && cp < TOKENIZER_SINGLES)
            self->singles[cp] = (int32_t)id;
    }
    return true;
}

/* Takes *vocab, whatever comes of it. */
static enum status assemble(const struct settings *settings, vocab_t **vocab,
                            const struct added_list *added, tokenizer_t **out, struct err *err) {
    struct tokenizer *self = calloc(1, sizeof *self);
    if (!self) {
        vocab_destroy(vocab);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    }
    self->vocab = *vocab;
    *vocab = NULL;
    self->word_chars = settings->word_chars;
    self->second_type = settings->second_type;
    self->bare = settings->asked.bare;
    self->cls = self->sep = VOCAB_NONE;
    enum status st = build_added(self, added, err);
    if (st == STATUS_OK)
        st = find_special(self, settings->unk, &self->unk, err);
    self->dropped = settings->asked.drop_unknown ? self->unk : VOCAB_NONE;
    if (st == STATUS_OK && !self->bare)
        st = find_special(self, settings->cls, &self->cls, err);
    if (st == STATUS_OK && !self->bare)
        st = find_special(self, settings->sep, &self->sep, err);
    if (st == STATUS_OK &&
        (!build_singles(self) || !normalizer_init(&self->normal, settings->normal)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    if (st == STATUS_OK) {
        uint32_t a = vocab_size(self->vocab), b = vocab_size(self->added);
        self->size = a > b ? a : b;
        *out = self;
        self = NULL;
    }
    tokenizer_destroy(&self);
    return st;
}

void tokenizer_destroy(tokenizer_t **self) {
    struct tokenizer *t = *self;
    if (!t)
        return;
    normalizer_done(&t->normal);
    vocab_destroy(&t->vocab);
    vocab_destroy(&t->added);
    free(t->singles);
    free(t);
    *self = NULL;
}

static enum status from_json(const json_t *root, const struct tokenizer_options *options,
                             tokenizer_t **out, struct err *err) {
    struct settings settings = settings_default(options);
    const json_t *model = json_get(root, "model"), *list = json_get(root, "added_tokens");
    enum status st = read_model(model, &settings, err);
    if (st == STATUS_OK)
        st = read_normalizer(root, &settings.normal, err);
    const char *split = type_of(json_get(root, "pre_tokenizer"));
    if (st == STATUS_OK && strcmp(split, "BertPreTokenizer") != 0)
        st = unsupported(err, "pre_tokenizer", split);
    if (st == STATUS_OK)
        st = read_post_processor(root, &settings, err);
    if (st == STATUS_OK && !absent(list) && !json_is_array(list))
        st = wrong(err, "added_tokens");
    if (st == STATUS_OK && json_size(list) > ADDED_MAX)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "more than %d added tokens", ADDED_MAX);
    vocab_t *vocab = NULL;
    if (st == STATUS_OK)
        st = vocab_from_json(json_get(model, "vocab"), view_of(settings.prefix), &vocab, err);
    struct added_list added;
    if (st != STATUS_OK)
        return st;
    if (!added_init(&added, json_size(list)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    if (st == STATUS_OK)
        st = read_added_list(list, vocab, &added, err);
    if (st == STATUS_OK)
        st = assemble(&settings, &vocab, &added, out, err);
    free(added.items);
    vocab_destroy(&vocab);
    return st;
}

enum status tokenizer_from_json(struct view text, tokenizer_t **out, struct err *err) {
    return tokenizer_from_json_with(text, NULL, out, err);
}

enum status tokenizer_from_json_with(struct view text, const struct tokenizer_options *options,
                                     tokenizer_t **out, struct err *err) {
    json_t *root = NULL;
    enum status st = json_parse(text, LIMIT_JSON_BYTES, "tokenizer.json", &root, err);
    if (st != STATUS_OK)
        return st;
    st = from_json(root, options, out, err);
    json_destroy(&root);
    return st == STATUS_OK ? st : err_prefix(err, st, "tokenizer.json");
}

/* ---- vocab.txt ---- */

/* Classes of tokenizer_config.json whose vocab.txt is read as BERT's. */
static bool class_known(const char *name) {
    static const char *const KNOWN[] = {"BertTokenizer", "ElectraTokenizer", "ErnieTokenizer",
                                        "PreTrainedTokenizerFast", "TokenizersBackend"};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (strstr(name, KNOWN[i]))
            return true;
    return false;
}

static enum status read_config(const json_t *config, struct settings *out, struct err *err) {
    const char *class_name = "BertTokenizer";
    bool basic = true;
    enum status st = read_text(config, "tokenizer_class", &class_name, err);
    if (st == STATUS_OK && !class_known(class_name))
        st = unsupported(err, "tokenizer_class", class_name);
    if (st == STATUS_OK)
        st = read_bool(config, "do_basic_tokenize", &basic, err);
    if (st == STATUS_OK && !basic)
        st = unsupported(err, "do_basic_tokenize", "false");
    if (st == STATUS_OK)
        st = read_bool(config, "do_lower_case", &out->normal.lowercase, err);
    out->normal.strip = out->normal.lowercase;
    if (st == STATUS_OK)
        st = read_bool(config, "strip_accents", &out->normal.strip, err);
    if (st == STATUS_OK)
        st = read_bool(config, "tokenize_chinese_chars", &out->normal.ideograph, err);
    const struct {
        const char *name, **out;
    } texts[] = {{"cls_token", &out->cls},
                 {"sep_token", &out->sep},
                 {"unk_token", &out->unk},
                 {"pad_token", &out->pad},
                 {"mask_token", &out->mask}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts && st == STATUS_OK; i++)
        st = read_text(config, texts[i].name, texts[i].out, err);
    return st;
}

/* `config` may be NULL: all defaults. */
static enum status from_vocab(struct view text, const struct settings *settings,
                              const json_t *config, tokenizer_t **out, struct err *err) {
    const json_t *list = json_get(config, "added_tokens_decoder");
    if (json_size(list) > ADDED_MAX)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "more than %d added tokens", ADDED_MAX);
    vocab_t *vocab = NULL;
    enum status st = vocab_from_lines(text, view_of(settings->prefix), &vocab, err);
    if (st != STATUS_OK)
        return st;
    const char *names[] = {settings->pad, settings->unk, settings->cls, settings->sep,
                           settings->mask};
    enum { N = sizeof names / sizeof *names };
    struct added_list added;
    if (!added_init(&added, N + json_size(list)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    for (size_t i = 0; i < N && st == STATUS_OK; i++) {
        int32_t id = vocab_find(vocab, view_of(names[i]));
        if (id != VOCAB_NONE && strlen(names[i]) <= VOCAB_MATCH_CHARS)
            added_put(&added, view_of(names[i]), id);
    }
    if (st == STATUS_OK)
        st = read_added_list(list, vocab, &added, err);
    if (st == STATUS_OK)
        st = assemble(settings, &vocab, &added, out, err);
    free(added.items);
    vocab_destroy(&vocab);
    return st;
}

enum status tokenizer_from_vocab(struct view vocab, bool lowercase, tokenizer_t **out,
                                 struct err *err) {
    struct settings settings = settings_default(NULL);
    settings.normal.lowercase = settings.normal.strip = lowercase;
    enum status st = from_vocab(vocab, &settings, NULL, out, err);
    return st == STATUS_OK ? st : err_prefix(err, st, "vocab.txt");
}

/* The whole file in memory of the caller's; an empty file gives one byte that is not counted. */
static enum status read_file(const char *path, char **out, size_t *bytes, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_UNAVAILABLE, "open '%s'",
                         path);
    enum status st = STATUS_OK;
    char *data = NULL;
    size_t n = 0;
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        st = err_set(err, STATUS_UNAVAILABLE, "'%s' is no regular file", path);
    else if (info.st_size > LIMIT_JSON_BYTES)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s' has more than %d bytes", path,
                     LIMIT_JSON_BYTES);
    else if (!(data = malloc((size_t)info.st_size + 1)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for '%s'", path);
    while (st == STATUS_OK && n < (size_t)info.st_size) {
        ssize_t got = read(fd, data + n, (size_t)info.st_size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            st = err_errno(err, STATUS_UNAVAILABLE, "read '%s'", path);
        else if (got == 0)
            st = err_set(err, STATUS_DATA_LOSS, "'%s' became shorter while it was read", path);
        else
            n += (size_t)got;
    }
    close(fd);
    if (st != STATUS_OK) {
        free(data);
        return st;
    }
    *out = data;
    *bytes = n;
    return STATUS_OK;
}

static enum status join(char path[PATH_MAX], const char *dir, const char *name, struct err *err) {
    int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);
    if (n < 0 || n >= PATH_MAX)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the path of '%s' is too long", name);
    return STATUS_OK;
}

static enum status load_vocab(const char *dir, const struct tokenizer_options *options,
                              tokenizer_t **out, struct err *err) {
    char vocab_path[PATH_MAX], config_path[PATH_MAX];
    enum status st = join(vocab_path, dir, "vocab.txt", err);
    if (st == STATUS_OK)
        st = join(config_path, dir, "tokenizer_config.json", err);
    if (st != STATUS_OK)
        return st;
    char *data = NULL;
    size_t bytes = 0;
    st = read_file(vocab_path, &data, &bytes, err);
    if (st == STATUS_NOT_FOUND)
        return err_set(err, st, "neither tokenizer.json nor vocab.txt is in '%s'", dir);
    if (st != STATUS_OK)
        return st;
    json_t *config = NULL;
    struct settings settings = settings_default(options);
    st = json_load(config_path, LIMIT_JSON_BYTES, &config, err);
    if (st == STATUS_NOT_FOUND)
        st = STATUS_OK; /* all defaults */
    else if (st == STATUS_OK)
        st = read_config(config, &settings, err);
    if (st != STATUS_OK && config)
        st = err_prefix(err, st, "'%s'", config_path);
    if (st == STATUS_OK) {
        st = from_vocab(view_make(data, bytes), &settings, config, out, err);
        if (st != STATUS_OK)
            st = err_prefix(err, st, "'%s'", vocab_path);
    }
    json_destroy(&config);
    free(data);
    return st;
}

enum status tokenizer_load(const char *dir, tokenizer_t **out, struct err *err) {
    return tokenizer_load_with(dir, NULL, out, err);
}

enum status tokenizer_load_with(const char *dir, const struct tokenizer_options *options,
                                tokenizer_t **out, struct err *err) {
    char path[PATH_MAX];
    enum status st = join(path, dir, "tokenizer.json", err);
    if (st != STATUS_OK)
        return st;
    json_t *root = NULL;
    st = json_load(path, LIMIT_JSON_BYTES, &root, err);
    if (st == STATUS_NOT_FOUND)
        return load_vocab(dir, options, out, err);
    if (st != STATUS_OK)
        return st;
    st = from_json(root, options, out, err);
    json_destroy(&root);
    return st == STATUS_OK ? st : err_prefix(err, st, "'%s'", path);
}
