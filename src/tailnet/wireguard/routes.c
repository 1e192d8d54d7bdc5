/* routes.c: one open-addressing table for all prefixes of both families, and how many there are of each length. */
#include "tailnet/wireguard/routes.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "tailnet/crypto/crypto.h"
#include "tailnet/wireguard/mix.h"

enum {
    FIRST = 64,
    MAX_DEFAULT = 1000000,
    LENGTHS = PREFIX_BITS + 1,
    WORDS = (LENGTHS + 63) / 64,
    V4_BITS = 96, /* ::ffff:0:0/96 */
};

struct route {
    struct prefix prefix;
    void *who; /* NULL: the slot is free */
};

struct routes {
    struct route *slot; /* linear probing, a power of two, at most half full */
    size_t cap, n, max;
    uint64_t seed;
    size_t of_length[LENGTHS];
    uint64_t lengths[WORDS]; /* which of them are not 0 */
};

static size_t home(const struct routes *r, const struct prefix *p)
{
    return mix64(r->seed + p->bits, p->ip.b, IP_LEN) & (r->cap - 1);
}

static bool equal(const struct prefix *a, const struct prefix *b) { return a->bits == b->bits && gsi_ip_equal(&a->ip, &b->ip); }

/* Where it is, or the free slot where it would be. */
static size_t place(const struct routes *r, const struct prefix *p)
{
    size_t i = home(r, p);
    while (r->slot[i].who && !equal(&r->slot[i].prefix, p))
        i = (i + 1) & (r->cap - 1);
    return i;
}

/* The first `bits` of an address, the rest zero. */
static struct prefix cut(const struct ip *ip, unsigned bits)
{
    struct prefix p = {.bits = (uint8_t)bits};
    memcpy(p.ip.b, ip->b, (bits + 7) / 8);
    if (bits % 8)
        p.ip.b[bits / 8] &= (uint8_t)(0xff << (8 - bits % 8));
    return p;
}

struct routes *gsi_routes_new(size_t max)
{
    struct routes *r = OPENSSL_zalloc(sizeof *r);
    if (!r)
        return NULL;
    r->max = max ? max : MAX_DEFAULT;
    gsi_random(&r->seed, sizeof r->seed);
    return r;
}

void gsi_routes_free(struct routes *r)
{
    if (r)
        OPENSSL_free(r->slot);
    OPENSSL_free(r);
}

static int grow(struct routes *r)
{
    struct routes bigger = {.cap = r->cap ? 2 * r->cap : FIRST, .seed = r->seed};
    bigger.slot = OPENSSL_zalloc(bigger.cap * sizeof *bigger.slot);
    if (!bigger.slot)
        return -ENOMEM;
    for (size_t i = 0; i < r->cap; i++)
        if (r->slot[i].who)
            bigger.slot[place(&bigger, &r->slot[i].prefix)] = r->slot[i];
    OPENSSL_free(r->slot);
    r->slot = bigger.slot;
    r->cap = bigger.cap;
    return 0;
}

static void count(struct routes *r, unsigned bits, bool more)
{
    uint64_t bit = UINT64_C(1) << bits % 64;
    size_t *n = &r->of_length[bits];
    *n = more ? *n + 1 : *n - 1;
    r->n = more ? r->n + 1 : r->n - 1;
    if (*n)
        r->lengths[bits / 64] |= bit;
    else
        r->lengths[bits / 64] &= ~bit;
}

static bool is_prefix(const struct prefix *p)
{
    if (p->bits > PREFIX_BITS)
        return false;
    struct prefix is = cut(&p->ip, p->bits);
    return gsi_ip_equal(&is.ip, &p->ip);
}

int gsi_routes_add(struct routes *r, const struct prefix *p, void *who)
{
    if (!who)
        return -EINVAL;
    if (!is_prefix(p))
        return GS_EINVALID;
    if (r->cap) {
        struct route *there = &r->slot[place(r, p)];
        if (there->who) {
            there->who = who;
            return 0;
        }
    }
    if (r->n >= r->max)
        return -ENOBUFS;
    if (r->n >= r->cap / 2) {
        int e = grow(r);
        if (e)
            return e;
    }
    r->slot[place(r, p)] = (struct route){*p, who};
    count(r, p->bits, true);
    return 0;
}

/* Those behind the gap move up, unless that would bring them in front of their own place. */
static void take_out(struct routes *r, size_t gap)
{
    size_t mask = r->cap - 1;
    count(r, r->slot[gap].prefix.bits, false);
    for (size_t i = (gap + 1) & mask; r->slot[i].who; i = (i + 1) & mask) {
        if (((i - home(r, &r->slot[i].prefix)) & mask) >= ((i - gap) & mask)) {
            r->slot[gap] = r->slot[i];
            gap = i;
        }
    }
    r->slot[gap] = (struct route){0};
}

void gsi_routes_remove(struct routes *r, const struct prefix *p, const void *who)
{
    if (!r->cap || !is_prefix(p))
        return;
    size_t i = place(r, p);
    if (r->slot[i].who && r->slot[i].who == who)
        take_out(r, i);
}

void gsi_routes_remove_all(struct routes *r, const void *who)
{
    for (size_t i = 0; who && i < r->cap;)
        if (r->slot[i].who == who)
            take_out(r, i); /* another may have moved here: look again */
        else
            i++;
    /* One that moved from the table's end round to its front was looked at there before. */
}

void *gsi_routes_find(const struct routes *r, const struct ip *ip)
{
    unsigned least = gsi_ip_is_v4(ip) ? V4_BITS : 0;
    for (unsigned word = WORDS; r->n && word-- > 0;) {
        for (uint64_t left = r->lengths[word]; left;) {
            unsigned bit = 63 - (unsigned)__builtin_clzll(left), bits = word * 64 + bit;
            if (bits < least)
                return NULL;
            struct prefix key = cut(ip, bits);
            void *who = r->slot[place(r, &key)].who;
            if (who)
                return who;
            left &= ~(UINT64_C(1) << bit);
        }
    }
    return NULL;
}

size_t gsi_routes_count(const struct routes *r) { return r->n; }
