/* Disco: any plaintext of a peer, in any order with all that the node does; packets of anybody. Nothing grows over its bounds. */
#include <stdlib.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/disco/paths.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

enum { PEERS = 2, STEPS_MAX = 32 };

static uint8_t shared[PEERS][KEY_LEN], disco[PEERS][KEY_LEN], own_private[KEY_LEN], last_txid[DISCO_TXID_LEN];

/* The same in each run. */
static uint64_t random_state;
static void some_random(void *out, size_t n)
{
    for (uint8_t *p = out; n--; p++)
        *p = (uint8_t)((random_state = random_state * 6364136223846793005u + 1442695040888963407u) >> 56);
}

static void init(void)
{
    uint8_t private[KEY_LEN], public[KEY_LEN];
    if (gsi_crypto_init() < 0)
        abort();
    gsi_random_source = some_random;
    gsi_x25519_private(own_private);
    gsi_x25519_public(public, own_private);
    for (int i = 0; i < PEERS; i++) {
        gsi_x25519_private(private);
        gsi_x25519_public(disco[i], private);
        if (!gsi_box_key(shared[i], private, public))
            abort();
    }
}

static struct endpoint some_endpoint(struct reader *r)
{
    uint8_t v4[4] = {203, 0, 113, read_u8(r)};
    return (struct endpoint){gsi_ip_of_v4(v4), (uint16_t)(1 + read_u8(r) % 4)};
}

static void set(struct paths *p, struct reader *r, int who, uint64_t now)
{
    struct endpoint endpoints[4] = {some_endpoint(r), some_endpoint(r), some_endpoint(r), some_endpoint(r)};
    struct path_peer peer = {.node = {(uint8_t)(1 + who)}, .home = read_u8(r), .endpoints = endpoints, .n = read_u8(r) % 5};
    struct path *path;
    memcpy(peer.disco, disco[read_u8(r) % PEERS], KEY_LEN);
    if (gsi_path_set(p, &peer, now, &path) < 0)
        abort();
}

/* A packet of a peer: any plaintext, or a Pong to our last ping. */
static void feed(struct paths *p, struct reader *r, int who, uint64_t now)
{
    uint8_t packet[DISCO_OVERHEAD + 256] = {'T', 'S', 0xf0, 0x9f, 0x92, 0xac};
    struct endpoint from = some_endpoint(r);
    uint8_t how = read_u8(r);
    size_t n = read_u8(r);
    if (n > r->n)
        n = r->n;
    uint8_t plain[256] = {DISCO_PONG};
    read_copy(r, plain, n);
    if (how & 1) {
        plain[0] = DISCO_PONG;
        memcpy(plain + 2, last_txid, sizeof last_txid);
        n = 32;
    }
    memcpy(packet + DISCO_MAGIC_LEN, disco[who], KEY_LEN);
    gsi_box_seal(packet + DISCO_HEAD_LEN, shared[who], packet + DISCO_MAGIC_LEN + KEY_LEN, plain, n);
    n += DISCO_OVERHEAD;
    if (how & 2)
        gsi_paths_feed_relay(p, packet, n, how >> 4, (const uint8_t[KEY_LEN]){(uint8_t)(1 + (how >> 3 & 1))}, now);
    else
        gsi_paths_feed(p, packet, n, &from, now);
}

static void settle(struct paths *p, uint64_t now)
{
    struct disco_packet out;
    struct paths_event e;
    struct disco_message m;
    int rounds = 0;
    do {
        gsi_paths_tick(p, now);
        while (gsi_paths_output(p, &out))
            for (int i = 0; i < PEERS; i++)
                if (gsi_disco_open(out.bytes, out.n, shared[i], &m) == 0 && m.type == DISCO_PING)
                    memcpy(last_txid, m.txid, sizeof last_txid);
        while (gsi_paths_next(p, &e))
            if (e.info.candidates > PATH_CANDIDATES_MAX)
                abort();
        if (++rounds > 8)
            abort();
    } while (gsi_paths_deadline(p) <= now);
}

static void step(struct paths *p, struct reader *r, uint64_t *now)
{
    uint8_t act = read_u8(r);
    int who = act >> 7;
    struct path *path = gsi_path_find(p, (const uint8_t[KEY_LEN]){(uint8_t)(1 + who)});
    struct endpoint e = some_endpoint(r);
    switch (act % 9) {
    case 0:
        set(p, r, who, *now);
        break;
    case 1:
        if (path)
            gsi_path_remove(p, path);
        break;
    case 2:
        if (path)
            (void)gsi_path_send(p, path, *now);
        break;
    case 3:
        *now += (uint64_t)read_u8(r) * 100000000;
        break;
    case 4:
        gsi_paths_endpoints(p, &e, 1, *now);
        break;
    case 5:
        if (path)
            gsi_path_unreachable(p, path, &e);
        break;
    case 6:
        if (path)
            (void)gsi_path_ping(p, path, *now);
        break;
    default:
        feed(p, r, who, *now);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    static bool ready;
    struct disco_message m;
    struct paths_config config = {.node_public = {0xff}};
    struct reader r = reader_of(in, n);
    uint64_t now = 1000000000;
    if (!ready)
        init();
    ready = true;
    random_state = 1;
    (void)gsi_datagram_kind(in, n);
    (void)gsi_disco_open(in, n, shared[0], &m);
    if (gsi_disco_read(in, n, &m) == 0) {
        struct disco_message again;
        uint8_t out[DISCO_PLAIN_MAX];
        if (gsi_disco_read(out, gsi_disco_write(out, &m), &again) < 0 || memcmp(&m, &again, sizeof m) != 0)
            abort();
    }
    memcpy(config.disco_private, own_private, KEY_LEN);
    struct paths *p = gsi_paths_new(&config);
    if (!p)
        return 0;
    for (int i = 0; r.ok && i < STEPS_MAX; i++) {
        step(p, &r, &now);
        settle(p, now);
    }
    gsi_paths_free(p);
    return 0;
}
