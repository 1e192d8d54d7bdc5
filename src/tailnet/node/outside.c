/* outside.c: how the world sees this node: STUN through the data plane's own socket, interfaces, endpoints, the home region. */
#include <errno.h>
#include <gensock/net.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tailnet/node/parts.h"

#define LOOK_EACH (10 * SECOND)   /* at the interfaces, when nobody tells of changes */
#define LOOK_WATCHED (60 * SECOND)
#define LOOK_SOON (SECOND / 4)    /* changes come in bursts */
#define RESOLVE_EACH (600 * SECOND)
#define RESOLVE_SOON (30 * SECOND) /* when it could not be tried */
#define ACTIVE_FOR (45 * SECOND)
enum { STUN_PORT = 3478, RESOLVE_MS = 2000 };

int gsi_outside_init(struct node *n)
{
    struct outside *o = &n->outside;
    o->watch = gsi_watch_open();
    o->netcheck = gsi_netcheck_new(gsi_link_fd(n->link, false) >= 0, gsi_link_fd(n->link, true) >= 0);
    return o->netcheck ? 0 : -ENOMEM;
}

void gsi_outside_end(struct node *n)
{
    gsi_netcheck_free(n->outside.netcheck);
    n->outside.netcheck = NULL;
    if (n->outside.watch >= 0)
        close(n->outside.watch);
    n->outside.watch = -1;
}

/* ---- the regions' STUN servers ---- */

/* Host names are looked up by the worker, as resolvers take their time. */
struct lookup {
    struct job job; /* first */
    struct worker *by;
    size_t n, names_n;
    struct netcheck_region *regions;
    struct name {
        size_t region, node;
        bool v4, v6;
        uint16_t port;
        char host[256];
    } *names;
};

static void drop_lookup(struct job *j)
{
    struct lookup *l = (struct lookup *)j;
    OPENSSL_free(l->regions);
    OPENSSL_free(l->names);
    OPENSSL_free(l);
}

static void look_up(struct job *j)
{
    struct lookup *l = (struct lookup *)j;
    for (size_t i = 0; i < l->names_n && !gsi_worker_is_stopping(l->by); i++) {
        const struct name *name = &l->names[i];
        struct netcheck_node *to = &l->regions[name->region].nodes[name->node];
        gs_addrinfo *list = NULL;
        int count = gs_getaddrinfo(name->host, NULL, NULL, RESOLVE_MS, &list);
        for (const gs_addrinfo *a = list; count > 0 && a < list + count; a++) {
            struct endpoint e;
            if (gsi_endpoint_of_sockaddr(&a->addr.sa, &e) < 0)
                continue;
            e.port = name->port;
            struct endpoint *into = gsi_ip_is_v4(&e.ip) ? &to->v4 : &to->v6;
            if (!into->port && (gsi_ip_is_v4(&e.ip) ? name->v4 : name->v6))
                *into = e;
        }
        gs_addrinfo_free(list);
    }
}

static void use_regions(struct node *n, const struct lookup *l, uint64_t now)
{
    if (gsi_netcheck_regions(n->outside.netcheck, l->regions, l->n, now) < 0)
        gsi_node_event(n, GS_TAILNET_HEALTH, "the map's relays are not to be understood: home stays");
}

static void looked_up(struct node *n, struct job *j, uint64_t now)
{
    struct outside *o = &n->outside;
    o->resolving = false;
    if (o->resolve_again) /* the map has other regions by now */
        gsi_outside_map(n, now);
    else
        use_regions(n, (struct lookup *)j, now);
    drop_lookup(j);
}

/* "" is to be looked up, an address is one, anything else switches the family off. */
static bool take_address(const char *text, uint16_t port, struct endpoint *out)
{
    if (gsi_ip_parse(text, strlen(text), &out->ip) == 0)
        out->port = port;
    return !*text;
}

