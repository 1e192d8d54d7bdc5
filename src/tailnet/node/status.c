/* status.c: what a node tells of itself and its peers; waiting until it is up; names; pings. */
#include <errno.h>
#include <gensock/socket.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tailnet/node/parts.h"

gs_addr gsi_node_addr(const struct endpoint *e)
{
    gs_addr a = {0};
    a.len = gsi_endpoint_to_sockaddr(e, &a.sa);
    return a;
}

const char *gs_tailnet_state_name(gs_tailnet_state s)
{
    static const char *const names[] = {"", "starting", "login", "approval", "running", "failed", "stopped"};
    return s >= GS_TAILNET_STARTING && s <= GS_TAILNET_STOPPED ? names[s] : "unknown";
}

/* ---- up ---- */

/* Locked. 1: wait on. */
static int up_now(struct node *n)
{
    if (n->stopping)
        return gs_fail(GS_EABORTED, "the node was stopped");
    switch (n->state) {
    case GS_TAILNET_RUNNING: return n->error == GS_ELOCKED ? gs_fail(n->error, "%s", n->detail) : 0;
    case GS_TAILNET_FAILED: return gs_fail(n->error, "%s", n->detail);
    case GS_TAILNET_LOGIN:
        if (n->login_told)
            return 1;
        n->login_told = true;
        return gs_fail(GS_ELOGIN, "%s", n->login_url);
    case GS_TAILNET_APPROVAL: return 1;
    default: return n->error == GS_ELOCKED ? gs_fail(n->error, "%s", n->detail) : 1;
    }
}

/* Locked. */
static int up_late(const struct node *n)
{
    if (n->state == GS_TAILNET_LOGIN)
        return gs_fail(GS_ELOGIN, "%s", n->login_url);
    if (n->state == GS_TAILNET_APPROVAL)
        return gs_fail(GS_EAPPROVAL, "an admin of the tailnet must approve this machine in the admin console");
    if (n->error)
        return gs_fail(n->error == GS_ECLOCK ? GS_ECLOCK : GS_ETIMEOUT, "%s", n->detail);
    return gs_fail(GS_ETIMEOUT, "no network map from the control server yet");
}

int gs_tailnet_up(gs_tailnet h, int timeout_ms)
{
    struct node *n;
    int e = timeout_ms < GS_INFINITY ? GS_EBADARG : gsi_node_of(h, &n);
    if (e < 0)
        return e;
    uint64_t until = gsi_node_now() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms) * 1000000;
    struct timespec t = {(time_t)(until / SECOND), (long)(until % SECOND)};
    bool late = false;
    pthread_mutex_lock(&n->lock);
    while ((e = up_now(n)) == 1 && !late) {
        if (timeout_ms < 0)
            pthread_cond_wait(&n->changed, &n->lock);
        else
            late = pthread_cond_timedwait(&n->changed, &n->lock, &t) == ETIMEDOUT;
    }
    if (e == 1)
        e = up_late(n);
    pthread_mutex_unlock(&n->lock);
    gsi_node_release(n);
    return e;
}

/* ---- names and addresses ---- */

static void v4_first(struct ip *list, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k && gsi_ip_is_v4(&list[k]) && !gsi_ip_is_v4(&list[k - 1]); k--) {
            struct ip swap = list[k];
            list[k] = list[k - 1];
            list[k - 1] = swap;
        }
}

int gsi_node_resolve(struct node *n, const char *name, size_t len, struct ip *out, size_t cap)
{
    struct ip one;
    if (gsi_ip_parse(name, len, &one) == 0) {
        if (cap)
            out[0] = one;
        return 1;
    }
    pthread_mutex_lock(&n->lock);
    int count = n->has_map ? gsi_netmap_resolve(n->map, name, len, out, cap) : -EAGAIN;
    pthread_mutex_unlock(&n->lock);
    if (count == -EAGAIN)
        return gs_fail(count, "the node has no network map yet: wait for gs_tailnet_up");
    if (count < 0)
        return gs_fail(GS_ENXDOMAIN, "the tailnet has no node of the name \"%.*s\"", (int)(len < 255 ? len : 255), name);
    v4_first(out, (size_t)count < cap ? (size_t)count : cap);
    return count;
}

