/* Random sequences of deltas leave the same peers as a naive model does, by every way to find them, and the events tell just the
 * difference. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "support.h"
#include "tailnet/netmap/netmap.h"

enum { IDS = 24, KEYS = 30, OWN_KEY = 29, ROOM = 1 << 16, WALL = 1795248930 };

struct peer {
    bool there;
    int key, disco, online, derp, cap, port;
    int64_t seen;
};

static struct peer model[IDS];
static bool mirror[IDS]; /* what the events say */
static uint64_t seed;
static char json[ROOM];
static size_t at;

static unsigned roll(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)((seed >> 20) % n);
}

__attribute__((format(printf, 1, 2))) static void out(const char *format, ...)
{
    va_list a;
    va_start(a, format);
    at += (size_t)vsnprintf(json + at, ROOM - at, format, a);
    va_end(a);
    assert_true(at < ROOM);
}

static void put(int id, struct peer p)
{
    p.there = p.key && p.key != OWN_KEY;
    for (int i = 0; i < IDS; i++)
        p.there &= i == id || !model[i].there || model[i].key != p.key;
    model[id] = p;
}

static struct peer some_peer(void)
{
    return (struct peer){true, (int)roll(KEYS), (int)roll(4), (int)roll(3), (int)roll(3), (int)roll(3), (int)roll(3), 0};
}

static void write_nodes(const char *name, bool full)
{
    unsigned n = roll(full ? 12 : 4) + full;
    out("%s\"%s\":[", at > 1 ? "," : "", name);
    for (unsigned i = 0; i < n; i++) {
        int id = 1 + (int)roll(IDS - 1);
        struct peer p = some_peer();
        out("%s{\"ID\":%d,\"Name\":\"p%d.x.\",\"Key\":\"nodekey:%064x\",\"Addresses\":[\"100.64.0.%d/32\"],\"Cap\":%d,\"HomeDERP\":%d", i ? "," : "", id, id, p.key, id, p.cap, p.derp);
        if (p.disco)
            out(",\"DiscoKey\":\"discokey:%064x\"", p.disco);
        if (p.online)
            out(",\"Online\":%s", p.online == MAP_YES ? "true" : "false");
        if (p.port)
            out(",\"Endpoints\":[\"192.0.2.1:%d\"]", p.port);
        out("}");
        put(id, p);
    }
    out("]");
}

static void write_removed(void)
{
    unsigned n = roll(4);
    out("%s\"PeersRemoved\":[", at > 1 ? "," : "");
    for (unsigned i = 0; i < n; i++) {
        int id = 1 + (int)roll(IDS - 1);
        out("%s%d", i ? "," : "", id);
        model[id].there = false;
    }
    out("]");
}

static void write_known(const char *name, bool seen)
{
    out("%s\"%s\":{", at > 1 ? "," : "", name);
    for (unsigned id = 1 + roll(4), i = 0; id < IDS; id += 1 + roll(8), i++) {
        bool yes = roll(2);
        out("%s\"%u\":%s", i ? "," : "", id, yes ? "true" : "false");
        if (seen)
            model[id].seen = yes ? WALL : 0;
        else
            model[id].online = yes ? MAP_YES : MAP_NO;
    }
    out("}");
}

static void write_patches(void)
{
    unsigned n = roll(5);
    out("%s\"PeersChangedPatch\":[", at > 1 ? "," : "");
    for (unsigned i = 0; i < n; i++) {
        int id = 1 + (int)roll(IDS - 1);
        struct peer p = model[id], d = some_peer();
        out("%s{\"NodeID\":%d", i ? "," : "", id);
        if (roll(2)) {
            out(",\"DERPRegion\":%d", d.derp);
            p.derp = d.derp ? d.derp : p.derp;
        }
        if (roll(2)) {
            out(",\"Cap\":%d", d.cap);
            p.cap = d.cap ? d.cap : p.cap;
        }
        if (roll(3) == 0) {
            out(",\"Key\":\"nodekey:%064x\"", d.key);
            p.key = d.key;
        }
        if (roll(3) == 0) {
            out(",\"DiscoKey\":\"discokey:%064x\"", d.disco);
            p.disco = d.disco;
        }
        if (roll(3) == 0 && d.online) {
            out(",\"Online\":%s", d.online == MAP_YES ? "true" : "false");
            p.online = d.online;
        } else
            out(",\"Online\":null");
        if (roll(3) == 0) {
            out(",\"Endpoints\":[\"192.0.2.1:%d\"]", d.port + 1);
            p.port = d.port + 1;
        }
        out("}");
        if (model[id].there)
            put(id, p);
    }
    out("]");
}

