/* cli_sha256.c: the command's SHA-256 against the vectors of NIST (FIPS 180-4 examples; CAVP SHA256ShortMsg). */
#include "../../cli/sha256.c"
#include "support.h"

static void expect(const void *p, size_t n, const char *digest)
{
    struct sha256 s;
    uint8_t out[SHA256_LEN];
    char text[2 * SHA256_LEN + 1];
    sha256_init(&s);
    sha256_feed(&s, p, n);
    sha256_end(&s, out);
    sha256_text(out, text);
    assert_string_equal(text, digest);
}

static void digests_are_those_of_fips_180(void **state)
{
    (void)state;
    static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const char four[] = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
                               "mnopqrstnopqrstu";
    static const uint8_t bd[] = {0xbd}, c98c[] = {0xc9, 0x8c, 0x8e, 0x55};
    expect("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(two, 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    expect(four, 112, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    expect(bd, 1, "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b");
    expect(c98c, 4, "7abc22c0ae5af26ce93dbb94433a0e0b2e119d014f8e7f65bd56c61ccccd9504");
}

static void lengths_around_a_block_pad_as_nist_says(void **state)
{
    (void)state;
    static const uint8_t zeros[64];
    expect(zeros, 55, "02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7");
    expect(zeros, 56, "d4817aa5497628e7c77e6b606107042bbba3130888c5f47a375e6179be789fbb");
    expect(zeros, 57, "65a16cb7861335d5ace3c60718b5052e44660726da4cd13bb745381b235a1785");
    expect(zeros, 64, "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
}

static void a_million_letters_in_any_cut_have_one_digest(void **state)
{
    (void)state;
    static char a[1000000];
    memset(a, 'a', sizeof a);
    for (size_t step = 1; step <= 1000000; step = step * 7 + 1) {
        struct sha256 s;
        uint8_t out[SHA256_LEN];
        char text[2 * SHA256_LEN + 1];
        sha256_init(&s);
        for (size_t at = 0; at < sizeof a; at += step)
            sha256_feed(&s, a + at, step < sizeof a - at ? step : sizeof a - at);
        sha256_end(&s, out);
        sha256_text(out, text);
        assert_string_equal(text, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_those_of_fips_180),
        cmocka_unit_test(lengths_around_a_block_pad_as_nist_says),
        cmocka_unit_test(a_million_letters_in_any_cut_have_one_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
