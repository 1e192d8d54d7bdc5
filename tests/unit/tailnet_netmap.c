/* The map takes messages as servers send them, and each rule of the reference's section 4.3 holds; what is wrong leaves it as it
 * was. */
#include <stdio.h>
#include <stdlib.h>

#include "support.h"
#include "tailnet/netmap/netmap.h"

#define K(c) "nodekey:00000000000000000000000000000000000000000000000000000000000000" c
#define Z64 "0000000000000000000000000000000000000000000000000000000000000000"
#define D(c) "discokey:00000000000000000000000000000000000000000000000000000000000000" c
#define SELF                                                                                                                     \
    "\"Node\":{\"ID\":1,\"StableID\":\"1\",\"Name\":\"self.net.test.\",\"User\":7,\"Key\":\"" K(                                 \
        "01") "\",\"Addresses\":[\"100.64.0.1/32\",\"fd7a:115c:a1e0::1/128\"]}"
#define PEER(id, key, name, ip, more)                                                                                            \
    "{\"ID\":" id ",\"Name\":\"" name                                                                                            \
    "\",\"User\":7,\"Key\":\"" K(key) "\",\"DiscoKey\":\"" D(key) "\",\"Addresses\":[\"" ip "/32\"],\"HomeDERP\":1" more "}"

enum { WALL = 1795248930 };

static struct netmap *m;
static struct map_error why;
static unsigned told;            /* bit by event kind */
static unsigned added, removed, changed_n, last_changed;
static char text[256];

static int fresh(void **state)
{
    (void)state;
    m = gsi_netmap_new();
    return m ? 0 : -1;
}

static int over(void **state)
{
    (void)state;
    gsi_netmap_free(m);
    return 0;
}

static int apply_n(const char *json, size_t n)
{
    struct map_update *u;
    int e = gsi_map_parse(json, n, &u, &why);
    return e < 0 ? e : gsi_netmap_apply(m, u, WALL, &why);
}

static int apply(const char *json)
{
    int e = apply_n(json, strlen(json));
    told = added = removed = changed_n = last_changed = 0;
    for (struct map_event ev; e == 0 && gsi_netmap_next(m, &ev);) {
        told |= 1u << ev.kind;
        if (ev.kind == MAP_PING || ev.kind == MAP_BROWSE || ev.kind == MAP_SESSION)
            snprintf(text, sizeof text, "%s", ev.text);
        if (ev.kind != MAP_PEER)
            continue;
        assert_true(ev.changed != 0);
        added += !ev.before;
        removed += !ev.after;
        if (ev.before && ev.after) {
            changed_n++;
            last_changed = ev.changed;
            assert_int_equal(ev.before->id, ev.after->id);
        }
    }
    return e;
}

#define GOOD(json)                                                                                                    \
    do {                                                                                                              \
        if (apply(json) != 0)                                                                                         \
            fail_msg("%s at %zu", why.why, why.at);                                                                   \
    } while (0)

static struct ip ip_of(const char *t)
{
    struct ip ip;
    assert_int_equal(gsi_ip_parse(t, strlen(t), &ip), 0);
    return ip;
}

static const struct map_node *at(const char *t)
{
    struct ip ip = ip_of(t);
    return gsi_netmap_by_address(m, &ip);
}

static const char headscale_first[] =
    "{\"Node\":{\"ID\":1,\"StableID\":\"1\",\"Name\":\"c-node.tail.test.\",\"User\":1,\"Key\":\"" K("01") "\",\"KeyExpiry\":\"0001-01-01T00:00:00Z\","
    "\"Machine\":\"mkey:07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c\",\"DiscoKey\":\"" D("01") "\",\"Addresses\":[\"100.64.0.1/32\",\"fd7a:115c:a1e0::1/128\"],"
    "\"AllowedIPs\":[\"100.64.0.1/32\",\"fd7a:115c:a1e0::1/128\"],\"Endpoints\":[\"192.0.2.1:41641\"],\"DERP\":\"127.3.3.40:9\",\"HomeDERP\":9,\"Hostinfo\":{\"OS\":\"linux\",\"Hostname\":\"c-node\"},"
    "\"Created\":\"2026-11-21T08:15:30.123456789Z\",\"Cap\":113,\"Tags\":null,\"Online\":true,\"MachineAuthorized\":true,\"CapMap\":{\"default-auto-update\":[false],\"https\":null,\"x\":[]}},"
    "\"DERPMap\":{\"Regions\":{\"9\":{\"RegionID\":9,\"RegionCode\":\"dfw\",\"RegionName\":\"D\",\"Nodes\":[{\"Name\":\"9a\",\"RegionID\":9,\"HostName\":\"127.0.0.1\",\"STUNPort\":-1,\"DERPPort\":3340,\"InsecureForTests\":true}]},\"10\":null}},"
    "\"DNSConfig\":{\"Proxied\":true,\"Domains\":[\"tail.test\"],\"Routes\":{\"64.100.in-addr.arpa.\":null,\"65.100.in-addr.arpa.\":[]},\"ExtraRecords\":[{\"Name\":\"db.tail.test\",\"Value\":\"100.64.0.77\"},{\"Name\":\"txt.tail.test\",\"Type\":\"TXT\",\"Value\":\"x\"}]},"
    "\"Domain\":\"tail.test\",\"PacketFilters\":{\"base\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":0,\"Last\":65535}}]}]},"
    "\"UserProfiles\":[{\"ID\":1,\"LoginName\":\"ann\",\"DisplayName\":\"Ann\"}],\"ControlTime\":\"2026-11-21T08:15:30.1Z\"}";

