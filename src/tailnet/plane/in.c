/* in.c: from the network to the TUN. */
#include <errno.h>
#include <sys/uio.h>

#include "tailnet/plane/parts.h"

/* What is joined goes in; a TUN that is full drops, as a network does. */
static void write_joined(struct plane *p)
{
    struct joined out;
    while (gsi_join_next(&p->join, &out)) {
        ssize_t n;
        do
            n = writev(p->c.tun, out.iov, out.n);
        while (n < 0 && errno == EINTR);
        p->stat.tun_full += n < 0;
    }
}

static void flush_join(struct plane *p)
{
    gsi_join_flush(&p->join);
    write_joined(p);
}

static void answer_tsmp(struct plane *p, struct plane_peer *from, const uint8_t *in, const struct packet *packet, uint64_t now_ns)
{
    struct tsmp t;
    uint8_t pong[TSMP_PACKET_MAX];
    if (gsi_tsmp_parse(in, packet, &t) < 0)
        return;
    if (t.type == TSMP_REJECT && p->c.rejected)
        p->c.rejected(p->c.arg, &t);
    if (t.type != TSMP_PING)
        return;
    size_t n = gsi_tsmp_pong(pong, packet, t.data, 0);
    if (n)
        gsi_plane_answer(p, from, pong, n, now_ns);
}

static void refuse(struct plane *p, struct plane_peer *from, enum verdict v, const struct packet *packet, uint64_t now_ns)
{
    uint8_t reason = gsi_verdict_reject(v, packet), out[TSMP_PACKET_MAX];
    size_t n = reason ? gsi_tsmp_reject(out, packet, reason) : 0;
    if (n)
        gsi_plane_answer(p, from, out, n, now_ns);
}

/* An inner packet from this peer's session, and from an address of the peer's. */
static void take_inner(struct plane *p, struct plane_peer *from, uint8_t *in, size_t n, uint64_t now_ns)
{
    struct packet packet;
    enum verdict v = gsi_filter_in(p->c.filter, in, n, from->jailed ? FILTER_JAILED : 0, &packet);
    p->stat.verdicts[v]++;
    p->stat.in++;
    p->stat.in_bytes += n;
    if (v == PASS_TSMP)
        answer_tsmp(p, from, in, &packet, now_ns);
    else if (!gsi_verdict_passes(v))
        refuse(p, from, v, &packet, now_ns);
    else if (n && gsi_packet_is_syn(&packet) && (!from->identity || gsi_packet_stamp(in, &packet, from->identity) < 0))
        p->stat.unstamped++;
    else if (n) {
        p->stat.malformed += gsi_join_feed(&p->join, in, packet.length) < 0;
        write_joined(p);
    }
}

static void take_wireguard(struct plane *p, const struct wg_source *source, uint8_t *bytes, size_t n, uint64_t now_ns)
{
    struct wg_packet packet;
    if (gsi_wireguard_feed(p->c.wireguard, source, bytes, n, now_ns, &packet) == WG_PACKET)
        take_inner(p, gsi_wireguard_who(packet.peer), packet.p, packet.n, now_ns);
}

static void take_datagram(struct plane *p, const struct endpoint *from, uint8_t *bytes, size_t n, uint64_t now_ns)
{
    switch (gsi_datagram_kind(bytes, n)) {
    case DATAGRAM_STUN:
        if (p->c.stun)
            p->c.stun(p->c.arg, bytes, n, from, now_ns);
        return;
    case DATAGRAM_DISCO: gsi_paths_feed(p->c.paths, bytes, n, from, now_ns); return;
    case DATAGRAM_WIREGUARD: take_wireguard(p, &(struct wg_source){.from = *from}, bytes, n, now_ns); return;
    default: p->stat.malformed++;
    }
}

void gsi_plane_from_link(struct plane *p, bool v6, uint64_t now_ns)
{
    struct arrival a[LINK_ARRIVALS];
    int n = LINK_ARRIVALS;
    for (int round = 0; n == LINK_ARRIVALS && round < PLANE_ROUNDS; round++) { /* fewer: that was all, or poll says so again */
        n = gsi_link_receive(p->c.link, v6, a);
        for (int i = 0; i < n; i++)
            for (size_t at = 0; at < a[i].n; at += a[i].segment)
                take_datagram(p, &a[i].from, a[i].p + at, a[i].n - at < a[i].segment ? a[i].n - at : a[i].segment, now_ns);
        flush_join(p); /* before the link reads over it */
    }
    gsi_plane_drain(p, now_ns);
    gsi_plane_flush(p);
}

void gsi_plane_from_relay(struct plane *p, uint32_t region, const uint8_t key[KEY_LEN], uint8_t *bytes, size_t n, uint64_t now_ns)
{
    struct wg_source source = {0};
    if (gsi_datagram_kind(bytes, n) == DATAGRAM_DISCO)
        gsi_paths_feed_relay(p->c.paths, bytes, n, region, key, now_ns);
    else {
        struct path *path = gsi_path_find(p->c.paths, key);
        if (path)
            gsi_path_heard_relay(path, region);
        for (int i = 0; i < KEY_LEN; i++)
            source.key[i] = key[i];
        take_wireguard(p, &source, bytes, n, now_ns);
    }
    flush_join(p);
    gsi_plane_drain(p, now_ns);
    gsi_plane_flush(p);
}
