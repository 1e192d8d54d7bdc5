/* tailnet_join.c: packets one after the other, each behind a head of four bytes: its length, whether its checksums are made
 * right first (else nothing would ever be joined), padding. What comes out is exactly what went in: every payload once, in the
 * order of its flow. */
#include "tailnet/stack/join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PACKETS = 64, ROOM = 2048 };

struct in {
    uint8_t *p;
    size_t n;
    int out;
};

static struct in in[PACKETS];
static struct join join;

static void check(int holds)
{
    if (!holds)
        abort();
}

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

static void put(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* Of a packet without options of IP, where that can be. */
static void make_right(uint8_t *p, size_t n)
{
    size_t ip = n && p[0] >> 4 == 6 ? 40 : 20;
    if (n < ip + 20)
        return;
    size_t part = (ip == 40 ? (size_t)(p[4] << 8 | p[5]) : (size_t)(p[2] << 8 | p[3]) - 20);
    if (part > n - ip)
        return;
    if (ip == 20) {
        put(p + 10, 0);
        put(p + 10, 0xffff - fold(add(0, p, 20)));
    }
    put(p + ip + 16, 0);
    uint32_t sum = ip == 40 ? add(0, p + 8, 32) : add(0, p + 12, 8);
    put(p + ip + 16, 0xffff - fold(add(sum + (uint32_t)part + 6, p + ip, part)));
}

static struct in *owner(const uint8_t *at)
{
    for (int i = 0; i < PACKETS; i++)
        if (in[i].p && at >= in[i].p && at < in[i].p + in[i].n)
            return &in[i];
    abort();
}

static void drain(void)
{
    struct joined out;
    while (gsi_join_next(&join, &out)) {
        const uint8_t *first = out.iov[1].iov_base;
        size_t total = 0;
        int last = -1;
        for (int i = 1; i < out.n; i++)
            total += out.iov[i].iov_len;
        check(total == (first[0] >> 4 == 6 ? 40u + (size_t)(first[4] << 8 | first[5]) : (size_t)(first[2] << 8 | first[3])));
        for (int i = out.n > 2 ? 2 : 1; i < out.n; i++) {
            struct in *of = owner(out.iov[i].iov_base);
            check(!of->out && of - in > last);
            of->out = 1;
            last = (int)(of - in);
        }
        check(out.n < 4 || ((const struct virtio_net_hdr *)out.iov[0].iov_base)->gso_type != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int k = 0;
    memset(in, 0, sizeof in);
    gsi_join_init(&join);
    for (; k < PACKETS && size >= 4; k++) {
        size_t n = ((size_t)data[0] << 8 | data[1]) % ROOM;
        uint8_t right = data[2];
        data += 4;
        size -= 4;
        if (n > size)
            n = size;
        check((in[k].p = malloc(n ? n : 1)) != NULL);
        in[k].n = n;
        memcpy(in[k].p, data, n);
        data += n;
        size -= n;
        if (right)
            make_right(in[k].p, n);
        int e = gsi_join_feed(&join, in[k].p, n);
        check(e == 0 || e == GS_EINVALID);
        in[k].out = e != 0; /* dropped */
        drain();
    }
    gsi_join_flush(&join);
    drain();
    for (int i = 0; i < k; i++) {
        check(in[i].out);
        free(in[i].p);
    }
    return 0;
}
