/* fuzz_zap.c - any frames as a ZAP request, before a ring that admits one client and one worker.
 * They come from libzmq, but mechanism, domain and key are what a stranger caused: 200 means seven
 * frames, CURVE, and a key that is in the ring for just that port.
 *
 * An input says of each frame how long it is, and its bytes; a length of 255 stands for the frame
 * of a right request, of 254 for the other port or the other key. */
#include "support/keys.h"

#include "fuzz/bytes.h"

#include "base/check.h"
#include "guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static keyring_t *ring;
static struct cert client, worker;

static void make_ring(void) {
    struct keys keys;
    keys_make(&keys);
    keys_add(&keys, "clients", "c", &client);
    keys_add(&keys, "workers", "w", &worker);
    CHECK(keyring_load(keys.dir, 1, NULL, NULL, &ring, NULL) == STATUS_OK);
    CHECK(keyring_count(ring) == 2);
    keys_remove(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!ring)
        make_ring();
    const struct view client_key = view_make(client.public_key, CERT_KEY_BYTES);
    const struct view worker_key = view_make(worker.public_key, CERT_KEY_BYTES);
    const struct view right[GUARD_FRAMES] = {
        view_of("1.0"),   view_of("id"), view_of("ember.clients"), view_of("10.0.0.1"), view_of(""),
        view_of("CURVE"), client_key};
    struct bytes in = {data, size};
    struct guard_request request = {.n = 0};
    while (in.left && request.n < GUARD_FRAMES) {
        uint32_t i = request.n++;
        struct view *frame = &request.frames[i];
        if (*in.at < 254) {
            *frame = bytes_some(&in, GUARD_FRAME_BYTES);
            continue;
        }
        bool other = bytes_u8(&in) == 254;
        *frame = !other   ? right[i]
                 : i == 2 ? view_of("ember.workers")
                 : i == 6 ? worker_key
                          : view_of("");
    }
    request.n += in.left > 0; /* more came than were kept */
    struct guard_answer got = guard_judge(&request, ring);
    struct guard_answer none = guard_judge(&request, NULL);
    CHECK(got.code && strlen(got.code) == 3 && got.why && none.code && none.why);
    CHECK(strcmp(none.code, "200") != 0 && !none.user[0]);
    if (strcmp(got.code, "200") != 0) {
        CHECK(!got.user[0]);
        return 0;
    }
    CHECK(request.n == GUARD_FRAMES && view_equal(request.frames[5], view_of("CURVE")));
    bool is_worker = view_equal(request.frames[6], worker_key);
    CHECK(is_worker || view_equal(request.frames[6], client_key));
    CHECK(view_equal(request.frames[2], view_of(is_worker ? "ember.workers" : "ember.clients")));
    char want[CERT_KEY_TEXT];
    cert_key_text(is_worker ? worker.public_key : client.public_key, want);
    CHECK(strcmp(got.user, want) == 0);
    return 0;
}
