/* codec_pb.c - protobuf-c over an arena with a hard cap. See codec_pb.h for why. */
#include "wire/codec_pb.h"

#include "base/utf8.h"

#include <ctype.h>
#include <stdlib.h>

enum { CHUNK_BYTES = 2048, ALIGN = 16 };

/* The arena aligns to cache lines, which would waste most of a short text's space; pieces are cut
 * from chunks instead. Memory is zeroed: protobuf-c 1.4.1 leaves unknown_fields unset when there
 * are none. */
struct cutter {
    struct arena *arena;
    char *at;
    size_t left;
    bool full;
};

static void *cutter_alloc(void *data, size_t bytes) {
    struct cutter *self = data;
    if (bytes > LIMIT_REPLY_BYTES * 8u) {
        self->full = true;
        return NULL;
    }
    size_t need = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (need > self->left) {
        size_t chunk = need > CHUNK_BYTES / 2 ? need : CHUNK_BYTES;
        char *p = arena_take(self->arena, chunk);
        if (!p) {
            self->full = true;
            return NULL;
        }
        if (need == chunk)
            return memset(p, 0, need);
        self->at = p;
        self->left = chunk;
    }
    char *p = self->at;
    self->at += need;
    self->left -= need;
    return memset(p, 0, need);
}

static void cutter_free(void *data, void *pointer) {
    (void)data;
    (void)pointer; /* the arena forgets everything at once */
}

size_t codec_arena_bytes(size_t body_bytes) {
    return 16 * 1024 + 8 * body_bytes;
}

/* A label's name may be a byte, three on the wire; here it is a view, protobuf data, the byte
 * itself and, while protobuf-c looks for it, up to twice its 40 bytes of notes about a field. */
size_t codec_reply_arena_bytes(size_t body_bytes) {
    return codec_arena_bytes(body_bytes) + (size_t)LIMIT_LABELS * 8 * ALIGN;
}

/* ---------------------------------------------------------------- the walk over the top level */

static bool take_varint(struct view *in, uint64_t *out) {
    uint64_t x = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (in->bytes == 0)
            return false;
        unsigned char c = (unsigned char)*in->data++;
        in->bytes--;
        x |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *out = x;
            return true;
        }
    }
    return false;
}

static bool skip(struct view *in, uint64_t bytes) {
    if (bytes > in->bytes)
        return false;
    in->data += bytes;
    in->bytes -= (size_t)bytes;
    return true;
}

/* Takes one field off *in; false when the bytes are no protobuf. */
static bool take_field(struct view *in, uint32_t *number) {
    uint64_t key, x;
    if (!take_varint(in, &key) || key >> 3 == 0 || key >> 3 > 536870911)
        return false;
    *number = (uint32_t)(key >> 3);
    switch (key & 7) {
    case 0:
        return take_varint(in, &x);
    case 1:
        return skip(in, 8);
    case 2:
        return take_varint(in, &x) && skip(in, x);
    case 5:
        return skip(in, 4);
    default:
        return false;
    }
}

static enum status count_fields(struct view body, const struct pb_count *counts, size_t n_counts,
                                struct err *err) {
    uint32_t seen[8] = {0};
    for (uint32_t number; body.bytes;) {
        if (!take_field(&body, &number))
            return err_set(err, STATUS_INVALID_ARGUMENT, "the body is not a protobuf message");
        for (size_t i = 0; i < n_counts; i++)
            if (counts[i].field == number && ++seen[i] > counts[i].max)
                return err_set(err, STATUS_INVALID_ARGUMENT, "more than %u %s in one request",
                               counts[i].max, counts[i].what);
    }
    return STATUS_OK;
}

enum status pb_unpack(const ProtobufCMessageDescriptor *descriptor, struct view body,
                      const struct pb_count *counts, size_t n_counts, struct arena *arena,
                      void **message, struct err *err) {
    enum status st = count_fields(body, counts, n_counts, err);
    if (st != STATUS_OK)
        return st;
    struct cutter cutter = {.arena = arena};
    ProtobufCAllocator allocator = {cutter_alloc, cutter_free, &cutter};
    void *m = protobuf_c_message_unpack(descriptor, &allocator, body.bytes,
                                        (const uint8_t *)(body.data ? body.data : ""));
    if (!m && cutter.full)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the %s needs more memory than a body may",
                       descriptor->short_name);
    if (!m)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the body is not a valid %s",
                       descriptor->short_name);
    *message = m;
    return STATUS_OK;
}

/* ---------------------------------------------------------------- output */

enum status pb_pack(const void *message, struct wire_out *out) {
    size_t bytes = protobuf_c_message_get_packed_size(message);
    if (bytes > LIMIT_REPLY_BYTES)
        return STATUS_INTERNAL;
    if (bytes > out->room) {
        size_t room = bytes < 4096 ? 4096 : bytes + bytes / 2;
        uint8_t *data = realloc(out->data, room);
        if (!data)
            return STATUS_RESOURCE_EXHAUSTED;
        out->data = data;
        out->room = room;
    }
    out->bytes = bytes ? protobuf_c_message_pack(message, out->data) : 0;
    return STATUS_OK;
}

void wire_out_done(struct wire_out *self) {
    free(self->data);
    *self = (struct wire_out){0};
}

/* ---------------------------------------------------------------- checks */

void *pb_take(struct arena *arena, size_t n, size_t size, struct err *err) {
    void *p = arena_take_array(arena, n, size);
    if (!p)
        err_set(err, STATUS_INVALID_ARGUMENT, "the body needs more memory than a body may");
    return p;
}

enum status pb_check_text(struct view text, size_t max, const char *what, struct err *err) {
    if (text.bytes > max)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s has %zu bytes, at most %zu are allowed",
                       what, text.bytes, max);
    size_t valid = utf8_valid_prefix(text);
    if (valid != text.bytes)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s is not UTF-8 at byte %zu", what, valid);
    return STATUS_OK;
}

enum status pb_check_name(struct view name, bool may_be_empty, const char *what, struct err *err) {
    if (name.bytes == 0 && may_be_empty)
        return STATUS_OK;
    if (name.bytes == 0 || name.bytes > LIMIT_NAME_BYTES)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s must have 1 to %d bytes", what,
                       LIMIT_NAME_BYTES);
    for (size_t i = 0; i < name.bytes; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c >= 0x80 || (!isalnum(c) && c != '.' && c != '_' && c != '-'))
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "%s may hold letters, digits, '.', '_' and '-' only", what);
    }
    return STATUS_OK;
}

enum status pb_check_enum(int value, int end, const char *what, struct err *err) {
    if (value < 0 || value >= end)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s %d is not known", what, value);
    return STATUS_OK;
}
