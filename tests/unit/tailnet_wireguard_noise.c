/* WireGuard's handshake and transport against the vectors of tailnet-protocol.md A.5, both roles, through the engine. */
#include "hex.h"
#include "wireguard_world.h"

static const char initiation_hex[] =
    "0100000025325dc8a430ac7622b5bef9261fced03458455c3de3479735544fa2cff4e3d86d33290fdbf818c3916aa10e3744"
    "9daf0723c7e7641bb37cc9c7f701"
    "8ceb028a36364294c20dba0fe370c67e3adeb562ca83f72aceb6c1b8c8ac72784f5accbe0bbe52ea27fc304f18f816095fbb"
    "3b8bc550fe01bf4ff24721401360"
    "0075e79600000000000000000000000000000000";
static const char response_hex[] =
    "020000009958aef825325dc839434b6480c58164e8fe6b0f9ddb3b19ab07f942fc938831e49648483b86d8141f1d80961c12"
    "18868fb1f7b1fa4795bdabeb8c71"
    "49cfeb74ae3697c62b79b9a700000000000000000000000000000000";
static const char transport_hex[] =
    "040000009958aef80000000000000000acfb787feceabc5e71f64db681526062370e67fd3b99de1a783fe227f86361c73c9d"
    "b8b7688501aff7e32a1d2518e8ed";
static const char inner_hex[] = "450000200000000041014ea56440000164400002080002c70000000005390000";
static const char e_i[] = "5289ac0f8fc1999b881abe18a1e68c026f8dfeb327929f198610abd4ea448829";
static const char e_r[] = "5136e915cd6a84a60af81d3c5c1ccb4622f7351cf4220b127e03a2e5a85d1a18";
static const char send_key[] = "f0569066018e9547fed89d719b303b3bc65ef44f3360ae1f4fc7897ea7b440ee";
static const char receive_key[] = "dad60e41b33084431e03734dba2a4f27b4585964e246d68c85feecaebfbd2555";

static size_t unhex(const char *hex, uint8_t *out)
{
    hex_bytes(out, hex);
    return strlen(hex) / 2;
}

/* What the next ephemeral key and index are. */
static const char *next_key, *next_index;
static int drawn;

static void vector_random(void *out, size_t n)
{
    memset(out, 0, n);
    if (n == KEY_LEN)
        unhex(next_key, out);
    else if (n == INDEX_LEN)
        unhex(next_index, out);
    drawn++;
}

static void draw(const char *key, const char *index)
{
    next_key = key;
    next_index = index;
    gsi_random_source = vector_random;
}

static void (*real_random)(void *, size_t);

static int begin(void **state)
{
    real_random = gsi_random_source;
    return world_begin(state);
}

static int end(void **state)
{
    gsi_random_source = real_random;
    return world_end(state);
}

static void vectors_of_appendix_a5_come_out_of_the_engine_in_both_roles(void **state)
{
    (void)state;
    struct node *a = &world.alice, *b = &world.bob;
    struct wg_output o;
    struct wg_packet packet;
    struct wg_source from = source_of(a);
    uint8_t inner[64], bytes[256];
    size_t inner_n = unhex(inner_hex, inner);
    /* TAI64N 400000006b00e1aa 32000000; what is below its 2^24 ns is cut */
    const uint64_t wall = (UINT64_C(0x6b00e1aa) - 10) * SECOND + 0x32abcdef;

    draw(e_i, "25325dc8");
    assert_ok(gsi_wireguard_send(a->w, peer_of(a), inner, inner_n, world.now));
    assert_false(gsi_wireguard_output(a->w, &o));
    assert_int_equal(gsi_wireguard_deadline(a->w), world.now);
    gsi_wireguard_tick(a->w, world.now, wall);
    assert_true(gsi_wireguard_output(a->w, &o));
    assert_ptr_equal(o.peer, a->peer);
    assert_hex(o.p, o.n, initiation_hex);

    draw(e_r, "9958aef8");
    memcpy(bytes, o.p, o.n);
    assert_int_equal(gsi_wireguard_feed(b->w, &from, bytes, o.n, world.now, &packet), WG_TAKEN);
    assert_true(gsi_wireguard_output(b->w, &o));
    assert_int_equal(o.source, from.id);
    assert_memory_equal(gsi_wireguard_key(o.peer), a->public, KEY_LEN);
    assert_hex(o.p, o.n, response_hex);

    memcpy(bytes, o.p, o.n);
    from = source_of(b);
    assert_int_equal(gsi_wireguard_feed(a->w, &from, bytes, o.n, world.now, &packet), WG_TAKEN);
    assert_true(gsi_wireguard_output(a->w, &o));
    assert_hex(o.p, o.n, transport_hex);

    memcpy(bytes, o.p, o.n);
    assert_int_equal(gsi_wireguard_feed(b->w, &from, bytes, o.n, world.now, &packet), WG_PACKET);
    assert_int_equal(packet.n, inner_n);
    assert_memory_equal(packet.p, inner, inner_n);
    assert_ptr_equal(packet.p, bytes + WG_HEAD);
    assert_true(drawn > 0);
}

