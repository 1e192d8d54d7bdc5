/* tailnet_stack.h: two namespaces with a pump between their TUNs: read, segment, join, write. What a node is, without the
 * tunnel. */
#ifndef TAILNET_STACK_H
#define TAILNET_STACK_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "support.h"
#include "tailnet/stack/join.h"
#include "tailnet/stack/namespace.h"
#include "tailnet/stack/segment.h"

enum { SIDES = 2 };

/* Side 0 is 100.64.77.1 and fd7a:115c:a1e0::4d01, side 1 ends with 2. */
struct pair {
    struct namespace *ns[SIDES];
    pthread_t thread;
    int stop;
    _Atomic long cut, joined, stray, errors;
    struct join join;
    uint8_t read[SEGMENT_READ], *slots;
};

static inline struct prefix prefix_of(const char *text)
{
    struct prefix p;
    assert_ok(gsi_prefix_parse(text, strlen(text), &p));
    return p;
}

static inline const char *side_address(int side, bool v6)
{
    static const char *const text[SIDES][2] = {{"100.64.77.1", "fd7a:115c:a1e0::4d01"}, {"100.64.77.2", "fd7a:115c:a1e0::4d02"}};
    return text[side][v6];
}

static inline struct sockaddr_storage side_at(int side, bool v6, uint16_t port, socklen_t *n)
{
    struct endpoint e = {prefix_of(side_address(side, v6)).ip, port};
    struct sockaddr_storage at;
    *n = gsi_endpoint_to_sockaddr(&e, &at);
    return at;
}

enum { SLOTS = 8 << 20 };

static inline void pair_write(struct pair *p, int to)
{
    struct joined out;
    while (gsi_join_next(&p->join, &out)) {
        atomic_fetch_add(&p->joined, out.n > 3);
        if (writev(gsi_namespace_tun(p->ns[to]), out.iov, out.n) < 0)
            atomic_fetch_add(&p->errors, 1);
    }
}

static inline bool pair_is_for(const struct segments *s, int side)
{
    bool v6 = s->packet[0] >> 4 == 6;
    struct ip ip = v6 ? gsi_ip_of_v6(s->packet + 24) : gsi_ip_of_v4(s->packet + 16);
    const char *text = side_address(side, v6);
    struct ip own;
    return gsi_ip_parse(text, strlen(text), &own) == 0 && gsi_ip_equal(&own, &ip);
}

static inline void pair_carry(struct pair *p, int from)
{
    for (int k = 0; k < 32; k++) {
        struct segments s;
        ssize_t n = read(gsi_namespace_tun(p->ns[from]), p->read, sizeof p->read);
        if (n < 0)
            return;
        if (gsi_segments_init(&s, p->read, (size_t)n, NAMESPACE_MTU) < 0 || s.count * gsi_segment_slot(s.size) > SLOTS) {
            atomic_fetch_add(&p->errors, 1);
            continue;
        }
        if (!pair_is_for(&s, !from)) {
            atomic_fetch_add(&p->stray, 1);
            continue;
        }
        atomic_fetch_add(&p->cut, s.count > 1);
        uint8_t *slot = p->slots;
        for (size_t len; (len = gsi_segments_next(&s, slot)) > 0; slot += gsi_segment_slot(len)) {
            if (gsi_join_feed(&p->join, slot + SEGMENT_FRONT, len) < 0)
                atomic_fetch_add(&p->errors, 1);
            pair_write(p, !from);
        }
        gsi_join_flush(&p->join);
        pair_write(p, !from);
    }
}

static inline void *pair_main(void *arg)
{
    struct pair *p = arg;
    for (;;) {
        struct pollfd fds[] = {{gsi_namespace_tun(p->ns[0]), POLLIN, 0}, {gsi_namespace_tun(p->ns[1]), POLLIN, 0},
                               {p->stop, POLLIN, 0}};
        (void)poll(fds, 3, -1);
        if (fds[2].revents)
            return NULL;
        for (int side = 0; side < SIDES; side++)
            if (fds[side].revents)
                pair_carry(p, side);
    }
}

static inline void pair_open(struct pair *p, enum namespace_way way)
{
    memset(p, 0, sizeof *p);
    gsi_join_init(&p->join);
    p->slots = malloc(SLOTS);
    p->stop = eventfd(0, EFD_CLOEXEC);
    assert_true(p->slots && p->stop >= 0);
    struct prefix v4 = prefix_of("100.64.0.0/10"), v6 = prefix_of("fd7a:115c:a1e0::/48");
    for (int side = 0; side < SIDES; side++) {
        struct prefix own4 = prefix_of(side_address(side, false)), own6 = prefix_of(side_address(side, true));
        assert_ok(gsi_namespace_open(&p->ns[side], &(struct namespace_options){.way = way}));
        assert_ok(gsi_namespace_address(p->ns[side], &own4, true));
        assert_ok(gsi_namespace_address(p->ns[side], &own6, true));
        assert_ok(gsi_namespace_route(p->ns[side], &v4, true));
        assert_ok(gsi_namespace_route(p->ns[side], &v6, true));
    }
    assert_int_equal(pthread_create(&p->thread, NULL, pair_main, p), 0);
}

static inline void pair_close(struct pair *p)
{
    assert_int_equal(write(p->stop, &(uint64_t){1}, 8), 8);
    pthread_join(p->thread, NULL);
    close(p->stop);
    gsi_namespace_close(p->ns[0]);
    gsi_namespace_close(p->ns[1]);
    free(p->slots);
    assert_int_equal(atomic_load(&p->errors), 0);
}

#endif
