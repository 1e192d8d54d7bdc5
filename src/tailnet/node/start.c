/* start.c: a node's configuration, beginning and end. */
#include <ctype.h>
#include <errno.h>
#include <gensock/socket.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tailnet/node/parts.h"
#include "tailnet/stack/undelivered.h"

#define CONTROL_DEFAULT "https://controlplane.tailscale.com"

enum { DELIVER_LOOK_MS = 5, DELIVER_CALM = 4 };

/* ---- the configuration ---- */

static char *copy_text(const char *s)
{
    size_t n = s ? strlen(s) + 1 : 0;
    char *c = n ? OPENSSL_malloc(n) : NULL;
    return c ? memcpy(c, s, n) : NULL;
}

/* A label of a name; letters, digits and hyphens are what stays of this machine's. */
static int take_hostname(struct node_config *c, const char *wish)
{
    char own[256] = "";
    size_t n = 0;
    if (!wish && gs_gethostname(own, sizeof own) < 0)
        own[0] = 0;
    for (const char *p = wish ? wish : own; *p && (wish || *p != '.'); p++) {
        bool right = isalnum((unsigned char)*p) || (*p == '-' && n);
        if ((!right && wish) || (wish && n == HOSTNAME_MAX))
            return gs_fail(-EINVAL, "hostname: at most %d letters, digits and hyphens, no hyphen in front", HOSTNAME_MAX);
        if (right && n < HOSTNAME_MAX)
            c->hostname[n++] = *p;
    }
    if (!n && wish)
        return gs_fail(-EINVAL, "hostname: empty");
    if (!n)
        memcpy(c->hostname, "gensock", 8);
    return 0;
}

static bool is_loopback(const char *host)
{
    struct ip ip;
    return strcmp(host, "localhost") == 0 || (gsi_ip_parse(host, strlen(host), &ip) == 0 && gsi_ip_is_loopback(&ip));
}

static int take_url(struct node_config *c, const char *text, bool plain_control)
{
    text = text && *text ? text : CONTROL_DEFAULT;
    if (gsi_url_parse(text, strlen(text), &c->url) < 0)
        return gs_fail(-EINVAL, "control_url: not a URL of a control server, such as " CONTROL_DEFAULT);
    if (strlen(text) > STATE_URL_MAX)
        return gs_fail(-EINVAL, "control_url: longer than %d bytes", STATE_URL_MAX);
    if (!c->url.tls && !plain_control && !is_loopback(c->url.host))
        return gs_fail(-EINVAL, "control_url: http:// to %s could be answered by anybody: use https://, or set plain_control",
                       c->url.host);
    c->control_url = copy_text(text);
    return c->control_url ? 0 : -ENOMEM;
}

static int take_key(struct node_config *c, const char *key)
{
    size_t n = key ? strlen(key) : 0;
    while (n && isspace((unsigned char)key[n - 1]))
        n--;
    if (!n)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (!isgraph((unsigned char)key[i]))
            return gs_fail(-EINVAL, "auth_key: a blank or an unprintable byte within it");
    if (n > 1024)
        return gs_fail(-EINVAL, "auth_key: longer than 1024 bytes");
    if (!(c->auth_key = OPENSSL_zalloc(n + 1)))
        return -ENOMEM;
    memcpy(c->auth_key, key, n);
    return 0;
}

static int take_tags(struct node_config *c, const char *const *tags, size_t n)
{
    if (n > TAGS_MAX || (n && !tags))
        return gs_fail(-EINVAL, "tags: at most %d", TAGS_MAX);
    if (n && !(c->tags = OPENSSL_zalloc(n * sizeof *c->tags)))
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (!tags[i] || strncmp(tags[i], "tag:", 4) != 0 || !tags[i][4] || strlen(tags[i]) > 255)
            return gs_fail(-EINVAL, "tags: each begins with \"tag:\"");
        if (!(c->tags[i] = copy_text(tags[i])))
            return -ENOMEM;
        c->n_tags++;
    }
    return 0;
}

