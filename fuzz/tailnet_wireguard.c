/* tailnet_wireguard.c: an engine with a live session, and a peer's engine that the input makes speak: each step of the input
 * is a datagram as it is, one of the peer's with some bytes changed, a packet, a wait, or a rekey. Whatever comes: no answer is
 * longer than what was answered, opened packets lie inside their datagrams and are the peer's, and what is held is bounded. */
#include <stdlib.h>
#include <string.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/wireguard/peer.h"
#include "tailnet/wireguard/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition))                                                                                             \
            abort();                                                                                                  \
    } while (0)

enum { LARGEST = 2048, KEPT = 8 };

struct side {
    struct wireguard *w;
    struct wg_peer *peer;
    const uint8_t *knows;
    struct noise_peer noise;
};

static struct fuzz {
    struct side a, b;
    struct routes *routes;
    uint8_t private_a[KEY_LEN], private_b[KEY_LEN], public_a[KEY_LEN], public_b[KEY_LEN];
    uint64_t now, random;
    /* the peer's last datagrams, to be changed and repeated */
    uint8_t kept[KEPT][LARGEST];
    size_t kept_n[KEPT], next;
} f;

static void fixed_random(void *out, size_t n)
{
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((f.random = f.random * UINT64_C(6364136223846793005) + 1442695040888963407u) >> 56);
}

static void *find(void *arg, const uint8_t key[KEY_LEN])
{
    struct side *s = arg;
    return memcmp(key, s->knows, KEY_LEN) == 0 ? s : NULL;
}

/* The engine and the keys' Diffie-Hellman are made once; each input has new peers. */
static void side_make(struct side *s, const uint8_t private[KEY_LEN], const uint8_t knows[KEY_LEN])
{
    struct wg_config c = {.find = find, .arg = s, .routes = f.routes};
    memcpy(c.private_key, private, KEY_LEN);
    s->knows = knows;
    s->w = gsi_wireguard_new(&c, NULL);
    CHECK(s->w && gsi_noise_peer(&s->noise, &s->w->self, knows) == 0);
}

static void side_start(struct side *s, uint8_t send, uint8_t receive, uint32_t other, bool initiator)
{
    struct noise_keys keys = {.index = other};
    uint32_t index;
    s->w->wall_ns = s->w->gate.level_ns = s->w->gate.loaded_until_ns = s->w->gate.secret_ns = 0;
    memset(s->w->gate.limit, 0, sizeof s->w->gate.limit);
    CHECK(gsi_peer_make(s->w, &s->noise, s, &s->peer) == 0);
    memset(keys.send, send, KEY_LEN);
    memset(keys.receive, receive, KEY_LEN);
    CHECK(gsi_index_take(&s->w->indexes, s->peer, NULL, &index) == 0);
    struct keypair *k = gsi_session_new(&keys, index, initiator, f.now);
    gsi_index_find(&s->w->indexes, index)->pair = k;
    gsi_session_install(s->peer, k);
    gsi_timers_session_derived(s->peer, f.now);
}

static void feed(struct side *s, const uint8_t *in, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1); /* of its exact length, for the sanitizer */
    struct wg_packet packet;
    struct wg_source from = {.id = 1, .from = {{{[15] = 1}}, 1}};
    size_t before = s->w->output.n;
    if (n)
        memcpy(copy, in, n);
    enum wg_result r = gsi_wireguard_feed(s->w, &from, copy, n, f.now, &packet);
    if (r == WG_PACKET)
        CHECK(packet.peer == s->peer && packet.p == copy + WG_HEAD && packet.n <= n - TRANSPORT_MIN && packet.n >= 20);
    /* An authentic packet may confirm a key although it is no IP packet. */
    if (r == WG_DROPPED && s->w->output.n > before && in[0] != MESSAGE_TRANSPORT)
        CHECK(s->w->output.n == before + 1 && n >= COOKIE_REPLY_LEN);
    CHECK(s->w->held_bytes <= HELD_BYTES_MAX && s->w->n == 1 && s->w->indexes.n <= 4);
    free(copy);
}

