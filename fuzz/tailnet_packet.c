/* Inner packets from peers: what is accepted lies within its bytes, its checksums can be set and hold, a stamp and TSMP come
 * back, and a saved SYN is any bytes. */
#include <stdlib.h>
#include <string.h>

#include "tailnet/packet/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

enum { ROOM = 4096 };

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_checksums(uint8_t *b, const struct packet *p)
{
    uint16_t start, offset;
    (void)!gsi_packet_checksums_good(b, p);
    gsi_packet_checksums_set(b, p);
    must(gsi_packet_checksums_good(b, p));
    if (gsi_packet_checksum_partial(b, p, &start, &offset))
        must(start == p->header && (uint32_t)start + offset + 2 <= p->length);
}

static void check_tsmp(const uint8_t *in, const struct packet *p)
{
    struct tsmp t, again;
    struct packet q;
    uint8_t out[TSMP_PACKET_MAX];
    size_t n = 0;
    if (gsi_tsmp_parse(in, p, &t) < 0)
        return;
    if (t.type == TSMP_PING)
        n = gsi_tsmp_pong(out, p, t.data, 7);
    else if (t.type == TSMP_ADVERT)
        n = gsi_tsmp_advert(out, &p->src, &p->dst, t.key);
    else if (t.type == TSMP_PONG)
        n = gsi_tsmp_ping(out, &p->src, &p->dst, t.data);
    else
        return;
    must(n && gsi_packet_parse(out, n, &q) == 0 && q.length == n && gsi_packet_checksums_good(out, &q));
    must(gsi_tsmp_parse(out, &q, &again) == 0);
    must(memcmp(again.data, t.data, sizeof t.data) == 0 && memcmp(again.key, t.key, sizeof t.key) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    static uint8_t b[ROOM];
    struct packet p, q;
    uint32_t index;
    (void)!gsi_packet_stamp_read(in, n, &index);
    if (gsi_packet_parse(in, n, &p) < 0 || n > ROOM)
        return 0;
    must(p.length <= n && p.header <= p.payload && p.payload <= p.length && (p.version == 4) == gsi_ip_is_v4(&p.src));
    must((p.version == 4) == gsi_ip_is_v4(&p.dst) && !(p.first_fragment && p.later_fragment));
    must(gsi_packet_parse(in, p.length, &q) == 0 && memcmp(&p, &q, sizeof p) == 0);
    must(!gsi_packet_is_icmp_error(&p) || !gsi_packet_is_echo_reply(&p));
    check_tsmp(in, &p);
    memcpy(b, in, p.length);
    check_checksums(b, &p);
    if (gsi_packet_stamp(b, &p, 0x1234) == 0)
        must(gsi_packet_stamp_read(b, p.length, &index) == 0 && index == 0x1234);
    return 0;
}