int gs_tailnet_resolve(gs_tailnet h, const char *name, gs_addr *out, size_t cap)
{
    struct ip list[64];
    struct node *n;
    int e = !name || (cap && !out) ? GS_EBADARG : gsi_node_of(h, &n);
    if (e < 0)
        return e;
    int count = gsi_node_resolve(n, name, strlen(name), list, sizeof list / sizeof *list);
    for (int i = 0; i < count && (size_t)i < cap && i < (int)(sizeof list / sizeof *list); i++)
        out[i] = gsi_node_addr(&(struct endpoint){list[i], 0});
    gsi_node_release(n);
    return count;
}

int gs_tailnet_whois(gs_tailnet h, const gs_addr *address, const gs_peer **out)
{
    struct endpoint at;
    struct node *n;
    int e = !address || !out ? GS_EBADARG : gsi_node_of(h, &n);
    if (e < 0)
        return e;
    e = gsi_endpoint_of_sockaddr(&address->sa, &at);
    pthread_mutex_lock(&n->lock);
    const struct map_node *m = e == 0 && n->has_map ? gsi_netmap_node_at(n->map, &at.ip) : NULL;
    e = m ? gsi_node_peer_of(n, m, out) : GS_ENXDOMAIN;
    pthread_mutex_unlock(&n->lock);
    gsi_node_release(n);
    return e == GS_ENXDOMAIN ? gs_fail(e, "no node of the tailnet has this address") : e;
}

/* ---- sockets ---- */

int gsi_node_socket(struct node *n, int domain, int type, int protocol)
{
    pthread_mutex_lock(&n->inside);
    int fd = n->ns ? gsi_namespace_socket(n->ns, domain, type, protocol) : gs_fail(GS_ECLOSED, "the node was stopped");
    pthread_mutex_unlock(&n->inside);
    return fd;
}

int gs_tailnet_socket(gs_tailnet h, int family, int type, int protocol, gs_socket *out)
{
    struct node *n;
    int e = !out ? GS_EBADARG : gsi_node_of(h, &n);
    if (e < 0)
        return e;
    atomic_store(&n->bare, true);
    int fd = family == AF_INET || family == AF_INET6 ? gsi_node_socket(n, family, type, protocol)
                                                     : gs_fail(-EAFNOSUPPORT, "a tailnet has inet and inet6");
    gsi_node_release(n);
    return fd < 0 ? fd : gs_socket_open_fd(out, fd, &(gs_socket_opts){.fd_use = GS_FD_TAKE});
}

/* ---- ping ---- */

struct ping {
    struct command command; /* first */
    const char *name;
    const struct peer *peer; /* under lock */
    gs_tailnet_pong *out;
    const char *why; /* of -EHOSTUNREACH */
};

const char *gsi_node_region_code(const struct node *n, uint32_t region)
{
    const struct map_derp_region *r = gsi_netmap_region(n->map, (int32_t)region);
    return r && r->code ? r->code : "";
}

static const struct map_node *named(struct node *n, const char *name)
{
    struct ip ip;
    return gsi_node_resolve(n, name, strlen(name), &ip, 1) > 0 ? gsi_netmap_node_at(n->map, &ip) : NULL;
}

static const char *why_no_ping(const struct node *n, const struct map_node *m, const struct peer *peer)
{
    if (m == gsi_netmap_self(n->map))
        return "is this node itself";
    switch (gsi_netmap_use(n->map, m, gsi_node_wall_s())) {
    case MAP_EXPIRED: return "cannot be asked: its key has expired";
    case MAP_LOCKED: return "cannot be asked: Tailnet Lock is on, which gensock cannot verify";
    case MAP_MASQUERADED: return "knows this node by another address, which gensock does not support";
    default: break;
    }
    if (gsi_is_zero(m->disco, KEY_LEN))
        return "does not speak disco";
    return !m->home_derp && !m->endpoints_n ? "cannot be asked: it is at no relay and has told no address of its own"
           : peer                           ? "is asked too often"
                                            : "is not ready yet";
}

