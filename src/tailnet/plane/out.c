/* out.c: from the TUN to the network. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tailnet/plane/parts.h"

/* ---- datagrams that wait for the flush ---- */

void gsi_plane_flush(struct plane *p)
{
    struct endpoint to;
    int error;
    gsi_link_flush(p->c.link);
    p->arena_n = 0;
    while (gsi_link_refused(p->c.link, &to, &error)) {
        struct path *path = gsi_path_at(p->c.paths, &to);
        if (path)
            gsi_path_unreachable(p->c.paths, path, &to);
    }
}

uint8_t *gsi_plane_room(struct plane *p, size_t n)
{
    if (p->arena_n + n > PLANE_ARENA)
        gsi_plane_flush(p);
    uint8_t *room = p->arena + p->arena_n;
    p->arena_n += n;
    return room;
}

/* n bytes of datagrams of `segment`, in the arena, by whatever way the peer has now. */
static void dispatch(struct plane *p, const struct plane_peer *to, const uint8_t *bytes, size_t n, size_t segment,
                     uint64_t now_ns)
{
    struct route r = gsi_path_send(p->c.paths, to->path, now_ns);
    size_t most = LINK_MESSAGE / segment < LINK_SEGMENTS ? LINK_MESSAGE / segment * segment : LINK_SEGMENTS * segment;
    bool gone = r.relay;
    for (size_t at = 0; r.udp && at < n; at += most) {
        size_t k = n - at < most ? n - at : most;
        gone |= gsi_link_put(p->c.link, &r.to, bytes + at, k, k < segment ? k : segment) == 0;
    }
    for (size_t at = 0; r.relay && at < n; at += segment)
        p->c.relay(p->c.arg, r.region, to->key, bytes + at, n - at < segment ? n - at : segment, false);
    p->stat.no_way += !gone;
}

/* ---- what the protocols say ---- */

static void drain_wireguard(struct plane *p, uint64_t now_ns)
{
    struct wg_output o;
    while (gsi_wireguard_output(p->c.wireguard, &o)) {
        if (!o.peer) /* a cookie, to a source: whoever gets none tries again */
            continue;
        uint8_t *room = gsi_plane_room(p, o.n);
        memcpy(room, o.p, o.n);
        dispatch(p, gsi_wireguard_who(o.peer), room, o.n, o.n, now_ns);
    }
}

static void drain_paths(struct plane *p, uint64_t now_ns)
{
    struct disco_packet d;
    do {
        gsi_paths_tick(p->c.paths, now_ns);
        while (gsi_paths_output(p->c.paths, &d))
            if (d.relay)
                p->c.relay(p->c.arg, d.region, d.node, d.bytes, d.n, true);
            else {
                uint8_t *room = gsi_plane_room(p, d.n);
                memcpy(room, d.bytes, d.n);
                p->stat.no_way += gsi_link_put(p->c.link, &d.to, room, d.n, d.n) < 0;
            }
    } while (gsi_paths_deadline(p->c.paths) <= now_ns);
}

void gsi_plane_drain(struct plane *p, uint64_t now_ns)
{
    drain_wireguard(p, now_ns);
    drain_paths(p, now_ns);
}

static struct wg_peer *session_of(struct plane *p, struct plane_peer *to)
{
    if (!to->wg && gsi_wireguard_peer(p->c.wireguard, to->key, &to->wg) < 0)
        to->wg = NULL;
    return to->wg;
}

void gsi_plane_answer(struct plane *p, struct plane_peer *to, const uint8_t *inner, size_t n, uint64_t now_ns)
{
    struct wg_peer *wg = session_of(p, to);
    if (now_ns - p->answers_ns >= UINT64_C(1000000000)) {
        p->answers_ns = now_ns;
        p->answers = 0;
    }
    if (p->answers++ >= PLANE_ANSWERS_PER_S)
        return;
    if (!wg || gsi_wireguard_send(p->c.wireguard, wg, inner, n, now_ns) < 0)
        p->stat.no_way++;
}

/* ---- the TUN ---- */

/* Cut, sealed and on its way. Without a session the packets wait in the engine. */
static void send_segments(struct plane *p, struct segments *s, struct plane_peer *to, struct wg_peer *wg, uint64_t now_ns)
{
    struct wg_slot slot[LINK_SEGMENTS];
    size_t stride = gsi_segment_slot(s->size);
    for (unsigned left = s->count; left;) {
        int n = 0, most = left < LINK_SEGMENTS ? (int)left : LINK_SEGMENTS;
        uint8_t *base = gsi_plane_room(p, stride * (size_t)most);
        left -= (unsigned)most;
        for (size_t length; n < most && (length = gsi_segments_next(s, base + (size_t)n * stride)) > 0; n++) {
            slot[n] = (struct wg_slot){base + (size_t)n * stride, stride + SEGMENT_PAD, length};
            p->stat.out++;
            p->stat.out_bytes += length;
        }
        int sealed = n ? gsi_wireguard_seal(p->c.wireguard, wg, slot, n, now_ns) : 0;
        for (int i = sealed < 0 ? 0 : sealed; i < n; i++)
            if (gsi_wireguard_send(p->c.wireguard, wg, slot[i].p + SEGMENT_FRONT, slot[i].n, now_ns) < 0)
                p->stat.no_way++;
        for (int i = 0; i < sealed;) { /* runs of equal ones, of which the last may be shorter */
            int k = i;
            size_t bytes = 0;
            while (k < sealed && slot[k].n && (k == i || slot[k - 1].n == slot[i].n) && slot[k].n <= slot[i].n &&
                   (k == i || slot[i].n == stride))
                bytes += slot[k++].n;
            if (bytes)
                dispatch(p, to, slot[i].p, bytes, slot[i].n, now_ns);
            i = k > i ? k : i + 1;
        }
    }
}

static void send_packet(struct plane *p, size_t n, uint64_t now_ns)
{
    struct segments s;
    struct packet packet;
    if (gsi_segments_init(&s, p->from_tun, n, p->c.mtu) < 0 || gsi_packet_parse(s.packet, s.n, &packet) < 0) {
        p->stat.malformed++;
        return;
    }
    enum verdict v = gsi_filter_out(p->c.filter, &packet);
    p->stat.verdicts[v]++;
    if (!gsi_verdict_passes(v))
        return;
    struct plane_peer *to = gsi_routes_find(p->c.routes, &packet.dst);
    struct wg_peer *wg = to ? session_of(p, to) : NULL;
    if (wg)
        send_segments(p, &s, to, wg, now_ns);
    else
        p->stat.no_route++;
}

bool gsi_plane_from_tun(struct plane *p, uint64_t now_ns)
{
    bool there = true;
    for (int i = 0; i < PLANE_ROUNDS; i++) {
        ssize_t n = read(p->c.tun, p->from_tun, sizeof p->from_tun);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            there = n < 0 && (errno == EAGAIN || errno == EIO); /* EIO: the device is down, for now */
            break;
        }
        send_packet(p, (size_t)n, now_ns);
    }
    gsi_plane_drain(p, now_ns);
    gsi_plane_flush(p);
    return there;
}
