/* pickle_test.c - pickles written by hand, opcode by opcode. */
#include "model/pickle.h"

#include "base/limits.h"
#include "support/pickle_text.h"
#include "support/test.h"

struct seen {
    uint32_t n;
    char name[32];
    struct pickle_tensor tensor; /* the last one */
};

static enum status see(void *arg, struct view name, const struct pickle_tensor *tensor,
                       struct err *err) {
    struct seen *seen = arg;
    (void)err;
    TEST_TRUE(name.bytes < sizeof seen->name);
    memcpy(seen->name, name.data, name.bytes);
    seen->name[name.bytes] = '\0';
    seen->tensor = *tensor;
    seen->n++;
    return STATUS_OK;
}

/* In a buffer of exactly its size, so that ASan sees a byte too far. */
static enum status run(const char *text, size_t bytes, struct seen *seen, struct err *err) {
    char *exact = malloc(bytes ? bytes : 1);
    TEST_TRUE(exact != NULL);
    memcpy(exact, text, bytes);
    enum status st = pickle_read(view_make(exact, bytes), see, seen, err);
    seen->tensor.key.data = NULL; /* went with the pickle */
    free(exact);
    return st;
}

#define TEXT(s)     s, sizeof(s) - 1
#define DICT(entry) PK_PROTO "}" PK_KEY("a") entry "s."

