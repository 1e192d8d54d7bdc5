/* serve.c: a lab's thread: streams to the control server and the relay, datagrams to STUN, and time. */
#include "tailnet/lab/serve.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gensock/tls.h"
#include "tailnet/stun/stun.h"

#define NS_PER_MS UINT64_C(1000000)

uint64_t gsi_lab_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- listening ---- */

/* What is sent each minute tells whether the peer is still there: a machine that just went is gone after this. */
static unsigned user_timeout_ms = 30000;
#define USER_TIMEOUT {.name = GS_OPT_RAW, .v.raw = {IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms}}

static int listen_control(struct lab *l)
{
    char at[128];
    snprintf(at, sizeof at, "tcp://%s:%u", l->host, l->control_port);
    return gs_stream_listen(&l->control_listener, at,
                            GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE), GS_INT(REUSEADDR, true), GS_INT(BACKLOG, 128),
                                    GS_INT(NODELAY, true), USER_TIMEOUT, GS_INT(SEND_TIMEOUT, GS_NOWAIT),
                                    GS_INT(HIGH_WATERMARK, LAB_HIGH_WATER)), l->mailbox);
}

static int listen_relay(struct lab *l)
{
    char at[128], cert[PATH_MAX + 16], key[PATH_MAX + 16];
    snprintf(at, sizeof at, "tls://%s:%u", l->host, l->relay_port);
    snprintf(cert, sizeof cert, "%s/relay.pem", l->directory);
    snprintf(key, sizeof key, "%s/relay.key", l->directory);
    return gs_stream_listen(&l->relay_listener, at,
                            GS_OPTS(GS_STR(TLS_CERT_FILE, cert), GS_STR(TLS_KEY_FILE, key), GS_INT(ACCEPT, GS_ACTIVE_TRUE),
                                    GS_INT(REUSEADDR, true), GS_INT(BACKLOG, 128), GS_INT(NODELAY, true), USER_TIMEOUT,
                                    GS_INT(SEND_TIMEOUT, GS_NOWAIT),
                                    GS_INT(HIGH_WATERMARK, LAB_HIGH_WATER)), l->mailbox);
}

static int open_stun(struct lab *l)
{
    gs_addr at;
    int e = gs_addr_ip(&at, l->address, l->stun_port);
    if (e == 0)
        e = gs_socket_open(&l->stun, at.sa.ss_family, SOCK_DGRAM, 0, &(gs_socket_opts){.owner = l->mailbox});
    if (e < 0)
        return e;
    l->stun_wait = (gs_wait){.timeout_ms = GS_NOWAIT, .to = l->mailbox};
    return gs_socket_bind(l->stun, &at);
}

int gsi_lab_listen(struct lab *l, gs_lab_part part)
{
    int e = part == GS_LAB_CONTROL ? listen_control(l) : part == GS_LAB_RELAY ? listen_relay(l) : open_stun(l);
    if (e < 0)
        return e;
    int port = part == GS_LAB_STUN ? e : gs_stream_port(part == GS_LAB_CONTROL ? l->control_listener : l->relay_listener);
    if (port < 0)
        return port;
    *(part == GS_LAB_CONTROL ? &l->control_port : part == GS_LAB_RELAY ? &l->relay_port : &l->stun_port) = (uint16_t)port;
    return 0;
}

/* ---- connections ---- */

static void drop(struct lab *l, int i)
{
    struct lab_link *k = l->links[i];
    l->links[i] = NULL;
    if (k->control)
        gsi_coordination_leave(k->control, gsi_lab_now());
    if (k->relay)
        gsi_relay_leave(k->relay);
    gs_stream_close(k->stream);
    OPENSSL_free(k->held);
    OPENSSL_free(k);
}

