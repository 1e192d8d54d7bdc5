/* runner: timeout 120
 *
 * Two data planes in one process: the kernel's TCP and UDP in two private namespaces, through WireGuard, over UDP on loopback and
 * a relay in memory. What arrives is right, whose it is can be told, and what may not pass does not. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "support.h"
#include "tailnet/plane/plane.h"
#include "tailnet/stack/namespace.h"

enum { REGION = 1, RELAYED = 512, BULK = 30 * 1000 * 1000, CHUNK = 256 * 1024, WAIT_S = 60 };

struct relayed {
    size_t n;
    uint8_t bytes[2048];
};

struct end {
    struct end *other;
    uint8_t private[KEY_LEN], public[KEY_LEN], ip[4];
    struct namespace *ns;
    struct link *link;
    struct endpoint at;
    struct wireguard *wg;
    struct routes *routes;
    struct paths *paths;
    struct filter *filter;
    struct plane *plane;
    struct plane_peer peer;    /* the other */
    struct relayed *relayed;   /* to this one */
    int relayed_n;
    long by_relay;
};

static struct end ends[2];
static atomic_bool stop;
static pthread_t pump_thread;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* whoever is at the planes */

static uint64_t clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the two ends ---- */

static void *find(void *arg, const uint8_t key[KEY_LEN])
{
    struct end *e = arg;
    return memcmp(key, e->other->public, KEY_LEN) == 0 ? &e->peer : NULL;
}

static void relay(void *arg, uint32_t region, const uint8_t key[KEY_LEN], const uint8_t *bytes, size_t n, bool disco)
{
    struct end *e = arg, *to = e->other;
    (void)disco;
    assert_int_equal(region, REGION);
    assert_memory_equal(key, to->public, KEY_LEN);
    e->by_relay++;
    if (to->relayed_n == RELAYED || n > sizeof to->relayed->bytes)
        return;
    struct relayed *r = &to->relayed[to->relayed_n++];
    r->n = n;
    memcpy(r->bytes, bytes, n);
}

static void allow(struct end *e, const char *destination, uint16_t first, uint16_t last)
{
    static const struct filter_text all = {"*", 1};
    struct filter_destination to = {{destination, strlen(destination)}, first, last};
    struct filter_rule rule = {.sources = &all, .n_sources = 1, .destinations = &to, .n_destinations = 1};
    struct prefix own = {gsi_ip_of_v4(e->ip), PREFIX_BITS};
    struct rules *rules;
    assert_ok(gsi_rules_compile(&own, 1, &(struct filter_list){&rule, 1}, 1, &rules, NULL));
    gsi_filter_use(e->filter, rules);
}

static void make_keys(struct end *e, int number)
{
    *e = (struct end){.other = &ends[1 - number], .ip = {100, 64, 0, (uint8_t)(1 + number)}};
    gsi_x25519_private(e->private);
    gsi_x25519_public(e->public, e->private);
    e->relayed = malloc(RELAYED * sizeof *e->relayed);
    assert_non_null(e->relayed);
}

static void make_parts(struct end *e)
{
    struct paths_config paths = {.loopback = true};
    struct wg_config wg = {.find = find, .arg = e};
    static const uint8_t localhost[4] = {127, 0, 0, 1};
    struct prefix tailnet;
    int error;
    assert_ok(gsi_namespace_open(&e->ns, &(struct namespace_options){0}));
    assert_ok(gsi_namespace_address(e->ns, &(struct prefix){gsi_ip_of_v4(e->ip), PREFIX_BITS}, true));
    assert_ok(gsi_prefix_parse("100.64.0.0/10", 13, &tailnet));
    assert_ok(gsi_namespace_route(e->ns, &tailnet, true));
    assert_ok(gsi_link_open(&e->link, &(struct link_options){.no_v6 = true}));
    e->at = (struct endpoint){gsi_ip_of_v4(localhost), gsi_link_port(e->link, false)};
    gsi_x25519_private(paths.disco_private);
    memcpy(paths.node_public, e->public, KEY_LEN);
    memcpy(wg.private_key, e->private, KEY_LEN);
    e->routes = gsi_routes_new(0);
    wg.routes = e->routes;
    e->wg = gsi_wireguard_new(&wg, &error);
    e->paths = gsi_paths_new(&paths);
    assert_ok(gsi_filter_new(&e->filter, NULL, NULL));
    e->plane = gsi_plane_new(&(struct plane_config){.tun = gsi_namespace_tun(e->ns), .mtu = NAMESPACE_MTU, .link = e->link, .wireguard = e->wg,
                                                    .routes = e->routes, .paths = e->paths, .filter = e->filter, .arg = e, .relay = relay});
    assert_true(e->routes && e->wg && e->paths && e->plane);
}

