/* dir_test.c - what each small file of a model directory changes, and what it may not say. */
#include "model/dir.h"

#include "support/golden.h"

/* config.json with one member replaced or added: "," and the member. */
#define SIZES                                                                                      \
    "\"hidden_size\":16,\"num_hidden_layers\":1,\"num_attention_heads\":2,"                        \
    "\"intermediate_size\":32,\"vocab_size\":64"
#define BERT "{\"model_type\":\"bert\"," SIZES
#define NOMIC                                                                                      \
    "{\"model_type\":\"nomic_bert\",\"activation_function\":\"swiglu\",\"n_embd\":16,\"n_layer\":" \
    "1,"                                                                                           \
    "\"n_head\":2,\"vocab_size\":60,\"qkv_proj_bias\":false,\"mlp_fc1_bias\":false,"               \
    "\"mlp_fc2_bias\":false,\"rotary_emb_fraction\":1.0"
#define PLAIN   "{\"model_type\":\"nomic_bert\"," SIZES
#define ROPE(x) ",\"rope_parameters\":{" x "}}"
#define DISTIL                                                                                     \
    "{\"model_type\":\"distilbert\",\"dim\":16,\"n_layers\":1,\"n_heads\":2,\"hidden_dim\":32,"    \
    "\"vocab_size\":64"

static void test_config(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *hint;
        enum status want;
        const char *part;
    } rows[] = {
        {"least", BERT "}", NULL, STATUS_OK, ""},
        {"structbert", "{\"model_type\":\"structbert\"," SIZES "}", NULL, STATUS_OK, ""},
        {"type from the class", "{\"architectures\":[\"BertModel\"]," SIZES "}", NULL, STATUS_OK,
         ""},
        {"type from elsewhere", "{" SIZES "}", "structbert", STATUS_OK, ""},
        {"type from nowhere", "{" SIZES "}", NULL, STATUS_DATA_LOSS, "model_type"},
        {"its own type wins", "{\"model_type\":\"gpt2\"," SIZES "}", "bert", STATUS_UNIMPLEMENTED,
         "'gpt2'"},
        {"another class", "{\"architectures\":[\"T5Model\"]," SIZES "}", NULL, STATUS_DATA_LOSS,
         "model_type"},
        {"null is the default", BERT ",\"layer_norm_eps\":null,\"hidden_act\":null}", NULL,
         STATUS_OK, ""},
        {"gelu_new", BERT ",\"hidden_act\":\"gelu_new\"}", NULL, STATUS_OK, ""},
        {"another activation", BERT ",\"hidden_act\":\"mish\"}", NULL, STATUS_UNIMPLEMENTED,
         "mish"},
        {"activation of no text", BERT ",\"hidden_act\":1}", NULL, STATUS_DATA_LOSS, "hidden_act"},
        {"relative positions", BERT ",\"position_embedding_type\":\"relative_key_query\"}", NULL,
         STATUS_UNIMPLEMENTED, "relative_key_query"},
        {"positions of no text", BERT ",\"position_embedding_type\":7}", NULL, STATUS_UNIMPLEMENTED,
         "position"},
        {"a decoder", BERT ",\"is_decoder\":true}", NULL, STATUS_UNIMPLEMENTED, "is_decoder"},
        {"no decoder", BERT ",\"is_decoder\":false,\"pruned_heads\":{}}", NULL, STATUS_OK, ""},
        {"pruned heads", BERT ",\"pruned_heads\":{\"0\":[1]}}", NULL, STATUS_UNIMPLEMENTED,
         "pruned"},
        {"eps 0", BERT ",\"layer_norm_eps\":0}", NULL, STATUS_DATA_LOSS, "layer_norm_eps"},
        {"eps 2", BERT ",\"layer_norm_eps\":2}", NULL, STATUS_DATA_LOSS, "layer_norm_eps"},
        {"eps in quotes", BERT ",\"layer_norm_eps\":\"1e-5\"}", NULL, STATUS_DATA_LOSS,
         "no number"},
        {"half a token", BERT ",\"max_position_embeddings\":4.5}", NULL, STATUS_DATA_LOSS, "4.5"},
        {"three positions", BERT ",\"max_position_embeddings\":3}", NULL, STATUS_DATA_LOSS, "3"},
        {"no types", BERT ",\"type_vocab_size\":0}", NULL, STATUS_DATA_LOSS, "type_vocab_size"},
        {"too many positions", BERT ",\"max_position_embeddings\":1048577}", NULL,
         STATUS_RESOURCE_EXHAUSTED, "1048576"},
        {"a key twice", BERT ",\"vocab_size\":65}", NULL, STATUS_DATA_LOSS, "vocab_size"},
        {"a list", "[]", NULL, STATUS_DATA_LOSS, "object"},
        {"nothing", "", NULL, STATUS_DATA_LOSS, "the file"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct model_shape shape = {0};
        struct err err = {0};
        enum status st =
            model_dir_parse_config(view_of(rows[i].text), "the file", rows[i].hint, &shape, &err);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        TEST_HAS(err.text, rows[i].part);
        if (st != STATUS_OK)
            TEST_HAS(err.text, "the file");
    }
}

