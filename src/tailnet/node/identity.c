/* identity.c: who a stamped SYN came from, and whose each connection is.
 *
 * Each node key of the map has an index, with which the plane stamps its SYNs; the kernel keeps the stamped SYN with the
 * connection that it opens. An index is used again only when no socket can have it: its peer is long gone, its connections were
 * reset, and no listener has anybody waiting. When a peer leaves, connections that nobody has accepted yet are found by their
 * dead index.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tailnet/node/parts.h"
#include "tailnet/stack/abort.h"

#define QUARANTINE (180 * SECOND) /* a half-open connection has been given up by the kernel */
enum { ROOM_FIRST = 64, SAVED_SYN = 256, CAPS_MAX = 256, CAPS_TEXT = 64 * 1024, HELD_LOOKS = 200 };

struct who {
    int holders; /* under the node's lock; the identity is one */
    const gs_peer *peer;
};

/* ---- the table; locked ---- */

static uint32_t hash_of(const uint8_t key[KEY_LEN], uint32_t room)
{
    uint32_t h;
    memcpy(&h, key + 8, sizeof h);
    return h & (room - 1);
}

static void chain(struct identities *t, struct identity *i)
{
    uint32_t *at = &t->bucket[hash_of(i->key, t->room)];
    i->next = *at;
    *at = i->index;
}

static void unchain(struct identities *t, struct identity *i)
{
    uint32_t *at = &t->bucket[hash_of(i->key, t->room)];
    while (*at && *at != i->index)
        at = &t->entry[*at]->next;
    if (*at)
        *at = i->next;
}

/* The live one of a key. */
static struct identity *find(const struct identities *t, const uint8_t key[KEY_LEN])
{
    for (uint32_t at = t->room ? t->bucket[hash_of(key, t->room)] : 0; at; at = t->entry[at]->next)
        if (t->entry[at]->live && memcmp(t->entry[at]->key, key, KEY_LEN) == 0)
            return t->entry[at];
    return NULL;
}

static bool widen(struct identities *t)
{
    uint32_t room = t->room ? 2 * t->room : ROOM_FIRST;
    struct identity **entry = OPENSSL_zalloc(room * sizeof(struct identity *));
    uint32_t *bucket = OPENSSL_zalloc(room * sizeof *bucket);
    if (!entry || !bucket) {
        OPENSSL_free(entry);
        OPENSSL_free(bucket);
        return false;
    }
    if (t->n)
        memcpy(entry, t->entry, t->n * sizeof(struct identity *));
    OPENSSL_free(t->entry);
    OPENSSL_free(t->bucket);
    *t = (struct identities){.entry = entry, .bucket = bucket, .n = t->n ? t->n : 1, .room = room,
                             .dead = t->dead, .dead_last = t->dead_last};
    for (uint32_t i = 1; i < t->n; i++)
        chain(t, t->entry[i]);
    return true;
}