/* TLS would find it out when the first connection is made, and again with each. */
static int check_ca(const char *path)
{
    char line[256];
    FILE *f = fopen(path, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f))
        found = strstr(line, "CERTIFICATE-----") != NULL;
    int e = !f || (!found && ferror(f)) ? -errno : 0;
    if (f)
        fclose(f);
    if (e < 0)
        return gs_fail(e, "ca_file: %s cannot be read: %s", path, gs_error_text(e));
    return found ? 0 : gs_fail(-EINVAL, "ca_file: %s holds no PEM certificate", path);
}

static int take_config(struct node *n, const gs_tailnet_config *from)
{
    struct node_config *c = &n->config;
    if (!from->state_dir && !from->ephemeral)
        return gs_fail(-EINVAL, "state_dir: a node that is not ephemeral keeps its keys somewhere");
    c->ephemeral = from->ephemeral;
    c->shields_up = from->shields_up;
    c->relay_only = from->relay_only;
    c->port = from->port;
    c->events = from->events;
    int e = take_hostname(c, from->hostname);
    if (e == 0)
        e = take_url(c, from->control_url, from->plain_control);
    if (e == 0)
        e = take_key(c, from->auth_key);
    if (e == 0)
        e = take_tags(c, from->tags, from->n_tags);
    if (e == 0 && from->ca_file)
        e = check_ca(from->ca_file);
    if (e == 0 && from->ca_file && !(c->ca_file = copy_text(from->ca_file)))
        e = -ENOMEM;
    return e;
}

static void free_config(struct node_config *c)
{
    if (c->auth_key)
        OPENSSL_clear_free(c->auth_key, strlen(c->auth_key));
    for (size_t i = 0; i < c->n_tags; i++)
        OPENSSL_free(c->tags[i]);
    OPENSSL_free(c->tags);
    OPENSSL_free(c->control_url);
    OPENSSL_free(c->ca_file);
}

/* ---- keys ---- */

int gsi_node_write_keys(struct node *n)
{
    char text[STATE_TEXT_MAX];
    if (!n->store)
        return 0;
    int len = gsi_state_write(&n->keys, text);
    int e = len < 0 ? len : gsi_store_write(n->store, text, (size_t)len);
    gsi_wipe(text, sizeof text);
    return e;
}

static int take_keys(struct node *n, const gs_tailnet_config *from)
{
    char text[STATE_TEXT_MAX];
    if (from->ephemeral && !from->state_dir) {
        gsi_state_new(&n->keys);
        return 0;
    }
    int e = gsi_store_open(&n->store, from->state_dir);
    if (e < 0)
        return e;
    int len = gsi_store_read(n->store, text, sizeof text);
    if (len > 0)
        e = gsi_state_read(&n->keys, text, (size_t)len);
    else if (len < 0)
        e = len;
    else {
        gsi_state_new(&n->keys);
        e = gsi_node_write_keys(n);
    }
    gsi_wipe(text, sizeof text);
    return e;
}

/* ---- the parts ---- */

static void *find_peer(void *node, const uint8_t key[KEY_LEN])
{
    struct node *n = node;
    return gsi_peers_find(&n->members.peers, key);
}

static void leave_by_relay(void *node, uint32_t region, const uint8_t key[KEY_LEN], const uint8_t *bytes, size_t len, bool disco)
{
    gsi_relays_send(node, region, key, bytes, len, disco, gsi_node_now());
}

static void take_stun(void *node, const uint8_t *bytes, size_t len, const struct endpoint *from, uint64_t now)
{
    (void)from;
    gsi_outside_stun(node, bytes, len, now);
}

static void take_reject(void *node, const struct tsmp *t) { gsi_conn_rejected(node, t); }

static bool has_cap(void *node, const struct ip *src, const char *capability)
{
    const struct node *n = node;
    const struct map_node *m = gsi_netmap_by_address(n->map, src);
    return m && gsi_map_node_has_cap(m, capability, strlen(capability), NULL);
}

static void free_plane(struct node *n)
{
    gsi_plane_free(n->plane);
    gsi_wireguard_free(n->wireguard);
    gsi_paths_free(n->paths);
    n->plane = NULL;
    n->wireguard = NULL;
    n->paths = NULL;
}

void gsi_node_let_go(struct node *n)
{
    free_plane(n);
    gsi_link_close(n->link);
    gsi_store_close(n->store);
    n->link = NULL;
    n->store = NULL;
}

