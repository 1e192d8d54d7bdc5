/* cookie.c: proof of a handshake message's address, asked for only under load. tailnet-protocol.md 8.5. */
#include "tailnet/wireguard/cookie.h"

#include <string.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/wireguard/mix.h"

/* A message leaks out of the bucket in this time: 1024 handshakes a second are about a sixth of a processor. */
#define LEAK (SECOND / HANDSHAKE_QUEUE)

static int keys_of(struct cookie_keys *k, const uint8_t public[KEY_LEN])
{
    int e = gsi_hash(k->mac1, LABEL_MAC1, LABEL_LEN, public, KEY_LEN);
    return e ? e : gsi_hash(k->reply, LABEL_COOKIE, LABEL_LEN, public, KEY_LEN);
}

int gsi_cookie_jar(struct cookie_jar *j, const uint8_t public[KEY_LEN])
{
    memset(j, 0, sizeof *j);
    return keys_of(&j->keys, public);
}

int gsi_cookie_gate(struct cookie_gate *g, const uint8_t public[KEY_LEN])
{
    memset(g, 0, sizeof *g);
    gsi_random(&g->seed, sizeof g->seed);
    return keys_of(&g->keys, public);
}

/* ---- as a sender ---- */

int gsi_cookie_stamp(struct cookie_jar *j, uint8_t *message, size_t n, uint64_t now_ns)
{
    uint8_t *mac1 = message + n - MACS_LEN, *mac2 = mac1 + MAC_LEN;
    int e = gsi_mac(mac1, j->keys.mac1, HASH_LEN, message, n - MACS_LEN);
    if (e)
        return e;
    memcpy(j->mac1, mac1, MAC_LEN);
    j->sent = true;
    memset(mac2, 0, MAC_LEN);
    if (j->has_cookie && now_ns >= j->cookie_ns + COOKIE_LIFE)
        j->has_cookie = false;
    return j->has_cookie ? gsi_mac(mac2, j->cookie, COOKIE_LEN, message, n - MAC_LEN) : 0;
}

bool gsi_cookie_take(struct cookie_jar *j, const uint8_t in[COOKIE_REPLY_LEN], uint64_t now_ns)
{
    uint8_t cookie[COOKIE_LEN];
    struct reader r = reader_of(in, COOKIE_REPLY_LEN);
    read_bytes(&r, TYPE_LEN + INDEX_LEN);
    const uint8_t *nonce = read_bytes(&r, XNONCE_LEN), *sealed = read_bytes(&r, COOKIE_LEN + TAG_LEN);
    if (!j->sent || !gsi_xopen(cookie, j->keys.reply, nonce, j->mac1, MAC_LEN, sealed, COOKIE_LEN + TAG_LEN))
        return false;
    memcpy(j->cookie, cookie, COOKIE_LEN);
    gsi_wipe(cookie, sizeof cookie);
    j->cookie_ns = now_ns;
    j->has_cookie = true;
    j->sent = false; /* one cookie for a message: a copy of the reply does not make it younger */
    return true;
}

/* ---- as a receiver ---- */

static int cookie_for(struct cookie_gate *g, const struct wg_source *from, uint64_t now_ns, uint8_t cookie[COOKIE_LEN])
{
    if (!g->secret_ns || now_ns >= g->secret_ns + SECRET_LIFE) {
        gsi_random(g->secret, sizeof g->secret);
        g->secret_ns = now_ns ? now_ns : 1;
    }
    uint8_t address[IP_LEN + 2 + KEY_LEN];
    struct writer w = writer_of(address, sizeof address);
    write_bytes(&w, from->from.ip.b, IP_LEN);
    write_u16(&w, from->from.port);
    if (gsi_ip_is_none(&from->from.ip))
        write_bytes(&w, from->key, KEY_LEN);
    return gsi_mac(cookie, g->secret, sizeof g->secret, address, w.n);
}