/* Neither with the kernel nor, after that, with a thread that has taken it from there. */
static bool nobody_waits(struct node *n)
{
    for (const struct listening *l = n->listening; l; l = l->next) {
        struct tcp_info info = {0};
        socklen_t len = sizeof info;
        if (getsockopt(l->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 || info.tcpi_unacked)
            return false;
    }
    return atomic_load(&n->accepting) == 0;
}

/* The one whose peer left first, if that is long ago. */
static struct identity *recycled(struct node *n, uint64_t now)
{
    struct identities *t = &n->identities;
    struct identity *i = t->dead ? t->entry[t->dead] : NULL;
    if (!i || now - i->dead_ns < QUARANTINE || !nobody_waits(n))
        return NULL;
    if (!(t->dead = i->later))
        t->dead_last = 0;
    i->later = 0;
    unchain(t, i);
    return i;
}

static void bury(struct identities *t, struct identity *i)
{
    *(t->dead_last ? &t->entry[t->dead_last]->later : &t->dead) = i->index;
    t->dead_last = i->index;
}

static struct identity *fresh(struct identities *t)
{
    if (t->n == t->room && !widen(t))
        return NULL;
    struct identity *i = OPENSSL_zalloc(sizeof *i);
    if (i) {
        i->index = t->n;
        t->entry[t->n++] = i;
    }
    return i;
}

uint32_t gsi_identity_new(struct node *n, const uint8_t key[KEY_LEN], uint64_t now)
{
    struct identities *t = &n->identities;
    pthread_mutex_lock(&n->lock);
    struct identity *i = t->n < IDENTITIES_MAX ? fresh(t) : recycled(n, now);
    if (i) {
        memcpy(i->key, key, KEY_LEN);
        i->live = true;
        chain(t, i);
    }
    uint32_t index = i ? i->index : 0;
    pthread_mutex_unlock(&n->lock);
    return index;
}

void gsi_accept_begin(struct node *n) { atomic_fetch_add(&n->accepting, 1); }
void gsi_accept_end(struct node *n) { atomic_fetch_sub(&n->accepting, 1); }

/* ---- who: locked ---- */

static void who_release(struct who *w)
{
    if (w && --w->holders == 0) {
        gs_peer_free(w->peer);
        OPENSSL_free(w);
    }
}

/* Texts that end with 0, of the map's which do not. */
struct texts {
    char *p;
    size_t n, cap;
};

static const char *write_text(struct texts *t, const char *a, size_t a_n)
{
    char *at = t->p + t->n;
    if (t->cap - t->n < a_n + 1)
        return NULL;
    memcpy(at, a, a_n);
    at[a_n] = 0;
    t->n += a_n + 1;
    return at;
}

/* The values as one JSON array. */
static const char *write_values(struct texts *t, const struct filter_capability *c)
{
    size_t n = 2;
    for (size_t i = 0; i < c->n_values; i++)
        n += c->values[i].n + 1;
    if (t->cap - t->n < n + 1)
        return NULL;
    char *begin = t->p + t->n, *at = begin;
    *at++ = '[';
    for (size_t i = 0; i < c->n_values; i++) {
        if (i)
            *at++ = ',';
        memcpy(at, c->values[i].p, c->values[i].n);
        at += c->values[i].n;
    }
    *at++ = ']';
    *at++ = 0;
    t->n += (size_t)(at - begin);
    return begin;
}

/* What rules grant to this peer here. */
static size_t list_caps(const struct node *n, const struct map_node *m, struct texts *t, const char *caps[CAPS_MAX],
                        const char *json[CAPS_MAX])
{
    struct map_who who;
    struct filter_capability c;
    size_t count = 0;
    if (!m->addresses_n || !gsi_netmap_whois(n->map, &m->addresses[0].ip, &who))
        return 0;
    while (count < CAPS_MAX && gsi_netmap_who_cap(n->map, &who, &c)) {
        caps[count] = write_text(t, c.name.p, c.name.n);
        json[count] = caps[count] ? write_values(t, &c) : NULL;
        if (!json[count])
            break;
        count++;
    }
    return count;
}

int gsi_node_peer_of(const struct node *n, const struct map_node *m, const gs_peer **out)
{
    const char *caps[CAPS_MAX], *json[CAPS_MAX];
    struct texts t = {.p = OPENSSL_malloc(CAPS_TEXT), .cap = CAPS_TEXT};
    if (!t.p)
        return -ENOMEM;
    const struct map_user *user = m->tags_n ? NULL : gsi_netmap_user(n->map, m->user);
    gs_peer view = {.kind = GS_PEER_TAILNET,
                    .node = m->name,
                    .user = user ? user->login : "",
                    .display_name = user ? user->display : "",
                    .stable_id = m->stable_id,
                    .tags = m->tags,
                    .n_tags = m->tags_n,
                    .caps = caps,
                    .cap_json = json};
    memcpy(view.node_key, m->key, KEY_LEN);
    view.n_caps = list_caps(n, m, &t, caps, json);
    int e = gs_peer_copy(&view, out);
    OPENSSL_free(t.p);
    return e;
}

/* Held for the caller; NULL: unknown, or no memory. */
static struct who *who_of(struct node *n, struct identity *i)
{
    const struct map_node *m = i->who ? NULL : gsi_netmap_by_key(n->map, i->key);
    if (!i->who && m) {
        struct who *w = OPENSSL_zalloc(sizeof *w);
        if (w && gsi_node_peer_of(n, m, &w->peer) < 0) {
            OPENSSL_free(w);
            w = NULL;
        }
        if ((i->who = w))
            w->holders = 1;
    }
    if (i->who)
        i->who->holders++;
    return i->who;
}

void gsi_identity_changed(struct node *n, uint32_t index)
{
    struct identities *t = &n->identities;
    pthread_mutex_lock(&n->lock);
    for (uint32_t i = index ? index : 1; i < t->n && (!index || i == index); i++) {
        who_release(t->entry[i]->who);
        t->entry[i]->who = NULL;
    }
    pthread_mutex_unlock(&n->lock);
}

/* ---- connections; locked ---- */

/* The connection ends with a RST, and whoever uses it hears ECONNRESET: what connect(2) to no address does to TCP, also before it
 * is one. The bare call, since ThreadSanitizer takes connect for the birth of a descriptor, which others may not read
 * meanwhile. */
static void disconnect(struct conn *c, int why)
{
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    c->refused = why;
    (void)syscall(SYS_connect, c->fd, &nobody, sizeof nobody);
}

/* In the node's thread. What has come and is not read yet stays to be read, where the kernel can do that: the peer knows it
 * acknowledged. */
static void reset(struct node *n, struct conn *c, int why)
{
    int e = c->connecting ? -EINPROGRESS : gsi_tcp_abort(n->diag, c->fd);
    if (e == 0 || e == -ENOENT) /* or it is over already */
        c->refused = why;
    else
        disconnect(c, why);
}

static void reset_all(struct node *n, uint32_t index, int why)
{
    for (struct conn *c = n->conns; c; c = c->next)
        if ((!index || c->identity == index) && !c->refused)
            reset(n, c, why);
}

void gsi_identity_reset(struct node *n, uint32_t index)
{
    pthread_mutex_lock(&n->lock);
    if (index)
        reset_all(n, index, -ECONNRESET);
    pthread_mutex_unlock(&n->lock);
}

void gsi_identity_end(struct node *n, uint32_t index, uint64_t now)
{
    pthread_mutex_lock(&n->lock);
    if (index) {
        struct identity *i = n->identities.entry[index];
        i->live = false;
        i->dead_ns = now;
        bury(&n->identities, i);
        who_release(i->who);
        i->who = NULL;
        reset_all(n, index, -ECONNRESET);
    }
    pthread_mutex_unlock(&n->lock);
}

void gsi_conns_reset(struct node *n, int why)
{
    pthread_mutex_lock(&n->lock);
    reset_all(n, 0, why);
    pthread_mutex_unlock(&n->lock);
    if (atomic_load(&n->bare))
        (void)!gsi_tcp_abort_all(n->diag);
}

/* Streams send on as soon as the kernel takes more. One that does not has nothing left: its sender gave up. */
static bool is_held(struct conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLOUT};
    if (!atomic_load(&c->held) || c->refused)
        return false;
    c->idle = poll(&p, 1, 0) == 1 && p.revents & POLLOUT ? c->idle + 1 : 0;
    return c->idle < HELD_LOOKS;
}