static void headscales_first_message_is_read(void **state)
{
    (void)state;
    GOOD(headscale_first);
    const struct map_node *self = gsi_netmap_self(m);
    assert_string_equal(self->name, "c-node.tail.test.");
    assert_int_equal(self->home_derp, 9);
    assert_int_equal(self->online, MAP_YES);
    assert_int_equal(self->key_expiry.s, 0);
    assert_int_equal(self->caps_n, 3);
    assert_string_equal(self->caps[0].values, "[false]");
    assert_null(self->caps[1].values);
    assert_int_equal(self->endpoints[0].port, 41641);
    assert_string_equal(self->hostname, "c-node");
    const struct map_derp_region *r = gsi_netmap_region(m, 9);
    assert_int_equal(r->nodes[0].stun_port, -1);
    assert_int_equal(r->nodes[0].derp_port, 3340);
    assert_string_equal(r->nodes[0].host, "127.0.0.1");
    assert_null(gsi_netmap_region(m, 10));
    assert_string_equal(gsi_netmap_domain(m), "tail.test");
    struct filter_list list;
    assert_true(gsi_netmap_has_filter(m));
    assert_int_equal(gsi_netmap_filter(m, &list, 1), 1);
    assert_int_equal(list.n, 1);
    assert_string_equal(list.rules[0].sources[0].p, "*");
    assert_int_equal(list.rules[0].destinations[0].last, 65535);
    assert_int_equal(told, 1 << MAP_SELF | 1 << MAP_FILTER | 1 << MAP_DERP | 1 << MAP_DNS | 1 << MAP_HEALTH);
}

/* Every message of testcontrol is a whole one: read again, it changes nothing but what is always told. */
static void testcontrols_full_messages_are_read_again_and_again(void **state)
{
    (void)state;
    static const char full[] =
        "{\"Node\":{\"ID\":1,\"StableID\":\"TESTCTRL1\",\"Name\":\"c-node\",\"User\":1,\"Key\":\"" K("01") "\",\"Machine\":\"mkey:" Z64 "\","
        "\"Addresses\":[\"100.64.0.1/32\",\"fd7a:115c:a1e0::1/128\"],\"AllowedIPs\":[\"100.64.0.1/32\",\"fd7a:115c:a1e0::1/128\"],"
        "\"Cap\":113,\"MachineAuthorized\":true,\"Capabilities\":[\"https\",\"funnel\"],\"CapMap\":{\"https\":[1],\"x\":[]}},"
        "\"DERPMap\":{\"Regions\":{\"1\":{\"RegionID\":1}}},\"Domain\":\"fake-control.example.net\",\"CollectServices\":\"true\","
        "\"PacketFilter\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":0,\"Last\":65535}}],\"IPProto\":[1,6,17,58]},"
        "{\"SrcIPs\":[\"100.64.0.2/32\"],\"CapGrant\":[{\"Dsts\":[\"100.64.0.1/32\"],\"CapMap\":{\"peer\":[\"v\"]}}]}],"
        "\"UserProfiles\":[{\"ID\":1,\"LoginName\":\"user-1@fake\",\"DisplayName\":\"User 1\"}],\"ControlTime\":\"2020-08-03T00:00:00.000000001Z\","
        "\"Peers\":[" PEER("2", "02", "d-node", "100.64.0.2", "") "]}";
    GOOD(full);
    assert_int_equal(added, 1);
    const struct map_node *self = gsi_netmap_self(m);
    const struct map_cap *cap;
    assert_int_equal(self->online, MAP_UNKNOWN);
    assert_int_equal(self->caps_n, 3);
    assert_true(gsi_map_node_has_cap(self, "funnel", 6, NULL));
    assert_true(gsi_map_node_has_cap(self, "x", 1, &cap));
    assert_string_equal(cap->values, "[]");
    struct ip out[1];
    assert_int_equal(gsi_netmap_resolve(m, "d-node", 6, out, 1), 1);
    struct filter_list l[1];
    assert_int_equal(gsi_netmap_filter(m, l, 1), 1);
    assert_int_equal(l[0].n, 2);
    assert_int_equal(l[0].rules[0].n_protocols, 4);
    assert_int_equal(l[0].rules[0].protocols[3], 58);
    GOOD(full);
    assert_int_equal(told, 1 << MAP_FILTER | 1 << MAP_DERP | 1 << MAP_DNS);
    gsi_netmap_start(m);
    GOOD(full);
    assert_int_equal(added + removed + changed_n, 0);
}

static void a_message_cut_at_any_byte_leaves_the_map_as_it_was(void **state)
{
    (void)state;
    GOOD("{" SELF ",\"Peers\":[" PEER("2", "02", "b.net.test.", "100.64.0.2", "") "]}");
    for (size_t n = 0; n < sizeof headscale_first - 1; n++) {
        char *cut = malloc(n + 1);
        memcpy(cut, headscale_first, n);
        assert_int_equal(apply_n(cut, n), GS_EINVALID);
        assert_true(*why.why);
        free(cut);
    }
    assert_string_equal(gsi_netmap_self(m)->name, "self.net.test.");
    assert_int_equal(gsi_netmap_peers_n(m), 1);
}

