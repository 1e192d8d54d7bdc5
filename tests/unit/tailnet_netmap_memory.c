/* Without memory at any allocation the map is what it was and nothing is lost; and what 100 and 10,000 peers take, in bytes and
 * time (told, not judged, but for the bytes). */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "support.h"
#include "tailnet/netmap/netmap.h"

static long countdown = -1; /* allocations until the one that fails */
static unsigned long fired;
static long blocks;

static bool fails(void)
{
    if (countdown < 0 || countdown--)
        return false;
    fired++;
    return true;
}

static void *count_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    void *p = !n || fails() ? NULL : malloc(n);
    blocks += p != NULL;
    return p;
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    if (fails())
        return NULL;
    blocks += !p;
    return realloc(p, n);
}

static void count_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    blocks -= p != NULL;
    free(p);
}

enum { WALL = 1795248930 };

static int apply(struct netmap *m, const char *json, size_t n)
{
    struct map_update *u;
    struct map_error why;
    int e = gsi_map_parse(json, n, &u, &why);
    return e < 0 ? e : gsi_netmap_apply(m, u, WALL, &why);
}

static void drain(struct netmap *m)
{
    for (struct map_event ev; gsi_netmap_next(m, &ev);)
        ;
}

#define K(c) "\"Key\":\"nodekey:00000000000000000000000000000000000000000000000000000000000000" c "\""
static const char before[] = "{\"Node\":{\"ID\":1,\"Name\":\"self.x.\"," K("01") "},\"Domain\":\"old\",\"UserProfiles\":[{\"ID\":5,\"LoginName\":\"a\"}],\"PacketFilter\":[],\"DisplayMessages\":{\"m\":{\"Title\":\"T\"}},"
                             "\"Peers\":[{\"ID\":2,\"Name\":\"b.x.\"," K("02") ",\"Addresses\":[\"100.64.0.2/32\"]},{\"ID\":3,\"Name\":\"c.x.\"," K("03") "}]}";
static const char after[] =
    "{\"Node\":{\"ID\":1,\"Name\":\"new.x.\"," K("09") "},\"Domain\":\"new\",\"UserProfiles\":[{\"ID\":5,\"LoginName\":\"b\"},{\"ID\":6,\"LoginName\":\"c\"}],"
    "\"PacketFilter\":[{\"SrcIPs\":[\"*\"],\"IPProto\":[6],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":0,\"Last\":1}}]}],\"PacketFilters\":{\"x\":[{\"SrcIPs\":[\"cap:y\"],\"CapGrant\":[{\"Dsts\":[\"::/0\"],\"Caps\":[\"c\"],\"CapMap\":{\"d\":[1]}}]}],\"y\":null},"
    "\"DisplayMessages\":{\"m\":null,\"n\":{\"Title\":\"N\"}},\"Health\":[\"h\"],\"DNSConfig\":{\"Domains\":[\"x\"],\"ExtraRecords\":[{\"Name\":\"r\",\"Value\":\"1.2.3.4\"}]},"
    "\"DERPMap\":{\"HomeParams\":{\"RegionScore\":{\"1\":2}},\"Regions\":{\"1\":{\"RegionID\":1,\"Nodes\":[{\"Name\":\"1a\"}]}}},\"PingRequest\":{\"URL\":\"u\",\"Types\":\"t\"},\"PopBrowserURL\":\"p\",\"MapSessionHandle\":\"s\","
    "\"PeersRemoved\":[2],\"PeersChanged\":[{\"ID\":4,\"Name\":\"d.x.\"," K("04") ",\"Endpoints\":[\"1.2.3.4:5\"],\"Tags\":[\"tag:a\"],\"Capabilities\":[\"q\"],\"CapMap\":{\"y\":[true]}}],\"OnlineChange\":{\"3\":true},\"PeerSeenChange\":{\"3\":true},"
    "\"PeersChangedPatch\":[{\"NodeID\":3,\"DERPRegion\":4,\"Endpoints\":[\"1.2.3.4:6\"]}]}";

static void without_memory_the_map_is_what_it_was(void **state)
{
    (void)state;
    unsigned long was = fired;
    long n;
    for (n = 0;; n++) {
        long began = blocks;
        struct netmap *m = gsi_netmap_new();
        assert_int_equal(apply(m, before, sizeof before - 1), 0);
        drain(m);
        countdown = n;
        int e = apply(m, after, sizeof after - 1);
        bool whole = countdown >= 0;
        countdown = -1;
        if (!whole) {
            assert_int_equal(e, -ENOMEM);
            assert_string_equal(gsi_netmap_self(m)->name, "self.x.");
            assert_string_equal(gsi_netmap_domain(m), "old");
            assert_int_equal(gsi_netmap_peers_n(m), 2);
            assert_non_null(gsi_netmap_by_id(m, 2));
            assert_int_equal(gsi_netmap_by_id(m, 3)->online, MAP_UNKNOWN);
            assert_string_equal(gsi_netmap_user(m, 5)->login, "a");
            assert_null(gsi_netmap_user(m, 6));
            struct filter_list l[2];
            struct map_message w;
            struct map_event ev;
            assert_int_equal(gsi_netmap_filter(m, l, 2), 1);
            assert_int_equal(l[0].n, 0);
            assert_true(gsi_netmap_message(m, 0, &w));
            assert_string_equal(w.title, "T");
            assert_int_equal(gsi_netmap_derp(m)->regions_n, 0);
            assert_false(gsi_netmap_next(m, &ev));
            assert_int_equal(apply(m, after, sizeof after - 1), 0); /* and it goes in afterwards */
        }
        assert_string_equal(gsi_netmap_self(m)->name, "new.x.");
        assert_int_equal(gsi_netmap_by_id(m, 3)->home_derp, 4);
        assert_null(gsi_netmap_by_id(m, 2));
        drain(m);
        gsi_netmap_free(m);
        assert_int_equal(blocks, began);
        if (whole)
            break;
    }
    assert_int_equal(fired - was, n);
    assert_true(n > 30);
}

