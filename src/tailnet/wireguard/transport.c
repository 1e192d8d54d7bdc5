/* transport.c: inner packets, sealed and opened where they lie. tailnet-protocol.md 8.2, 8.6, 8.7.
 *
 * A datagram is head | AEAD(packet | padding): WG_HEAD bytes in front of the packet and up to WG_TAIL behind it are all that is
 * needed, so nothing is copied and nothing allocated.
 */
#include <errno.h>
#include <string.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/wireguard/peer.h"
#include "tailnet/wireguard/routes.h"

_Static_assert((int)WG_HEAD == (int)TRANSPORT_HEAD && (int)WG_TAIL == PADDING_UNIT - 1 + TAG_LEN, "8.2");

static void nonce_of(uint8_t nonce[NONCE_LEN], uint64_t counter)
{
    struct writer w = writer_of(nonce, NONCE_LEN);
    write_zeros(&w, 4);
    write_le64(&w, counter);
}

/* ---- out ---- */

/* To a multiple of 16, but not beyond the MTU. */
static size_t padded(const struct wireguard *w, size_t n)
{
    size_t whole = (n + PADDING_UNIT - 1) / PADDING_UNIT * PADDING_UNIT;
    return whole <= w->mtu ? whole : n <= w->mtu ? w->mtu : n;
}

static bool can_seal(const struct keypair *k, uint64_t now_ns)
{
    return gsi_session_alive(k, now_ns) && k->counter < REJECT_AFTER_MESSAGES;
}

/* The length of the datagram; 0: no memory. A counter is used once, also when sealing failed. */
static size_t seal(struct wireguard *w, struct keypair *k, uint8_t *p, size_t n)
{
    uint8_t nonce[NONCE_LEN];
    size_t inner = padded(w, n);
    uint64_t counter = k->counter++;
    memset(p + TRANSPORT_HEAD + n, 0, inner - n);
    struct writer head = writer_of(p, TRANSPORT_HEAD);
    write_le32(&head, MESSAGE_TRANSPORT);
    write_le32(&head, k->remote);
    write_le64(&head, counter);
    nonce_of(nonce, counter);
    bool ok = gsi_aead_seal(k->seal, p + TRANSPORT_HEAD, nonce, p + TRANSPORT_HEAD, inner);
    return ok ? TRANSPORT_HEAD + inner + TAG_LEN : 0;
}

/* After packets were sealed: the session's age. */
static void sealed(struct wg_peer *p, bool data, uint64_t now_ns)
{
    const struct keypair *k = p->current;
    gsi_timers_authentic_sent(p);
    if (data)
        gsi_timers_data_sent(p, now_ns);
    if (k->counter > REKEY_AFTER_MESSAGES || (k->initiator && now_ns >= k->born_ns + REKEY_AFTER_TIME))
        gsi_timers_want_session(p, now_ns);
}

int gsi_wireguard_seal(struct wireguard *w, struct wg_peer *p, struct wg_slot *slots, int count, uint64_t now_ns)
{
    struct keypair *k = p->current;
    for (int i = 0; i < count; i++)
        if (!slots[i].n || slots[i].n > WG_INNER_MAX || slots[i].cap < TRANSPORT_HEAD + padded(w, slots[i].n) + TAG_LEN)
            return -EINVAL;
    int done = 0;
    for (; done < count && can_seal(k, now_ns); done++) {
        slots[done].n = seal(w, k, slots[done].p, slots[done].n);
        p->sent += slots[done].n;
    }
    if (done)
        sealed(p, true, now_ns);
    else if (count > 0)
        gsi_timers_want_session(p, now_ns);
    return done;
}

/* Takes the packet, whose n is the inner one's. */
static int seal_out(struct wg_peer *p, struct datagram *d, uint64_t now_ns)
{
    bool data = d->n;
    d->n = seal(p->w, p->current, d->bytes, d->n);
    if (!d->n) {
        gsi_datagram_free(p->w, d);
        return -ENOMEM;
    }
    p->sent += d->n;
    gsi_output_put(p->w, d);
    sealed(p, data, now_ns);
    return 0;
}

void gsi_transport_flush(struct wg_peer *p, bool keepalive, uint64_t now_ns)
{
    int unused;
    keepalive = keepalive && !p->staged.n;
    while (p->staged.n && can_seal(p->current, now_ns))
        (void)seal_out(p, gsi_queue_take(&p->staged), now_ns);
    if (!keepalive || !can_seal(p->current, now_ns))
        return;
    struct datagram *d = gsi_datagram_new(p->w, p, TRANSPORT_MIN, &unused);
    if (d)
        (void)seal_out(p, d, now_ns); /* one that is lost for want of memory is as one lost on its way */
}