/* Each family's own settings, and what is refused by name. */
static void test_families(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        enum status want;
        const char *part;
    } rows[] = {
        {"nomic", NOMIC "}", STATUS_OK, ""},
        {"nomic by class",
         "{\"architectures\":[\"NomicBertModel\"]," SIZES ROPE("\"rope_theta\":1e4"), STATUS_OK,
         ""},
        {"another gate",
         "{\"model_type\":\"nomic_bert\",\"n_embd\":16,"
         "\"activation_function\":\"geglu\"}",
         STATUS_UNIMPLEMENTED, "geglu"},
        {"no gate", "{\"model_type\":\"nomic_bert\",\"n_embd\":16}", STATUS_UNIMPLEMENTED,
         "(none)"},
        {"norm first", NOMIC ",\"prenorm\":true}", STATUS_UNIMPLEMENTED, "prenorm"},
        {"parallel", NOMIC ",\"parallel_block\":true}", STATUS_UNIMPLEMENTED, "parallel_block"},
        {"rms norm", NOMIC ",\"use_rms_norm\":true}", STATUS_UNIMPLEMENTED, "use_rms_norm"},
        {"causal", NOMIC ",\"causal\":true}", STATUS_UNIMPLEMENTED, "causal"},
        {"neighbours", NOMIC ",\"rotary_emb_interleaved\":true}", STATUS_UNIMPLEMENTED,
         "rotary_emb_interleaved"},
        {"in quotes", NOMIC ",\"prenorm\":\"no\"}", STATUS_DATA_LOSS, "prenorm"},
        {"by layer", NOMIC ",\"scale_attn_by_inverse_layer_idx\":true}", STATUS_UNIMPLEMENTED,
         "inverse_layer"},
        {"no scale", NOMIC ",\"scale_attn_weights\":false}", STATUS_UNIMPLEMENTED,
         "scale_attn_weights false"},
        {"xpos", NOMIC ",\"rotary_emb_scale_base\":512}", STATUS_UNIMPLEMENTED,
         "rotary_emb_scale_base"},
        {"experts", NOMIC ",\"num_experts\":8}", STATUS_UNIMPLEMENTED, "num_experts"},
        {"no experts", NOMIC ",\"num_experts\":0}", STATUS_OK, ""},
        {"biases are the default",
         "{\"model_type\":\"nomic_bert\",\"n_embd\":16,\"n_layer\":1,"
         "\"n_head\":2,\"vocab_size\":64,\"activation_function\":\"swiglu\"}",
         STATUS_UNIMPLEMENTED, "qkv_proj_bias true (its default)"},
        {"rotated in part",
         "{\"model_type\":\"nomic_bert\",\"activation_function\":\"swiglu\","
         "\"n_embd\":16,\"n_layer\":1,\"n_head\":2,\"vocab_size\":60,\"qkv_proj_bias\":false,"
         "\"mlp_fc1_bias\":false,\"mlp_fc2_bias\":false,\"rotary_emb_fraction\":0.5}",
         STATUS_UNIMPLEMENTED, "rotary_emb_fraction 0.5"},
        {"base 0", NOMIC ",\"rotary_emb_base\":0}", STATUS_DATA_LOSS, "rotary_emb_base"},
        {"scaled", NOMIC ",\"rotary_scaling_factor\":2}", STATUS_OK, ""},
        {"scaled by 0", NOMIC ",\"rotary_scaling_factor\":0}", STATUS_DATA_LOSS,
         "rotary_scaling_factor"},
        {"plain", PLAIN ROPE("\"rope_theta\":1000"), STATUS_OK, ""},
        {"plain without a base", PLAIN "}", STATUS_DATA_LOSS, "rope_theta"},
        {"yarn", PLAIN ROPE("\"rope_theta\":1000,\"rope_type\":\"yarn\""), STATUS_UNIMPLEMENTED,
         "'yarn'"},
        {"in part", PLAIN ROPE("\"rope_theta\":1000,\"partial_rotary_factor\":0.5"),
         STATUS_UNIMPLEMENTED, "partial_rotary_factor"},
        {"plain with gelu", PLAIN ",\"hidden_act\":\"gelu\"" ROPE("\"rope_theta\":1000"),
         STATUS_UNIMPLEMENTED, "hidden_act"},
        {"distilbert", DISTIL ",\"sinusoidal_pos_embds\":true}", STATUS_OK, ""},
        {"distilbert by class", "{\"architectures\":[\"DistilBertModel\"],\"dim\":16}",
         STATUS_DATA_LOSS, "n_layers"},
        {"distilbert's activation", DISTIL ",\"activation\":\"mish\"}", STATUS_UNIMPLEMENTED,
         "mish"},
        {"heads of its own", DISTIL ",\"pruned_heads\":{\"0\":[1]}}", STATUS_UNIMPLEMENTED,
         "pruned"},
        {"model2vec", "{\"model_type\":\"model2vec\"}", STATUS_OK, ""},
        {"model2vec in doubt", "{\"model_type\":\"model2vec\",\"normalize\":1}", STATUS_DATA_LOSS,
         "normalize"},
        {"xlm-roberta", "{\"model_type\":\"xlm-roberta\"}", STATUS_UNIMPLEMENTED, "Unigram"},
        {"roberta", "{\"model_type\":\"roberta\"}", STATUS_UNIMPLEMENTED, "BPE"},
        {"mpnet", "{\"model_type\":\"mpnet\"}", STATUS_UNIMPLEMENTED, "relative positions"},
        {"electra", "{\"model_type\":\"electra\"}", STATUS_UNIMPLEMENTED, "projection"},
        {"something else", "{\"model_type\":\"clip\"}", STATUS_UNIMPLEMENTED, "only BERT"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct model_shape shape = {0};
        struct err err = {0};
        enum status st =
            model_dir_parse_config(view_of(rows[i].text), "the file", NULL, &shape, &err);
        if (st != rows[i].want)
            TEST_FAIL("%s: %s", status_name(st), err.text);
        TEST_HAS(err.text, rows[i].part);
    }
}