size_t gsi_conns_look(struct node *n, size_t *held)
{
    size_t count = 0;
    *held = 0;
    pthread_mutex_lock(&n->lock);
    for (struct conn *c = n->conns; c; c = c->next) {
        count++;
        *held += is_held(c);
    }
    pthread_mutex_unlock(&n->lock);
    return count;
}

void gsi_conn_rejected(struct node *n, const struct tsmp *t)
{
    pthread_mutex_lock(&n->lock);
    for (struct conn *c = n->conns; c; c = c->next) {
        struct sockaddr_storage own;
        struct endpoint from;
        socklen_t len = sizeof own;
        if (c->connecting && !c->refused && gsi_endpoint_equal(&c->to, &t->peer) &&
            getsockname(c->fd, (struct sockaddr *)&own, &len) == 0 && gsi_endpoint_of_sockaddr(&own, &from) == 0 &&
            gsi_endpoint_equal(&from, &t->own))
            disconnect(c, GS_EFILTERED);
    }
    pthread_mutex_unlock(&n->lock);
}

static void add_conn(struct node *n, struct conn *c, int fd)
{
    c->node = n;
    c->fd = fd;
    c->at = &n->conns;
    if ((c->next = n->conns))
        c->next->at = &c->next;
    n->conns = c;
}

static int why_not(const struct node *n, const struct map_node *m)
{
    if (!n->has_map)
        return gs_fail(-EAGAIN, "the node has no network map yet: wait for gs_tailnet_up");
    if (!m)
        return gs_fail(-EHOSTUNREACH, "no peer of the tailnet has this address");
    switch (gsi_netmap_use(n->map, m, gsi_node_wall_s())) {
    case MAP_EXPIRED: return gs_fail(GS_EKEYEXPIRED, "the key of %s has expired", m->name);
    case MAP_LOCKED: return gs_fail(GS_ELOCKED, "Tailnet Lock is on, which gensock cannot verify");
    case MAP_MASQUERADED:
        return gs_fail(-EHOSTUNREACH, "%s knows this node by another address, which gensock does not support", m->name);
    case MAP_UNREACHABLE: return gs_fail(-EHOSTUNREACH, "%s has neither a relay nor a key for direct paths", m->name);
    default: return gs_fail(-EAGAIN, "%s is not ready yet", m->name);
    }
}

