/* The primitives against the vectors of their documents: X25519 (RFC 7748), BLAKE2s (RFC 7693), ChaCha20-Poly1305 (RFC 8439),
 * XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), the NaCl box and the keys of the tailnet's reference; and what each refuses. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "hex.h"
#include "support.h"
#include "tailnet/crypto/crypto.h"

#define SUNSCREEN                                                                                                                \
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
enum { SUN = sizeof SUNSCREEN - 1 };

static void from(uint8_t *out, size_t n, unsigned first)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(first + i);
}

/* ---- X25519 ---- */

static void x25519_agrees_with_rfc_7748(void **state)
{
    (void)state;
    HEX(scalar, "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    HEX(point, "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    uint8_t out[KEY_LEN], k[KEY_LEN] = {9}, u[KEY_LEN] = {9};
    assert_true(gsi_x25519(out, scalar, point));
    assert_hex(out, KEY_LEN, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    HEX(scalar2, "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d");
    HEX(point2, "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"); /* its highest bit is set, and ignored */
    assert_true(gsi_x25519(out, scalar2, point2));
    assert_hex(out, KEY_LEN, "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957");
    for (int i = 0; i < 1000; i++) { /* 5.2, the iterated one */
        assert_true(gsi_x25519(out, k, u));
        memcpy(u, k, KEY_LEN);
        memcpy(k, out, KEY_LEN);
        if (i == 0)
            assert_hex(k, KEY_LEN, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
    assert_hex(k, KEY_LEN, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

/* The tailnet reference's keys: private bytes count up from a first one, unclamped. */
static void public_keys_agree_with_the_reference(void **state)
{
    (void)state;
    static const struct {
        unsigned first;
        const char *public;
    } rows[] = {
        {0x01, "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"},
        {0x41, "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466"},
        {0x81, "883186b800b41d5cf0429695da9b3cc4f328ebcd184a6e482fa578c103f06c77"},
        {0xa1, "ad438bfae31f6c093d61d4339255ea798092c9fadd07b97827f4b0ae9dee7c1c"},
        {0xc1, "3a553d74792d727efa9b9a4cde3da1ad93f1a2d0c09cb639b1a3c0fda14cbe24"},
        {0x21, "5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b"},
        {0x61, "244fe3b963e899dd295baffce248d3530f3a9a7479ba063002680ebfe7adad49"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t private[KEY_LEN], public[KEY_LEN];
        from(private, KEY_LEN, rows[i].first);
        gsi_x25519_public(public, private);
        assert_hex(public, KEY_LEN, rows[i].public);
    }
}

/* RFC 7748, 6.1 and 7: whoever sends such a key would know the shared one beforehand. */
static void points_of_small_order_are_refused(void **state)
{
    (void)state;
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    uint8_t private[KEY_LEN], point[KEY_LEN], shared[KEY_LEN];
    from(private, KEY_LEN, 1);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        for (int high = 0; high < 2; high++) {
            hex_bytes(point, points[i]);
            point[31] = (uint8_t)(point[31] | high << 7); /* the bit that X25519 ignores */
            memset(shared, 1, sizeof shared);
            assert_false(gsi_x25519(shared, private, point));
            assert_true(gsi_is_zero(shared, KEY_LEN));
            memset(shared, 1, sizeof shared);
            assert_false(gsi_box_key(shared, private, point));
            assert_true(gsi_is_zero(shared, KEY_LEN));
        }
}

static void private_keys_are_clamped_and_never_the_same(void **state)
{
    (void)state;
    uint8_t a[KEY_LEN], b[KEY_LEN];
    for (int i = 0; i < 100; i++) {
        gsi_x25519_private(a);
        gsi_x25519_private(b);
        assert_true((a[0] & 7) == 0 && (a[31] & 0xc0) == 0x40);
        assert_false(gsi_equal(a, b, KEY_LEN));
    }
}

/* ---- BLAKE2s; the keyed ones were made with Python's hashlib and hmac ---- */

static void blake2s_agrees_with_rfc_7693_and_python(void **state)
{
    (void)state;
    uint8_t key[100], out[HASH_LEN], out2[HASH_LEN], out3[HASH_LEN];
    from(key, sizeof key, 0);
    assert_ok(gsi_hash(out, "abc", 3, NULL, 0));
    assert_hex(out, HASH_LEN, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
    assert_ok(gsi_hash(out, "a", 1, "bc", 2));
    assert_hex(out, HASH_LEN, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
    assert_ok(gsi_mac(out, key, 32, "hello", 5));
    assert_hex(out, MAC_LEN, "1f946dc212a39570bc06fd378517a91e");
    assert_ok(gsi_mac(out, key, 16, "hello", 5));
    assert_hex(out, MAC_LEN, "6a25fa5a331f36d9bda9c0aeca70bc0b");
    assert_ok(gsi_hmac(out, key, 32, "a", 1, "b", 1));
    assert_hex(out, HASH_LEN, "05dd3dc7c243cba7da084236c2cfe5ab5ee12501646259dfdfaf74cb1e7787cf");
    assert_ok(gsi_hmac(out, key, 100, "ab", 2, NULL, 0));
    assert_hex(out, HASH_LEN, "deca5adf8807529c9348d69f20388d10c0d3182eb71da58829713d0827f48c7f");
    assert_ok(gsi_kdf(out, out2, out3, key, "input", 5));
    assert_hex(out, HASH_LEN, "87b7f70b24183c6db5dc4f6d9f4c47cdb203321aa2a0bef714896adb3107a040");
    assert_hex(out2, HASH_LEN, "538a02e1eb2e31b7e4d4b82476d1fe2acf50085d3fb584537279195f5d1f5824");
    assert_hex(out3, HASH_LEN, "9ad858025593be88de0f9442a589cfe84a88dc19e4753d93684d1c5efc4837f9");
    memcpy(out, key, HASH_LEN);
    assert_ok(gsi_kdf(out, NULL, NULL, out, "input", 5)); /* in place, one output */
    assert_hex(out, HASH_LEN, "87b7f70b24183c6db5dc4f6d9f4c47cdb203321aa2a0bef714896adb3107a040");
    memcpy(out, key, HASH_LEN);
    assert_ok(gsi_kdf(out, out2, NULL, out, "input", 5));
    assert_hex(out2, HASH_LEN, "538a02e1eb2e31b7e4d4b82476d1fe2acf50085d3fb584537279195f5d1f5824");
}

/* ---- AEADs ---- */

static const char sealed_sunscreen[] =
    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803"
    "aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691";
static const char xsealed_sunscreen[] =
    "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b"
    "69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49";

static void aeads_agree_with_their_documents(void **state)
{
    (void)state;
    uint8_t key[KEY_LEN], nonce[NONCE_LEN] = {7}, xnonce[XNONCE_LEN], out[SUN + TAG_LEN], back[SUN];
    HEX(ad, "50515253c0c1c2c3c4c5c6c7");
    from(key, KEY_LEN, 0x80);
    from(nonce + 4, 8, 0x40);
    from(xnonce, XNONCE_LEN, 0x40);
    gsi_seal(out, key, nonce, ad, sizeof ad, SUNSCREEN, SUN);
    assert_hex(out, sizeof out, sealed_sunscreen);
    assert_true(gsi_open(back, key, nonce, ad, sizeof ad, out, sizeof out));
    assert_memory_equal(back, SUNSCREEN, SUN);
    gsi_xseal(out, key, xnonce, ad, sizeof ad, SUNSCREEN, SUN);
    assert_hex(out, sizeof out, xsealed_sunscreen);
    assert_true(gsi_xopen(back, key, xnonce, ad, sizeof ad, out, sizeof out));
    assert_memory_equal(back, SUNSCREEN, SUN);
}

static void each_changed_bit_is_refused_and_nothing_is_left_to_read(void **state)
{
    (void)state;
    uint8_t key[KEY_LEN], nonce[XNONCE_LEN], sealed[40 + TAG_LEN], xsealed[40 + TAG_LEN], box[40 + BOX_OVERHEAD], out[40],
        plain[40];
    struct aead *a;
    from(key, KEY_LEN, 3);
    from(nonce, XNONCE_LEN, 5);
    from(plain, sizeof plain, 0x60);
    gsi_seal(sealed, key, nonce, "ad", 2, plain, sizeof plain);
    gsi_xseal(xsealed, key, nonce, "ad", 2, plain, sizeof plain);
    gsi_box_seal(box, key, nonce, plain, sizeof plain);
    assert_non_null(a = gsi_aead_new(key));
    for (size_t bit = 0; bit < sizeof sealed * 8; bit++) {
        uint8_t flip = (uint8_t)(1 << bit % 8);
        sealed[bit / 8] ^= flip, xsealed[bit / 8] ^= flip, box[bit / 8] ^= flip;
        assert_false(gsi_open(out, key, nonce, "ad", 2, sealed, sizeof sealed));
        assert_true(gsi_is_zero(out, sizeof out));
        assert_false(gsi_xopen(out, key, nonce, "ad", 2, xsealed, sizeof xsealed));
        assert_true(gsi_is_zero(out, sizeof out));
        assert_false(gsi_box_open(out, key, nonce, box, sizeof box));
        assert_true(gsi_is_zero(out, sizeof out));
        assert_false(gsi_aead_open(a, out, nonce, sealed, sizeof sealed)); /* made with associated data, at that */
        assert_true(gsi_is_zero(out, sizeof out));
        sealed[bit / 8] ^= flip, xsealed[bit / 8] ^= flip, box[bit / 8] ^= flip;
    }
    for (size_t n = 0; n < sizeof sealed; n++) {
        assert_false(gsi_open(out, key, nonce, "ad", 2, sealed, n));
        assert_false(gsi_xopen(out, key, nonce, "ad", 2, xsealed, n));
        assert_false(gsi_box_open(out, key, nonce, box, n));
        assert_false(gsi_aead_open(a, out, nonce, sealed, n));
    }
    assert_false(gsi_open(out, key, nonce, "aD", 2, sealed, sizeof sealed));
    assert_true(gsi_open(out, key, nonce, "ad", 2, sealed, sizeof sealed) &&
                gsi_xopen(out, key, nonce, "ad", 2, xsealed, sizeof xsealed) && gsi_box_open(out, key, nonce, box, sizeof box));
    gsi_aead_free(a);
    gsi_aead_free(NULL);
}

static void the_data_path_agrees_with_the_handshake_at_every_length(void **state)
{
    (void)state;
    static uint8_t plain[1500], one[1500 + TAG_LEN], two[1500 + TAG_LEN];
    uint8_t key[KEY_LEN], nonce[NONCE_LEN] = {0};
    from(key, KEY_LEN, 9);
    pattern_fill(plain, sizeof plain, 3, 0);
    struct aead *a = gsi_aead_new(key);
    assert_non_null(a);
    for (size_t n = 0; n <= sizeof plain; n += n < 300 ? 1 : 61) {
        nonce[4] = (uint8_t)n;
        nonce[5] = (uint8_t)(n >> 8);
        gsi_seal(one, key, nonce, NULL, 0, plain, n);
        assert_true(gsi_aead_seal(a, two, nonce, plain, n));
        assert_memory_equal(one, two, n + TAG_LEN);
        assert_true(gsi_aead_open(a, one, nonce, two, n + TAG_LEN));
        assert_memory_equal(one, plain, n);
        memcpy(two, plain, n);
        assert_true(gsi_aead_seal(a, two, nonce, two, n)); /* in place */
        assert_true(gsi_aead_open(a, two, nonce, two, n + TAG_LEN));
        assert_memory_equal(two, plain, n);
    }
    gsi_aead_free(a);
}

/* The reference's A.3: the body of DERP's ClientInfo. */
static void the_box_agrees_with_the_reference(void **state)
{
    (void)state;
    static const char info[] = "{\"version\":2,\"CanAckPings\":true}";
    HEX(server, "3a553d74792d727efa9b9a4cde3da1ad93f1a2d0c09cb639b1a3c0fda14cbe24");
    HEX(nonce, "26be4e6f4f9acd3bd83a82fb4e8d1def4e77a47c9ad8eb2f");
    uint8_t node[KEY_LEN], shared[KEY_LEN], out[sizeof info - 1 + BOX_OVERHEAD];
    from(node, KEY_LEN, 0x81);
    assert_true(gsi_box_key(shared, node, server));
    gsi_box_seal(out, shared, nonce, info, sizeof info - 1);
    assert_hex(out, sizeof out,
               "a979864a8b3f8ef1ebf654ab160439e960837f885ee123a1c9c23c9eca499895a95a7bfeb28517247ae645fc0a3d34cf");
}

/* ---- a lack of memory ---- */

static long allocations, fail_at;

static bool fails(void) { return ++allocations == fail_at; }
static void *some_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : malloc(n);
}
static void *some_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : realloc(p, n);
}
static void some_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

static int everything_that_allocates(void)
{
    uint8_t key[KEY_LEN] = {1}, out[HASH_LEN], out2[HASH_LEN], sealed[3 + TAG_LEN];
    int e = gsi_hash(out, "abc", 3, NULL, 0);
    if (e == 0)
        e = gsi_mac(out, key, KEY_LEN, "abc", 3);
    if (e == 0)
        e = gsi_kdf(out, out2, NULL, key, "abc", 3);
    struct aead *a = e == 0 ? gsi_aead_new(key) : NULL;
    if (e == 0)
        e = a && gsi_aead_seal(a, sealed, key, "abc", 3) && gsi_aead_open(a, out, key, sealed, sizeof sealed) ? 0 : -ENOMEM;
    gsi_aead_free(a);
    if (e == 0)
        assert_hex(out2, HASH_LEN, "2529c3cf2b5343f5a65845cd3070a594c78cf85cbd194d6d4e829927c919eae0");
    return e;
}

static void each_failing_allocation_is_told(void **state)
{
    (void)state;
    allocations = fail_at = 0;
    assert_ok(everything_that_allocates());
    long all = allocations;
    assert_true(all > 5);
    long told = 0;
    for (fail_at = 1; fail_at <= all; fail_at++) {
        allocations = 0;
        int e = everything_that_allocates(); /* OpenSSL can do without some */
        assert_true(e == 0 || e == -ENOMEM);
        told += e < 0;
    }
    assert_true(told > all / 2);
    allocations = fail_at = 0;
    assert_ok(everything_that_allocates());
}

/* A chaining key that was half replaced would spoil a handshake that could have been tried again. */
static void a_kdf_without_memory_changes_nothing(void **state)
{
    (void)state;
    uint8_t ck[HASH_LEN], ck_before[HASH_LEN], out2[HASH_LEN] = {2}, out2_before[HASH_LEN] = {2};
    from(ck, sizeof ck, 1);
    from(ck_before, sizeof ck, 1);
    long told = 0;
    for (;; told++) {
        allocations = 0;
        fail_at = told + 1;
        int e = gsi_kdf(ck, out2, NULL, ck, "input", 5);
        if (e == 0)
            break;
        assert_code(e, -ENOMEM);
        assert_memory_equal(ck, ck_before, sizeof ck);
        assert_memory_equal(out2, out2_before, sizeof out2);
    }
    assert_true(told > 2);
    allocations = fail_at = 0;
}

static int init(void **state)
{
    (void)state;
    return CRYPTO_set_mem_functions(some_malloc, some_realloc, some_free) == 1 ? gsi_crypto_init() : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x25519_agrees_with_rfc_7748),
        cmocka_unit_test(public_keys_agree_with_the_reference),
        cmocka_unit_test(points_of_small_order_are_refused),
        cmocka_unit_test(private_keys_are_clamped_and_never_the_same),
        cmocka_unit_test(blake2s_agrees_with_rfc_7693_and_python),
        cmocka_unit_test(aeads_agree_with_their_documents),
        cmocka_unit_test(each_changed_bit_is_refused_and_nothing_is_left_to_read),
        cmocka_unit_test(the_data_path_agrees_with_the_handshake_at_every_length),
        cmocka_unit_test(the_box_agrees_with_the_reference),
        cmocka_unit_test(each_failing_allocation_is_told),
        cmocka_unit_test(a_kdf_without_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