static void parse(const char *text, struct model_shape *out) {
    struct err err;
    *out = (struct model_shape){0};
    if (model_dir_parse_config(view_of(text), "the file", NULL, out, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
}

static void test_family_values(void **state) {
    (void)state;
    struct model_shape s;
    TEST_ROW("nomic");
    parse(NOMIC ",\"n_positions\":8192,\"pad_vocab_size_multiple\":64,\"type_vocab_size\":1,"
                "\"rotary_emb_base\":500,\"rotary_scaling_factor\":2.5,"
                "\"max_trained_positions\":128}",
          &s);
    TEST_EQ(s.family, MODEL_NOMIC);
    TEST_EQ(s.hidden, 16);
    TEST_EQ(s.inner, 64); /* four times hidden where n_inner is silent */
    TEST_EQ(s.vocab_rows, 64);
    TEST_EQ(s.types, 1);
    TEST_EQ(s.positions, 8192);
    TEST_EQ(s.max_tokens, 8192);
    TEST_TRUE(s.gated && s.act == MODEL_SILU);
    TEST_NEAR(s.rotary_base, 500, 1e-3);
    TEST_NEAR(s.rotary_factor, 2.5, 1e-6);
    TEST_EQ(s.rotary_trained, 128);
    TEST_NEAR(s.eps, 1e-5, 1e-12); /* GPT-2's default */
    TEST_ROW("plain");
    parse(PLAIN ROPE("\"rope_theta\":1000"), &s);
    TEST_EQ(s.family, MODEL_NOMIC);
    TEST_EQ(s.positions, 2048);
    TEST_TRUE(s.gated && s.act == MODEL_SILU && s.rotary_factor == 0);
    TEST_NEAR(s.rotary_base, 1000, 1e-3);
    TEST_NEAR(s.eps, 1e-12, 1e-18);
    TEST_ROW("distilbert");
    parse(DISTIL ",\"activation\":\"relu\",\"max_position_embeddings\":64}", &s);
    TEST_EQ(s.family, MODEL_DISTILBERT);
    TEST_EQ(s.types, 0);
    TEST_EQ(s.positions, 64);
    TEST_EQ(s.inner, 32);
    TEST_EQ(s.act, MODEL_RELU);
    TEST_TRUE(!s.gated && s.rotary_base == 0);
    TEST_NEAR(s.eps, 1e-12, 1e-18);
    TEST_ROW("static");
    parse("{\"model_type\":\"model2vec\",\"normalize\":true}", &s);
    TEST_EQ(s.family, MODEL_STATIC);
    TEST_TRUE(s.normalize && s.layers == 0 && s.types == 0);
    TEST_EQ(s.max_tokens, 512);
}

static void test_config_values(void **state) {
    (void)state;
    TEST_ROW("values");
    struct model_shape s = {0};
    TEST_EQ(model_dir_parse_config(view_of(BERT "}"), "", NULL, &s, NULL), STATUS_OK);
    TEST_EQ(s.hidden, 16);
    TEST_EQ(s.layers, 1);
    TEST_EQ(s.heads, 2);
    TEST_EQ(s.inner, 32);
    TEST_EQ(s.vocab_rows, 64);
    TEST_EQ(s.positions, 512);
    TEST_EQ(s.types, 2);
    TEST_EQ(s.max_tokens, 512);
    TEST_EQ(s.act, MODEL_GELU);
    TEST_EQ(s.pooling, MODEL_POOL_MEAN);
    TEST_TRUE(!s.normalize);
    TEST_NEAR(s.eps, 1e-12, 1e-18);
    TEST_EQ(
        model_dir_parse_config(view_of(BERT ",\"max_position_embeddings\":100000,"
                                            "\"hidden_act\":\"swish\",\"layer_norm_eps\":1e-5}"),
                               "", NULL, &s, NULL),
        STATUS_OK);
    TEST_EQ(s.positions, 100000);
    TEST_EQ(s.max_tokens, LIMIT_TOKENS);
    TEST_EQ(s.act, MODEL_SILU);
    TEST_NEAR(s.eps, 1e-5, 1e-12);
}

static struct golden_dir work;

/* formats/base with one file replaced; text NULL removes it. */
static void lay_out(const char *file, const char *text) {
    golden_empty(work.path, false);
    golden_copy_tree(&work, "formats/base", "");
    char path[256];
    snprintf(path, sizeof path, "%s/%s", work.path, file);
    if (text)
        golden_write(&work, file, text, strlen(text));
    else
        unlink(path);
}

#define TRANSFORMER   "{\"path\":\"\",\"type\":\"sentence_transformers.models.Transformer\"}"
#define POOLING(path) "{\"path\":\"" path "\",\"type\":\"sentence_transformers.models.Pooling\"}"
#define NORMALIZE     "{\"path\":\"2\",\"type\":\"sentence_transformers.models.Normalize\"}"
#define DENSE         "{\"path\":\"2\",\"type\":\"sentence_transformers.models.Dense\"}"

#define NOTHING 0, MODEL_POOL_MEAN, false /* refused: the rest is not looked at */

static void test_files(void **state) {
    (void)state;
    static const struct {
        const char *name, *file, *text;
        enum status want;
        const char *part;
        uint32_t max_tokens;
        enum model_pooling pooling;
        bool normalize;
    } rows[] = {
        {"as it is", "x", "", STATUS_OK, "", 32, MODEL_POOL_MEAN, true},
        {"no modules", "modules.json", NULL, STATUS_OK, "", 32, MODEL_POOL_MEAN, false},
        {"not normalized", "modules.json", "[" TRANSFORMER "," POOLING("1_Pooling") "]", STATUS_OK,
         "", 32, MODEL_POOL_MEAN, false},
        {"types without a module path", "modules.json",
         "[{\"type\":\"Transformer\"},{\"path\":\"1_Pooling\",\"type\":\"Pooling\"}]", STATUS_OK,
         "", 32, MODEL_POOL_MEAN, false},
        {"no pooling", "modules.json", "[" TRANSFORMER "]", STATUS_UNIMPLEMENTED, "modules.json",
         NOTHING},
        {"normalized twice", "modules.json",
         "[" TRANSFORMER "," POOLING("1_Pooling") "," NORMALIZE "," NORMALIZE "]",
         STATUS_UNIMPLEMENTED, "Normalize", NOTHING},
        {"dense", "modules.json", "[" TRANSFORMER "," POOLING("1_Pooling") "," DENSE "]",
         STATUS_UNIMPLEMENTED, "Dense", NOTHING},
        {"another order", "modules.json",
         "[" TRANSFORMER "," NORMALIZE "," POOLING("1_Pooling") "]", STATUS_UNIMPLEMENTED,
         "Normalize", NOTHING},
        {"a module of no type", "modules.json", "[{}]", STATUS_DATA_LOSS, "modules.json", NOTHING},
        {"modules of another kind", "modules.json", "{}", STATUS_DATA_LOSS, "modules.json",
         NOTHING},
        {"no modules at all", "modules.json", "[]", STATUS_DATA_LOSS, "modules.json", NOTHING},
        {"pooling outside", "modules.json", "[" TRANSFORMER "," POOLING("../1_Pooling") "]",
         STATUS_PERMISSION_DENIED, "../1_Pooling", NOTHING},
        {"pooling at the root", "modules.json", "[" TRANSFORMER "," POOLING("/etc") "]",
         STATUS_PERMISSION_DENIED, "/etc", NOTHING},
        {"pooling that is not there", "modules.json", "[" TRANSFORMER "," POOLING("2_Pooling") "]",
         STATUS_NOT_FOUND, "2_Pooling/config.json", NOTHING},
        {"encoder elsewhere", "modules.json",
         "[{\"path\":\"0_T\",\"type\":\"Transformer\"}," POOLING("1_Pooling") "]",
         STATUS_UNIMPLEMENTED, "0_T", NOTHING},
        {"first token", "1_Pooling/config.json",
         "{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":false}", STATUS_OK, "", 32,
         MODEL_POOL_CLS, true},
        {"both", "1_Pooling/config.json",
         "{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":true}",
         STATUS_UNIMPLEMENTED, "together", NOTHING},
        {"last token", "1_Pooling/config.json", "{\"pooling_mode_lasttoken\":true}",
         STATUS_UNIMPLEMENTED, "lasttoken", NOTHING},
        {"a mode of the future", "1_Pooling/config.json",
         "{\"pooling_mode_mean_tokens\":true,\"pooling_mode_magic\":true}", STATUS_UNIMPLEMENTED,
         "magic", NOTHING},
        {"without the prompt", "1_Pooling/config.json",
         "{\"pooling_mode_mean_tokens\":true,\"include_prompt\":false}", STATUS_UNIMPLEMENTED,
         "include_prompt", NOTHING},
        {"another width", "1_Pooling/config.json",
         "{\"pooling_mode_mean_tokens\":true,\"word_embedding_dimension\":17}", STATUS_DATA_LOSS,
         "word_embedding_dimension", NOTHING},
        {"pooling of another kind", "1_Pooling/config.json", "[]", STATUS_DATA_LOSS, "1_Pooling",
         NOTHING},
        {"shorter", "sentence_bert_config.json", "{\"max_seq_length\":10}", STATUS_OK, "", 10,
         MODEL_POOL_MEAN, true},
        {"longer than the table", "sentence_bert_config.json", "{\"max_seq_length\":512}",
         STATUS_OK, "", 32, MODEL_POOL_MEAN, true},
        {"no length", "sentence_bert_config.json", "{\"max_seq_length\":-1}", STATUS_DATA_LOSS,
         "max_seq_length", NOTHING},
        {"length in quotes", "sentence_bert_config.json", "{\"max_seq_length\":\"8\"}",
         STATUS_DATA_LOSS, "sentence_bert_config.json", NOTHING},
        {"a length that only the tokenizer has, not asked", "tokenizer_config.json",
         "{\"model_max_length\":8}", STATUS_OK, "", 32, MODEL_POOL_MEAN, true},
        {"no sentence file", "sentence_bert_config.json", NULL, STATUS_OK, "", 32, MODEL_POOL_MEAN,
         true},
        {"cut weights", "model.safetensors", "12345678", STATUS_RESOURCE_EXHAUSTED,
         "model.safetensors", NOTHING},
        {"no weights", "model.safetensors", NULL, STATUS_NOT_FOUND, "model.safetensors", NOTHING},
        {"broken prompts", "config_sentence_transformers.json", "{\"prompts\":{\"q\":1}}",
         STATUS_DATA_LOSS, "'q'", NOTHING},
        {"prompts of another kind", "config_sentence_transformers.json", "{\"prompts\":[]}",
         STATUS_DATA_LOSS, "prompts", NOTHING},
        {"broken settings", "ember_zero_shot.json", "{\"temperature\":20}", STATUS_DATA_LOSS,
         "ember_zero_shot.json: temperature is 20, want 0.001 to 10", NOTHING},
        {"settings that are a misspelling", "ember_zero_shot.json", "{\"templat\":\"{}\"}",
         STATUS_DATA_LOSS, "ember_zero_shot.json: there is no 'templat'", NOTHING},
        {"settings that are no JSON", "ember_zero_shot.json", "temperature", STATUS_DATA_LOSS,
         "ember_zero_shot.json", NOTHING},
        {"default of none", "config_sentence_transformers.json",
         "{\"prompts\":{\"q\":\"\"},\"default_prompt_name\":\"r\"}", STATUS_DATA_LOSS,
         "default_prompt_name", NOTHING},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        lay_out(rows[i].file, rows[i].text);
        struct model_dir *dir = NULL;
        struct err err = {0};
        enum status st = model_dir_open(work.path, &dir, &err);
        if (st != rows[i].want)
            TEST_FAIL("%s: %s", status_name(st), err.text);
        TEST_HAS(err.text, rows[i].part);
        if (st != STATUS_OK) {
            TEST_HAS(err.text, work.path);
            TEST_TRUE(dir == NULL);
            continue;
        }
        TEST_EQ(dir->shape.max_tokens, rows[i].max_tokens);
        TEST_EQ(dir->shape.pooling, rows[i].pooling);
        TEST_EQ(dir->shape.normalize, rows[i].normalize);
        model_dir_close(&dir);
    }
}

