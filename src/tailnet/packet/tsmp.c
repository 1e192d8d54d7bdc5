/* tsmp.c: the messages that nodes send each other as IP protocol 99 (packet.h; tailnet-protocol.md 8.9). */
#include <string.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/packet/packet.h"

enum { REJECT_MAYBE_BROKEN = 1, TTL = 64 };

static void parse_reject(struct reader *r, const struct packet *p, struct tsmp *out)
{
    out->protocol = read_u8(r);
    out->reason = read_u8(r);
    out->own = (struct endpoint){p->dst, read_u16(r)};
    out->peer = (struct endpoint){p->src, read_u16(r)};
    out->maybe_broken = r->n && read_u8(r) & REJECT_MAYBE_BROKEN;
}

int gsi_tsmp_parse(const uint8_t *in, const struct packet *p, struct tsmp *out)
{
    struct tsmp t = {0};
    if (p->protocol != PROTOCOL_TSMP)
        return GS_EINVALID;
    struct reader r = reader_of(in + p->header, p->length - p->header);
    switch (read_u8(&r)) {
    case TSMP_REJECT:
        t.type = TSMP_REJECT;
        parse_reject(&r, p, &t);
        break;
    case TSMP_PING:
        t.type = TSMP_PING;
        read_copy(&r, t.data, sizeof t.data);
        break;
    case TSMP_PONG:
        t.type = TSMP_PONG;
        read_copy(&r, t.data, sizeof t.data);
        t.peerapi_port = r.n >= 2 ? read_u16(&r) : 0;
        break;
    case TSMP_ADVERT:
        t.type = TSMP_ADVERT;
        read_copy(&r, t.key, sizeof t.key);
        break;
    default:
        return GS_EINVALID;
    }
    if (!r.ok)
        return GS_EINVALID;
    *out = t;
    return 0;
}

/* The IP header, for n bytes behind it. */
static struct writer begin(uint8_t *out, const struct ip *src, const struct ip *dst, uint16_t n)
{
    struct writer w = writer_of(out, TSMP_PACKET_MAX);
    bool v4 = gsi_ip_is_v4(src);
    if (v4 != gsi_ip_is_v4(dst)) {
        w.ok = false;
    } else if (v4) {
        write_u16(&w, 0x4500); /* version, header length, service */
        write_u16(&w, (uint16_t)(PACKET_V4_HEADER + n));
        write_u32(&w, 0); /* identification, fragment */
        write_u8(&w, TTL);
        write_u8(&w, PROTOCOL_TSMP);
        write_u16(&w, 0); /* checksum: end() */
        write_bytes(&w, src->b + IP_LEN - 4, 4);
        write_bytes(&w, dst->b + IP_LEN - 4, 4);
    } else {
        write_u32(&w, 0x60000000); /* version, class, flow label */
        write_u16(&w, n);
        write_u8(&w, PROTOCOL_TSMP);
        write_u8(&w, TTL);
        write_bytes(&w, src->b, IP_LEN);
        write_bytes(&w, dst->b, IP_LEN);
    }
    return w;
}

static size_t end(struct writer *w)
{
    struct packet p;
    if (!w->ok || gsi_packet_parse(w->p, w->n, &p) < 0)
        return 0;
    gsi_packet_checksums_set(w->p, &p);
    return w->n;
}

size_t gsi_tsmp_reject(uint8_t out[TSMP_PACKET_MAX], const struct packet *refused, enum tsmp_reason reason)
{
    struct writer w = begin(out, &refused->dst, &refused->src, PACKET_TSMP_LEAST);
    write_u8(&w, TSMP_REJECT);
    write_u8(&w, refused->protocol);
    write_u8(&w, (uint8_t)reason);
    write_u16(&w, refused->src_port);
    write_u16(&w, refused->dst_port);
    return end(&w);
}

size_t gsi_tsmp_ping(uint8_t out[TSMP_PACKET_MAX], const struct ip *src, const struct ip *dst, const uint8_t data[TSMP_PING_LEN])
{
    struct writer w = begin(out, src, dst, 1 + TSMP_PING_LEN);
    write_u8(&w, TSMP_PING);
    write_bytes(&w, data, TSMP_PING_LEN);
    return end(&w);
}

size_t gsi_tsmp_pong(uint8_t out[TSMP_PACKET_MAX], const struct packet *ping, const uint8_t data[TSMP_PING_LEN],
                     uint16_t peerapi_port)
{
    struct writer w = begin(out, &ping->dst, &ping->src, 1 + TSMP_PING_LEN + 2);
    write_u8(&w, TSMP_PONG);
    write_bytes(&w, data, TSMP_PING_LEN);
    write_u16(&w, peerapi_port);
    return end(&w);
}

size_t gsi_tsmp_advert(uint8_t out[TSMP_PACKET_MAX], const struct ip *src, const struct ip *dst, const uint8_t key[TSMP_KEY_LEN])
{
    struct writer w = begin(out, src, dst, 1 + TSMP_KEY_LEN);
    write_u8(&w, TSMP_ADVERT);
    write_bytes(&w, key, TSMP_KEY_LEN);
    return end(&w);
}