void gsi_lab_hang_up(struct lab *l, gs_lab_part part)
{
    gs_stream *listener = part == GS_LAB_CONTROL ? &l->control_listener : &l->relay_listener;
    gs_stream_close(*listener);
    *listener = GS_NO_STREAM;
    for (int i = 0; i < l->links_n; i++)
        if (l->links[i] && (part == GS_LAB_CONTROL) == (l->links[i]->control != NULL))
            drop(l, i);
}

static void *user_of(int i) { return (void *)(uintptr_t)(i + 1); }

/* The link of a stream, -1: it is not ours any more. */
static int link_of(const struct lab *l, gs_stream s, const void *user)
{
    int i = (int)(uintptr_t)user - 1;
    return i >= 0 && i < l->links_n && l->links[i] && l->links[i]->stream.id == s.id ? i : -1;
}

static int free_link(struct lab *l)
{
    int i = 0;
    while (i < l->links_n && l->links[i])
        i++;
    if (i == LAB_LINKS_MAX)
        return -1;
    l->links_n += i == l->links_n;
    return i;
}

static void wake_for_relay(struct lab *l, const struct relay_conn *c)
{
    uint64_t at = gsi_relay_deadline(c);
    l->relay_wake = at < l->relay_wake ? at : l->relay_wake;
}

static void accepted(struct lab *l, const gs_msg *m)
{
    bool relay = m->stream.id == l->relay_listener.id;
    uint64_t now = gsi_lab_now();
    int i = relay || m->stream.id == l->control_listener.id ? free_link(l) : -1;
    struct lab_link *k = i < 0 ? NULL : OPENSSL_zalloc(sizeof *k);
    gs_opt user[] = {{.name = GS_OPT_USER, .v.ptr = user_of(i)}, {.name = GS_OPT_END}};
    if (!k || gs_stream_setopts(m->fresh, user) != 0) {
        gs_stream_close(m->fresh);
        OPENSSL_free(k);
        return;
    }
    k->stream = m->fresh;
    l->links[i] = k;
    if (relay)
        k->relay = gsi_relay_join(l->relay, user_of(i), now);
    else
        k->control = gsi_coordination_join(l->control, user_of(i), now);
    if (k->relay)
        wake_for_relay(l, k->relay);
    if (!k->relay && !k->control)
        drop(l, i);
}

/* ---- sending: until nothing is left, or the stream takes no more ---- */

static void send_control(struct lab *l, int i)
{
    struct lab_link *k = l->links[i];
    while (!k->blocked) {
        uint8_t *p = k->held ? k->held : l->out;
        ssize_t n = k->held ? (ssize_t)k->held_n : gsi_coordination_output(k->control, l->out, sizeof l->out, gsi_lab_now());
        int e = n > 0 ? gs_stream_send(k->stream, p, (size_t)n) : (int)n;
        if (n == 0)
            return;
        if (e == -EAGAIN && !k->held) {
            k->held = OPENSSL_memdup(p, (size_t)n);
            k->held_n = (size_t)n;
            e = k->held ? e : -ENOMEM;
        }
        if (e == -EAGAIN) {
            k->blocked = true;
        } else if (e < 0) {
            drop(l, i);
            return;
        } else {
            OPENSSL_free(k->held);
            k->held = NULL;
        }
    }
}

static void send_relay(struct lab *l, int i)
{
    struct lab_link *k = l->links[i];
    const uint8_t *p;
    for (size_t n; !k->blocked && (n = gsi_relay_output(k->relay, &p)) > 0;) {
        int e = gs_stream_send(k->stream, p, n);
        if (e == 0) {
            gsi_relay_sent(k->relay, n);
        } else if (e == -EAGAIN) {
            k->blocked = true;
        } else {
            drop(l, i);
            return;
        }
    }
}

static void send_all(struct lab *l)
{
    struct coordination_conn *c;
    struct relay_conn *r;
    while ((c = gsi_coordination_next_ready(l->control)) != NULL)
        send_control(l, (int)(uintptr_t)gsi_coordination_user(c) - 1);
    while ((r = gsi_relay_next_ready(l->relay)) != NULL)
        send_relay(l, (int)(uintptr_t)gsi_relay_user(r) - 1);
}

