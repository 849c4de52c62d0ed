/* limits.h - every maximum of the system, with its unit. Everything that grows has a row here.
 *
 * Those that are part of the contract with clients are told in WELCOME and in docs/PROTOCOL.md. */
#ifndef EMBER_BASE_LIMITS_H
#define EMBER_BASE_LIMITS_H

enum {
    /* One request, as it travels. The client library splits larger calls. */
    LIMIT_TEXT_BYTES = 64 * 1024,      /* one text, one label, one prompt prefix */
    LIMIT_REQUEST_TEXTS = 64,          /* texts (or pairs, or documents) of one request */
    LIMIT_REQUEST_LABELS = 64,         /* labels of one Classify request */
    LIMIT_REQUEST_PAIRS = 1024,        /* texts x labels, where each is a pair for the model */
    LIMIT_REQUEST_TOKENS = 128 * 1024, /* of all units of one request, unless a worker is told */
    LIMIT_LABEL_BYTES = 1024,          /* one label */
    LIMIT_LABELS = 1024,               /* labels of a model's own head */
    LIMIT_TEMPLATE_BYTES = 1024,       /* one hypothesis template */
    LIMIT_REQUEST_BYTES = 256 * 1024,  /* body of a request (ZMQ_MAXMSGSIZE of the front end) */
    LIMIT_REPLY_BYTES = 1024 * 1024,   /* body of a reply (ZMQ_MAXMSGSIZE of the back end) */
    LIMIT_CALL_TEXTS = 1000000,   /* texts of one call of the client library, before splitting */
    LIMIT_TRACEPARENT_BYTES = 55, /* W3C trace context, version 00 */
    LIMIT_DEADLINE_MS = 10 * 60 * 1000, /* longest time a request may ask for */

    /* Names. */
    LIMIT_NAME_BYTES = 64, /* model, client, worker, prompt and host names, without the NUL */

    /* Models. */
    LIMIT_TOKENS = 8192,                 /* tokens of one sequence, special ones included */
    LIMIT_DIM = 2048,                    /* numbers of one vector */
    LIMIT_VOCAB = 1000000,               /* pieces of a vocabulary */
    LIMIT_LAYERS = 128,                  /* layers of an encoder */
    LIMIT_HIDDEN = 16384,                /* width of a layer, hidden or inner */
    LIMIT_MODELS = 16,                   /* models of one worker */
    LIMIT_JSON_BYTES = 64 * 1024 * 1024, /* config.json, tokenizer.json ... */
    LIMIT_JSON_DEPTH = 64,
    LIMIT_ST_HEADER_BYTES =
        100 * 1000 * 1000,          /* header of a safetensors file (its format says so) */
    LIMIT_TENSORS = 65536,          /* tensors of one model */
    LIMIT_TENSOR_NAME_BYTES = 1024, /* name of one tensor, without the NUL */
    LIMIT_SHARDS = 1024,            /* weight files of one model */
    LIMIT_CONFIG_BYTES =
        2 * 1024 * 1024, /* config.json and the other small files; bounds their parsed form too */
    LIMIT_ZERO_SHOT_BYTES = 16 * 1024, /* ember_zero_shot.json */
    LIMIT_PICKLE_BYTES =
        32 * 1024 * 1024,          /* the pickle in a pytorch_model.bin, without the numbers */
    LIMIT_POSITIONS = 1024 * 1024, /* rows of a position table */
    LIMIT_PROMPTS = 256,           /* prompts that a model directory names */

    /* Work. */
    LIMIT_BATCH_TOKENS = 8192, /* upper end of the batch token budget */
    LIMIT_BATCH_ITEMS = 1024,  /* sequences of one batch */
    LIMIT_THREADS = 256,       /* runner threads of one worker */
    LIMIT_BROKERS = 8,         /* brokers of one worker or client */

    /* Broker. */
    LIMIT_PEERS = 65536,          /* sessions, clients and workers together */
    LIMIT_WORKERS = 4096,         /* live workers */
    LIMIT_SERVICES = 1024,        /* (model or alias) x task */
    LIMIT_TICKETS = 65536,        /* admitted and unanswered requests */
    LIMIT_CLIENT_TICKETS = 16384, /* of one client */
    LIMIT_ATTEMPTS = 3,           /* executions of one request */
    LIMIT_DRAIN = 256,            /* messages taken from one socket per wake-up */

    /* Cache. */
    LIMIT_CACHE_KEY_BYTES = 192,               /* a Redis key of ours */
    LIMIT_CACHE_VALUE_BYTES = 96 + 128 * 1024, /* header and payload */
    LIMIT_MGET = 256,                          /* keys of one MGET */
    LIMIT_SETS_QUEUED = 4096, /* SETs waiting for Redis; more are dropped and counted */

    /* Price tables (ember cost). */
    LIMIT_PRICES_BYTES = 64 * 1024, /* of one file */
    LIMIT_PRICES_ROWS = 256,
};

_Static_assert(LIMIT_REQUEST_TEXTS *LIMIT_DIM * 4 + 64 * 1024 <= LIMIT_REPLY_BYTES,
               "a full reply of the widest vectors fits its frame");
_Static_assert((int)LIMIT_LABELS <= (int)LIMIT_DIM &&
                   (int)LIMIT_REQUEST_LABELS <= (int)LIMIT_LABELS,
               "logits fit where vectors do");
_Static_assert(LIMIT_DIM * 4 + 96 <= LIMIT_CACHE_VALUE_BYTES, "the widest vector fits a value");
_Static_assert(LIMIT_TICKETS <= 1 << 16, "a ticket's slot fits the wire's 32 bits with room");

#endif
