/* codec_pb.h - what codec*.c and session.c share about protobuf-c. Nothing else includes it.
 *
 * protobuf-c's unpack multiplies memory (each unknown field and each empty string is an
 * allocation), so it runs over a capped arena after a walk over the top level has counted the
 * repeated fields. */
#ifndef EMBER_WIRE_CODEC_PB_H
#define EMBER_WIRE_CODEC_PB_H

#include "wire/session.h"

#include "ember.pb-c.h"

struct pb_count {
    uint32_t field; /* number of a repeated field of the message */
    uint32_t max;
    const char *what; /* "texts" */
};

/* Counts, then unpacks. The message lives in the arena: never freed by itself. */
enum status pb_unpack(const ProtobufCMessageDescriptor *descriptor, struct view body,
                      const struct pb_count *counts, size_t n_counts, struct arena *arena,
                      void **message, struct err *err);

/* Packs `message` into out; STATUS_INTERNAL when it is larger than LIMIT_REPLY_BYTES. */
enum status pb_pack(const void *message, struct wire_out *out);

static inline struct view pb_view(ProtobufCBinaryData data) {
    return view_make(data.data, data.len);
}

static inline ProtobufCBinaryData pb_data(struct view view) {
    return (ProtobufCBinaryData){view.bytes, (uint8_t *)(uintptr_t)view.data};
}

/* n items of a type from the arena; NULL with *err set when it is full. n 0 gives a pointer,
 * too. */
#define pb_array(arena, type, n, err) ((type *)pb_take((arena), (n), sizeof(type), (err)))
void *pb_take(struct arena *arena, size_t n, size_t size, struct err *err);

/* UTF-8 of at most `max` bytes. `what` names the field in the message. */
enum status pb_check_text(struct view text, size_t max, const char *what, struct err *err);

/* 1..LIMIT_NAME_BYTES of [A-Za-z0-9._-]; empty only when `may_be_empty`. */
enum status pb_check_name(struct view name, bool may_be_empty, const char *what, struct err *err);

enum status pb_check_enum(int value, int end, const char *what, struct err *err);

/* ---- shared by codec.c and codec_score.c; defined in codec.c */

/* n texts, 1 at least, as views in the arena; *item is set when one of them is at fault. `what` as
 * in "no documents". */
enum status pb_decode_texts(const ProtobufCBinaryData *data, size_t n, const char *what,
                            struct arena *arena, const struct view **out, uint32_t *item,
                            struct err *err);
enum status pb_check_traceparent(struct view trace, struct err *err);

/* Points protobuf data at views; false when there are more than `room`. */
bool pb_point_at(ProtobufCBinaryData *to, const struct view *views, uint32_t n, uint32_t room);

/* Facts in protobuf form; lives on the stack of the encoder. */
struct pb_facts {
    Ember__Facts facts;
    Ember__Times times;
    protobuf_c_boolean truncated[LIMIT_REQUEST_TEXTS];
    Ember__Source source[LIMIT_REQUEST_TEXTS];
};
bool pb_fill_facts(struct pb_facts *room, const struct wire_facts *in);
enum status pb_decode_facts(const Ember__Facts *in, struct arena *arena, struct wire_facts *out,
                            struct err *err);

/* ---- shared by session.c and report.c; defined in session.c */

struct pb_model { /* a model in protobuf form with its list of tasks */
    Ember__Model m;
    Ember__Task tasks[WIRE_TASKS];
};
void pb_fill_model(struct pb_model *room, const struct wire_model *in);
enum status pb_decode_models(Ember__Model **in, size_t n, struct arena *arena,
                             const struct wire_model **out, struct err *err);
void pb_fill_heartbeat(Ember__Heartbeat *m, const struct wire_heartbeat *in);
enum status pb_read_heartbeat(const Ember__Heartbeat *m, struct wire_heartbeat *out,
                              struct err *err);
enum status pb_check_task(int task, struct err *err);

#endif