/* The peer's datagrams are kept; ours reach the peer when `deliver` says so. */
static void flush(bool deliver)
{
    struct wg_output o;
    struct wg_event e;
    for (int round = 0; round < 4; round++) {
        gsi_wireguard_tick(f.a.w, f.now, f.now);
        gsi_wireguard_tick(f.b.w, f.now, f.now);
        CHECK(gsi_wireguard_deadline(f.a.w) > f.now && gsi_wireguard_deadline(f.b.w) > f.now);
        while (gsi_wireguard_output(f.b.w, &o)) {
            size_t i = f.next++ % KEPT;
            f.kept_n[i] = o.n < LARGEST ? o.n : LARGEST;
            memcpy(f.kept[i], o.p, f.kept_n[i]);
            if (deliver)
                feed(&f.a, o.p, o.n);
        }
        while (gsi_wireguard_output(f.a.w, &o))
            if (deliver)
                feed(&f.b, o.p, o.n);
    }
    while (gsi_wireguard_next(f.a.w, &e) || gsi_wireguard_next(f.b.w, &e))
        CHECK(e.peer == f.a.peer || e.peer == f.b.peer);
}

static void say(struct side *s, const uint8_t *in, size_t n)
{
    uint8_t p[LARGEST] = {0};
    memcpy(p, in, n);
    (void)!gsi_wireguard_send(s->w, s->peer, p, n, f.now);
}

static void step(struct reader *r)
{
    uint8_t what = read_u8(r), size = read_u8(r);
    size_t n = size < r->n ? size : r->n;
    const uint8_t *in = read_bytes(r, n);
    uint8_t bad[LARGEST];
    size_t i = what / 16 % KEPT;
    switch (what % 8) {
    case 0: /* as it is */
        feed(&f.a, in, n);
        break;
    case 1: /* one of the peer's, changed: pairs of place and difference; one place without its difference cuts it */
    case 2:
        memcpy(bad, f.kept[i], LARGEST);
        for (size_t k = 0; k + 1 < n; k += 2)
            bad[in[k]] ^= in[k + 1];
        feed(&f.a, bad, n % 2 && in[n - 1] < f.kept_n[i] ? in[n - 1] : f.kept_n[i]);
        break;
    case 3: /* an inner packet, whatever it is */
        say(&f.b, in, n);
        break;
    case 4:
        say(&f.a, in, n);
        break;
    case 5: /* a second and more, up to three hours */
        f.now += SECOND << what / 16 % 14;
        break;
    case 6:
        f.now += (uint64_t)size * MS;
        break;
    default: /* any message to us, its mac1 right */
        memset(bad, 0, INITIATION_LEN);
        memcpy(bad, in, n < INITIATION_LEN ? n : INITIATION_LEN);
        if (gsi_cookie_stamp(&f.b.peer->jar, bad, bad[0] == MESSAGE_INITIATION ? INITIATION_LEN : RESPONSE_LEN, f.now) == 0)
            feed(&f.a, bad, bad[0] == MESSAGE_INITIATION ? INITIATION_LEN : RESPONSE_LEN);
    }
    flush(!(what & 8));
}

static void make(void)
{
    struct prefix all4 = {gsi_ip_of_v4((const uint8_t[4]){0}), 96}, all6 = {{{0}}, 0};
    gsi_random_source = fixed_random;
    f.private_a[0] = 8;
    f.private_b[0] = 16;
    gsi_x25519_public(f.public_a, f.private_a);
    gsi_x25519_public(f.public_b, f.private_b);
    f.routes = gsi_routes_new(0);
    CHECK(f.routes && gsi_routes_add(f.routes, &all4, &f.a) == 0 && gsi_routes_add(f.routes, &all6, &f.a) == 0);
    side_make(&f.a, f.private_a, f.public_b);
    side_make(&f.b, f.private_b, f.public_a);
}

static void start(void)
{
    f.random = 1;
    f.now = SECOND;
    f.next = 0;
    memset(f.kept_n, 0, sizeof f.kept_n);
    side_start(&f.a, 1, 2, 0, false);
    side_start(&f.b, 2, 1, f.a.peer->next->local, true);
    f.a.peer->next->remote = f.b.peer->current->local;
    static const uint8_t ip[20] = {0x45, 0, 0, 20};
    say(&f.b, ip, sizeof ip);
    flush(true);
    CHECK(f.a.peer->current && f.b.peer->current);
}

static void stop(struct side *s)
{
    struct wg_output o;
    gsi_wireguard_remove(s->w, s->knows);
    while (gsi_wireguard_output(s->w, &o))
        continue;
    CHECK(s->w->n == 0 && s->w->indexes.n == 0 && s->w->held_bytes == 0 && gsi_wireguard_deadline(s->w) == UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) {
        if (gsi_crypto_init() < 0)
            return 0;
        make();
        ready = true;
    }
    start();
    struct reader r = reader_of(data, size);
    for (int steps = 0; r.n >= 2 && steps < 12; steps++)
        step(&r);
    stop(&f.a);
    stop(&f.b);
    return 0;
}