/* The tokenizer's own limit counts where the sentence file is silent, and 1e30 means none. */
static void test_tokenizer_limit(void **state) {
    (void)state;
    static const struct {
        const char *name, *sentence, *tokenizer;
        enum status want;
        uint32_t max_tokens;
    } rows[] = {
        {"no sentence file", NULL, "{\"model_max_length\":8}", STATUS_OK, 8},
        {"sentence file is null", "{\"max_seq_length\":null}", "{\"model_max_length\":8}",
         STATUS_OK, 8},
        {"very large", NULL, "{\"model_max_length\":1000000000000000019884624838656}", STATUS_OK,
         32},
        {"too short", NULL, "{\"model_max_length\":1}", STATUS_DATA_LOSS, 0},
        {"lowers what the tokenizer keeps", "{\"do_lower_case\":true}", "{\"do_lower_case\":false}",
         STATUS_UNIMPLEMENTED, 0},
        {"lowers what is lowered anyway", "{\"do_lower_case\":true}", "{\"do_lower_case\":true}",
         STATUS_OK, 32},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        lay_out("sentence_bert_config.json", rows[i].sentence);
        golden_write(&work, "tokenizer_config.json", rows[i].tokenizer, strlen(rows[i].tokenizer));
        struct model_dir *dir = NULL;
        TEST_STR_EQ(status_name(model_dir_open(work.path, &dir, NULL)), status_name(rows[i].want));
        if (dir)
            TEST_EQ(dir->shape.max_tokens, rows[i].max_tokens);
        model_dir_close(&dir);
    }
}