/* ---- receiving ---- */

static void received(struct lab *l, int i, gs_bytes data)
{
    struct lab_link *k = l->links[i];
    if (k->control) {
        gsi_coordination_feed(k->control, data.p, data.n, gsi_lab_now());
        return;
    }
    int e = gsi_relay_feed(k->relay, data.p, data.n, gsi_lab_now());
    wake_for_relay(l, k->relay);
    if (e == 0)
        return;
    send_relay(l, i); /* its last words */
    if (l->links[i])
        drop(l, i);
}

static void answer_stun(struct lab *l)
{
    uint8_t in[1500], out[STUN_RESPONSE_MAX], txid[STUN_TXID_LEN];
    gs_addr from;
    struct endpoint seen;
    for (ssize_t n; (n = gs_socket_recvfrom(l->stun, in, sizeof in, &from, 0, &l->stun_wait)) >= 0;)
        if (gsi_stun_request_parse(in, (size_t)n, txid) == 0 && gsi_endpoint_of_sockaddr(&from.sa, &seen) == 0)
            /* A datagram that cannot go now is one that the network lost. */
            (void)!gs_socket_sendto(l->stun, out, gsi_stun_response(out, txid, &seen), &from, 0, GS_MS(0));
}

static void handle(struct lab *l, const gs_msg *m)
{
    int i = m->kind == GS_MSG_ACCEPT ? -1 : link_of(l, m->stream, m->user);
    if (m->kind == GS_MSG_ACCEPT && m->error == 0)
        accepted(l, m);
    else if (m->kind == GS_MSG_SELECT && m->socket.id == l->stun.id)
        answer_stun(l);
    else if (m->kind == GS_MSG_DATA && i >= 0)
        received(l, i, m->packet.data);
    else if ((m->kind == GS_MSG_CLOSED || m->kind == GS_MSG_ERROR) && i >= 0)
        drop(l, i);
    else if (m->kind == GS_MSG_DRAINED && i >= 0) {
        l->links[i]->blocked = false;
        if (l->links[i]->control)
            send_control(l, i);
        else
            send_relay(l, i);
    }
}

/* ---- time ---- */

static void tick(struct lab *l)
{
    uint64_t now = gsi_lab_now();
    gsi_coordination_tick(l->control, now);
    if (now < l->relay_wake)
        return;
    l->relay_wake = UINT64_MAX;
    for (int i = 0; i < l->links_n; i++) {
        if (!l->links[i] || !l->links[i]->relay)
            continue;
        if (gsi_relay_deadline(l->links[i]->relay) <= now && gsi_relay_tick(l->links[i]->relay, now) != 0)
            drop(l, i);
        else
            wake_for_relay(l, l->links[i]->relay);
    }
}

static int wait_ms(const struct lab *l)
{
    uint64_t at = gsi_coordination_deadline(l->control), now = gsi_lab_now();
    at = l->relay_wake < at ? l->relay_wake : at;
    if (at == UINT64_MAX)
        return GS_INFINITY;
    uint64_t ms = at > now ? (at - now + NS_PER_MS - 1) / NS_PER_MS : 0;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

void *gsi_lab_thread(void *lab)
{
    struct lab *l = lab;
    gs_msg m;
    pthread_mutex_lock(&l->mutex);
    answer_stun(l); /* from now on it waits */
    while (!l->stopping) {
        int ms = wait_ms(l);
        pthread_mutex_unlock(&l->mutex);
        int e = gs_receive(l->mailbox, &m, ms);
        if (e == -ENOMEM) /* nothing is lost; there may be some soon */
            nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
        pthread_mutex_lock(&l->mutex);
        if (e == 0 && !l->stopping)
            handle(l, &m);
        if (e == GS_ECLOSED || l->stopping)
            break;
        tick(l);
        send_all(l);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}