static void take_node(struct lookup *l, size_t region, const struct map_derp_node *d)
{
    struct netcheck_region *r = &l->regions[region];
    if (d->stun_port < 0 || d->stun_port > UINT16_MAX || r->n == NETCHECK_NODES_MAX)
        return;
    uint16_t port = d->stun_port ? (uint16_t)d->stun_port : STUN_PORT;
    struct netcheck_node *to = &r->nodes[r->n];
    struct name *name = &l->names[l->names_n];
    if (*d->stun_test_ip)
        (void)take_address(d->stun_test_ip, port, strchr(d->stun_test_ip, ':') ? &to->v6 : &to->v4);
    else {
        bool v4 = take_address(d->ipv4, port, &to->v4), v6 = take_address(d->ipv6, port, &to->v6);
        struct endpoint numeric = {.port = port};
        if ((v4 || v6) && gsi_ip_parse(d->host, strlen(d->host), &numeric.ip) == 0) {
            if (gsi_ip_is_v4(&numeric.ip) ? v4 : v6)
                *(gsi_ip_is_v4(&numeric.ip) ? &to->v4 : &to->v6) = numeric;
        } else if ((v4 || v6) && gsi_is_host(d->host)) {
            *name = (struct name){.region = region, .node = r->n, .v4 = v4, .v6 = v6, .port = port};
            memcpy(name->host, d->host, strlen(d->host));
            l->names_n++;
        }
    }
    r->n++;
}

static struct lookup *read_map(struct node *n)
{
    const struct map_derp *d = gsi_netmap_derp(n->map);
    size_t most = d->regions_n < NETCHECK_REGIONS_MAX ? d->regions_n : NETCHECK_REGIONS_MAX;
    struct lookup *l = OPENSSL_zalloc(sizeof *l);
    if (!l)
        return NULL;
    l->by = &n->finder;
    l->job = (struct job){.run = look_up, .done = looked_up, .drop = drop_lookup};
    l->regions = OPENSSL_zalloc((most + 1) * sizeof *l->regions);
    l->names = OPENSSL_zalloc((most + 1) * NETCHECK_NODES_MAX * sizeof *l->names);
    if (!l->regions || !l->names) {
        drop_lookup(&l->job);
        return NULL;
    }
    for (uint32_t i = 0; i < d->regions_n && l->n < most; i++) {
        const struct map_derp_region *from = &d->regions[i];
        if (from->id <= 0)
            continue;
        l->regions[l->n] = (struct netcheck_region){.id = (uint32_t)from->id,
                                                    .avoid = from->avoid,
                                                    .no_home = from->no_measure_no_home,
                                                    .score = gsi_netmap_score(n->map, from->id)};
        for (uint32_t k = 0; k < from->nodes_n; k++)
            take_node(l, l->n, &from->nodes[k]);
        l->n++;
    }
    return l;
}

void gsi_outside_map(struct node *n, uint64_t now)
{
    struct outside *o = &n->outside;
    struct lookup *l = read_map(n);
    o->resolve_at = now + RESOLVE_SOON;
    o->resolve_again = o->resolving;
    if (!l)
        return;
    use_regions(n, l, now); /* those with addresses at once */
    if (l->names_n && !o->resolving && gsi_worker_give(n, &n->finder, &l->job) == 0) {
        o->resolving = true;
        o->resolve_at = now + RESOLVE_EACH;
        return;
    }
    if (!l->names_n)
        o->resolve_at = 0;
    drop_lookup(&l->job);
}

/* ---- endpoints ---- */

static bool look_at_interfaces(struct node *n)
{
    struct outside *o = &n->outside;
    struct ip before[INTERFACES_MAX];
    size_t before_n = o->interfaces_n;
    gs_ifaddr *list = NULL;
    int count = gs_getifaddrs(0, NULL, &list);
    if (count < 0)
        return false;
    memcpy(before, o->interfaces, sizeof before);
    o->interfaces_n = 0;
    memset(o->interfaces, 0, sizeof o->interfaces);
    for (const gs_ifaddr *i = list; i < list + count && o->interfaces_n < INTERFACES_MAX; i++) {
        struct endpoint e;
        if (i->flags & IFF_UP && i->addr.len && gsi_endpoint_of_sockaddr(&i->addr.sa, &e) == 0)
            o->interfaces[o->interfaces_n++] = e.ip;
    }
    gs_ifaddrs_free(list);
    return before_n != o->interfaces_n || memcmp(before, o->interfaces, sizeof before) != 0;
}