static void test_prompts(void **state) {
    (void)state;
    TEST_ROW("prompts");
    lay_out("config_sentence_transformers.json",
            "{\"prompts\":{\"query\":\"query: \",\"document\":\"\"},"
            "\"default_prompt_name\":\"document\"}");
    struct model_dir *dir = NULL;
    TEST_EQ(model_dir_open(work.path, &dir, NULL), STATUS_OK);
    TEST_EQ(dir->n_prompts, 2);
    TEST_STR_EQ(model_dir_prompt(dir, "query")->text, "query: ");
    TEST_STR_EQ(model_dir_prompt(dir, "document")->text, "");
    TEST_TRUE(model_dir_prompt(dir, "title") == NULL);
    TEST_STR_EQ(dir->default_prompt, "document");
    model_dir_close(&dir);
    TEST_TRUE(dir == NULL);
}

/* With a head nothing would use them. */
static void test_zero_shot(void **state) {
    (void)state;
    static const char text[] = "{\"template_han\":\"是{}\",\"temperature\":0.5}";
    struct model_dir *dir = NULL;
    struct err err;
    lay_out("x", "");
    TEST_EQ(model_dir_open(work.path, &dir, NULL), STATUS_OK);
    TEST_TRUE(dir->zero_shot == NULL);
    model_dir_close(&dir);
    lay_out(ZERO_SHOT_FILE, text);
    TEST_EQ(model_dir_open(work.path, &dir, NULL), STATUS_OK);
    TEST_STR_EQ(dir->zero_shot->template_han, "是{}");
    TEST_NEAR(dir->zero_shot->temperature, 0.5, 0);
    model_dir_close(&dir);
    static const char *const files[] = {"config.json", "model.safetensors", "vocab.txt"};
    golden_empty(work.path, false);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[256];
        snprintf(path, sizeof path, GOLDEN_DIR "/reranker/hf/%s", files[i]);
        if (access(path, F_OK) == 0)
            golden_copy(&work, path, files[i]);
    }
    TEST_EQ(model_dir_open(work.path, &dir, NULL), STATUS_OK);
    model_dir_close(&dir);
    golden_write(&work, ZERO_SHOT_FILE, text, strlen(text));
    TEST_EQ(model_dir_open(work.path, &dir, &err), STATUS_UNIMPLEMENTED);
    TEST_HAS(err.text, "ember_zero_shot.json: the model has a head");
}

