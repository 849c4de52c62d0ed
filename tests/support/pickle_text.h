/* pickle_text.h - pieces of pickles as C strings, to be written one after another. */
#ifndef EMBER_PICKLE_TEXT_H
#define EMBER_PICKLE_TEXT_H

#define PK_PROTO       "\x80\x02"
#define PK_REBUILD     "ctorch._utils\n_rebuild_tensor_v2\n"
#define PK_ORDERED     "ccollections\nOrderedDict\n)R"
#define PK_FLOATS      "ctorch\nFloatStorage\n"
#define PK_KEY(letter) "X\1\0\0\0" letter
/* ("storage", type, key "0", "cpu", count) as a persistent id; count is an opcode and its bytes */
#define PK_STORAGE(type, count)                                                                    \
    "(X\7\0\0\0storage" type "X\1\0\0\0"                                                           \
    "0"                                                                                            \
    "X\3\0\0\0"                                                                                    \
    "cpu" count "tQ"
#define PK_TENSOR(storage, offset, size, stride)                                                   \
    PK_REBUILD "(" storage offset size stride "\x89" PK_ORDERED "tR"
/* 2 x 3 of six floats */
#define PK_MATRIX PK_TENSOR(PK_STORAGE(PK_FLOATS, "K\6"), "K\0", "K\2K\3\x86", "K\3K\1\x86")

#endif