int gsi_node_make_plane(struct node *n)
{
    int e;
    struct wg_config wg = {.find = find_peer, .arg = n, .routes = n->routes, .mtu = NAMESPACE_MTU};
    struct paths_config paths = {.loopback = is_loopback(n->config.url.host), .relay_only = n->config.relay_only};
    gsi_x25519_public(n->node_public, n->keys.node);
    memcpy(wg.private_key, n->keys.node, KEY_LEN);
    memcpy(paths.disco_private, n->disco_private, KEY_LEN);
    memcpy(paths.node_public, n->node_public, KEY_LEN);
    struct wireguard *wireguard = gsi_wireguard_new(&wg, &e);
    struct paths *ways = gsi_paths_new(&paths);
    gsi_wipe(&wg, sizeof wg);
    gsi_wipe(&paths, sizeof paths);
    const struct plane_config config = {.tun = gsi_namespace_tun(n->ns),
                                        .mtu = NAMESPACE_MTU,
                                        .link = n->link,
                                        .wireguard = wireguard,
                                        .routes = n->routes,
                                        .paths = ways,
                                        .filter = n->filter,
                                        .arg = n,
                                        .relay = leave_by_relay,
                                        .stun = take_stun,
                                        .rejected = take_reject};
    struct plane *plane = wireguard && ways ? gsi_plane_new(&config) : NULL;
    if (!plane) {
        gsi_wireguard_free(wireguard);
        gsi_paths_free(ways);
        return -ENOMEM;
    }
    free_plane(n);
    n->plane = plane;
    n->wireguard = wireguard;
    n->paths = ways;
    return 0;
}

/* The addresses of the tailnet lead into the TUN; what else peers carry is added with them. */
static int make_inside(struct node *n)
{
    static const char *const tailnet[] = {"100.64.0.0/10", "fd7a:115c:a1e0::/48"};
    struct prefix p;
    int e = gsi_namespace_open(&n->ns, &(struct namespace_options){0});
    for (int i = 0; e == 0 && i < 2; i++) {
        e = gsi_prefix_parse(tailnet[i], strlen(tailnet[i]), &p);
        if (e == 0)
            e = gsi_namespace_route(n->ns, &p, true);
        if (i == 1 && e < 0) /* a machine without IPv6 */
            e = 0;
    }
    return e;
}