static void the_session_keys_are_those_of_appendix_a5(void **state)
{
    (void)state;
    struct noise_self a, b;
    struct noise_peer to_b, to_a;
    struct noise_initiation i;
    struct noise_claim c;
    struct noise_keys ka, kb;
    uint8_t first[INITIATION_BODY], second[RESPONSE_BODY], stamp[STAMP_LEN], got[STAMP_LEN];
    unhex("400000006b00e1aa32000000", stamp);
    assert_ok(gsi_noise_self(&a, world.alice.private));
    assert_ok(gsi_noise_self(&b, world.bob.private));
    assert_ok(gsi_noise_peer(&to_b, &a, b.public));
    assert_ok(gsi_noise_peer(&to_a, &b, a.public));
    draw(e_i, "00000000");
    assert_ok(gsi_noise_initiate(&i, &a, &to_b, 0xc85d3225, stamp, first));
    assert_ok(gsi_noise_claim(&c, &b, first));
    assert_memory_equal(c.public, a.public, KEY_LEN);
    assert_int_equal(c.index, 0xc85d3225);
    assert_ok(gsi_noise_prove(&c, &to_a, first, got));
    assert_memory_equal(got, stamp, STAMP_LEN);
    draw(e_r, "00000000");
    assert_ok(gsi_noise_respond(&kb, &c, &to_a, 0xf8ae5899, second));
    assert_ok(gsi_noise_finish(&ka, &i, &a, &to_b, second));
    assert_hex(ka.send, KEY_LEN, send_key);
    assert_hex(ka.receive, KEY_LEN, receive_key);
    assert_hex(kb.send, KEY_LEN, receive_key);
    assert_hex(kb.receive, KEY_LEN, send_key);
    assert_int_equal(ka.index, 0xf8ae5899);
    assert_int_equal(kb.index, 0xc85d3225);
}

static void keys_of_small_order_are_refused(void **state)
{
    (void)state;
    /* 0, 1, and a point of order 8 */
    static const char *const low[] = {"0000000000000000000000000000000000000000000000000000000000000000",
                                      "0100000000000000000000000000000000000000000000000000000000000000",
                                      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"};
    for (size_t i = 0; i < 3; i++) {
        struct noise_self s;
        struct noise_peer p;
        struct noise_claim c;
        uint8_t key[KEY_LEN], message[INITIATION_BODY] = {1};
        unhex(low[i], key);
        assert_ok(gsi_noise_self(&s, world.alice.private));
        assert_code(gsi_noise_peer(&p, &s, key), GS_EINVALID);
        memcpy(message + 8, key, KEY_LEN);
        assert_code(gsi_noise_claim(&c, &s, message), GS_EINVALID);
    }
}

/* A responder whose answer has an ephemeral key of small order. */
static void a_response_with_a_zero_ephemeral_is_refused(void **state)
{
    (void)state;
    struct noise_self a;
    struct noise_peer b;
    struct noise_initiation i;
    struct noise_keys k;
    uint8_t out[INITIATION_BODY], stamp[STAMP_LEN] = {1}, response[RESPONSE_BODY] = {2};
    assert_ok(gsi_noise_self(&a, world.alice.private));
    assert_ok(gsi_noise_peer(&b, &a, world.bob.public));
    assert_ok(gsi_noise_initiate(&i, &a, &b, 1, stamp, out));
    assert_code(gsi_noise_finish(&k, &i, &a, &b, response), GS_EINVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(vectors_of_appendix_a5_come_out_of_the_engine_in_both_roles, begin, end),
        cmocka_unit_test_setup_teardown(the_session_keys_are_those_of_appendix_a5, begin, end),
        cmocka_unit_test_setup_teardown(keys_of_small_order_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_response_with_a_zero_ephemeral_is_refused, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