int gsi_conn_begin(struct node *n, struct conn *c, int fd, const struct endpoint *to)
{
    pthread_mutex_lock(&n->lock);
    const struct map_node *m = n->has_map ? gsi_netmap_by_address(n->map, &to->ip) : NULL;
    const struct map_node *self = n->has_map ? gsi_netmap_self(n->map) : NULL;
    struct identity *i = m ? find(&n->identities, m->key) : NULL;
    bool own = false;
    for (uint32_t k = 0; self && k < self->addresses_n; k++)
        own |= gsi_ip_equal(&self->addresses[k].ip, &to->ip);
    int e = n->stopping ? GS_ECLOSED : i || own ? 0 : why_not(n, m);
    if (e == 0) {
        c->identity = i ? i->index : 0;
        c->who = i ? who_of(n, i) : NULL;
        c->connecting = true;
        c->to = *to;
        add_conn(n, c, fd);
    }
    pthread_mutex_unlock(&n->lock);
    return e;
}

void gsi_conn_moved(struct conn *c, int fd)
{
    pthread_mutex_lock(&c->node->lock);
    c->fd = fd;
    if (c->refused) /* before connect(2) began: it would go on */
        disconnect(c, c->refused);
    pthread_mutex_unlock(&c->node->lock);
}

int gsi_conn_established(struct conn *c)
{
    pthread_mutex_lock(&c->node->lock);
    c->connecting = false;
    int e = c->refused;
    pthread_mutex_unlock(&c->node->lock);
    if (e == GS_EFILTERED)
        return gs_fail(e, "the peer's packet filter, which the tailnet's rules make, forbids this connection");
    return e;
}

int gsi_conn_accepted(struct node *n, struct conn *c, int fd)
{
    uint8_t saved[SAVED_SYN];
    socklen_t len = sizeof saved;
    uint32_t index = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, saved, &len) < 0 || gsi_packet_stamp_read(saved, len, &index) < 0)
        index = 0;
    pthread_mutex_lock(&n->lock);
    struct identity *i = index && index < n->identities.n ? n->identities.entry[index] : NULL;
    int e = n->stopping || (i && !i->live) ? GS_ECLOSED : 0;
    if (e == 0) {
        c->identity = i ? index : 0;
        c->who = i ? who_of(n, i) : NULL;
        add_conn(n, c, fd);
    }
    pthread_mutex_unlock(&n->lock);
    return e;
}

void gsi_conn_end(struct conn *c)
{
    pthread_mutex_lock(&c->node->lock);
    if ((*c->at = c->next))
        c->next->at = c->at;
    who_release(c->who);
    pthread_mutex_unlock(&c->node->lock);
}

const gs_peer *gsi_conn_peer(const struct conn *c) { return c->who ? c->who->peer : NULL; }

int gsi_listening_begin(struct node *n, struct listening *l, int fd)
{
    l->node = n;
    l->fd = fd;
    pthread_mutex_lock(&n->lock);
    int e = n->deaf;
    if (e == 0) {
        l->at = &n->listening;
        if ((l->next = n->listening))
            l->next->at = &l->next;
        n->listening = l;
    }
    pthread_mutex_unlock(&n->lock);
    return e;
}

/* What shutdown(2) does to a TCP listener: who waits in it wakes, accept(2) answers EINVAL, and those that nobody has accepted
 * yet are reset. */
void gsi_listenings_shut(struct node *n, int why)
{
    pthread_mutex_lock(&n->lock);
    if (n->deaf == 0)
        n->deaf = why;
    for (struct listening *l = n->listening; l; l = l->next)
        if (l->over == 0) {
            l->over = why;
            (void)shutdown(l->fd, SHUT_RDWR);
        }
    pthread_mutex_unlock(&n->lock);
}

int gsi_listening_error(struct listening *l, int error)
{
    pthread_mutex_lock(&l->node->lock);
    int e = l->over && error != -EAGAIN ? l->over : error;
    pthread_mutex_unlock(&l->node->lock);
    return e;
}

void gsi_listening_end(struct listening *l)
{
    pthread_mutex_lock(&l->node->lock);
    if ((*l->at = l->next))
        l->next->at = l->at;
    pthread_mutex_unlock(&l->node->lock);
}

void gsi_identities_free(struct node *n)
{
    struct identities *t = &n->identities;
    for (uint32_t i = 1; i < t->n; i++) {
        who_release(t->entry[i]->who);
        OPENSSL_free(t->entry[i]);
    }
    OPENSSL_free(t->entry);
    OPENSSL_free(t->bucket);
}
