/* tailnet_coordination.c: what clients may send to a lab's control server. The first byte chooses: bytes before the upgrade;
 * HTTP/2 in the channel; or lines of requests, "r0{…}" register and "m1{…}" map of machines 0 to 3. However the tailnet came to
 * be as it is, what a node is told of it is a map that our own reader takes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tailnet/lab/inside.h"
#include "tailnet/netmap/netmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MACHINES = 4, LINES = 24 };

static uint64_t now;

static struct coordination *new_lab(void)
{
    static const uint8_t key[KEY_LEN] = {3};
    struct coordination *s = NULL;
    now = 1000 * LAB_SECOND;
    if (gsi_coordination_new(&s, &(struct coordination_config){.control_private = key, .url = "http://h", .auth_key = "k",
                                                               .wall_ns = 1800000000 * LAB_SECOND}) != 0)
        abort();
    return s;
}

static void take_output(struct coordination_conn *c)
{
    static uint8_t buf[64 * 1024];
    for (int i = 0; i < 100 && gsi_coordination_output(c, buf, sizeof buf, now) > 0; i++)
        ;
}

static void feed_bytes(const uint8_t *p, size_t n, bool channel)
{
    struct coordination *s = new_lab();
    struct coordination_conn *c = gsi_coordination_join(s, s, now);
    if (!c)
        abort();
    if (channel) { /* as if the handshake had been */
        c->noise.state = NOISE_OPEN;
        c->state = CHANNEL;
        if (gsi_lab_h2_start(c) != 0)
            abort();
    }
    for (size_t at = 0, k; at < n; at += k) {
        k = n - at < 61 ? n - at : 61;
        if (!channel)
            gsi_coordination_feed(c, p + at, k, now);
        else if (gsi_http2_feed(&c->http2, p + at, k) != 0)
            break;
        take_output(c);
    }
    now += 1000 * LAB_SECOND;
    gsi_coordination_tick(s, now);
    take_output(c);
    gsi_coordination_leave(c, now);
    gsi_coordination_free(s);
}

/* Asks for all that there is to tell. */
static void read_message(struct exchange *x)
{
    struct map_update *u = NULL;
    struct map_error why;
    bool compress = x->compress;
    if (!x->member || x->seq == x->conn->co->seq)
        return;
    x->compress = false;
    int e = gsi_lab_message(x);
    assert(e == 0 || e == 1);
    x->compress = compress;
    if (e == 1 && gsi_map_parse(x->answer + 4, x->answer_n - 4, &u, &why) != 0)
        abort();
    gsi_map_update_free(u);
    x->answer_at = x->answer_n;
}

/* The channel of a machine; made when it is wanted first, as each is some pages of memory. */
static struct coordination_conn *conn_of(struct coordination *s, struct coordination_conn *conns[MACHINES], int machine)
{
    struct coordination_conn *c = conns[machine];
    if (c)
        return c;
    c = conns[machine] = gsi_coordination_join(s, NULL, now);
    if (!c || gsi_lab_h2_start(c) != 0)
        abort();
    c->noise.peer[0] = (uint8_t)(machine + 1);
    c->state = CHANNEL;
    c->until = UINT64_MAX;
    return c;
}

static void serve_lines(const uint8_t *p, size_t n)
{
    struct coordination *s = new_lab();
    struct coordination_conn *conns[MACHINES] = {NULL};
    struct exchange lines[LINES];
    int lines_n = 0;
    for (const uint8_t *end; n && lines_n < LINES; n -= (size_t)(end - p) + 1, p = end + 1) {
        end = memchr(p, '\n', n);
        end = end ? end : p + n - 1;
        if (end - p < 2)
            continue;
        struct exchange *x = &lines[lines_n++];
        struct coordination_conn *c = conn_of(s, conns, p[1] % MACHINES);
        *x = (struct exchange){.conn = c, .stream = 1, .keep_alive = UINT64_MAX, .next = c->exchanges};
        c->exchanges = x;
        x->body = OPENSSL_memdup(p + 2, (size_t)(end - p) - 1);
        x->body_n = (size_t)(end - p) - 2;
        if (!x->body || (*p == 'r' ? gsi_lab_register(x) : gsi_lab_map(x)) != 0)
            abort();
        for (int i = 0; i < lines_n; i++)
            read_message(&lines[i]);
        if (*p == 't') {
            now += 30 * LAB_SECOND;
            gsi_coordination_tick(s, now);
        }
    }
    for (int i = 0; i < lines_n; i++) {
        gsi_lab_forget(&lines[i]);
        OPENSSL_free(lines[i].body);
        OPENSSL_free(lines[i].answer);
    }
    for (int i = 0; i < MACHINES; i++)
        if (conns[i]) {
            conns[i]->exchanges = NULL;
            gsi_coordination_leave(conns[i], now);
        }
    gsi_coordination_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (data[0] % 4 < 2)
        feed_bytes(data + 1, size - 1, data[0] % 4 == 1);
    else
        serve_lines(data + 1, size - 1);
    return 0;
}
