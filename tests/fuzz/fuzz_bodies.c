/* Any bytes as a body of any message; the first byte chooses which. The arena is the one a
 * program would set aside. A task's request that is accepted must encode again. */
#include "wire/session.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void requests(unsigned kind, struct view body, struct arena *arena, struct wire_out *out) {
    uint32_t item;
    struct err err;
    struct wire_embed_request embed;
    struct wire_classify_request classify;
    struct wire_rerank_request rerank;
    struct wire_tokenize_request tokenize;
    bool bad = false;
    switch (kind) {
    case 0:
        bad = codec_embed_request_decode(body, arena, &embed, &item, &err) == STATUS_OK &&
              codec_embed_request_encode(&embed, out) != STATUS_OK;
        break;
    case 1:
        bad = codec_classify_request_decode(body, arena, &classify, &item, &err) == STATUS_OK &&
              codec_classify_request_encode(&classify, out) != STATUS_OK;
        break;
    case 2:
        bad = codec_rerank_request_decode(body, arena, &rerank, &item, &err) == STATUS_OK &&
              codec_rerank_request_encode(&rerank, out) != STATUS_OK;
        break;
    default:
        bad = codec_tokenize_request_decode(body, arena, &tokenize, &item, &err) == STATUS_OK &&
              codec_tokenize_request_encode(&tokenize, out) != STATUS_OK;
    }
    if (bad)
        abort();
}

static void replies(unsigned kind, struct view body, struct arena *arena) {
    struct err err;
    union {
        struct wire_embed_reply embed;
        struct wire_classify_reply classify;
        struct wire_tokenize_reply tokenize;
        struct wire_rerank_reply rerank;
        struct wire_error error;
        struct wire_hello hello;
        struct wire_welcome welcome;
        struct wire_ready ready;
        struct wire_ready_ok ready_ok;
        struct wire_heartbeat heartbeat;
        struct wire_status_reply status;
        struct view reason;
    } out;
    switch (kind) {
    case 4:
        codec_embed_reply_decode(body, arena, &out.embed, &err);
        break;
    case 5:
        codec_classify_reply_decode(body, arena, &out.classify, &err);
        break;
    case 6:
        codec_tokenize_reply_decode(body, arena, &out.tokenize, &err);
        break;
    case 7:
        codec_error_decode(body, arena, &out.error, &err);
        break;
    case 8:
        session_hello_decode(body, arena, &out.hello, &err);
        break;
    case 9:
        session_welcome_decode(body, arena, &out.welcome, &err);
        break;
    case 10:
        session_ready_decode(body, arena, &out.ready, &err);
        break;
    case 11:
        session_ready_ok_decode(body, arena, &out.ready_ok, &err);
        break;
    case 12:
        session_heartbeat_decode(body, arena, &out.heartbeat, &err);
        break;
    case 13:
        session_status_decode(body, arena, &out.status, &err);
        break;
    case 15:
        codec_rerank_reply_decode(body, arena, &out.rerank, &err);
        break;
    default:
        session_goaway_decode(body, arena, &out.reason, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    struct view body = view_make(data + 1, size - 1);
    struct arena arena;
    unsigned kind = data[0] % 16;
    size_t room = kind < 4                 ? codec_arena_bytes(body.bytes)
                  : kind < 8 || kind == 15 ? codec_reply_arena_bytes(body.bytes)
                                           : session_arena_bytes(body.bytes);
    if (!arena_init(&arena, room))
        return 0;
    struct wire_out out = {0};
    if (kind < 4)
        requests(kind, body, &arena, &out);
    else
        replies(kind, body, &arena);
    wire_out_done(&out);
    arena_done(&arena);
    return 0;
}