static void drop_oldest(struct wg_peer *p) { gsi_datagram_free(p->w, gsi_queue_take(&p->staged)); }

int gsi_wireguard_send(struct wireguard *w, struct wg_peer *p, const void *inner, size_t n, uint64_t now_ns)
{
    int e;
    if (!n || n > WG_INNER_MAX)
        return -EINVAL;
    size_t size = TRANSPORT_HEAD + padded(w, n) + TAG_LEN;
    bool wait = !can_seal(p->current, now_ns);
    if (wait) /* also when there is no room: it is the session that makes some */
        gsi_timers_want_session(p, now_ns);
    struct datagram *d = gsi_datagram_new(w, p, size, &e);
    while (!d && e == -ENOBUFS && p->staged.n) {
        drop_oldest(p);
        d = gsi_datagram_new(w, p, size, &e);
    }
    if (!d)
        return e;
    memcpy(d->bytes + TRANSPORT_HEAD, inner, n);
    d->n = n;
    if (!wait)
        return seal_out(p, d, now_ns);
    if (p->staged.n >= STAGED_MAX)
        drop_oldest(p);
    gsi_queue_put(&p->staged, d);
    return 0;
}

/* ---- in ---- */

static enum wg_result drop(struct wireguard *w, enum wg_drop why)
{
    w->drops[why]++;
    return WG_DROPPED;
}

/* The packet's length by its header, and its source. False: no IP packet. An IPv4 address in an IPv6 header is none either: it
 * would pass for the IPv4 peer's. */
static bool inner_packet(const uint8_t *in, size_t n, size_t *length, struct ip *source)
{
    enum { IPV4_HEADER = 20, IPV6_HEADER = 40 };
    struct reader r = reader_of(in, n);
    uint8_t first = read_u8(&r);
    if (first >> 4 == 4) {
        size_t header = 4 * (first & 15u);
        read_bytes(&r, 1);
        *length = read_u16(&r);
        read_bytes(&r, 8);
        uint8_t v4[4];
        read_copy(&r, v4, sizeof v4);
        *source = gsi_ip_of_v4(v4);
        return r.ok && header >= IPV4_HEADER && *length >= header && *length <= n;
    }
    read_bytes(&r, 3);
    *length = IPV6_HEADER + (size_t)read_u16(&r);
    read_bytes(&r, 2);
    read_copy(&r, source->b, IP_LEN);
    return r.ok && first >> 4 == 6 && *length <= n && !gsi_ip_is_v4(source);
}

/* After an authentic packet came: confirmation, the session's last minute. */
static void opened(struct wg_peer *p, struct keypair *k, uint64_t now_ns)
{
    if (gsi_session_confirm(p, k)) {
        gsi_timers_handshake_done(p);
        gsi_peer_event(p, WG_SESSION);
        gsi_transport_flush(p, false, now_ns);
    }
    gsi_timers_authentic_received(p);
    if (k == p->current && k->initiator && !k->last_minute && now_ns >= k->born_ns + LAST_MINUTE) {
        k->last_minute = true;
        gsi_timers_want_session(p, now_ns);
    }
}

enum wg_result gsi_transport_open(struct wireguard *w, uint8_t *in, size_t n, uint64_t now_ns, struct wg_packet *packet)
{
    uint8_t nonce[NONCE_LEN], *inner = in + TRANSPORT_HEAD;
    struct reader head = reader_of(in, n);
    read_bytes(&head, TYPE_LEN);
    uint32_t index = read_le32(&head);
    uint64_t counter = read_le64(&head);
    if (!head.ok || n < TRANSPORT_MIN)
        return drop(w, WG_DROP_MALFORMED);

    const struct indexed *found = gsi_index_find(&w->indexes, index);
    if (!found || !gsi_session_alive(found->pair, now_ns))
        return drop(w, WG_DROP_UNKNOWN);
    struct wg_peer *p = found->peer;
    struct keypair *k = found->pair;
    nonce_of(nonce, counter);
    if (!gsi_aead_open(k->open, inner, nonce, inner, n - TRANSPORT_HEAD))
        return drop(w, WG_DROP_FORGED);
    if (!gsi_replay_accept(&k->replay, counter))
        return drop(w, WG_DROP_REPLAYED);
    p->received += n;
    opened(p, k, now_ns);
    if (n == TRANSPORT_MIN)
        return WG_TAKEN;

    gsi_timers_data_received(p, now_ns);
    struct ip source;
    size_t length;
    if (!inner_packet(inner, n - TRANSPORT_MIN, &length, &source))
        return drop(w, WG_DROP_INNER);
    if (gsi_routes_find(w->routes, &source) != p->who)
        return drop(w, WG_DROP_SOURCE);
    *packet = (struct wg_packet){p, inner, length};
    return WG_PACKET;
}
