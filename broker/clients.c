/* clients.c - sessions of clients: HELLO, hearing from them, losing them.
 *
 *     HELLO ──► session ──► silent for a minute, or disconnected ──► tickets dropped, closed
 *
 * An idle client may be silent for long (a program that has nothing to ask), so silence alone does
 * not end it soon; but it is pinged, and a connection that is gone shows when the ping is sent. */
#include "core_state.h"

#include "base/check.h"

enum {
    IDLE_PING_US = 15 * 1000 * 1000, /* pings to clients that have nothing in flight */
    CUT_MAX = 64,                    /* replies a client may fail to take before it is given up */
};

void client_doom(core_t *self, uint32_t client, const char *why) {
    struct client *c = &self->clients[client];
    if (c->doomed)
        return;
    c->doomed = true;
    c->why = why;
    self->doomed_clients[self->n_doomed_clients++] = client;
}

void client_sent(core_t *self, uint32_t client, enum core_sent sent) {
    if (sent == CORE_GONE)
        client_doom(self, client, "disconnected");
    else if (sent == CORE_FULL) {
        self->stats.replies_cut++;
        if (++self->clients[client].cut >= CUT_MAX)
            client_doom(self, client, "does not take its replies");
    }
}

void client_send(core_t *self, uint32_t client, const struct header *header,
                 const struct core_error *error) {
    if (!self->clients[client].doomed)
        client_sent(self, client, self->ops.to_client(self->ops.arg, client, header, error));
}

static void control(core_t *self, uint32_t client, uint8_t type) {
    struct header header = {.type = type, .epoch = self->clients[client].session};
    client_send(self, client, &header, NULL);
}

static void drop_tickets(core_t *self, struct client *c) {
    while (!queue_empty(&c->tickets))
        ticket_drop(self, QUEUE_ITEM(queue_head(&c->tickets), struct ticket, owned));
}

void client_end(core_t *self, uint32_t client) {
    struct client *c = &self->clients[client];
    drop_tickets(self, c);
    account_leave(&self->accounts, c->account);
    self->ops.client_closed(self->ops.arg, client, c->why);
    *c = (struct client){0};
    self->free_clients[self->n_free_clients++] = client;
    self->n_clients--;
}

/* What the connection proves goes before what holds for everybody. */
static uint32_t join(core_t *self, const struct core_who *who) {
    const struct core_cfg *cfg = &self->cfg;
    struct account_limits limits = {
        .max_requests = who->max_requests ? who->max_requests : cfg->max_client_tickets,
        .weight = who->weight,
        .max_bytes = who->max_bytes ? who->max_bytes : cfg->max_client_bytes,
        .max_work = who->max_cost ? who->max_cost : cfg->max_client_cost};
    return account_join(&self->accounts, who->account, &limits);
}

static void start(core_t *self, struct client *c, uint64_t session, const struct core_who *who,
                  uint64_t now_us) {
    *c = (struct client){.session = session, .heard_us = now_us, .pinged_us = now_us};
    if (who)
        c->who = *who;
    c->account = join(self, &c->who);
    queue_init(&c->tickets);
}

enum status core_hello(core_t *self, uint32_t *client, uint64_t epoch, uint64_t session,
                       const struct core_who *who, uint64_t now_us, struct err *err) {
    CHECK(session != 0);
    if (self->draining)
        return err_set(err, STATUS_UNAVAILABLE, "this broker is stopping");
    if (*client != CORE_NONE) {
        struct client *c = &self->clients[*client];
        CHECK(*client < self->high_clients && c->session);
        if (epoch == c->session) {
            c->heard_us = now_us;
            return STATUS_OK;
        }
        drop_tickets(self, c);
        account_leave(&self->accounts, c->account);
        start(self, c, session, who, now_us);
        core_settle(self, now_us);
        return STATUS_OK;
    }
    if (!self->n_free_clients && self->high_clients == self->cfg.max_clients)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "there are %u clients already",
                       self->cfg.max_clients);
    if (who && who->account && self->cfg.max_key_sessions &&
        account_sessions(&self->accounts, who->account) >= self->cfg.max_key_sessions)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "there are %u sessions of this key already",
                       self->cfg.max_key_sessions);
    *client =
        self->n_free_clients ? self->free_clients[--self->n_free_clients] : self->high_clients++;
    self->n_clients++;
    start(self, &self->clients[*client], session, who, now_us);
    return STATUS_OK;
}

uint64_t core_session(const core_t *self, uint32_t client) {
    return self->clients[client].session;
}

uint32_t core_max_requests(const core_t *self, uint32_t client) {
    return self->accounts.items[self->clients[client].account].max_requests;
}

bool core_client_heard(core_t *self, uint32_t client, const struct header *header,
                       uint64_t now_us) {
    struct client *c = &self->clients[client];
    CHECK(client < self->high_clients && c->session);
    if (header->epoch == c->session) {
        c->heard_us = now_us;
        return true;
    }
    self->stats.strangers++;
    struct header who = {.type = WIRE_WHO_ARE_YOU, .id = header->id, .epoch = header->epoch};
    client_send(self, client, &who, NULL);
    core_settle(self, now_us);
    return false;
}

static void cancel(core_t *self, uint32_t client, uint64_t id) {
    struct ticket *t = ticket_find(self, client, id);
    if (!t)
        return; /* answered already: the answers cross */
    ticket_reply(self, t, STATUS_CANCELLED, "cancelled by the client");
}

void core_client_frame(core_t *self, uint32_t client, const struct header *header,
                       uint64_t now_us) {
    if (self->clients[client].doomed)
        return;
    if (header->type == WIRE_CANCEL)
        cancel(self, client, header->id);
    else if (header->type == WIRE_PING)
        control(self, client, WIRE_PONG);
    else if (header->type == WIRE_BYE)
        client_doom(self, client, "said goodbye");
    else if (header->type != WIRE_PONG)
        self->stats.unexpected++;
    core_settle(self, now_us);
}

void core_client_lost(core_t *self, uint32_t client, const char *why, uint64_t now_us) {
    CHECK(client < self->high_clients && self->clients[client].session);
    client_doom(self, client, why);
    core_settle(self, now_us);
}

void core_sweep_clients(core_t *self, uint64_t now_us) {
    for (uint32_t i = 0; i < self->high_clients; i++)
        if (self->clients[i].session && !queue_empty(&self->clients[i].tickets))
            control(self, i, WIRE_PING);
    core_settle(self, now_us);
}

void clients_beat(core_t *self, uint64_t now_us) {
    for (uint32_t i = 0; i < self->high_clients; i++) {
        struct client *c = &self->clients[i];
        if (!c->session || c->doomed)
            continue;
        uint64_t last = c->heard_us > c->pinged_us ? c->heard_us : c->pinged_us;
        uint64_t every = queue_empty(&c->tickets) ? IDLE_PING_US : self->cfg.heartbeat_us;
        if (now_us >= self->trust_us && now_us - c->heard_us > CORE_CLIENT_SILENT_US)
            client_doom(self, i, "silent");
        else if (now_us - last >= every) {
            c->pinged_us = now_us;
            control(self, i, WIRE_PING);
        }
    }
}