/* The list for control and for peers. True: it is another. */
static bool make_list(struct node *n, uint64_t now)
{
    struct outside *o = &n->outside;
    struct own_endpoint list[OWN_MAX];
    struct endpoint ends[OWN_MAX];
    struct netcheck_report *r = &o->report;
    struct own_source from = {.stun_v4 = r->v4,
                              .stun_v6 = r->v6,
                              .hard_nat = r->varies == VARIES_YES,
                              .fixed_port = n->config.port != 0,
                              .port_v4 = gsi_link_port(n->link, false),
                              .port_v6 = gsi_link_port(n->link, true),
                              .interfaces = o->interfaces,
                              .n = o->interfaces_n};
    memset(list, 0, sizeof list);
    size_t count = gsi_own_list(&o->seen, &from, now, list);
    for (size_t i = 0; i < count; i++)
        ends[i] = list[i].at;
    n->stirred = true;
    gsi_paths_endpoints(n->paths, ends, count, now);
    bool other = count != o->own_n;
    for (size_t i = 0; i < count && !other; i++)
        other = !gsi_endpoint_equal(&list[i].at, &o->own[i].at) || list[i].type != o->own[i].type;
    memcpy(o->own, list, sizeof list);
    o->own_n = count;
    return other;
}

void gsi_outside_tell(struct node *n, uint64_t now)
{
    gsi_derp_policy_home(n->relays.policy, n->outside.report.home, now);
    (void)make_list(n, now); /* the server knows it */
}

void gsi_outside_stun(struct node *n, const uint8_t *bytes, size_t len, uint64_t now)
{
    /* Anybody may send here: what we did not ask for is nothing. */
    (void)!gsi_netcheck_feed(n->outside.netcheck, bytes, len, now);
}

/* A CallMeMaybe waits for endpoints. */
void gsi_outside_want(struct node *n, uint64_t now)
{
    gsi_netcheck_start(n->outside.netcheck, false, now);
    if (make_list(n, now))
        gsi_session_update(n);
}

/* ---- time ---- */

static void send_packets(struct node *n)
{
    struct netcheck_packet p;
    while (gsi_netcheck_output(n->outside.netcheck, &p))
        if (gsi_link_put(n->link, &p.to, p.bytes, sizeof p.bytes, sizeof p.bytes) == 0)
            gsi_link_flush(n->link); /* the packet is borrowed until then */
}

static void take_events(struct node *n, uint64_t now)
{
    struct outside *o = &n->outside;
    for (enum netcheck_event what; (what = gsi_netcheck_next(o->netcheck, &o->report));)
        switch (what) {
        case NETCHECK_HOME: gsi_derp_policy_home(n->relays.policy, o->report.home, now); break;
        case NETCHECK_WANT_HTTPS: gsi_relays_probe(n, now); break;
        case NETCHECK_REPORT:
            if (make_list(n, now))
                gsi_session_update(n);
            break;
        default: break;
        }
}

void gsi_outside_watch(struct node *n, uint64_t now)
{
    struct outside *o = &n->outside;
    gsi_watch_read(o->watch, &o->changes);
    if ((o->changes.addresses || o->changes.ways) && o->look_at > now + LOOK_SOON)
        o->look_at = now + LOOK_SOON;
}

static void look(struct node *n, uint64_t now)
{
    struct outside *o = &n->outside;
    bool first = !o->look_at, other_way = o->changes.ways;
    o->look_at = now + (o->watch >= 0 ? LOOK_WATCHED : LOOK_EACH);
    o->changes = (struct changes){0};
    if (!look_at_interfaces(n) && !other_way)
        return;
    if (!first) {
        gsi_paths_link_changed(n->paths, now);
        gsi_netcheck_start(o->netcheck, true, now);
    }
    if (make_list(n, now))
        gsi_session_update(n);
}

void gsi_outside_step(struct node *n, uint64_t now)
{
    struct outside *o = &n->outside;
    if (now >= o->look_at)
        look(n, now);
    if (o->resolve_at && now >= o->resolve_at && !o->resolving)
        gsi_outside_map(n, now);
    const struct plane_stat *stat = gsi_plane_stat(n->plane);
    if (stat->in + stat->out != o->packets) {
        o->packets = stat->in + stat->out;
        o->active_ns = now;
    }
    gsi_netcheck_active(o->netcheck, n->members.peers.n && o->packets && now - o->active_ns < ACTIVE_FOR, now);
    if (now >= gsi_netcheck_deadline(o->netcheck))
        gsi_netcheck_tick(o->netcheck, now);
    send_packets(n);
    take_events(n, now);
}

uint64_t gsi_outside_deadline(const struct node *n)
{
    uint64_t at = gsi_netcheck_deadline(n->outside.netcheck);
    return at < n->outside.look_at ? at : n->outside.look_at;
}