static void fingerprint_of(char out[9]) {
    struct model_dir *dir = NULL;
    struct err err = {0};
    if (model_dir_open(work.path, &dir, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    memcpy(out, dir->fingerprint8, 9);
    char hex[9];
    snprintf(hex, sizeof hex, "%02x%02x%02x%02x", dir->fingerprint[0], dir->fingerprint[1],
             dir->fingerprint[2], dir->fingerprint[3]);
    TEST_STR_EQ(dir->fingerprint8, hex);
    model_dir_close(&dir);
}

static void test_fingerprint(void **state) {
    (void)state;
    static const struct {
        const char *file;
        bool counts;
    } rows[] = {
        {"config.json", true},
        {"modules.json", true},
        {"1_Pooling/config.json", true},
        {"sentence_bert_config.json", true},
        {"tokenizer_config.json", true},
        {"vocab.txt", true},
        {"tokenizer.json", true}, /* these are not in the base: to be there is a change */
        {"special_tokens_map.json", true},
        {"label_mapping.json", true},
        {"ember_zero_shot.json", true},
        {"README.md", false},
        {"config_sentence_transformers.json", false}, /* a prompt is part of the text */
    };
    char before[9], after[9], last[9] = "";
    lay_out("x", "");
    fingerprint_of(before);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].file);
        lay_out("x", "");
        char path[256], *text;
        size_t bytes = 0;
        snprintf(path, sizeof path, "%s/%s", work.path, rows[i].file);
        text = access(path, F_OK) == 0 ? golden_read(path, &bytes) : strdup("{}");
        bytes = strlen(text);
        text[bytes] = '\n'; /* in place of the NUL: one more means nothing, but is another file */
        golden_write(&work, rows[i].file, text, bytes + 1);
        free(text);
        fingerprint_of(after);
        TEST_EQ(strcmp(before, after) != 0, rows[i].counts);
        TEST_TRUE(strcmp(last, after) != 0 || !rows[i].counts);
        memcpy(last, after, sizeof last);
    }
    TEST_ROW("one bit of one weight");
    lay_out("x", "");
    char path[256];
    snprintf(path, sizeof path, "%s/model.safetensors", work.path);
    size_t bytes;
    char *weights = golden_read(path, &bytes);
    weights[bytes - 4] ^= 1;
    golden_write(&work, "model.safetensors", weights, bytes);
    free(weights);
    fingerprint_of(after);
    TEST_TRUE(strcmp(before, after) != 0);
    TEST_ROW("the same again");
    lay_out("README.md", "text");
    fingerprint_of(after);
    TEST_STR_EQ(after, before);
}