/* Every message with a good mac1 raises the level. */
static bool under_load(struct cookie_gate *g, uint64_t now_ns)
{
    g->level_ns = (g->level_ns > now_ns ? g->level_ns : now_ns) + LEAK;
    if (g->level_ns - now_ns > HANDSHAKE_QUEUE * LEAK)
        g->level_ns = now_ns + HANDSHAKE_QUEUE * LEAK;
    if (g->level_ns - now_ns >= LOAD_LEVEL * LEAK)
        g->loaded_until_ns = now_ns + LOAD_LASTS;
    return now_ns < g->loaded_until_ns;
}

/* SOURCE_BURST at once, then one in each SOURCE_INTERVAL. */
static bool within_limit(struct cookie_gate *g, const struct wg_source *from, uint64_t now_ns)
{
    const struct ip *ip = &from->from.ip;
    size_t n = gsi_ip_is_v4(ip) ? IP_LEN : IP_LEN / 2; /* who has one IPv6 address has 2^64 */
    uint64_t source = gsi_ip_is_none(ip) ? mix64(g->seed, from->key, KEY_LEN) : mix64(g->seed, ip->b, n);
    size_t set = source % GATE_SETS, way = 0;
    for (size_t i = 0; i < GATE_WAYS; i++) {
        if (g->limit[set][i].source == source) {
            way = i;
            break;
        }
        if (g->limit[set][i].full_ns < g->limit[set][way].full_ns)
            way = i;
    }
    uint64_t full_ns = g->limit[set][way].source == source ? g->limit[set][way].full_ns : 0;
    if (full_ns < now_ns)
        full_ns = now_ns;
    if (full_ns - now_ns > (SOURCE_BURST - 1) * SOURCE_INTERVAL)
        return false;
    g->limit[set][way].source = source;
    g->limit[set][way].full_ns = full_ns + SOURCE_INTERVAL;
    return true;
}

enum gate_verdict gsi_cookie_check(struct cookie_gate *g, const struct wg_source *from, const uint8_t *message, size_t n,
                                   uint64_t now_ns)
{
    const uint8_t *mac1 = message + n - MACS_LEN, *mac2 = mac1 + MAC_LEN;
    uint8_t mac[MAC_LEN], cookie[COOKIE_LEN];
    if (gsi_mac(mac, g->keys.mac1, HASH_LEN, message, n - MACS_LEN) < 0)
        return GATE_NO_MEMORY;
    if (!gsi_equal(mac, mac1, MAC_LEN))
        return GATE_FORGED;
    if (!under_load(g, now_ns))
        return GATE_PASS;
    if (cookie_for(g, from, now_ns, cookie) < 0 || gsi_mac(mac, cookie, COOKIE_LEN, message, n - MAC_LEN) < 0)
        return GATE_NO_MEMORY;
    gsi_wipe(cookie, sizeof cookie);
    if (!gsi_equal(mac, mac2, MAC_LEN))
        return GATE_WANTS_COOKIE;
    return within_limit(g, from, now_ns) ? GATE_PASS : GATE_LIMITED;
}

int gsi_cookie_reply(struct cookie_gate *g, const struct wg_source *from, const uint8_t *message, size_t n, uint64_t now_ns,
                     uint8_t out[COOKIE_REPLY_LEN])
{
    uint8_t cookie[COOKIE_LEN];
    int e = cookie_for(g, from, now_ns, cookie);
    if (e)
        return e;
    struct writer w = writer_of(out, COOKIE_REPLY_LEN);
    write_le32(&w, MESSAGE_COOKIE);
    write_bytes(&w, message + AT_INDEX, INDEX_LEN);
    uint8_t *nonce = write_room(&w, XNONCE_LEN);
    gsi_random(nonce, XNONCE_LEN);
    gsi_xseal(write_room(&w, COOKIE_LEN + TAG_LEN), g->keys.reply, nonce, message + n - MACS_LEN, MAC_LEN, cookie, COOKIE_LEN);
    gsi_wipe(cookie, sizeof cookie);
    return 0;
}