static void run_ping(struct node *n, struct command *c, uint64_t now)
{
    struct ping *p = (struct ping *)c;
    const struct map_node *m = named(n, p->name);
    struct peer *peer = m ? gsi_peers_find(&n->members.peers, m->key) : NULL;
    pthread_mutex_lock(&n->lock);
    p->peer = peer;
    pthread_mutex_unlock(&n->lock);
    n->stirred = true;
    int e = !m ? GS_ENXDOMAIN : peer && gsi_path_ping(n->paths, peer->plane.path, now) ? 0 : -EHOSTUNREACH;
    if (e == -EHOSTUNREACH)
        p->why = why_no_ping(n, m, peer);
    if (e < 0) {
        pthread_mutex_lock(&n->lock);
        gsi_command_done(n, c, e);
        pthread_mutex_unlock(&n->lock);
    }
}

void gsi_pings_end(struct node *n, const struct peer *p, int why)
{
    pthread_mutex_lock(&n->lock);
    for (struct command *c = n->waiting, *next; c; c = next) {
        next = c->next;
        if (c->run == run_ping && ((struct ping *)c)->peer == p)
            gsi_command_done(n, c, why);
    }
    pthread_mutex_unlock(&n->lock);
}

void gsi_pings_pong(struct node *n, const struct paths_event *e)
{
    pthread_mutex_lock(&n->lock);
    for (struct command *c = n->waiting, *next; c; c = next) {
        struct ping *p = (struct ping *)c;
        next = c->next;
        if (c->run != run_ping || p->peer != e->user)
            continue;
        *p->out = (gs_tailnet_pong){.rtt_ns = (int64_t)e->info.latency_ns,
                                    .path = e->info.kind == PATH_DIRECT ? GS_PATH_DIRECT : GS_PATH_RELAY};
        if (e->info.kind == PATH_DIRECT)
            p->out->endpoint = gsi_node_addr(&e->info.at);
        snprintf(p->out->relay, sizeof p->out->relay, "%s", gsi_node_region_code(n, e->info.region));
        gsi_command_done(n, c, 0);
    }
    pthread_mutex_unlock(&n->lock);
}

int gs_tailnet_ping(gs_tailnet h, const char *peer, int timeout_ms, gs_tailnet_pong *out)
{
    struct node *n;
    gs_tailnet_pong pong = {0};
    int e = !peer || !out || timeout_ms < GS_INFINITY ? GS_EBADARG : gsi_node_of(h, &n);
    if (e < 0)
        return e;
    struct ping p = {.command = {.run = run_ping, .kept = true}, .name = peer, .out = &pong};
    e = gsi_node_call(n, &p.command, timeout_ms);
    gsi_node_release(n);
    if (e == 0)
        *out = pong;
    if (e == GS_ENXDOMAIN)
        return gs_fail(e, "the tailnet has no node \"%.255s\"", peer);
    return e == -EHOSTUNREACH ? gs_fail(e, "%.255s %s", peer, p.why) : e;
}

/* ---- status: one block, filled twice: first counted, then written ---- */

struct block {
    char *p; /* NULL: counting */
    size_t n;
};

static void *room(struct block *b, size_t count, size_t size)
{
    b->n = (b->n + 15) & ~(size_t)15;
    void *at = b->p ? b->p + b->n : NULL;
    b->n += count * size;
    return at;
}

static const char *text(struct block *b, const char *s)
{
    size_t n = strlen(s) + 1;
    char *at = b->p ? b->p + b->n : NULL;
    b->n += n;
    return at ? memcpy(at, s, n) : "";
}

static void write_member(struct block *b, const struct node *n, const struct map_node *m, gs_tailnet_member *out)
{
    gs_tailnet_member one = {
        .expired = m->expired, .online = m->online != MAP_NO, .n_addresses = m->addresses_n, .n_tags = m->tags_n};
    const struct map_user *user = m->tags_n ? NULL : gsi_netmap_user(n->map, m->user);
    gs_addr *addresses = room(b, m->addresses_n, sizeof *addresses);
    const char **tags = room(b, m->tags_n, sizeof *tags);
    for (uint32_t i = 0; addresses && i < m->addresses_n; i++)
        addresses[i] = gsi_node_addr(&(struct endpoint){m->addresses[i].ip, 0});
    one.name = text(b, m->name);
    one.stable_id = text(b, m->stable_id);
    one.user = text(b, user ? user->login : "");
    one.os = text(b, m->os);
    for (uint32_t i = 0; i < m->tags_n; i++) {
        const char *tag = text(b, m->tags[i]);
        if (tags)
            tags[i] = tag;
    }
    memcpy(one.node_key, m->key, KEY_LEN);
    one.addresses = addresses;
    one.tags = tags;
    uint32_t region = m == gsi_netmap_self(n->map) ? n->outside.report.home : 0;
    const struct peer *p = gsi_peers_find(&n->members.peers, m->key);
    if (p) {
        struct path_info info;
        gsi_path_info(p->plane.path, &info);
        region = info.region;
        one.path = info.kind == PATH_DIRECT ? GS_PATH_DIRECT : info.kind == PATH_RELAY ? GS_PATH_RELAY : GS_PATH_NONE;
        if (info.kind == PATH_DIRECT) {
            one.endpoint = gsi_node_addr(&info.at);
            one.latency_ns = (int64_t)info.latency_ns;
        }
        if (p->plane.wg) {
            struct wg_status s = gsi_wireguard_status(p->plane.wg);
            one.sent = s.sent;
            one.received = s.received;
        }
    }
    one.relay = text(b, region ? gsi_node_region_code(n, region) : "");
    if (out)
        *out = one;
}