static void introduce(struct end *e, uint32_t identity)
{
    struct end *o = e->other;
    struct path_peer peer = {.home = REGION, .endpoints = &o->at, .n = 1};
    e->peer = (struct plane_peer){.key = o->public, .identity = identity};
    memcpy(peer.node, o->public, KEY_LEN);
    memcpy(peer.disco, gsi_paths_disco_public(o->paths), KEY_LEN);
    assert_ok(gsi_path_set(e->paths, &peer, clock_of(CLOCK_MONOTONIC), &e->peer.path));
    assert_ok(gsi_routes_add(e->routes, &(struct prefix){gsi_ip_of_v4(o->ip), PREFIX_BITS}, &e->peer));
    allow(e, "*", 0, FILTER_PORT_LAST);
}

/* ---- the loop that a node's thread is ---- */

static void take_relayed(struct end *e, uint64_t now)
{
    int n = e->relayed_n;
    e->relayed_n = 0;
    for (int i = 0; i < n; i++)
        gsi_plane_from_relay(e->plane, REGION, e->other->public, e->relayed[i].bytes, e->relayed[i].n, now);
}

static void take_events(struct end *e)
{
    struct paths_event path;
    struct wg_event wg;
    while (gsi_paths_next(e->paths, &path))
        if (path.type == PATHS_WANT_ENDPOINTS)
            gsi_paths_endpoints(e->paths, &e->at, 1, clock_of(CLOCK_MONOTONIC));
    while (gsi_wireguard_next(e->wg, &wg))
        ;
}

static void serve(struct end *e, short tun, short link)
{
    uint64_t now = clock_of(CLOCK_MONOTONIC);
    if (tun)
        assert_true(gsi_plane_from_tun(e->plane, now));
    if (link)
        gsi_plane_from_link(e->plane, false, now);
    take_relayed(e, now);
    if (gsi_plane_deadline(e->plane) <= now)
        gsi_plane_tick(e->plane, now, clock_of(CLOCK_REALTIME));
    take_events(e);
}

static void *pump(void *arg)
{
    struct pollfd fds[4];
    (void)arg;
    for (int i = 0; i < 2; i++) {
        fds[2 * i] = (struct pollfd){.fd = gsi_namespace_tun(ends[i].ns), .events = POLLIN};
        fds[2 * i + 1] = (struct pollfd){.fd = gsi_link_fd(ends[i].link, false), .events = POLLIN};
    }
    while (!atomic_load(&stop)) {
        poll(fds, 4, ends[0].relayed_n || ends[1].relayed_n ? 0 : 1);
        pthread_mutex_lock(&mutex);
        for (int i = 0; i < 2; i++)
            serve(&ends[i], fds[2 * i].revents, fds[2 * i + 1].revents);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static int begin(void **state)
{
    (void)state;
    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++)
        make_keys(&ends[i], i);
    for (int i = 0; i < 2; i++)
        make_parts(&ends[i]);
    introduce(&ends[0], 17);
    introduce(&ends[1], 4242);
    return pthread_create(&pump_thread, NULL, pump, NULL);
}

static int end(void **state)
{
    (void)state;
    atomic_store(&stop, true);
    pthread_join(pump_thread, NULL);
    for (int i = 0; i < 2; i++) {
        struct end *e = &ends[i];
        gsi_plane_free(e->plane);
        gsi_filter_free(e->filter);
        gsi_wireguard_free(e->wg);
        gsi_paths_free(e->paths);
        gsi_routes_free(e->routes);
        gsi_link_close(e->link);
        gsi_namespace_close(e->ns);
        free(e->relayed);
    }
    return 0;
}

/* ---- sockets inside ---- */

static struct sockaddr_in address_of(int number, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&a.sin_addr, (const uint8_t[]){100, 64, 0, (uint8_t)(1 + number)}, 4);
    return a;
}

static int inside(int number, int type)
{
    int fd = (int)assert_ok(gsi_namespace_socket(ends[number].ns, AF_INET, type, 0));
    struct timeval limit = {.tv_sec = WAIT_S};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    return fd;
}

