/* resp.c - see resp.h. Running out of room is our own mistake in counting, so it is a CHECK. */
#include "cache/resp.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool resp_out_init(struct resp_out *self, size_t size) {
    *self = (struct resp_out){.data = malloc(size), .size = size};
    return self->data != NULL;
}

void resp_out_done(struct resp_out *self) {
    free(self->data);
    *self = (struct resp_out){0};
}

void resp_out_reset(struct resp_out *self) {
    self->from = self->to = 0;
}

size_t resp_out_bytes(const struct resp_out *self) {
    return self->to - self->from;
}

void resp_compact(struct resp_out *self) {
    if (self->from == 0)
        return;
    memmove(self->data, self->data + self->from, self->to - self->from);
    self->to -= self->from;
    self->from = 0;
}

static void put(struct resp_out *self, const char *data, size_t bytes) {
    CHECK(self->size - self->to >= bytes);
    if (bytes)
        memcpy(self->data + self->to, data, bytes);
    self->to += bytes;
}

static void put_number(struct resp_out *self, char mark, size_t number) {
    char text[24];
    int n = snprintf(text, sizeof text, "%c%zu\r\n", mark, number);
    put(self, text, (size_t)n);
}

void resp_array(struct resp_out *self, size_t n_args) {
    put_number(self, '*', n_args);
}

void resp_arg(struct resp_out *self, const char *data, size_t bytes) {
    put_number(self, '$', bytes);
    put(self, data, bytes);
    put(self, "\r\n", 2);
}

void resp_text(struct resp_out *self, const char *text) {
    resp_arg(self, text, strlen(text));
}
