/* encoder_image.c - where in an image of prepared weights everything lies:
 *
 *     words | positions | segments | cosines, sines | norm | layer 0: qkv out ffn1 ffn2 norm1 norm2
 *         | layer 1 ... | head: inner, classifier
 *
 * each at the next multiple of 64 bytes; tables that a family does not have take no room. Matrices
 * lie in the order of use, because a product asks for the next one's first bytes (gemm_packed.h).
 *
 * Addresses are counted as numbers: with no image at hand they begin at 0 and the end is the
 * size. */
#include "model/encoder_parts.h"

#include "base/check.h"

#include <stdlib.h>

struct cursor {
    uintptr_t next;
};

static const void *place(struct cursor *at, size_t n, size_t size) {
    const uintptr_t here = at->next;
    at->next += (n * size + ENCODER_IMAGE_ALIGN - 1) / ENCODER_IMAGE_ALIGN * ENCODER_IMAGE_ALIGN;
    return (const void *)here;
}

static const float *place_floats(struct cursor *at, size_t rows, size_t columns) {
    return place(at, rows * columns, sizeof(float));
}

static struct encoder_norm place_norm(struct cursor *at, uint32_t hidden) {
    const float *weight = place_floats(at, 1, hidden);
    return (struct encoder_norm){weight, place_floats(at, 1, hidden)};
}

static struct gemm_weights place_product(struct cursor *at, const struct gemm_kernel *kernel,
                                         uint32_t n, uint32_t k) {
    return (struct gemm_weights){kernel, n, k, place(at, kernel->packed_bytes(n, k), 1)};
}

static void place_layer(struct cursor *at, const struct encoder *self,
                        struct encoder_layer *layer) {
    const uint32_t h = self->shape.hidden, i = self->shape.inner;
    layer->qkv = place_product(at, self->gemm, 3 * h, h);
    layer->out = place_product(at, self->gemm, h, h);
    layer->ffn1 = place_product(at, self->gemm, self->shape.gated ? 2 * i : i, h);
    layer->ffn2 = place_product(at, self->gemm, h, i);
    layer->norm1 = place_norm(at, h);
    layer->norm2 = place_norm(at, h);
}

static void place_tables(struct cursor *at, struct encoder *self) {
    const struct model_shape *shape = &self->shape;
    const uint32_t h = shape->hidden, half = h / shape->heads / 2;
    self->words = NULL;
    self->half_words = NULL;
    if (self->gemm->precision == GEMM_F32)
        self->words = place_floats(at, shape->vocab_rows, h);
    else
        self->half_words = place(at, (size_t)shape->vocab_rows * h, sizeof *self->half_words);
    const bool rotary = shape->rotary_base > 0, segments = shape->family != MODEL_DISTILBERT;
    self->positions = rotary ? NULL : place_floats(at, shape->positions, h);
    self->types = segments && shape->types ? place_floats(at, shape->types, h) : NULL;
    self->cosines = rotary ? place_floats(at, shape->max_tokens, half) : NULL;
    self->sines = rotary ? place_floats(at, shape->max_tokens, half) : NULL;
}

size_t encoder_lay_out(struct encoder *self) {
    const struct model_shape *shape = &self->shape;
    struct cursor at = {(uintptr_t)self->image};
    place_tables(&at, self);
    self->norm = place_norm(&at, shape->hidden);
    for (uint32_t l = 0; l < shape->layers; l++) {
        struct encoder_layer nowhere;
        place_layer(&at, self, self->layers ? &self->layers[l] : &nowhere);
    }
    if (shape->head != MODEL_HEAD_NONE) {
        self->head_inner = place_product(&at, self->head_gemm, shape->hidden, shape->hidden);
        self->classifier = place_product(&at, self->head_gemm, shape->classes, shape->hidden);
    }
    return at.next - (uintptr_t)self->image;
}

static enum kernel_act act_of(enum model_act act) {
    switch (act) {
    case MODEL_GELU:
        return KERNEL_ACT_GELU;
    case MODEL_GELU_NEW:
        return KERNEL_ACT_GELU_NEW;
    case MODEL_RELU:
        return KERNEL_ACT_RELU;
    case MODEL_SILU:
        return KERNEL_ACT_SILU;
    }
    CHECK(false); /* all of the enum are above */
    return KERNEL_ACT_NONE;
}

/* The head is one small product per sequence and decides the answer: float32 always, and where
 * that is not the kernel's own precision, in the layout that every CPU reads. */
static struct encoder plan(const struct model_shape *shape, const struct gemm_kernel *kernel) {
    CHECK(shape->layers && shape->hidden && shape->heads && shape->inner);
    CHECK(shape->hidden % shape->heads == 0 && shape->max_tokens <= shape->positions);
    CHECK(shape->head == MODEL_HEAD_NONE || shape->classes);
    return (struct encoder){
        .shape = *shape,
        .gemm = kernel,
        .head_gemm = kernel->precision == GEMM_F32 ? kernel : gemm_by_name(GEMM_F32, "portable"),
        .kernels = kernels_choose(),
        .attention = kernel->precision == GEMM_F32 ? kernels_choose()->attention
                                                   : kernels_attention_narrow(kernels_choose()),
        .act = act_of(shape->act),
    };
}

size_t encoder_image_bytes(const struct model_shape *shape, const struct gemm_kernel *kernel) {
    struct encoder self = plan(shape, kernel);
    return encoder_lay_out(&self);
}

uint32_t encoder_head_layout(const struct model_shape *shape, const struct gemm_kernel *kernel) {
    return shape->head == MODEL_HEAD_NONE ? 0 : plan(shape, kernel).head_gemm->layout;
}

enum status encoder_over(const struct model_shape *shape, const struct gemm_kernel *kernel,
                         const void *image, encoder_t **out, struct err *err) {
    CHECK((uintptr_t)image % ENCODER_IMAGE_ALIGN == 0);
    encoder_t *self = malloc(sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for an encoder");
    *self = plan(shape, kernel);
    self->image = image;
    self->layers = calloc(shape->layers, sizeof *self->layers);
    self->zeros = calloc(shape->hidden, sizeof *self->zeros);
    if (!self->layers || !self->zeros) {
        encoder_destroy(&self);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for an encoder");
    }
    self->image_bytes = encoder_lay_out(self);
    *out = self;
    return STATUS_OK;
}

void encoder_destroy(encoder_t **self) {
    if (!*self)
        return;
    free((*self)->layers);
    free((*self)->zeros);
    free((*self)->owned);
    free(*self);
    *self = NULL;
}

const struct model_shape *encoder_shape(const encoder_t *self) {
    return &self->shape;
}

size_t encoder_weight_bytes(const encoder_t *self) {
    return self->image_bytes;
}
