/* engine_weights.c - see engine_weights.h. */
#include "engine/engine_weights.h"

#include "model/encoder_parts.h"

#include <string.h>

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
    st = encoder_image_fill(self->shape, self->kernel, &source, image, err);
    /* Weights written over meanwhile are not those of the fingerprint, and whoever shares the image
     * would never know; what they look like now may also be why it could not be filled. */
    if (!model_dir_weights_hold(self->dir))
        st = err_set(err, STATUS_ABORTED, "'%s': its weights changed while they were read",
                     self->dir->path);
    return st;
}

enum status engine_name_dir(const struct model_dir *dir, enum status st, struct err *err) {
    if (st == STATUS_OK || !err || strstr(err->text, dir->path))
        return st;
    return err_prefix(err, st, "'%s'", dir->path);
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
        return engine_name_dir(dir, st, err);
    struct maker maker = {dir, &whole, kernel, options, encoder_image_bytes(&whole, kernel)};
    struct prepared_key key = {.shape = &whole,
                               .kernel = kernel,
                               .layout = ENCODER_IMAGE_LAYOUT,
                               .head_layout = encoder_head_layout(&whole, kernel),
                               .bytes = maker.bytes};
    memcpy(key.fingerprint, dir->files_sha256, sizeof key.fingerprint);
    st = prepared_get(options->weights_cache, &key, make_image, &maker, &out->prepared, err);
    if (st == STATUS_OK)
        st = encoder_over(&whole, kernel, out->prepared.image, &out->encoder, err);
    if (st != STATUS_OK)
        engine_weights_done(out);
    weights_destroy(&dir->weights);
    return engine_name_dir(dir, st, err);
}

void engine_weights_done(struct engine_weights *self) {
    encoder_destroy(&self->encoder);
    prepared_done(&self->prepared);
}