static int listen_at(int number, uint16_t *port)
{
    int fd = inside(number, SOCK_STREAM);
    struct sockaddr_in at = address_of(number, 0);
    socklen_t n = sizeof at;
    int yes = 1;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_SAVE_SYN, &yes, sizeof yes), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

/* A connection of the first end to the second: [0] its end, [1] the accepted one. */
static void connected(int fd[2])
{
    uint16_t port;
    int listener = listen_at(1, &port);
    struct sockaddr_in to = address_of(1, port);
    fd[0] = inside(0, SOCK_STREAM);
    assert_int_equal(connect(fd[0], (struct sockaddr *)&to, sizeof to), 0);
    fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd[1] >= 0);
    struct timeval limit = {.tv_sec = WAIT_S};
    assert_int_equal(setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    close(listener);
}

/* The planes' thread sends linger's reset before it stops. */
static void abort_socket(int fd)
{
    struct linger now = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

struct flow {
    int fd;
    uint64_t seed;
    bool ok;
};

static void *send_flow(void *arg)
{
    struct flow *f = arg;
    uint8_t *bytes = malloc(CHUNK);
    for (size_t at = 0; at < BULK;) {
        size_t n = BULK - at < CHUNK ? BULK - at : CHUNK;
        pattern_fill(bytes, n, f->seed, at);
        for (size_t done = 0; done < n;) {
            ssize_t k = send(f->fd, bytes + done, n - done, MSG_NOSIGNAL);
            if (k <= 0) {
                free(bytes);
                return NULL;
            }
            done += (size_t)k;
        }
        at += n;
    }
    f->ok = shutdown(f->fd, SHUT_WR) == 0;
    free(bytes);
    return NULL;
}

static void *take_flow(void *arg)
{
    struct flow *f = arg;
    uint8_t *bytes = malloc(CHUNK);
    size_t at = 0;
    for (ssize_t k; (k = recv(f->fd, bytes, CHUNK, 0)) > 0; at += (size_t)k)
        if (pattern_check(bytes, (size_t)k, f->seed, at) != (size_t)k)
            break;
    f->ok = at == BULK;
    free(bytes);
    return NULL;
}

static struct plane_stat stat_of(int number)
{
    pthread_mutex_lock(&mutex);
    struct plane_stat s = *gsi_plane_stat(ends[number].plane);
    pthread_mutex_unlock(&mutex);
    return s;
}

/* ---- facts ---- */

static void a_stream_passes_both_ways_at_once_and_ends_in_halves(void **state)
{
    (void)state;
    int fd[2];
    pthread_t t[4];
    connected(fd);
    struct flow flows[4] = {{fd[0], 1, false}, {fd[1], 1, false}, {fd[1], 2, false}, {fd[0], 2, false}};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, i % 2 ? take_flow : send_flow, &flows[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_true(flows[i].ok);
    pthread_mutex_lock(&mutex);
    struct path_info info;
    gsi_path_info(ends[0].peer.path, &info);
    pthread_mutex_unlock(&mutex);
    assert_int_equal(info.kind, PATH_DIRECT);
    assert_true(gsi_endpoint_equal(&info.at, &ends[1].at));
    struct plane_stat s = stat_of(0);
    assert_true(s.out_bytes > BULK && s.in_bytes > BULK);
    assert_int_equal(s.malformed + s.unstamped + s.no_route, 0);
    abort_socket(fd[0]);
    abort_socket(fd[1]);
}

static void an_accepted_connection_tells_whose_it_is(void **state)
{
    (void)state;
    int fd[2];
    uint8_t saved[256];
    socklen_t n = sizeof saved;
    uint32_t identity;
    connected(fd);
    assert_int_equal(getsockopt(fd[1], IPPROTO_TCP, TCP_SAVED_SYN, saved, &n), 0);
    assert_ok(gsi_packet_stamp_read(saved, n, &identity));
    assert_int_equal(identity, 4242); /* what the second end calls the first */
    abort_socket(fd[0]);
    abort_socket(fd[1]);
}

static void datagrams_keep_their_borders(void **state)
{
    (void)state;
    int a = inside(0, SOCK_DGRAM), b = inside(1, SOCK_DGRAM);
    struct sockaddr_in at = address_of(1, 0), from;
    socklen_t n = sizeof at;
    uint8_t out[4000], in[5000];
    assert_int_equal(bind(b, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(b, (struct sockaddr *)&at, &n), 0);
    static const size_t sizes[] = {0, 1, 100, 1252, 1253, 4000}; /* longer ones come in fragments */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pattern_fill(out, sizes[i], i, 0);
        assert_int_equal(sendto(a, out, sizes[i], 0, (struct sockaddr *)&at, sizeof at), sizes[i]);
        n = sizeof from;
        assert_int_equal(recvfrom(b, in, sizeof in, 0, (struct sockaddr *)&from, &n), sizes[i]);
        assert_int_equal(pattern_check(in, sizes[i], i, 0), sizes[i]);
        assert_int_equal(sendto(b, in, sizes[i] / 2, 0, (struct sockaddr *)&from, n), sizes[i] / 2); /* an answer */
        assert_int_equal(recv(a, in, sizeof in, 0), sizes[i] / 2);
    }
    close(a);
    close(b);
}

static void a_port_without_listener_is_refused(void **state)
{
    (void)state;
    int fd = inside(0, SOCK_STREAM);
    struct sockaddr_in to = address_of(1, 9);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
}

static void what_the_filter_forbids_does_not_pass(void **state)
{
    (void)state;
    uint16_t open_port, closed_port;
    int open_listener = listen_at(1, &open_port), closed_listener = listen_at(1, &closed_port);
    pthread_mutex_lock(&mutex);
    allow(&ends[1], "100.64.0.2", open_port, open_port);
    pthread_mutex_unlock(&mutex);
    int fd = inside(0, SOCK_STREAM);
    struct sockaddr_in to = address_of(1, open_port);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    int forbidden = inside(0, SOCK_STREAM | SOCK_NONBLOCK);
    to = address_of(1, closed_port);
    assert_int_equal(connect(forbidden, (struct sockaddr *)&to, sizeof to), -1);
    assert_int_equal(errno, EINPROGRESS);
    assert_until(stat_of(1).verdicts[DROP_NO_RULE] > 0, 10000);
    pthread_mutex_lock(&mutex);
    gsi_filter_use(ends[1].filter, NULL);
    pthread_mutex_unlock(&mutex);
    int none = inside(0, SOCK_STREAM | SOCK_NONBLOCK);
    to = address_of(1, open_port);
    assert_int_equal(connect(none, (struct sockaddr *)&to, sizeof to), -1);
    assert_until(stat_of(1).verdicts[DROP_NO_RULES] > 0, 10000);
    struct pollfd ready[2] = {{.fd = closed_listener, .events = POLLIN}, {.fd = forbidden, .events = POLLOUT}};
    assert_int_equal(poll(ready, 2, 0), 0);
    abort_socket(fd);
    abort_socket(forbidden);
    abort_socket(none);
    close(open_listener);
    close(closed_listener);
}

static void a_peer_without_identity_opens_nothing(void **state)
{
    (void)state;
    uint16_t port;
    int listener = listen_at(1, &port), fd = inside(0, SOCK_STREAM | SOCK_NONBLOCK);
    struct sockaddr_in to = address_of(1, port);
    pthread_mutex_lock(&mutex);
    ends[1].peer.identity = 0;
    pthread_mutex_unlock(&mutex);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), -1);
    assert_until(stat_of(1).unstamped > 0, 10000);
    assert_int_equal(poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, 0), 0);
    abort_socket(fd);
    close(listener);
}

static void an_address_of_nobody_is_dropped_here(void **state)
{
    (void)state;
    int fd = inside(0, SOCK_DGRAM);
    struct sockaddr_in to = address_of(99, 9);
    assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to), 1);
    assert_until(stat_of(0).no_route == 1, 10000);
    close(fd);
}

static int init(void **state)
{
    (void)state;
    return gsi_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_stream_passes_both_ways_at_once_and_ends_in_halves, begin, end),
        cmocka_unit_test_setup_teardown(an_accepted_connection_tells_whose_it_is, begin, end),
        cmocka_unit_test_setup_teardown(datagrams_keep_their_borders, begin, end),
        cmocka_unit_test_setup_teardown(a_port_without_listener_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(what_the_filter_forbids_does_not_pass, begin, end),
        cmocka_unit_test_setup_teardown(a_peer_without_identity_opens_nothing, begin, end),
        cmocka_unit_test_setup_teardown(an_address_of_nobody_is_dropped_here, begin, end),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
