/* device.c: which message a datagram is, whose, and what becomes of it; the handshake's three messages. tailnet-protocol.md 8.4.
 *
 * Order of an initiation: length, mac1, load, what it claims, is that a peer, proof, timestamp; only then is there state, and an
 * answer.
 *
 * A pending initiation of ours survives one that comes meanwhile: both handshakes may then come to an end, and when both sides
 * began at once nobody waits for a retry. (wireguard-go keeps one handshake per peer, and theirs would replace ours.)
 */
#include <errno.h>
#include <string.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/wireguard/peer.h"

static enum wg_result drop(struct wireguard *w, enum wg_drop why)
{
    w->drops[why]++;
    return WG_DROPPED;
}

/* What a step of the handshake answered. */
static enum wg_result drop_failed(struct wireguard *w, int e)
{
    return drop(w, e == GS_EINVALID ? WG_DROP_FORGED : WG_DROP_MEMORY);
}

/* ---- initiations of ours ---- */

/* TAI64N: later than any before to this peer, its nanoseconds cut so that they tell nothing of our load. */
static void next_stamp(struct wg_peer *p, uint8_t stamp[STAMP_LEN])
{
    const uint64_t tai_1970 = UINT64_C(0x400000000000000a);
    const uint64_t unit = UINT64_C(1) << 24;
    struct reader before = reader_of(p->stamp_sent, STAMP_LEN);
    uint64_t last_s = read_be(&before, 8), last_ns = read_be(&before, 4);
    uint64_t s = tai_1970 + p->w->wall_ns / SECOND, ns = p->w->wall_ns % SECOND & ~(unit - 1);
    if (s < last_s || (s == last_s && ns <= last_ns)) {
        bool carry = last_ns + unit >= SECOND;
        s = carry ? last_s + 1 : last_s;
        ns = carry ? 0 : last_ns + unit;
    }
    struct writer w = writer_of(stamp, STAMP_LEN);
    write_be(&w, s, 8);
    write_be(&w, ns, 4);
}

int gsi_handshake_initiate(struct wg_peer *p, uint64_t now_ns)
{
    struct wireguard *w = p->w;
    int e;
    gsi_session_forget(p);
    struct datagram *d = gsi_datagram_new(w, p, INITIATION_LEN, &e);
    if (!d)
        return e;
    e = gsi_index_take(&w->indexes, p, NULL, &p->initiation_index);
    if (e)
        goto no_index;
    next_stamp(p, p->stamp_sent);
    e = gsi_noise_initiate(&p->initiation, &w->self, &p->noise, p->initiation_index, p->stamp_sent, d->bytes);
    if (e == 0)
        e = gsi_cookie_stamp(&p->jar, d->bytes, INITIATION_LEN, now_ns);
    if (e)
        goto failed;
    p->initiation_pending = true;
    d->n = INITIATION_LEN;
    gsi_output_put(w, d);
    return 0;
failed:
    gsi_index_give(&w->indexes, p->initiation_index);
    gsi_wipe(&p->initiation, sizeof p->initiation);
no_index:
    gsi_datagram_free(w, d);
    return e;
}

static enum wg_result take_response(struct wireguard *w, const uint8_t *in, uint64_t now_ns)
{
    struct reader r = reader_of(in + AT_RESPONSE_RECEIVER, INDEX_LEN);
    struct indexed *found = gsi_index_find(&w->indexes, read_le32(&r));
    if (!found || found->pair)
        return drop(w, WG_DROP_UNKNOWN);
    struct wg_peer *p = found->peer;
    struct noise_keys keys;
    struct keypair *k = NULL;
    int e = gsi_noise_finish(&keys, &p->initiation, &w->self, &p->noise, in);
    if (e == 0 && !(k = gsi_session_new(&keys, p->initiation_index, true, now_ns)))
        e = -ENOMEM;
    gsi_wipe(&keys, sizeof keys);
    if (e)
        return drop_failed(w, e);

    found->pair = k; /* the index is the session's from now on */
    p->initiation_pending = false;
    gsi_session_forget(p);
    gsi_session_install(p, k);
    gsi_timers_authentic_received(p);
    gsi_timers_handshake_done(p);
    gsi_timers_session_derived(p, now_ns);
    gsi_peer_event(p, WG_SESSION);
    gsi_transport_flush(p, true, now_ns); /* the first packet confirms the key to the other side */
    return WG_TAKEN;
}

/* ---- initiations of theirs ---- */

/* Whose the claim would be, in *p when there is state already; for a newcomer *who and *noise. */
static int claimed_peer(struct wireguard *w, const struct noise_claim *c, struct wg_peer **p, void **who,
                        struct noise_peer *noise)
{
    *p = gsi_peer_find(w, c->public);
    if (*p)
        return 0;
    *who = memcmp(c->public, w->self.public, KEY_LEN) != 0 ? w->find(w->arg, c->public) : NULL;
    return *who ? gsi_noise_peer(noise, &w->self, c->public) : -ENOENT;
}