static double ms_since(const struct timespec *from)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - from->tv_sec) * 1e3 + (double)(now.tv_nsec - from->tv_nsec) / 1e6;
}

/* A peer as headscale writes it. */
static size_t write_map(char *out, size_t room, unsigned peers, unsigned turn)
{
    size_t at = (size_t)snprintf(out, room, "{\"Node\":{\"ID\":1,\"Name\":\"self.net.test.\"," K("01") ",\"Addresses\":[\"100.64.0.1/32\"]},\"Peers\":[");
    for (unsigned i = 2; i < peers + 2; i++)
        at += (size_t)snprintf(out + at, room - at,
            "%s{\"ID\":%u,\"StableID\":\"%u\",\"Name\":\"node-%u.net.test.\",\"User\":%u,\"Key\":\"nodekey:%064x\",\"KeyExpiry\":\"2027-01-01T00:00:00.123456789Z\",\"Machine\":\"mkey:%064x\",\"DiscoKey\":\"discokey:%064x\","
            "\"Addresses\":[\"100.%u.%u.%u/32\",\"fd7a:115c:a1e0::%x/128\"],\"AllowedIPs\":[\"100.%u.%u.%u/32\",\"fd7a:115c:a1e0::%x/128\"],\"Endpoints\":[\"192.0.2.1:%u\",\"10.1.2.3:41641\",\"[2001:db8::%x]:41641\"],"
            "\"HomeDERP\":%u,\"Hostinfo\":{\"OS\":\"linux\",\"Hostname\":\"node-%u\",\"Services\":[{\"Proto\":\"peerapi4\",\"Port\":1}],\"NetInfo\":{\"PreferredDERP\":1}},\"Created\":\"2026-01-01T00:00:00Z\",\"Cap\":113,\"Tags\":[\"tag:a\"],"
            "\"LastSeen\":\"2026-11-21T08:00:00Z\",\"Online\":true,\"MachineAuthorized\":true,\"CapMap\":{\"https://tailscale.com/cap/is-admin\":null,\"https://tailscale.com/cap/file-sharing\":[]}}",
            i > 2 ? "," : "", i, i, i, i % 100 + 1, i, i, i + turn, 64 + (i >> 16), i >> 8 & 255, i & 255, i, 64 + (i >> 16), i >> 8 & 255, i & 255, i, i % 60000 + 1, i, i % 20 + 1, i);
    return at + (size_t)snprintf(out + at, room - at, "]}");
}

static void a_peer_takes_few_bytes_and_ten_thousand_are_read(void **state)
{
    (void)state;
    enum { ROOM = 20 << 20 };
    char *json = malloc(ROOM);
    for (unsigned peers = 100; peers <= 10000; peers *= 100) {
        struct netmap *m = gsi_netmap_new();
        for (unsigned turn = 0; turn < 2; turn++) {
            struct timespec from;
            struct map_update *u;
            struct map_error why;
            size_t n = write_map(json, ROOM, peers, turn);
            clock_gettime(CLOCK_MONOTONIC, &from);
            assert_int_equal(gsi_map_parse(json, n, &u, &why), 0);
            double parse = ms_since(&from);
            clock_gettime(CLOCK_MONOTONIC, &from);
            assert_int_equal(gsi_netmap_apply(m, u, WALL, &why), 0);
            double put = ms_since(&from);
            clock_gettime(CLOCK_MONOTONIC, &from);
            drain(m);
            double events = ms_since(&from);
            print_message("# %u peers, %zu bytes of JSON, %s: parse %.1f ms, apply %.2f ms, events %.2f ms, %zu bytes per peer\n",
                          peers, n, turn ? "all changed" : "first", parse, put, events, gsi_netmap_bytes(m) / peers);
        }
        assert_int_equal(gsi_netmap_peers_n(m), peers);
        assert_true(gsi_netmap_bytes(m) / peers < 1200);
        gsi_netmap_free(m);
    }
    free(json);
}

int main(void)
{
    if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_the_map_is_what_it_was),
        cmocka_unit_test(a_peer_takes_few_bytes_and_ten_thousand_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
