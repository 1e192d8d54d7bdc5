/* segment.c: segment.h. What Linux does in tcp_gso_segment and skb_checksum_help, for packets that leave by a tunnel. */
#include "tailnet/stack/segment.h"

#include <errno.h>
#include <linux/virtio_net.h>

#include "tailnet/stack/inet.h"

_Static_assert(sizeof(struct virtio_net_hdr) == SEGMENT_VNET, "a TUN's virtio header without mergeable buffers");

/* One packet as it is; a checksum left to the device is completed. */
static int init_whole(struct segments *s, const struct inet *h, const struct virtio_net_hdr *v, size_t mtu)
{
    if (v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        if (v->csum_start < h->transport || v->csum_start > s->n || s->n - v->csum_start < (size_t)v->csum_offset + 2)
            return GS_EINVALID;
        s->sum_start = v->csum_start;
        s->sum_field = (uint16_t)(v->csum_start + v->csum_offset);
    }
    s->count = 1;
    s->size = s->n;
    return s->n > mtu ? -EMSGSIZE : 0;
}

/* hdr_len is not looked at: kernels have told it wrong. */
static int init_tcp(struct segments *s, const struct inet *h, const struct virtio_net_hdr *v, size_t mtu)
{
    const uint8_t *tcp = s->packet + h->transport;
    uint16_t tcp_headers = inet_tcp(h, s->packet);
    uint8_t kind = v->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
    if (kind != (h->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4) || !tcp_headers || !v->gso_size)
        return GS_EINVALID;
    if (!(v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || v->csum_start != h->transport || v->csum_offset != TCP_CHECKSUM)
        return GS_EINVALID;
    /* A fragment has no TCP header of its own, and the kernel never leaves a segment of these flags to a device. */
    if ((!h->v6 && get16(s->packet + IPV4_FRAGMENT) & 0x3fff) || tcp[TCP_FLAGS] & (FLAG_SYN | FLAG_RST | FLAG_URG))
        return GS_EINVALID;
    s->transport = h->transport;
    s->headers = (size_t)h->transport + tcp_headers;
    s->payload = v->gso_size;
    size_t bytes = s->n - s->headers;
    if (!bytes)
        return GS_EINVALID;
    s->count = (unsigned)((bytes + s->payload - 1) / s->payload);
    s->size = s->headers + (bytes < s->payload ? bytes : s->payload);
    return s->size > mtu ? -EMSGSIZE : 0;
}

int gsi_segments_init(struct segments *s, const uint8_t *from_tun, size_t n, size_t mtu)
{
    struct virtio_net_hdr v;
    struct inet h;
    *s = (struct segments){.done = true};
    if (n < SEGMENT_VNET)
        return GS_EINVALID;
    memcpy(&v, from_tun, sizeof v);
    struct segments t = {.packet = from_tun + SEGMENT_VNET, .n = n - SEGMENT_VNET};
    if (!inet_read(&h, t.packet, t.n) || h.length != t.n)
        return GS_EINVALID;
    t.v6 = h.v6;
    int e = v.gso_type == VIRTIO_NET_HDR_GSO_NONE ? init_whole(&t, &h, &v, mtu) : init_tcp(&t, &h, &v, mtu);
    if (e == 0)
        *s = t;
    return e;
}

/* The pseudo header's sum already stands in the field. 0 would mean "none" to UDP (RFC 768). */
static void complete_sum(const struct segments *s, uint8_t *packet)
{
    uint16_t sum = (uint16_t)~sum_fold(sum_bytes(0, packet + s->sum_start, s->n - s->sum_start));
    put_sum(packet + s->sum_field, sum ? sum : 0xffff);
}

static size_t write_whole(struct segments *s, uint8_t *packet)
{
    memcpy(packet, s->packet, s->n);
    if (s->sum_field)
        complete_sum(s, packet);
    s->done = true;
    return s->n;
}

static size_t write_segment(struct segments *s, uint8_t *packet)
{
    size_t left = s->n - s->headers - s->at, bytes = left < s->payload ? left : s->payload, n = s->headers + bytes;
    struct inet h = {.v6 = s->v6, .protocol = PROTOCOL_TCP, .transport = s->transport, .length = (uint16_t)n};
    uint8_t *tcp = packet + s->transport;
    memcpy(packet, s->packet, s->headers);
    memcpy(packet + s->headers, s->packet + s->headers + s->at, bytes);

    if (!s->v6)
        put16(packet + IPV4_ID, get16(packet + IPV4_ID) + (uint32_t)(s->at / s->payload));
    inet_set_length(&h, packet, n);
    put32(tcp + TCP_SEQUENCE, get32(tcp + TCP_SEQUENCE) + (uint32_t)s->at);
    if (bytes < left)
        tcp[TCP_FLAGS] &= (uint8_t)~(FLAG_FIN | FLAG_PSH);
    if (s->at)
        tcp[TCP_FLAGS] &= (uint8_t)~FLAG_CWR;
    put16(tcp + TCP_CHECKSUM, 0);
    size_t part = n - s->transport;
    put_sum(tcp + TCP_CHECKSUM, (uint16_t)~sum_fold(sum_bytes(inet_pseudo(&h, packet, part), tcp, part)));

    s->at += bytes;
    s->done = bytes == left;
    return n;
}

size_t gsi_segments_next(struct segments *s, uint8_t *slot)
{
    if (s->done)
        return 0;
    uint8_t *packet = slot + SEGMENT_FRONT;
    size_t n = s->payload ? write_segment(s, packet) : write_whole(s, packet);
    memset(packet + n, 0, gsi_segment_slot(n) - SEGMENT_FRONT - SEGMENT_BEHIND - n);
    return n;
}