static void the_first_message_of_a_stream_must_have_node(void **state)
{
    (void)state;
    assert_int_equal(apply("{\"ControlTime\":\"2026-11-21T08:15:30Z\"}"), GS_EINVALID);
    GOOD("{\"KeepAlive\":true}");
    GOOD("{" SELF "}");
    GOOD("{\"ControlTime\":\"2026-11-21T08:15:30Z\"}");
    assert_int_equal(told, 0);
    gsi_netmap_start(m);
    GOOD("{\"KeepAlive\":true}");
    assert_int_equal(apply("{\"Domain\":\"x\"}"), GS_EINVALID);
    assert_string_equal(gsi_netmap_self(m)->name, "self.net.test.");
}

static void deltas_go_in_the_order_of_the_reference(void **state)
{
    (void)state;
    GOOD("{" SELF ",\"Peers\":[" PEER("2", "02", "b.net.test.", "100.64.0.2", "") "," PEER("3", "03", "c.net.test.", "100.64.0.3",
                                                                                           "") "]}");
    assert_int_equal(added, 2);
    /* removed, then changed: 2 is replaced by another of its key; patch last */
    GOOD("{\"PeersChangedPatch\":[{\"NodeID\":4,\"DERPRegion\":5,\"Cap\":99,\"Online\":false},{\"NodeID\":77,\"DERPRegion\":5}],\"OnlineChange\":{\"4\":true,\"3\":true},"
         "\"PeerSeenChange\":{\"3\":true},\"PeersChanged\":[" PEER("4", "02", "b.net.test.", "100.64.0.2", "") "],\"PeersRemoved\":[2]}");
    assert_int_equal(added, 1);
    assert_int_equal(removed, 1);
    assert_null(gsi_netmap_by_id(m, 2));
    const struct map_node *four = gsi_netmap_by_id(m, 4), *three = gsi_netmap_by_id(m, 3);
    assert_int_equal(four->home_derp, 5);
    assert_int_equal(four->cap, 99);
    assert_int_equal(four->online, MAP_NO);
    assert_int_equal(three->online, MAP_YES);
    assert_int_equal(three->last_seen.s, WALL);
    assert_ptr_equal(at("100.64.0.2"), four);
    GOOD("{\"PeerSeenChange\":{\"3\":false},\"OnlineChange\":{\"3\":false,\"55\":true}}");
    three = gsi_netmap_by_id(m, 3);
    assert_int_equal(three->last_seen.s, 0);
    assert_int_equal(three->online, MAP_NO);
    assert_int_equal(changed_n, 1);
}

static void a_list_of_peers_is_complete_and_an_empty_one_changes_nothing(void **state)
{
    (void)state;
    GOOD("{" SELF ",\"Peers\":[" PEER("2", "02", "b.net.test.", "100.64.0.2", "") "," PEER("3", "03", "c.net.test.", "100.64.0.3",
                                                                                           "") "]}");
    GOOD("{\"Peers\":[]}");
    assert_int_equal(gsi_netmap_peers_n(m), 2);
    GOOD("{\"Peers\":null}");
    assert_int_equal(gsi_netmap_peers_n(m), 2);
    GOOD("{\"Peers\":[" PEER("3", "03", "c.net.test.", "100.64.0.3",
                             "") "],\"PeersRemoved\":[3],\"OnlineChange\":{\"3\":true},\"PeersChanged\":[" PEER("9", "09", "i.",
                                                                                                                "100.64.0.9",
                                                                                                                "") "]}");
    assert_int_equal(gsi_netmap_peers_n(m), 1);
    assert_int_equal(removed, 1);
    assert_int_equal(changed_n, 0); /* 3 is what it was: nothing else of the message counts */
    assert_int_equal(gsi_netmap_by_id(m, 3)->online, MAP_UNKNOWN);
    gsi_netmap_start(m);
    assert_int_equal(gsi_netmap_peers_n(m), 1);
    GOOD("{" SELF "}"); /* a new stream, and nobody in it */
    assert_int_equal(gsi_netmap_peers_n(m), 0);
    assert_int_equal(removed, 1);
    assert_null(at("100.64.0.3"));
}

