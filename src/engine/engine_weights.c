/* engine_weights.c - see engine_weights.h. */
#include "engine/engine_weights.h"

#include "model/encoder_parts.h"

struct maker {
    struct model_dir *dir;
    const struct model_shape *shape;
    const struct gemm_kernel *kernel;
    const struct engine_options *options;
    size_t bytes;
};

static enum status make_image(void *arg, void *image, struct err *err) {
    const struct maker *self = arg;
    const struct engine_options *options = self->options;
    if (options->preparing)
        options->preparing(options->preparing_arg, self->dir->path, self->bytes);
    enum status st = model_dir_need_weights(self->dir, options->weights_cache, err);
    if (st != STATUS_OK)
        return st;
    const struct encoder_source source = encoder_source_of(self->dir->weights);
    return encoder_image_fill(self->shape, self->kernel, &source, image, err);
}

enum status engine_weights_load(struct model_dir *dir, const struct model_shape *shape,
                                const struct gemm_kernel *kernel,
                                const struct engine_options *options, struct engine_weights *out,
                                struct err *err) {
    struct model_shape whole = *shape;
    const struct encoder_source shapes = encoder_source_of(dir->weights);
    *out = (struct engine_weights){0};
    enum status st = encoder_complete(&whole, &shapes, err);
    if (st != STATUS_OK)
        return st;
    struct maker maker = {dir, &whole, kernel, options, encoder_image_bytes(&whole, kernel)};
    struct prepared_key key = {
        .shape = &whole, .kernel = kernel, .layout = ENCODER_IMAGE_LAYOUT, .bytes = maker.bytes};
    memcpy(key.fingerprint, dir->files_sha256, sizeof key.fingerprint);
    st = prepared_get(options->weights_cache, &key, make_image, &maker, &out->prepared, err);
    if (st == STATUS_OK)
        st = encoder_over(&whole, kernel, out->prepared.image, &out->encoder, err);
    if (st != STATUS_OK)
        engine_weights_done(out);
    weights_destroy(&dir->weights);
    return st;
}

void engine_weights_done(struct engine_weights *self) {
    encoder_destroy(&self->encoder);
    prepared_done(&self->prepared);
}