static void test_good(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        size_t bytes;
        uint32_t n;
        const char *last;
    } rows[] = {
        {"empty", TEXT(PK_PROTO "}."), 0, ""},
        {"without a protocol", TEXT("}."), 0, ""},
        {"one entry", TEXT(DICT(PK_MATRIX)), 1, "a"},
        {"ordered, with a mark",
         TEXT(PK_PROTO PK_ORDERED "(" PK_KEY("a") PK_MATRIX PK_KEY("b") PK_MATRIX "u."), 2, "b"},
        {"no items", TEXT(PK_PROTO "}(u."), 0, ""},
        {"attributes", TEXT(PK_PROTO PK_ORDERED PK_KEY("a") PK_MATRIX "s}" PK_KEY("m") "}sb."), 1,
         "a"},
        {"a number is passed over", TEXT(DICT("K\5")), 0, ""},
        {"parameter",
         TEXT(DICT("ctorch._utils\n_rebuild_parameter\n(" PK_MATRIX "\x88" PK_ORDERED "tR")), 1,
         "a"},
        {"protocol 4", TEXT("\x80\4\x95\2\0\0\0\0\0\0\0}."), 0, ""},
        {"names from the stack",
         TEXT("\x80\4\x8c\x0b"
              "collections"
              "\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94."),
         0, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct seen seen = {0};
        struct err err = {0};
        if (run(rows[i].text, rows[i].bytes, &seen, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        TEST_EQ(seen.n, rows[i].n);
        TEST_STR_EQ(seen.name, rows[i].last);
    }
}

static void test_tensor(void **state) {
    (void)state;
    TEST_ROW("a view of a storage");
    struct seen seen = {0};
    /* LONG1 of -1 would be negative; here 300 elements, from 7 on, 4 x 5 with strides 2 and 50 */
    static const char text[] = DICT(PK_TENSOR(PK_STORAGE("ctorch\nHalfStorage\n", "\x8a\2\x2c\1"),
                                              "M\7\0", "J\4\0\0\0K\5\x86", "K\2K\x32\x86"));
    TEST_EQ(run(TEXT(text), &seen, NULL), STATUS_OK);
    const struct pickle_tensor *t = &seen.tensor;
    TEST_EQ(t->type, WEIGHTS_F16);
    TEST_EQ(t->element_bytes, 2);
    TEST_EQ(t->count, 300);
    TEST_EQ(t->offset, 7);
    TEST_EQ(t->last, 7 + 3 * 2 + 4 * 50);
    TEST_EQ(t->rank, 2);
    TEST_EQ(t->shape[0], 4);
    TEST_EQ(t->shape[1], 5);
    TEST_EQ(t->stride[0], 2);
    TEST_EQ(t->stride[1], 50);
}

static void test_memo(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        size_t bytes;
        enum status want;
    } rows[] = {
        {"a key without a value", TEXT(PK_PROTO "}" PK_KEY("a") "q\7" PK_MATRIX "sh\7s."),
         STATUS_DATA_LOSS},
        {"the same tensor under two names",
         TEXT(PK_PROTO "}" PK_KEY("a") PK_MATRIX "r\0\2\0\0sX\1\0\0\0"
                                                 "bj\0\2\0\0s."),
         STATUS_OK},
        {"get of nothing", TEXT(PK_PROTO "h\0."), STATUS_DATA_LOSS},
        {"get beyond", TEXT(PK_PROTO "j\xff\xff\xff\xff."), STATUS_DATA_LOSS},
        {"put of nothing", TEXT(PK_PROTO "q\0."), STATUS_DATA_LOSS},
        {"put far away", TEXT(PK_PROTO "}r\xff\xff\xff\xff."), STATUS_RESOURCE_EXHAUSTED},
        {"a dictionary that holds itself", TEXT(PK_PROTO "}q\0" PK_KEY("a") "h\0s."), STATUS_OK},
        {"a tuple of tuples of tuples, each twice",
         TEXT(PK_PROTO "}" PK_KEY("a") ")q\0h\0\x86q\1h\1\x86q\2h\2\x86s."), STATUS_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct seen seen = {0};
        TEST_STR_EQ(status_name(run(rows[i].text, rows[i].bytes, &seen, NULL)),
                    status_name(rows[i].want));
    }
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        size_t bytes;
        enum status want;
        const char *part;
    } rows[] = {
        {"nothing", TEXT(""), STATUS_DATA_LOSS, "without STOP"},
        {"no STOP", TEXT(PK_PROTO "}"), STATUS_DATA_LOSS, "without STOP"},
        {"something behind STOP", TEXT(PK_PROTO "}.}"), STATUS_DATA_LOSS, "one value"},
        {"two values", TEXT(PK_PROTO "}}."), STATUS_DATA_LOSS, "one value"},
        {"an open mark", TEXT(PK_PROTO "}(."), STATUS_DATA_LOSS, "one value"},
        {"no value", TEXT(PK_PROTO "."), STATUS_DATA_LOSS, "one value"},
        {"a tuple", TEXT(PK_PROTO ")."), STATUS_DATA_LOSS, "no dictionary"},
        {"a list", TEXT(PK_PROTO "]."), STATUS_DATA_LOSS, "0x5d"},
        {"protocol 6", TEXT("\x80\6}."), STATUS_UNIMPLEMENTED, "protocol 6"},
        {"os.system", TEXT("cos\nsystem\n(X\1\0\0\0xtR."), STATUS_PERMISSION_DENIED, "os.system"},
        {"a name of torch", TEXT(PK_PROTO "ctorch\nload\n."), STATUS_PERMISSION_DENIED,
         "torch.load"},
        {"a name that only begins right", TEXT(PK_PROTO "ccollections\nOrderedDictX\n."),
         STATUS_PERMISSION_DENIED, "OrderedDictX"},
        {"a name that only ends right", TEXT(PK_PROTO "cx.torch\nFloatStorage\n."),
         STATUS_PERMISSION_DENIED, "x.torch"},
        {"an unknown storage", TEXT(PK_PROTO "ctorch\nQInt8Storage\n."), STATUS_UNIMPLEMENTED,
         "QInt8Storage"},
        {"names from the stack", TEXT("\x80\4\x8c\2os\x8c\6system\x93."), STATUS_PERMISSION_DENIED,
         "os.system"},
        {"INST", TEXT("(ios\nsystem\n."), STATUS_PERMISSION_DENIED, "0x69"},
        {"NEWOBJ", TEXT(PK_PROTO "ccollections\nOrderedDict\n)\x81."), STATUS_PERMISSION_DENIED,
         "0x81"},
        {"EXT1", TEXT(PK_PROTO "\x82\1."), STATUS_PERMISSION_DENIED, "0x82"},
        {"a class that is called", TEXT(PK_PROTO PK_FLOATS ")R."), STATUS_DATA_LOSS, "arguments"},
        {"OrderedDict of something", TEXT(PK_PROTO "ccollections\nOrderedDict\nN\x85R."),
         STATUS_DATA_LOSS, "arguments"},
        {"REDUCE of a dictionary", TEXT(PK_PROTO "})R."), STATUS_DATA_LOSS, "REDUCE"},
        {"REDUCE below a mark", TEXT(PK_PROTO "ccollections\nOrderedDict\n()R."), STATUS_DATA_LOSS,
         "REDUCE"},
        {"BUILD of a tuple", TEXT(PK_PROTO ")}b."), STATUS_DATA_LOSS, "BUILD"},
        {"SETITEM on a tuple", TEXT(PK_PROTO ")" PK_KEY("a") "Ns."), STATUS_DATA_LOSS, "SETITEM"},
        {"SETITEM alone", TEXT(PK_PROTO "s."), STATUS_DATA_LOSS, "SETITEM"},
        {"SETITEMS with three", TEXT(PK_PROTO "}(" PK_KEY("a") "NNu."), STATUS_DATA_LOSS,
         "SETITEM"},
        {"SETITEMS without a mark", TEXT(PK_PROTO "}u."), STATUS_DATA_LOSS, "mark"},
        {"SETITEMS at the bottom", TEXT(PK_PROTO "(u."), STATUS_DATA_LOSS, "SETITEM"},
        {"a key that is a number", TEXT(PK_PROTO "}K\1Ns."), STATUS_DATA_LOSS, "key"},
        {"TUPLE without a mark", TEXT(PK_PROTO "t."), STATUS_DATA_LOSS, "mark"},
        {"TUPLE2 of one", TEXT(PK_PROTO "N\x86."), STATUS_DATA_LOSS, "tuple"},
        {"a text too long", TEXT(PK_PROTO "X\4\0\0\0abc"), STATUS_DATA_LOSS, "longer"},
        {"a text of 2^64-1",
         TEXT(PK_PROTO "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
                       "a"),
         STATUS_DATA_LOSS, "longer"},
        {"a text that is not UTF-8", TEXT(PK_PROTO "X\1\0\0\0\xff."), STATUS_DATA_LOSS, "UTF-8"},
        {"a text with NUL", TEXT(PK_PROTO "X\1\0\0\0\0."), STATUS_DATA_LOSS, "UTF-8"},
        {"a name without end", TEXT(PK_PROTO "ctorch\nFloat"), STATUS_DATA_LOSS, "name"},
        {"a number cut", TEXT(PK_PROTO "J\1\2\3"), STATUS_DATA_LOSS, "number"},
        {"a number of nine bytes",
         TEXT(PK_PROTO "\x8a\x09"
                       "123456789."),
         STATUS_DATA_LOSS, "64 bits"},
        {"a frame too long", TEXT("\x80\4\x95\3\0\0\0\0\0\0\0}."), STATUS_DATA_LOSS, "frame"},
        {"an id that is no tuple", TEXT(PK_PROTO "NQ."), STATUS_DATA_LOSS, "no storage"},
        {"an id of another kind",
         TEXT(PK_PROTO "(X\7\0\0\0storagX" PK_FLOATS PK_KEY("0") PK_KEY("c") "K\1tQ."),
         STATUS_DATA_LOSS, "no storage"},
        {"an id with a negative count",
         TEXT(PK_PROTO PK_STORAGE(PK_FLOATS, "J\xff\xff\xff\xff") "."), STATUS_DATA_LOSS,
         "no storage"},
        {"an id whose type is a function", TEXT(PK_PROTO PK_STORAGE(PK_REBUILD, "K\1") "."),
         STATUS_DATA_LOSS, "no storage"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct seen seen = {0};
        struct err err = {0};
        enum status st = run(rows[i].text, rows[i].bytes, &seen, &err);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        TEST_HAS(err.text, rows[i].part);
    }
}

#define VIEW(offset, size, stride)                                                                 \
    TEXT(DICT(PK_TENSOR(PK_STORAGE(PK_FLOATS, "K\x0a"), offset, size, stride)))

/* Views of a storage of ten elements. */
static void test_views(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        size_t bytes;
        enum status want;
    } rows[] = {
        {"all of it", VIEW("K\0", "K\x0a\x85", "K\1\x85"), STATUS_OK},
        {"the last element", VIEW("K\x09", "K\1\x85", "K\1\x85"), STATUS_OK},
        {"a scalar", VIEW("K\x09", ")", ")"), STATUS_OK},
        {"a scalar behind the end", VIEW("K\x0a", ")", ")"), STATUS_DATA_LOSS},
        {"nothing, at the end", VIEW("K\x0a", "K\0\x85", "K\1\x85"), STATUS_OK},
        {"nothing, beyond the end", VIEW("K\x0b", "K\0\x85", "K\1\x85"), STATUS_DATA_LOSS},
        {"one too many", VIEW("K\1", "K\x0a\x85", "K\1\x85"), STATUS_DATA_LOSS},
        {"a step too far", VIEW("K\0", "K\2K\2\x86", "K\x09K\1\x86"), STATUS_DATA_LOSS},
        {"the furthest step", VIEW("K\0", "K\2K\2\x86", "K\x08K\1\x86"), STATUS_OK},
        {"stride 0 within the storage", VIEW("K\0", "K\5K\2\x86", "K\0K\1\x86"), STATUS_OK},
        {"stride 0 makes more than there is", VIEW("K\0", "K\6K\2\x86", "K\0K\1\x86"),
         STATUS_DATA_LOSS},
        {"sizes that wrap", VIEW("K\0", "\x8a\x08\0\0\0\0\0\0\0\x40K\4\x86", "K\0K\0\x86"),
         STATUS_DATA_LOSS},
        {"steps that wrap", VIEW("K\0", "K\5K\2\x86", "\x8a\x08\0\0\0\0\0\0\0\x40K\1\x86"),
         STATUS_DATA_LOSS},
        {"negative offset", VIEW("J\xff\xff\xff\xff", ")", ")"), STATUS_DATA_LOSS},
        {"negative size", VIEW("K\0", "J\xff\xff\xff\xff\x85", "K\1\x85"), STATUS_DATA_LOSS},
        {"negative stride", VIEW("K\0", "K\1\x85", "J\xff\xff\xff\xff\x85"), STATUS_DATA_LOSS},
        {"size and stride of different length", VIEW("K\0", "K\1\x85", ")"), STATUS_DATA_LOSS},
        {"size is a text", VIEW("K\0", PK_KEY("1") "\x85", "K\1\x85"), STATUS_DATA_LOSS},
        {"size is no tuple", VIEW("K\0", "K\1", "K\1\x85"), STATUS_DATA_LOSS},
        {"nine dimensions",
         VIEW("K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"),
         STATUS_RESOURCE_EXHAUSTED},
        {"offset is a text", VIEW(PK_KEY("0"), ")", ")"), STATUS_DATA_LOSS},
        {"metadata of its own",
         TEXT(DICT(PK_REBUILD "(" PK_STORAGE(PK_FLOATS, "K\1") "K\0))\x89" PK_ORDERED
                                                               "}" PK_KEY("n") "\x88stR")),
         STATUS_UNIMPLEMENTED},
        {"five arguments", TEXT(DICT(PK_REBUILD "(" PK_STORAGE(PK_FLOATS, "K\1") "K\0))\x89tR")),
         STATUS_DATA_LOSS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct seen seen = {0};
        struct err err = {0};
        enum status st = run(rows[i].text, rows[i].bytes, &seen, &err);
        if (st != rows[i].want)
            TEST_FAIL("%s: %s", status_name(st), err.text);
        TEST_EQ(seen.n, st == STATUS_OK);
    }
}

/* What repeats one opcode until something is full. */
static void test_floods(void **state) {
    (void)state;
    static const struct {
        const char *name, *unit;
        size_t unit_bytes, times;
    } rows[] = {
        {"marks", TEXT("("), 100},
        {"values on the stack", TEXT("N"), 1000 * 1000},
        {"empty dictionaries", TEXT("}"), 1000 * 1000},
        {"tuples", TEXT("N\x85"), 1000 * 1000},
        {"items of one dictionary", TEXT("X\0\0\0\0Ns"), 2 * 1000 * 1000},
        {"a pickle beyond the limit", TEXT("N"), LIMIT_PICKLE_BYTES + 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        size_t bytes = 1 + rows[i].unit_bytes * rows[i].times;
        char *text = malloc(bytes);
        TEST_TRUE(text != NULL);
        text[0] = '}';
        for (size_t k = 0; k < rows[i].times; k++)
            memcpy(text + 1 + k * rows[i].unit_bytes, rows[i].unit, rows[i].unit_bytes);
        struct seen seen = {0};
        TEST_STR_EQ(status_name(run(text, bytes, &seen, NULL)), "RESOURCE_EXHAUSTED");
        free(text);
    }
}

static void test_every_cut(void **state) {
    (void)state;
    static const char text[] = DICT(PK_MATRIX);
    for (size_t n = 0; n < sizeof text - 1; n++) {
        struct seen seen = {0};
        TEST_TRUE(run(text, n, &seen, NULL) != STATUS_OK);
        TEST_EQ(seen.n, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_tensor),
        cmocka_unit_test(test_memo),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_views),     cmocka_unit_test(test_floods),
        cmocka_unit_test(test_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