static void check_peer(const struct netmap *m, int id)
{
    const struct peer *p = &model[id];
    const struct map_node *n = gsi_netmap_by_id(m, id);
    char address[32];
    struct ip ip;
    snprintf(address, sizeof address, "100.64.0.%d", id);
    assert_int_equal(gsi_ip_parse(address, strlen(address), &ip), 0);
    assert_ptr_equal(gsi_netmap_by_address(m, &ip), n);
    assert_int_equal(n != NULL, p->there);
    assert_int_equal(mirror[id], p->there);
    if (!n)
        return;
    uint8_t key[KEY_LEN] = {[KEY_LEN - 1] = (uint8_t)p->key}, disco[KEY_LEN] = {[KEY_LEN - 1] = (uint8_t)p->disco};
    assert_memory_equal(n->key, key, KEY_LEN);
    assert_memory_equal(n->disco, disco, KEY_LEN);
    assert_ptr_equal(gsi_netmap_by_key(m, key), n);
    assert_int_equal(n->online, p->online);
    assert_int_equal(n->home_derp, p->derp);
    assert_int_equal(n->cap, p->cap);
    assert_int_equal(n->endpoints_n, p->port ? 1 : 0);
    assert_true(!p->port || n->endpoints[0].port == p->port);
    assert_int_equal(n->last_seen.s, p->seen);
    char name[16];
    struct ip found[1];
    snprintf(name, sizeof name, "P%d.x", id);
    assert_int_equal(gsi_netmap_resolve(m, name, strlen(name), found, 1), 1);
    assert_true(gsi_ip_equal(found, &ip));
}

static void check_all(const struct netmap *m)
{
    size_t n = 0, each = 0, by_disco = 0, with_disco = 0;
    for (int id = 1; id < IDS; id++) {
        check_peer(m, id);
        n += model[id].there;
        with_disco += model[id].there && model[id].disco;
    }
    assert_int_equal(gsi_netmap_peers_n(m), n);
    for (size_t i = 0; gsi_netmap_each(m, &i);)
        each++;
    assert_int_equal(each, n);
    for (uint8_t d = 1; d < 4; d++) {
        uint8_t disco[KEY_LEN] = {[KEY_LEN - 1] = d};
        for (const struct map_node *p = NULL; (p = gsi_netmap_by_disco(m, disco, p));)
            by_disco++;
    }
    assert_int_equal(by_disco, with_disco);
    for (int k = 0; k < KEYS; k++) {
        uint8_t key[KEY_LEN] = {[KEY_LEN - 1] = (uint8_t)k};
        const struct map_node *p = gsi_netmap_by_key(m, key);
        assert_true(!p || model[p->id].key == k);
    }
}

static void write_message(struct netmap *m, bool first)
{
    at = 0;
    out("{");
    if (first) {
        gsi_netmap_start(m);
        out("\"Node\":{\"ID\":1000,\"Name\":\"self.x.\",\"Key\":\"nodekey:%064x\"}", OWN_KEY);
        memset(model, 0, sizeof model);
    }
    if (roll(6) == 0) {
        memset(model, 0, sizeof model);
        write_nodes("Peers", true);
    } else {
        if (roll(2))
            write_removed();
        if (roll(2))
            write_nodes("PeersChanged", false);
        if (roll(2))
            write_known("PeerSeenChange", true);
        if (roll(2))
            write_known("OnlineChange", false);
        if (roll(2))
            write_patches();
    }
    out("}");
}

static void take_events(struct netmap *m)
{
    for (struct map_event ev; gsi_netmap_next(m, &ev);) {
        if (ev.kind != MAP_PEER)
            continue;
        int64_t id = (ev.before ? ev.before : ev.after)->id;
        assert_int_equal(mirror[id], ev.before != NULL);
        mirror[id] = ev.after != NULL;
        if (ev.after)
            assert_ptr_equal(ev.after, gsi_netmap_by_id(m, id));
    }
}

static void random_deltas_equal_a_naive_model(void **state)
{
    (void)state;
    for (int run = 0; run < 40; run++) {
        struct netmap *m = gsi_netmap_new();
        memset(mirror, 0, sizeof mirror);
        memset(model, 0, sizeof model);
        seed = 88172645463325252u + (uint64_t)run * 1000003;
        for (int step = 0; step < 150; step++) {
            struct map_update *u;
            struct map_error why;
            write_message(m, step == 0 || roll(40) == 0);
            for (int id = 0; id < IDS; id++) /* what is said of nobody is forgotten */
                if (!model[id].there)
                    model[id] = (struct peer){0};
            if (gsi_map_parse(json, at, &u, &why) != 0 || gsi_netmap_apply(m, u, WALL, &why) != 0)
                fail_msg("%s at %zu of %s", why.why, why.at, json);
            take_events(m);
            check_all(m);
        }
        gsi_netmap_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_deltas_equal_a_naive_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