static int make_parts(struct node *n)
{
    if ((n->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        return gs_fail(-errno, "no descriptor for the node");
    n->map = gsi_netmap_new();
    n->routes = gsi_routes_new(0);
    if (!n->map || !n->routes)
        return -ENOMEM;
    gsi_x25519_private(n->disco_private);
    int e = gsi_filter_new(&n->filter, has_cap, n);
    if (e == 0)
        e = make_inside(n);
    if (e == 0)
        n->diag = gsi_namespace_socket(n->ns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
    if (e == 0)
        e = gsi_link_open(&n->link, &(struct link_options){.port = n->config.port});
    if (e == 0)
        e = gsi_node_make_plane(n);
    if (e == 0)
        e = gsi_relays_init(n);
    if (e == 0)
        e = gsi_outside_init(n);
    if (e < 0)
        return e;
    gsi_filter_set_shields_up(n->filter, n->config.shields_up);
    gsi_session_init(n);
    return gs_mailbox_new(&n->mailbox);
}

void gsi_node_free(struct node *n)
{
    gsi_session_end(n);
    gsi_relays_end(n);
    if (n->mailbox.id)
        gs_mailbox_free(n->mailbox);
    gsi_node_let_go(n);
    gsi_members_end(n);
    gsi_outside_end(n);
    gsi_filter_free(n->filter);
    gsi_routes_free(n->routes);
    gsi_namespace_close(n->ns);
    gsi_identities_free(n);
    gsi_netmap_free(n->map);
    free_config(&n->config);
    if (n->wake >= 0)
        close(n->wake);
    if (n->diag >= 0)
        close(n->diag);
    pthread_cond_destroy(&n->changed);
    pthread_mutex_destroy(&n->lock);
    pthread_mutex_destroy(&n->inside);
    OPENSSL_clear_free(n, sizeof *n); /* keys, and URLs that let somebody in */
}

/* ---- start, stop ---- */

static int prepare(struct node *n, const gs_tailnet_config *config)
{
    int e = take_config(n, config);
    if (e == 0)
        e = take_keys(n, config);
    if (e == 0)
        e = make_parts(n);
    return e;
}

static int begin_thread(struct node *n)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the program's */
    int e = pthread_create(&n->thread, NULL, gsi_node_loop, n);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (e)
        return gs_fail(GS_ESYSLIMIT, "no thread for the node: %s", strerror(e));
    pthread_setname_np(n->thread, "gs-tailnet");
    return 0;
}

int gsi_node_start(gs_tailnet *out, const gs_tailnet_config *config)
{
    struct node *n = OPENSSL_zalloc(sizeof *n);
    if (!n)
        return -ENOMEM;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&n->lock, NULL);
    pthread_mutex_init(&n->inside, NULL);
    pthread_cond_init(&n->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    n->state = GS_TAILNET_STARTING;
    n->commands_last = &n->commands;
    n->members.ready_last = &n->members.ready;
    gsi_worker_init(n, &n->reader);
    gsi_worker_init(n, &n->finder);
    n->wake = n->diag = n->outside.watch = -1;
    n->holders = 1;
    n->pid = getpid();
    int e = prepare(n, config);
    if (e == 0)
        e = gsi_node_publish(n);
    if (e < 0) {
        gsi_node_free(n);
        return e;
    }
    e = begin_thread(n);
    if (e < 0) {
        (void)gsi_node_withdraw(n);
        gsi_node_release(n);
        return e;
    }
    (void)atexit(gsi_nodes_end); /* each time: handlers run in reverse order, and transports may have come since */
    *out = (gs_tailnet){n->id};
    return 0;
}

int gs_tailnet_logout(gs_tailnet h, int timeout_ms)
{
    struct node *n;
    int e = timeout_ms < GS_INFINITY ? GS_EBADARG : gsi_node_of(h, &n);
    if (e < 0)
        return e;
    struct command logout = {.run = gsi_run_logout, .kept = true};
    e = gsi_node_call(n, &logout, timeout_ms);
    gsi_node_release(n);
    return e;
}

/* -1: for ever. */
static int left_until(uint64_t until)
{
    uint64_t now = gsi_node_now();
    return until == UINT64_MAX ? GS_INFINITY : now < until ? (int)((until - now) / 1000000) : 0;
}

/* Lets the peers have what was sent, also by streams that are closed by now. First to be looked at is what streams have not given
 * to the kernel yet, since it is the kernel's next: what they cork they give within a few looks. */
static void deliver(struct node *n, uint64_t until)
{
    for (int calm = 0; calm < DELIVER_CALM && left_until(until) != 0;) {
        size_t held, conns = gsi_conns_look(n, &held);
        int fd = gsi_node_socket(n, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
        int found = fd < 0 ? fd : gsi_tcp_undelivered(fd);
        if (fd >= 0)
            close(fd);
        if (found > 0 || held)
            calm = 0;
        else if (!conns)
            return;
        else
            calm++;
        poll(NULL, 0, DELIVER_LOOK_MS);
    }
}

int gs_tailnet_stop(gs_tailnet h, int timeout_ms)
{
    struct node *n;
    int e = timeout_ms < GS_INFINITY ? GS_EBADARG : gsi_node_of(h, &n);
    if (e < 0)
        return e;
    if (!gsi_node_withdraw(n)) { /* another stop was faster */
        gsi_node_release(n);
        return GS_ECLOSED;
    }
    uint64_t until = timeout_ms < 0 ? UINT64_MAX : gsi_node_now() + (uint64_t)timeout_ms * 1000000;
    gsi_listenings_shut(n, GS_ECLOSED);
    deliver(n, until);
    struct command logout = {.run = gsi_run_logout, .kept = true};
    if (n->config.ephemeral) /* the server would keep it for a while otherwise */
        (void)!gsi_node_call(n, &logout, left_until(until));
    pthread_mutex_lock(&n->lock);
    n->stopping = true;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    gsi_node_wake(n);
    pthread_join(n->thread, NULL);
    gsi_node_release(n); /* ours, */
    gsi_node_release(n); /* and the handle's */
    return 0;
}