static void write_status(struct block *b, const struct node *n, gs_tailnet_status_t *out)
{
    const struct map_node *self = gsi_netmap_self(n->map), *m;
    struct map_message message;
    gs_tailnet_status_t s = {.state = n->state, .error = n->error, .n_endpoints = n->outside.own_n};
    size_t at = 0, i = 0;
    s.n_peers = gsi_netmap_peers_n(n->map);
    gs_tailnet_member *peers = room(b, s.n_peers, sizeof *peers);
    while (i < s.n_peers && (m = gsi_netmap_each(n->map, &at)))
        write_member(b, n, m, peers ? &peers[i++] : (i++, NULL));
    static const struct map_node nobody = {.name = "", .stable_id = "", .hostname = "", .os = ""};
    write_member(b, n, self ? self : &nobody, out ? &s.self : NULL);
    gs_addr *endpoints = room(b, s.n_endpoints, sizeof *endpoints);
    for (i = 0; endpoints && i < s.n_endpoints; i++)
        endpoints[i] = gsi_node_addr(&n->outside.own[i].at);
    while (gsi_netmap_message(n->map, s.n_health, &message))
        s.n_health++;
    const char *const troubles[] = {n->members.filter_trouble, n->relays.trouble};
    const char **health = room(b, s.n_health + sizeof troubles / sizeof *troubles, sizeof *health);
    for (i = 0; i < s.n_health && gsi_netmap_message(n->map, i, &message); i++) {
        const char *line = text(b, *message.text ? message.text : message.title);
        if (health)
            health[i] = line;
    }
    s.detail = text(b, n->detail);
    s.login_url = text(b, n->login_url);
    s.domain = text(b, gsi_netmap_domain(n->map));
    s.peers = peers;
    s.endpoints = endpoints;
    for (i = 0; i < sizeof troubles / sizeof *troubles; i++)
        if (*troubles[i]) {
            const char *line = text(b, troubles[i]);
            if (health)
                health[s.n_health] = line;
            s.n_health++;
        }
    s.health = health;
    if (out)
        *out = s;
}

struct ask_status {
    struct command command; /* first */
    gs_tailnet_status_t *out;
};

/* In the node's thread, which alone changes what is read here. */
static void run_status(struct node *n, struct command *c, uint64_t now)
{
    struct ask_status *a = (struct ask_status *)c;
    struct block size = {0};
    (void)now;
    write_status(&size, n, NULL);
    char *p = OPENSSL_zalloc(sizeof *a->out + 16 + size.n);
    if (!p) {
        c->result = -ENOMEM;
        return;
    }
    struct block b = {.p = p, .n = sizeof *a->out};
    a->out = (gs_tailnet_status_t *)(void *)p;
    write_status(&b, n, a->out);
}

int gs_tailnet_status(gs_tailnet h, const gs_tailnet_status_t **out)
{
    struct node *n;
    int e = !out ? GS_EBADARG : gsi_node_of(h, &n);
    if (e < 0)
        return e;
    struct ask_status a = {.command = {.run = run_status}};
    e = gsi_node_call(n, &a.command, GS_INFINITY);
    gsi_node_release(n);
    if (e == 0)
        *out = a.out;
    return e;
}

void gs_tailnet_status_free(const gs_tailnet_status_t *s) { OPENSSL_free((void *)(uintptr_t)s); }
