/* tailnet_netmap.c: messages, each on a line, one after another into one map; a line that begins with ! starts a new stream.
 * Whatever comes, the map agrees with itself, and a message that is refused changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tailnet/netmap/netmap.h"

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                           \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

enum { WALL = 1795248930 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_peer(const struct netmap *m, const struct map_node *n)
{
    const struct map_node *self = gsi_netmap_self(m);
    CHECK(gsi_netmap_by_id(m, n->id) == n);
    CHECK(gsi_netmap_by_key(m, n->key) == n);
    CHECK(n->id != self->id && memcmp(n->key, self->key, KEY_LEN) != 0);
    bool found = gsi_is_zero(n->disco, KEY_LEN);
    for (const struct map_node *d = NULL; (d = gsi_netmap_by_disco(m, n->disco, d));)
        found |= d == n;
    CHECK(found);
    for (uint32_t i = 0; i < n->addresses_n; i++)
        if (n->addresses[i].bits == PREFIX_BITS) {
            struct map_who who;
            struct filter_capability cap;
            CHECK(gsi_netmap_by_address(m, &n->addresses[i].ip));
            if (gsi_netmap_whois(m, &n->addresses[i].ip, &who))
                while (gsi_netmap_who_cap(m, &who, &cap))
                    CHECK(cap.name.n == strlen(cap.name.p));
        }
    struct ip out[2];
    if (n->addresses_n && strlen(n->name) < 200)
        (void)(gsi_netmap_resolve(m, n->name, strlen(n->name), out, 2) == 0);
    (void)(gsi_netmap_use(m, n, WALL) == MAP_USABLE);
    CHECK(strlen(n->name) <= MAP_TEXT_MAX && n->endpoints_n <= MAP_ENDPOINTS_MAX);
}

static void check_map(const struct netmap *m)
{
    size_t n = 0;
    struct filter_list lists[8];
    struct map_message w;
    const struct map_node *peer;
    for (size_t at = 0; (peer = gsi_netmap_each(m, &at)); n++)
        check_peer(m, peer);
    CHECK(n == gsi_netmap_peers_n(m));
    CHECK(gsi_netmap_filter(m, lists, 8) == 0 || gsi_netmap_has_filter(m));
    for (size_t i = 0; gsi_netmap_message(m, i, &w); i++)
        CHECK(w.id && w.title && w.text && w.severity);
    CHECK(gsi_netmap_bytes(m) > 0);
}

static void feed(struct netmap *m, const uint8_t *line, size_t n)
{
    struct map_update *u;
    struct map_error why;
    size_t peers = gsi_netmap_peers_n(m);
    const struct map_node *self = gsi_netmap_self(m);
    if (n && *line == '!') {
        gsi_netmap_start(m);
        line++;
        n--;
    }
    int e = gsi_map_parse(line, n, &u, &why);
    if (e == 0)
        e = gsi_netmap_apply(m, u, WALL, &why);
    CHECK(e == 0 || *why.why);
    if (e < 0) {
        CHECK(gsi_netmap_peers_n(m) == peers && gsi_netmap_self(m) == self);
        return;
    }
    for (struct map_event ev; gsi_netmap_next(m, &ev);)
        if (ev.kind == MAP_PEER) {
            peers += (ev.before == NULL) - (size_t)(ev.after == NULL);
            CHECK(ev.changed);
        }
    CHECK(gsi_netmap_peers_n(m) == peers);
    check_map(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct netmap *m = gsi_netmap_new();
    CHECK(m);
    while (size) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t n = end ? (size_t)(end - data) : size;
        feed(m, data, n);
        n += end != NULL;
        data += n;
        size -= n;
    }
    gsi_netmap_free(m);
    return 0;
}