static void patches_overwrite_only_what_they_have(void **state)
{
    (void)state;
    GOOD("{" SELF ",\"Peers\":[" PEER("2", "02", "b.net.test.", "100.64.0.2",
                                      ",\"Endpoints\":[\"192.0.2.2:1\"],\"Online\":true,\"Cap\":5,\"CapMap\":{\"a\":[1]}") "]}");
    GOOD("{\"PeersChangedPatch\":[{\"NodeID\":2,\"DERPRegion\":0,\"Cap\":0,\"Endpoints\":null,\"Key\":null,\"DiscoKey\":null,\"Online\":null,\"LastSeen\":null,\"KeyExpiry\":null,\"KeySignature\":null,\"CapMap\":null}]}");
    assert_int_equal(changed_n, 0);
    static const struct {
        const char *json;
        unsigned changed;
    } rows[] = {
        {"\"DERPRegion\":3", MAP_CHANGED_DERP},
        {"\"Cap\":6", MAP_CHANGED_OTHER},
        {"\"Endpoints\":[\"192.0.2.3:2\",\"[2001:db8::1]:3\"]", MAP_CHANGED_ENDPOINTS},
        {"\"Endpoints\":[]", MAP_CHANGED_ENDPOINTS},
        {"\"Key\":\"" K("12") "\"", MAP_CHANGED_KEY},
        {"\"DiscoKey\":\"" D("12") "\"", MAP_CHANGED_DISCO},
        {"\"Online\":false", MAP_CHANGED_ONLINE},
        {"\"LastSeen\":\"2026-01-01T00:00:00Z\"", MAP_CHANGED_OTHER},
        {"\"KeyExpiry\":\"2026-01-01T00:00:00Z\"", MAP_CHANGED_USE},
        {"\"KeySignature\":\"AAEC\"", MAP_CHANGED_OTHER},
        {"\"CapMap\":{\"b\":[{\"x\":1}]}", MAP_CHANGED_CAPS},
        {"\"CapMap\":{}", MAP_CHANGED_CAPS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[512];
        snprintf(json, sizeof json, "{\"PeersChangedPatch\":[{\"NodeID\":2,%s}]}", rows[i].json);
        GOOD(json);
        assert_int_equal(changed_n, 1);
        if (last_changed != rows[i].changed)
            fail_msg("%s: %x", rows[i].json, last_changed);
    }
    uint8_t key[KEY_LEN] = {[KEY_LEN - 1] = 0x12}, old[KEY_LEN] = {[KEY_LEN - 1] = 2};
    assert_int_equal(gsi_netmap_by_key(m, key)->id, 2);
    assert_null(gsi_netmap_by_key(m, old));
    assert_int_equal(gsi_netmap_by_disco(m, key, NULL)->id, 2);
    assert_null(gsi_netmap_by_disco(m, old, NULL));
    assert_int_equal(gsi_netmap_use(m, gsi_netmap_by_id(m, 2), WALL), MAP_EXPIRED);
}

static void filters_merge_by_name_and_null_differs_from_empty(void **state)
{
    (void)state;
#define RULE(src) "[{\"SrcIPs\":[\"" src "\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":1,\"Last\":2}}]}]"
    struct filter_list l[4];
    GOOD("{" SELF "}");
    assert_false(gsi_netmap_has_filter(m));
    GOOD("{\"PacketFilter\":null,\"PacketFilters\":null}");
    assert_false(gsi_netmap_has_filter(m));
    GOOD("{\"PacketFilter\":[]}");
    assert_true(gsi_netmap_has_filter(m));
    assert_int_equal(gsi_netmap_filter(m, l, 4), 1);
    assert_int_equal(l[0].n, 0);
    GOOD("{\"PacketFilters\":{\"z\":" RULE("100.64.0.9") ",\"a\":" RULE("100.64.0.1-100.64.0.4") "},\"PacketFilter\":" RULE("*") "}");
    assert_int_equal(gsi_netmap_filter(m, l, 4), 3); /* a, base, z */
    assert_string_equal(l[0].rules[0].sources[0].p, "100.64.0.1-100.64.0.4");
    assert_string_equal(l[1].rules[0].sources[0].p, "*");
    assert_string_equal(l[2].rules[0].sources[0].p, "100.64.0.9");
    struct ip in = ip_of("100.64.0.3"), out = ip_of("100.64.0.5"), six = ip_of("fd7a::1");
    assert_true(gsi_map_rule_has_src(&l[0].rules[0], &in, NULL));
    assert_false(gsi_map_rule_has_src(&l[0].rules[0], &out, NULL));
    assert_true(gsi_map_rule_has_src(&l[1].rules[0], &six, NULL));
    GOOD("{\"PacketFilters\":{\"a\":" RULE("::/0") "}}");
    assert_int_equal(gsi_netmap_filter(m, l, 4), 3);
    assert_true(gsi_map_rule_has_src(&l[0].rules[0], &six, NULL));
    assert_false(gsi_map_rule_has_src(&l[0].rules[0], &in, NULL));
    GOOD("{\"PacketFilters\":{\"a\":null,\"z\":[],\"nobody\":null}}");
    assert_int_equal(gsi_netmap_filter(m, l, 4), 2);
    assert_int_equal(l[1].n, 0);
    GOOD("{\"PacketFilters\":{\"n\":" RULE("*") ",\"*\":null}}"); /* clears first, wherever it stands */
    assert_int_equal(gsi_netmap_filter(m, l, 4), 1);
    assert_int_equal(l[0].n, 1);
    GOOD("{\"PacketFilters\":{\"*\":null}}");
    assert_int_equal(gsi_netmap_filter(m, l, 4), 0);
    assert_true(gsi_netmap_has_filter(m));
    GOOD("{\"PacketFilter\":[{\"SrcIPs\":[\"*\"],\"SrcBits\":[8],\"DstPorts\":[{\"IP\":\"*\",\"Bits\":null}]}]}");
    assert_int_equal(gsi_netmap_filter(m, l, 4), 1);
    assert_true(l[0].rules[0].has_bits);
    assert_int_equal(apply("{\"PacketFilter\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":0,\"Last\":65536}}]}]}"), GS_EINVALID);
    gsi_netmap_start(m);
    GOOD("{" SELF "}");
    assert_false(gsi_netmap_has_filter(m));
}

static void relays_are_replaced_in_parts(void **state)
{
    (void)state;
    GOOD("{" SELF ",\"DERPMap\":{\"HomeParams\":{\"RegionScore\":{\"2\":0.5}},\"Regions\":{\"2\":{\"RegionID\":2},\"1\":{\"RegionID\":1}}}}");
    assert_int_equal(gsi_netmap_derp(m)->regions_n, 2);
    assert_int_equal(gsi_netmap_derp(m)->regions[0].id, 1);
    assert_true(gsi_netmap_score(m, 2) > 0.49 && gsi_netmap_score(m, 2) < 0.51);
    GOOD("{\"DERPMap\":null}");
    GOOD("{\"DERPMap\":{\"Regions\":null,\"HomeParams\":{\"RegionScore\":{}}}}");
    assert_int_equal(gsi_netmap_derp(m)->regions_n, 2);
    assert_true(gsi_netmap_score(m, 2) > 0.99);
    GOOD("{\"DERPMap\":{\"Regions\":{\"3\":{\"RegionID\":3,\"Avoid\":true,\"NoMeasureNoHome\":true}}}}");
    assert_int_equal(gsi_netmap_derp(m)->regions_n, 1);
    assert_true(gsi_netmap_region(m, 3)->avoid);
    assert_int_equal(apply("{\"DERPMap\":{\"Regions\":{\"x\":{}}}}"), GS_EINVALID);
    assert_int_equal(apply("{\"DERPMap\":{\"Regions\":{\"3\":{},\"3\":{}}}}"), GS_EINVALID);
    assert_int_equal(gsi_netmap_derp(m)->regions_n, 1);
}

static void peers_that_must_not_be_are_dropped(void **state)
{
    (void)state;
    GOOD("{" SELF ",\"Peers\":[" PEER("2", "02", "b.", "100.64.0.2", "") "," PEER("3", "02", "c.", "100.64.0.3", "") "," PEER("4", "01", "d.", "100.64.0.4", "") ","
         PEER("5", "00", "e.", "100.64.0.5", "") "," PEER("1", "06", "f.", "100.64.0.6", "") "]}");
    assert_int_equal(gsi_netmap_peers_n(m), 1);
    assert_int_equal(gsi_netmap_dropped(m), 4);
    assert_non_null(gsi_netmap_by_id(m, 2));
    GOOD("{\"PeersChanged\":[" PEER("7", "02", "g.", "100.64.0.7", "") "]}"); /* the key of 2 */
    assert_int_equal(gsi_netmap_peers_n(m), 1);
    GOOD("{\"PeersChanged\":[" PEER("7", "07", "g.", "100.64.0.7", "") "]}");
    GOOD("{\"PeersChangedPatch\":[{\"NodeID\":7,\"Key\":\"" K("02") "\"}]}"); /* 7 takes the key of 2: it is out */
    assert_null(gsi_netmap_by_id(m, 7));
    assert_int_equal(removed, 1);
    GOOD("{\"Node\":{\"ID\":1,\"Name\":\"self.\",\"Key\":\"" K("02") "\",\"Addresses\":[\"100.64.0.1/32\"]}}"); /* this node takes it */
    assert_int_equal(gsi_netmap_peers_n(m), 0);
}

static void a_new_id_alone_makes_a_new_self(void **state)
{
    (void)state;
    GOOD("{\"Node\":{\"ID\":2,\"Key\":\"" K("01") "\"},\"Peers\":[" PEER("2", "02", "b.", "100.64.0.2",
                                                                         "") "," PEER("3", "03", "c.", "100.64.0.3", "") "]}");
    assert_null(gsi_netmap_by_id(m, 2));
    GOOD("{\"Node\":{\"ID\":3,\"Key\":\"" K("01") "\"},\"PeersChanged\":[" PEER("2", "02", "b.", "100.64.0.2", "") "]}");
    assert_int_equal(gsi_netmap_self(m)->id, 3);
    assert_true(told & 1 << MAP_SELF);
    assert_non_null(gsi_netmap_by_id(m, 2));
    assert_null(gsi_netmap_by_id(m, 3));
}

static void who_may_be_talked_to_follows_the_rules(void **state)
{
    (void)state;
    GOOD("{" SELF ",\"ControlTime\":\"2020-08-03T00:00:00Z\",\"Peers\":[" PEER("2", "02", "b.", "100.64.0.2", ",\"Expired\":true") ","
         PEER("3", "03", "c.", "100.64.0.3", ",\"KeyExpiry\":\"2026-11-21T08:15:31Z\"") "," PEER("4", "04", "d.", "100.64.0.4", ",\"SelfNodeV4MasqAddrForThisPeer\":\"100.64.9.9\"") ","
         "{\"ID\":5,\"Key\":\"" K("05") "\",\"Addresses\":[\"100.64.0.5/32\"]},{\"ID\":6,\"Key\":\"" K("06") "\",\"Addresses\":[\"100.64.0.6/32\"],\"IsWireGuardOnly\":true},"
         "{\"ID\":7,\"Key\":\"" K("07") "\",\"Addresses\":[\"100.64.0.7/32\"],\"DERP\":\"127.3.3.40:12\",\"IsJailed\":true,\"AllowedIPs\":null}]}");
    static const enum map_use want[] = {MAP_EXPIRED, MAP_USABLE, MAP_MASQUERADED, MAP_UNREACHABLE, MAP_USABLE, MAP_USABLE};
    for (int64_t id = 2; id <= 7; id++)
        assert_int_equal(gsi_netmap_use(m, gsi_netmap_by_id(m, id), WALL), want[id - 2]);
    assert_int_equal(gsi_netmap_use(m, gsi_netmap_by_id(m, 3), WALL + 1), MAP_EXPIRED);
    const struct map_node *seven = gsi_netmap_by_id(m, 7);
    assert_int_equal(seven->home_derp, 12);
    assert_true(seven->jailed);
    assert_int_equal(seven->allowed_n, 1); /* null is Addresses */
    /* the server's clock counts, when it is sane and more than a minute off */
    GOOD("{\"KeepAlive\":true,\"ControlTime\":\"2026-11-21T08:17:00Z\"}");
    assert_int_equal(gsi_netmap_use(m, gsi_netmap_by_id(m, 3), WALL), MAP_EXPIRED);
    GOOD("{\"KeepAlive\":true,\"ControlTime\":\"2026-11-21T08:16:00Z\"}");
    assert_int_equal(gsi_netmap_use(m, gsi_netmap_by_id(m, 3), WALL), MAP_USABLE);
    GOOD("{\"TKAInfo\":{\"Head\":\"x\"}}");
    assert_true(told & 1 << MAP_TAILNET_LOCK);
    assert_true(gsi_netmap_is_locked(m));
    assert_int_equal(gsi_netmap_use(m, seven, WALL), MAP_LOCKED);
    GOOD("{\"TKAInfo\":{\"Disabled\":true}}");
    assert_true(told & 1 << MAP_TAILNET_LOCK);
    assert_int_equal(gsi_netmap_use(m, gsi_netmap_by_id(m, 7), WALL), MAP_USABLE);
}

static void no_rules_count_where_unsigned_peers_would_get_in(void **state)
{
    (void)state;
    struct filter_list l[1];
    GOOD("{" SELF ",\"PacketFilter\":" RULE("100.64.0.0/24") ",\"Peers\":[" PEER("2", "02", "b.", "100.64.0.2", ",\"AllowedIPs\":[\"100.64.0.2/32\",\"10.0.0.0/8\"]") "]}");
    assert_int_equal(gsi_netmap_filter(m, l, 1), 1);
    GOOD("{\"PeersChanged\":[" PEER("2", "02", "b.", "100.64.0.2",
                                    ",\"AllowedIPs\":[\"100.64.0.2/32\",\"10.0.0.0/8\"],\"UnsignedPeerAPIOnly\":true") "]}");
    assert_true(told & 1 << MAP_FILTER);
    assert_int_equal(gsi_netmap_filter(m, l, 1), 0);
    assert_true(gsi_netmap_has_filter(m));
    assert_int_equal(gsi_netmap_by_id(m, 2)->allowed_n, 1);
    GOOD("{\"PacketFilter\":" RULE("10.0.0.0/8") "}"); /* it has only its own address now */
    assert_int_equal(gsi_netmap_filter(m, l, 1), 1);
    GOOD("{\"PacketFilter\":" RULE("*") "}");
    assert_int_equal(gsi_netmap_filter(m, l, 1), 0);
    GOOD("{\"PeersRemoved\":[2]}");
    assert_true(told & 1 << MAP_FILTER);
    assert_int_equal(gsi_netmap_filter(m, l, 1), 1);
}

static void names_are_resolved_in_every_form(void **state)
{
    (void)state;
    struct ip out[3];
    GOOD("{" SELF ",\"DNSConfig\":{\"Proxied\":true,\"Domains\":[\"net.test\",\"corp.test.\"],\"ExtraRecords\":[{\"Name\":\"db.corp.test.\",\"Type\":\"A\",\"Value\":\"100.64.1.1\"},"
         "{\"Name\":\"db.corp.test\",\"Type\":\"AAAA\",\"Value\":\"fd7a::5\"},{\"Name\":\"db.corp.test\",\"Type\":\"AAAA\",\"Value\":\"100.64.1.2\"},{\"Name\":\"m.corp.test\",\"Type\":\"MX\",\"Value\":\"1.2.3.4\"}]},"
         "\"Peers\":[" PEER("2", "02", "beta.net.test.", "100.64.0.2", "") "," PEER("3", "03", "bare", "100.64.0.3", "") "," PEER("4", "04", "far.other.test.", "100.64.0.4", "") "]}");
    static const struct {
        const char *name, *first;
        int n;
    } rows[] = {{"beta", "100.64.0.2", 1}, {"BETA.net.TEST", "100.64.0.2", 1}, {"beta.net.test.", "100.64.0.2", 1}, {"self", "100.64.0.1", 2}, {"bare", "100.64.0.3", 1},
                {"far.other.test", "100.64.0.4", 1}, {"far", NULL, GS_ENXDOMAIN}, {"db", "100.64.1.1", 2}, {"db.corp.test", "100.64.1.1", 2}, {"m.corp.test", NULL, GS_ENXDOMAIN},
                {"", NULL, GS_ENXDOMAIN}, {".", NULL, GS_ENXDOMAIN}, {"bet", NULL, GS_ENXDOMAIN}, {"beta.net.test..", NULL, GS_ENXDOMAIN}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int n = gsi_netmap_resolve(m, rows[i].name, strlen(rows[i].name), out, 3);
        if (n != rows[i].n)
            fail_msg("%s: %d", rows[i].name, n);
        if (n > 0) {
            struct ip want = ip_of(rows[i].first);
            assert_true(gsi_ip_equal(&out[0], &want));
        }
    }
    struct ip self = ip_of("fd7a:115c:a1e0::1"), beta = ip_of("100.64.0.2");
    assert_string_equal(gsi_netmap_node_at(m, &self)->name, "self.net.test.");
    assert_string_equal(gsi_netmap_node_at(m, &beta)->name, "beta.net.test.");
    char longest[300];
    memset(longest, 'a', sizeof longest);
    assert_int_equal(gsi_netmap_resolve(m, longest, 300, out, 3), GS_ENXDOMAIN);
}

static void whois_tells_user_and_granted_capabilities(void **state)
{
    (void)state;
    GOOD("{" SELF ",\"UserProfiles\":[{\"ID\":7,\"LoginName\":\"ann@x\",\"DisplayName\":\"Ann\"}],"
         "\"PacketFilters\":{\"base\":[{\"SrcIPs\":[\"100.64.0.2\"],\"CapGrant\":[{\"Dsts\":[\"100.64.0.1/32\"],\"Caps\":[\"a\"],\"CapMap\":{\"b\":[{\"x\":[1, 2]},true],\"c\":null}},{\"Dsts\":[\"100.64.0.9/32\"],\"Caps\":[\"no\"]}]},"
         "{\"SrcIPs\":[\"cap:special\"],\"CapGrant\":[{\"Dsts\":[\"0.0.0.0/0\"],\"Caps\":[\"d\"]},{\"Dsts\":[\"::/0\"],\"Caps\":[\"v6\"]}]},{\"SrcIPs\":[\"100.64.0.3\"],\"CapGrant\":[{\"Dsts\":[\"100.64.0.1/32\"],\"Caps\":[\"other\"]}]}]},"
         "\"Peers\":[" PEER("2", "02", "b.", "100.64.0.2", ",\"CapMap\":{\"special\":null}") ",{\"ID\":3,\"User\":8,\"Key\":\"" K("03") "\",\"Addresses\":[\"100.64.0.3/32\"],\"AllowedIPs\":[\"100.64.0.3/32\",\"10.0.0.0/8\"]}]}");
    struct map_who who;
    struct ip two = ip_of("100.64.0.2"), three = ip_of("100.64.0.3"), route = ip_of("10.0.0.1"), self = ip_of("100.64.0.1");
    assert_true(gsi_netmap_whois(m, &two, &who));
    assert_string_equal(who.user->login, "ann@x");
    char all[64] = "";
    for (struct filter_capability c; gsi_netmap_who_cap(m, &who, &c);) {
        strncat(all, c.name.p, c.name.n);
        if (c.n_values) {
            assert_int_equal(c.n_values, 2);
            assert_string_equal(c.values[0].p, "{\"x\":[1, 2]}");
        }
    }
    /* ::/0 holds the IPv4 addresses of our form too, but is of the other family */
    assert_string_equal(all, "abcd");
    assert_false(gsi_netmap_whois(m, &three, &who)); /* its user was not told */
    assert_false(gsi_netmap_whois(m, &route, &who)); /* AllowedIPs are not identity */
    assert_true(gsi_netmap_whois(m, &self, &who));
    GOOD("{\"UserProfiles\":[{\"ID\":8,\"LoginName\":\"bob\"},{\"ID\":7,\"LoginName\":\"new\"},{\"ID\":8,\"LoginName\":\"bob2\"}]}");
    assert_true(gsi_netmap_whois(m, &three, &who));
    assert_string_equal(who.user->login, "bob2");
    assert_string_equal(gsi_netmap_user(m, 7)->login, "new");
}

static void signals_are_told_also_with_a_keep_alive(void **state)
{
    (void)state;
    GOOD("{\"KeepAlive\":true,\"PingRequest\":{\"URL\":\"http://c/ping\",\"URLIsNoise\":true,\"Types\":\"\"},\"Peers\":[" PEER("2", "02", "b.", "100.64.0.2", "") "]}");
    assert_int_equal(told, 1 << MAP_PING);
    assert_string_equal(text, "http://c/ping");
    assert_int_equal(gsi_netmap_peers_n(m), 0);
    GOOD("{" SELF ",\"PopBrowserURL\":\"https://login/1\"}");
    assert_true(told & 1 << MAP_BROWSE);
    assert_string_equal(text, "https://login/1");
    GOOD("{\"PopBrowserURL\":\"https://login/1\"}");
    assert_int_equal(told, 0);
    GOOD("{\"PopBrowserURL\":\"https://login/2\",\"Debug\":{\"SleepSeconds\":1e9,\"Exit\":1}}");
    assert_int_equal(told, 1 << MAP_BROWSE | 1 << MAP_SLEEP);
    GOOD("{\"MapSessionHandle\":\"h\",\"Seq\":3}");
    assert_int_equal(told, 1 << MAP_SESSION);
    struct map_message w;
    GOOD("{\"Health\":[\"one\"],\"DisplayMessages\":{\"b\":{\"Title\":\"B\",\"Text\":\"t\"},\"a\":{\"Title\":\"A\"}}}");
    assert_true(gsi_netmap_message(m, 0, &w));
    assert_string_equal(w.text, "one");
    assert_true(gsi_netmap_message(m, 1, &w));
    assert_string_equal(w.title, "A");
    GOOD("{\"DisplayMessages\":{\"a\":null},\"Health\":null}");
    assert_true(gsi_netmap_message(m, 1, &w));
    assert_string_equal(w.title, "B");
    assert_false(gsi_netmap_message(m, 2, &w));
    GOOD("{\"DisplayMessages\":{\"*\":null},\"Health\":[]}");
    assert_false(gsi_netmap_message(m, 0, &w));
}

static void what_is_wrong_is_refused_with_a_reason(void **state)
{
    (void)state;
    GOOD("{" SELF "}");
    static const char *const bad[] = {
        "null", "[]", "{\"Node\":{}}", "{\"Node\":{\"ID\":0}}", "{\"Node\":{\"ID\":1e3}}", "{\"Node\":{\"ID\":9223372036854775808}}", "{\"Node\":{\"ID\":1,\"Key\":\"nodekey:00\"}}",
        "{\"Node\":{\"ID\":1,\"Key\":\"mkey:0000000000000000000000000000000000000000000000000000000000000000\"}}", "{\"Node\":{\"ID\":1,\"Name\":\"a\\u0000b\"}}", "{\"Node\":{\"ID\":1,\"ID\":1}}",
        "{\"Peers\":[null]}", "{\"Peers\":[{}]}", "{\"Peers\":{}}", "{\"PeersChangedPatch\":[{}]}", "{\"PeersChangedPatch\":[{\"NodeID\":\"2\"}]}", "{\"OnlineChange\":{\"a\":true}}",
        "{\"OnlineChange\":{\"1\":1}}", "{\"PeersRemoved\":[\"1\"]}", "{\"KeepAlive\":1}", "{\"ControlTime\":\"yesterday\"}", "{\"Node\":{\"ID\":1,\"KeyExpiry\":\"x\"}}", "{\"PacketFilter\":{}}", "{\"PacketFilters\":[]}",
        "{\"Domain\":5}", "{\"Node\":{\"ID\":1,\"Cap\":-1}}", "{\"Node\":{\"ID\":1,\"Name\":\"\xff\"}}", "{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", "{} {}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (apply(bad[i]) != GS_EINVALID)
            fail_msg("taken: %s", bad[i]);
        assert_true(*why.why);
    }
    assert_string_equal(gsi_netmap_self(m)->name, "self.net.test.");
}

static void long_lists_and_texts_are_bounded(void **state)
{
    (void)state;
    enum { ROOM = 1 << 18 };
    char *json = malloc(ROOM);
    size_t n = (size_t)snprintf(json, ROOM, "{" SELF ",\"Peers\":[{\"ID\":2,\"Key\":\"" K("02") "\",\"Endpoints\":[\"[fe80::1%%eth0]:1\",\"nonsense\"");
    for (int i = 0; i < MAP_ENDPOINTS_MAX + 50; i++)
        n += (size_t)snprintf(json + n, ROOM - n, ",\"192.0.2.1:%d\"", i + 1);
    snprintf(json + n, ROOM - n, "]}]}");
    GOOD(json);
    assert_int_equal(gsi_netmap_by_id(m, 2)->endpoints_n, MAP_ENDPOINTS_MAX);
    assert_int_equal(gsi_netmap_by_id(m, 2)->endpoints[0].port, 1);
    for (int len = MAP_TEXT_MAX; len <= MAP_TEXT_MAX + 1; len++) {
        n = (size_t)snprintf(json, ROOM, "{\"Domain\":\"%0*d\"}", len, 0);
        assert_int_equal(apply(json), len > MAP_TEXT_MAX ? GS_EINVALID : 0);
    }
    n = (size_t)snprintf(json, ROOM, "{\"PeersChanged\":[{\"ID\":3,\"Key\":\"" K("03") "\",\"AllowedIPs\":[\"10.0.0.0/8\"");
    for (int i = 0; i < MAP_PREFIXES_MAX; i++)
        n += (size_t)snprintf(json + n, ROOM - n, ",\"10.0.0.0/8\"");
    snprintf(json + n, ROOM - n, "]}]}");
    assert_int_equal(apply(json), GS_EINVALID);
    assert_null(gsi_netmap_by_id(m, 3));
    free(json);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, over)
    const struct CMUnitTest tests[] = {
        TEST(headscales_first_message_is_read),
        TEST(testcontrols_full_messages_are_read_again_and_again),
        TEST(a_message_cut_at_any_byte_leaves_the_map_as_it_was),
        TEST(the_first_message_of_a_stream_must_have_node),
        TEST(deltas_go_in_the_order_of_the_reference),
        TEST(a_list_of_peers_is_complete_and_an_empty_one_changes_nothing),
        TEST(patches_overwrite_only_what_they_have),
        TEST(filters_merge_by_name_and_null_differs_from_empty),
        TEST(relays_are_replaced_in_parts),
        TEST(peers_that_must_not_be_are_dropped),
        TEST(a_new_id_alone_makes_a_new_self),
        TEST(who_may_be_talked_to_follows_the_rules),
        TEST(no_rules_count_where_unsigned_peers_would_get_in),
        TEST(names_are_resolved_in_every_form),
        TEST(whois_tells_user_and_granted_capabilities),
        TEST(signals_are_told_also_with_a_keep_alive),
        TEST(what_is_wrong_is_refused_with_a_reason),
        TEST(long_lists_and_texts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
