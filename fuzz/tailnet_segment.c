/* tailnet_segment.c: the first two bytes are the mtu, the rest is what a read of the TUN gave. Every packet that comes out
 * must be whole and, where its checksum was made here, right by a sum that is computed otherwise. */
#include "tailnet/stack/segment.h"

#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

static uint32_t add(uint32_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    return sum;
}

static uint32_t fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static void check(int holds)
{
    if (!holds)
        abort();
}

static void check_tcp(const uint8_t *p, size_t n, size_t transport)
{
    size_t part = n - transport;
    uint32_t sum = p[0] >> 4 == 6 ? add(0, p + 8, 32) : add(0, p + 12, 8);
    check(fold(add(sum + (uint32_t)part + 6, p + transport, part)) == 0xffff);
    check(p[0] >> 4 == 6 || fold(add(0, p, transport)) == 0xffff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t mtu = (size_t)data[0] << 8 | data[1], out = 0, headers = 0;
    unsigned count = 0;
    uint8_t *tun = malloc(size - 2 ? size - 2 : 1), *slot = malloc(gsi_segment_slot(mtu)); /* of exact sizes, for the sanitizer */
    check(tun && slot);
    memcpy(tun, data + 2, size - 2);
    struct segments s;
    if (gsi_segments_init(&s, tun, size - 2, mtu) == 0) {
        struct virtio_net_hdr v;
        memcpy(&v, tun, sizeof v);
        check(s.size <= mtu);
        for (size_t n; (n = gsi_segments_next(&s, slot)) > 0; count++) {
            const uint8_t *p = slot + SEGMENT_FRONT;
            check(n <= s.size && (n == s.size || count + 1 == s.count));
            check(n == (p[0] >> 4 == 6 ? 40u + (size_t)(p[4] << 8 | p[5]) : (size_t)(p[2] << 8 | p[3])));
            if (v.gso_type) {
                headers = (size_t)v.csum_start + (size_t)(p[v.csum_start + 12] >> 4) * 4;
                check_tcp(p, n, v.csum_start);
                check(memcmp(p + headers, s.packet + headers + out, n - headers) == 0);
            }
            out += n - headers;
        }
        check(count == s.count && out == s.n - headers);
    }
    free(tun);
    free(slot);
    return 0;
}
