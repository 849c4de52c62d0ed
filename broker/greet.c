/* greet.c - see greet.h. What was read is valid by construction: the codec has checked it. */
#include "greet.h"

bool greet_init(struct greet *self, const struct greet_cfg *cfg) {
    *self = (struct greet){.cfg = *cfg};
    return arena_init(&self->arena, session_arena_bytes(GREET_BODY_BYTES));
}

void greet_done(struct greet *self) {
    arena_done(&self->arena);
    wire_out_done(&self->out);
}

static enum status start(struct greet *self, struct view body, struct err *err) {
    arena_reset(&self->arena);
    if (body.bytes > GREET_BODY_BYTES)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "the body has %zu bytes, %u are the limit",
                       body.bytes, GREET_BODY_BYTES);
    return STATUS_OK;
}

static enum status agree(uint32_t min, uint32_t max, struct err *err) {
    if (min <= WIRE_PROTOCOL && WIRE_PROTOCOL <= max)
        return STATUS_OK;
    return err_set(err, STATUS_UNIMPLEMENTED, "protocol %u to %u asked for, this broker speaks %u",
                   min, max, WIRE_PROTOCOL);
}

enum status greet_read_hello(struct greet *self, struct view body, struct wire_hello *out,
                             struct err *err) {
    enum status status = start(self, body, err);
    if (status == STATUS_OK)
        status = session_hello_decode(body, &self->arena, out, err);
    return status == STATUS_OK ? agree(out->protocol_min, out->protocol_max, err) : status;
}

enum status greet_read_ready(struct greet *self, struct view body, struct wire_ready *out,
                             struct err *err) {
    enum status status = start(self, body, err);
    if (status == STATUS_OK)
        status = session_ready_decode(body, &self->arena, out, err);
    return status == STATUS_OK ? agree(out->protocol_min, out->protocol_max, err) : status;
}

enum status greet_read_heartbeat(struct greet *self, struct view body, struct wire_heartbeat *out,
                                 struct err *err) {
    enum status status = start(self, body, err);
    return status == STATUS_OK ? session_heartbeat_decode(body, &self->arena, out, err) : status;
}

static struct view written(struct greet *self, enum status status) {
    return status == STATUS_OK ? wire_out_view(&self->out) : view_make(NULL, 0);
}

static uint32_t list_services(core_t *core, uint32_t client, const struct wire_hello *hello,
                              uint64_t now_us, struct wire_service *out) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < hello->n_want && n < WIRE_HELLO_WANT_MAX; i++) {
        const struct wire_service_name *want = &hello->want[i];
        uint32_t number = core_number(core, want->model, want->task);
        if (!number)
            continue; /* no room: the client sees that it has no number */
        struct wire_service *s = &out[n++];
        *s = (struct wire_service){.number = number, .model = want->model, .task = want->task};
        uint32_t serves = core_serves(core, number, client, now_us);
        if (!serves)
            continue;
        const struct fleet_service *service = &core_fleet(core)->services[serves];
        s->workers = service->n_members;
        s->serves = view_of(service->model);
        s->fingerprint = view_of(service->fingerprint);
        s->dim = service->dim;
        s->max_tokens = service->max_tokens;
        s->head = service->head;
        s->labels = service->labels;
    }
    return n;
}

struct view greet_welcome(struct greet *self, core_t *core, uint32_t client,
                          const struct wire_hello *hello, uint64_t now_us) {
    struct wire_service services[WIRE_HELLO_WANT_MAX];
    const struct core_cfg *cfg = core_cfg(core);
    struct wire_welcome welcome = {
        .protocol = WIRE_PROTOCOL,
        .session = core_session(core, client),
        .broker = cfg->id,
        .broker_name = view_of(self->cfg.name),
        .version = view_of(EMBER_VERSION),
        .heartbeat_ms = (uint32_t)(cfg->heartbeat_us / 1000),
        .limits = {.request_bytes = LIMIT_REQUEST_BYTES,
                   .reply_bytes = LIMIT_REPLY_BYTES,
                   .texts = LIMIT_REQUEST_TEXTS,
                   .labels = LIMIT_REQUEST_LABELS,
                   .text_bytes = LIMIT_TEXT_BYTES,
                   .in_flight = core_max_requests(core, client),
                   .deadline_ms = LIMIT_DEADLINE_MS,
                   .pairs = LIMIT_REQUEST_PAIRS,
                   .tokens = LIMIT_REQUEST_TOKENS},
        .services = services,
        .n_services = list_services(core, client, hello, now_us, services),
        .brokers = self->cfg.advertise,
        .n_brokers = self->cfg.n_advertise,
    };
    return written(self, session_welcome_encode(&welcome, &self->out));
}

struct view greet_ready_ok(struct greet *self, const core_t *core, uint32_t worker) {
    struct wire_service_number numbers[FLEET_WORKER_SERVICES];
    const struct core_cfg *cfg = core_cfg(core);
    const struct fleet *fleet = core_fleet(core);
    const struct fleet_worker *w = &fleet->workers[worker];
    for (uint32_t i = 0; i < w->n_services; i++) {
        const struct fleet_service *s = &fleet->services[w->services[i]];
        numbers[i] = (struct wire_service_number){
            .number = w->services[i], .model = view_of(s->model), .task = s->task};
    }
    uint32_t heartbeat_ms = (uint32_t)(cfg->heartbeat_us / 1000);
    struct wire_ready_ok ok = {.protocol = WIRE_PROTOCOL,
                               .broker = cfg->id,
                               .heartbeat_ms = heartbeat_ms,
                               .silence_ms = heartbeat_ms * CORE_SILENT_BEATS,
                               .services = numbers,
                               .n_services = w->n_services};
    return written(self, session_ready_ok_encode(&ok, &self->out));
}

struct view greet_error(struct greet *self, const struct core_error *error) {
    struct wire_error body = {.message = view_of(error->text),
                              .retry_after_ms = error->retry_after_ms,
                              .may_have_run = error->may_have_run};
    return written(self, codec_error_encode(&body, &self->out));
}

struct view greet_goaway(struct greet *self, const char *reason) {
    return written(self, session_goaway_encode(view_of(reason), &self->out));
}