/* A copy of formats/base in a folder below `work`, whose parents are made. */
static void lay_out_below(const char *below, struct golden_dir *out) {
    golden_empty(work.path, false);
    snprintf(out->path, sizeof out->path, "%.40s/%.80s", work.path, below);
    for (char *slash = out->path + strlen(work.path); slash; slash = strchr(slash + 1, '/')) {
        char end = *slash;
        *slash = '\0';
        mkdir(out->path, 0755);
        *slash = end;
    }
    mkdir(out->path, 0755);
    golden_copy_tree(out, "formats/base", "");
}

static void test_name(void **state) {
    (void)state;
    static const struct {
        const char *below, *want;
    } rows[] = {
        {"bge-base-zh-v1.5", "bge-base-zh-v1.5"},
        {"with space\xc3\xa9", "with-space--"},
        {"models--BAAI--bge-m3/snapshots/0123abcd", "bge-m3"},
        {"trailing/", "trailing"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].below);
        struct golden_dir below;
        lay_out_below(rows[i].below, &below);
        struct model_dir *dir = NULL;
        TEST_EQ(model_dir_open(below.path, &dir, NULL), STATUS_OK);
        TEST_STR_EQ(dir->name, rows[i].want);
        model_dir_close(&dir);
    }
}

/* Published shapes of folders, as they are. */
static void test_golden(void **state) {
    (void)state;
    static const struct {
        const char *folder;
        uint32_t hidden, heads, max_tokens, n_prompts;
        enum model_pooling pooling;
        const char *tensor;
    } rows[] = {
        {"bert-mean/f32", 96, 12, 256, 2, MODEL_POOL_MEAN, "embeddings.word_embeddings.weight"},
        {"bert-mean/sharded", 96, 12, 256, 2, MODEL_POOL_MEAN, "embeddings.word_embeddings.weight"},
        {"bert-cls-zh/hf", 64, 4, 512, 0, MODEL_POOL_CLS, "bert.embeddings.word_embeddings.weight"},
        {"bert-cls-zh/half", 64, 4, 512, 0, MODEL_POOL_CLS,
         "bert.embeddings.word_embeddings.weight"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].folder);
        char path[512];
        snprintf(path, sizeof path, GOLDEN_DIR "/%s", rows[i].folder);
        struct model_dir *dir = NULL;
        struct err err = {0};
        if (model_dir_open(path, &dir, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        TEST_EQ(dir->shape.hidden, rows[i].hidden);
        TEST_EQ(dir->shape.heads, rows[i].heads);
        TEST_EQ(dir->shape.max_tokens, rows[i].max_tokens);
        TEST_EQ(dir->shape.pooling, rows[i].pooling);
        TEST_EQ(dir->n_prompts, rows[i].n_prompts);
        TEST_TRUE(dir->shape.normalize);
        TEST_TRUE(dir->default_prompt == NULL);
        TEST_EQ(weights_read(dir->weights, rows[i].tensor, dir->shape.vocab_rows, rows[i].hidden,
                             NULL, NULL),
                STATUS_OK);
        model_dir_close(&dir);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config),        cmocka_unit_test(test_families),
        cmocka_unit_test(test_family_values), cmocka_unit_test(test_config_values),
        cmocka_unit_test(test_files),         cmocka_unit_test(test_tokenizer_limit),
        cmocka_unit_test(test_prompts),       cmocka_unit_test(test_zero_shot),
        cmocka_unit_test(test_fingerprint),   cmocka_unit_test(test_name),
        cmocka_unit_test(test_golden),
    };
    golden_make(&work);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    golden_remove(&work);
    return failed;
}
