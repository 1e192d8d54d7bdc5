/* Clients that say anything: the relay neither crashes nor lets its queues grow, and what it sends is frames that a client reads.
 * The input is steps: which connection, how many bytes, the bytes. */
#include <stdlib.h>
#include <string.h>

#include "tailnet/derp/client.h"
#include "tailnet/derp/relay.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

enum { CONNS = 4, LOGIN = 600, WAITS_MAX = 2 * 1024 * 1024 };

static const uint8_t relay_key[KEY_LEN] = {4, 5, 6};
static uint8_t login[CONNS][LOGIN];
static size_t login_n[CONNS];

/* What clients say until they are logged in, once: curves are slow. Two of them have one key. */
static void prepare(void)
{
    if (login_n[0])
        return;
    if (gsi_crypto_init() < 0)
        abort();
    struct relay *r = gsi_relay_new(relay_key, CONNS);
    for (int i = 0; i < CONNS; i++) {
        uint8_t node[KEY_LEN] = {(uint8_t)(1 + i % 3)};
        const uint8_t *p;
        struct derp_event e;
        struct derp_client *c = gsi_derp_client_new(&(struct derp_options){.node_private = node, .host = "h"}, 1);
        struct relay_conn *conn = gsi_relay_join(r, NULL, 1);
        for (int round = 0; round < 4; round++) {
            for (size_t k; (k = gsi_derp_output(c, &p)) > 0; gsi_derp_sent(c, k)) {
                memcpy(login[i] + login_n[i], p, k);
                login_n[i] += k;
                if (gsi_relay_feed(conn, p, k, 1) < 0)
                    abort();
            }
            for (size_t k; (k = gsi_relay_output(conn, &p)) > 0; gsi_relay_sent(conn, k))
                if (gsi_derp_feed(c, p, k, 1, &e) < 0)
                    abort();
        }
        gsi_derp_client_free(c);
    }
    gsi_relay_free(r);
}

static struct relay_conn *join(struct relay *r, int i)
{
    struct relay_conn *c = gsi_relay_join(r, NULL, 1);
    if (!c || (i < 3 && gsi_relay_feed(c, login[i], login_n[i], 1) < 0))
        abort();
    return c;
}

/* Its output is whole frames, behind an answer to the request. */
static void read_output(struct relay_conn *c)
{
    static const char yes[] = "HTTP/1.1 101 ";
    struct derp_frames f = {0};
    struct derp_frame frame;
    const uint8_t *p;
    size_t total = 0;
    for (size_t k; (k = gsi_relay_output(c, &p)) > 0; gsi_relay_sent(c, k)) {
        bool http = *p == 'H';
        if (http && k < sizeof yes)
            abort();
        total += k;
        for (size_t at = 0; !http && at < k;) {
            ssize_t used = gsi_derp_frames_feed(&f, p + at, k - at, &frame);
            if (used <= 0)
                abort();
            at += (size_t)used;
        }
    }
    if (f.head_n || total > WAITS_MAX)
        abort();
    gsi_derp_frames_fini(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    prepare();
    struct relay *r = gsi_relay_new(relay_key, CONNS);
    struct relay_conn *conn[CONNS];
    for (int i = 0; i < CONNS; i++)
        conn[i] = join(r, i);
    for (int ends = 0; n > 2 && ends < 2;) {
        int i = in[0] % CONNS;
        size_t k = in[1] < n - 2 ? in[1] : n - 2;
        bool reads = in[0] & 0x80;
        int e = gsi_relay_feed(conn[i], in + 2, k, 1 + in[0]);
        if (reads || e < 0)
            read_output(conn[i]);
        if (e < 0) {
            gsi_relay_leave(conn[i]);
            conn[i] = join(r, i);
            ends++;
        }
        in += 2 + k;
        n -= 2 + k;
    }
    while (gsi_relay_next_ready(r))
        ;
    for (int i = 0; i < CONNS; i++)
        read_output(conn[i]);
    gsi_relay_free(r);
    return 0;
}