static int respond(struct wg_peer *p, struct noise_claim *c, const struct wg_source *from, uint64_t now_ns)
{
    struct wireguard *w = p->w;
    struct noise_keys keys;
    struct keypair *k = NULL;
    uint32_t index;
    int e;
    struct datagram *d = gsi_datagram_new(w, p, RESPONSE_LEN, &e);
    if (!d)
        return e;
    e = gsi_index_take(&w->indexes, p, NULL, &index);
    if (e)
        goto no_index;
    e = gsi_noise_respond(&keys, c, &p->noise, index, d->bytes);
    if (e == 0 && !(k = gsi_session_new(&keys, index, false, now_ns)))
        e = -ENOMEM;
    gsi_wipe(&keys, sizeof keys);
    if (e == 0)
        e = gsi_cookie_stamp(&p->jar, d->bytes, RESPONSE_LEN, now_ns);
    if (e)
        goto failed;
    gsi_index_find(&w->indexes, index)->pair = k;
    gsi_session_install(p, k);
    d->n = RESPONSE_LEN;
    d->source = from->id;
    gsi_output_put(w, d);
    gsi_timers_authentic_sent(p);
    gsi_timers_session_derived(p, now_ns);
    return 0;
failed:
    if (k)
        gsi_session_free(p, k); /* and its index */
    else
        gsi_index_give(&w->indexes, index);
no_index:
    gsi_datagram_free(w, d);
    return e;
}

static enum wg_result take_proven(struct wg_peer *p, struct noise_claim *c, const uint8_t stamp[STAMP_LEN],
                                  const struct wg_source *from, uint64_t now_ns)
{
    if (memcmp(stamp, p->stamp_received, STAMP_LEN) <= 0)
        return drop(p->w, WG_DROP_REPLAYED);
    if (p->initiation_received_ns && now_ns < p->initiation_received_ns + INITIATIONS_APART)
        return drop(p->w, WG_DROP_REPLAYED);
    memcpy(p->stamp_received, stamp, STAMP_LEN);
    p->initiation_received_ns = now_ns ? now_ns : 1;
    gsi_timers_authentic_received(p);
    int e = respond(p, c, from, now_ns);
    return e ? drop_failed(p->w, e) : WG_TAKEN;
}

static enum wg_result take_initiation(struct wireguard *w, const struct wg_source *from, const uint8_t *in, uint64_t now_ns)
{
    struct noise_claim c;
    struct noise_peer noise;
    struct wg_peer *p = NULL;
    void *who = NULL;
    uint8_t stamp[STAMP_LEN];
    enum wg_result result;
    int e = gsi_noise_claim(&c, &w->self, in);
    if (e == 0)
        e = claimed_peer(w, &c, &p, &who, &noise);
    if (e == 0)
        e = gsi_noise_prove(&c, p ? &p->noise : &noise, in, stamp);
    if (e == 0 && !p)
        e = gsi_peer_make(w, &noise, who, &p);
    if (e == -ENOENT)
        result = drop(w, WG_DROP_UNKNOWN);
    else
        result = e ? drop_failed(w, e) : take_proven(p, &c, stamp, from, now_ns);
    gsi_wipe(&c, sizeof c);
    gsi_wipe(&noise, sizeof noise);
    return result;
}

/* ---- cookies ---- */

static enum wg_result take_cookie(struct wireguard *w, const uint8_t *in, uint64_t now_ns)
{
    struct reader r = reader_of(in + AT_INDEX, INDEX_LEN);
    const struct indexed *found = gsi_index_find(&w->indexes, read_le32(&r));
    if (!found)
        return drop(w, WG_DROP_UNKNOWN);
    return gsi_cookie_take(&found->peer->jar, in, now_ns) ? WG_TAKEN : drop(w, WG_DROP_FORGED);
}

static void send_cookie(struct wireguard *w, const struct wg_source *from, const uint8_t *in, size_t n, uint64_t now_ns)
{
    int e;
    struct datagram *d = gsi_datagram_new(w, NULL, COOKIE_REPLY_LEN, &e);
    if (!d)
        return;
    d->source = from->id;
    d->n = COOKIE_REPLY_LEN;
    if (gsi_cookie_reply(&w->gate, from, in, n, now_ns, d->bytes) == 0)
        gsi_output_put(w, d);
    else
        gsi_datagram_free(w, d);
}

/* Of a handshake message. */
static bool admitted(struct wireguard *w, const struct wg_source *from, const uint8_t *in, size_t n, uint64_t now_ns)
{
    switch (gsi_cookie_check(&w->gate, from, in, n, now_ns)) {
    case GATE_PASS:
        return true;
    case GATE_WANTS_COOKIE:
        send_cookie(w, from, in, n, now_ns);
        w->drops[WG_DROP_LOAD]++;
        return false;
    case GATE_LIMITED:
        w->drops[WG_DROP_LOAD]++;
        return false;
    case GATE_FORGED:
        w->drops[WG_DROP_FORGED]++;
        return false;
    case GATE_NO_MEMORY:
        w->drops[WG_DROP_MEMORY]++;
        return false;
    }
    return false;
}

/* ---- any datagram ---- */

enum wg_result gsi_wireguard_feed(struct wireguard *w, const struct wg_source *from, uint8_t *datagram, size_t n, uint64_t now_ns,
                                  struct wg_packet *packet)
{
    struct reader r = reader_of(datagram, n);
    uint32_t type = read_le32(&r);
    if (!r.ok)
        return drop(w, WG_DROP_MALFORMED);
    switch (type) {
    case MESSAGE_TRANSPORT:
        return gsi_transport_open(w, datagram, n, now_ns, packet);
    case MESSAGE_INITIATION:
        if (n != INITIATION_LEN)
            break;
        return admitted(w, from, datagram, n, now_ns) ? take_initiation(w, from, datagram, now_ns) : WG_DROPPED;
    case MESSAGE_RESPONSE:
        if (n != RESPONSE_LEN)
            break;
        return admitted(w, from, datagram, n, now_ns) ? take_response(w, datagram, now_ns) : WG_DROPPED;
    case MESSAGE_COOKIE:
        if (n != COOKIE_REPLY_LEN)
            break;
        return take_cookie(w, datagram, now_ns);
    default:
        break;
    }
    return drop(w, WG_DROP_MALFORMED);
}
