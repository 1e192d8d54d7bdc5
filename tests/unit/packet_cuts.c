/* Where the input is cut changes no answer, but for the exceptions that packet.h names: what gs_decode says once, it says with
 * any more behind. All short inputs of the kinds that lines are made of, and random records. */
#include "packet_test.h"
#include "support.h"

enum { LINES = 7, LETTERS = 4, LIMITS = 6, RECORD = 20 };

struct answer {
    ssize_t used;
    size_t more;
};

static struct answer ask(const gs_decoder *d, const uint8_t *in, size_t n)
{
    gs_packet p;
    struct answer a = {0, 0};
    a.used = gs_decode(d, in, n, &p, &a.more);
    return a;
}

/* The answers for ever longer parts of in: none, then one and the same. */
static bool cuts_do_not_matter(const gs_decoder *d, const uint8_t *in, size_t n)
{
    struct answer before = {0, 0};
    for (size_t i = 1; i <= n; i++) {
        struct answer now = ask(d, in, i);
        if ((before.used != 0 && now.used != before.used) ||
            (before.more && now.more != before.more && now.used != (ssize_t)before.more))
            return false;
        before = now;
    }
    return true;
}

/* As packet.h says it. */
static bool may_differ(const gs_decoder *d, const uint8_t *in, size_t n)
{
    if (d->type == GS_PACKET_LINE) {
        const uint8_t *end = memchr(in, d->line_delimiter, n);
        size_t line = end ? (size_t)(end - in) + 1 : n;
        return d->line_length && d->line_length <= d->packet_size && line > d->packet_size;
    }
    return (d->packet_size ? d->packet_size : d->line_length) == 1 && n >= 2 && in[0] == '\r' && in[1] == '\n';
}

static void each_input(const gs_decoder *d, long *differing)
{
    static const char letters[] = "a\r\n ";
    uint8_t in[LINES];
    long all = 1;
    for (int i = 0; i < LINES; i++)
        all *= LETTERS;
    for (long k = 0; k < all; k++) {
        for (long i = 0, rest = k; i < LINES; i++, rest /= LETTERS)
            in[i] = (uint8_t)letters[rest % LETTERS];
        bool same = cuts_do_not_matter(d, in, LINES);
        if (same == may_differ(d, in, LINES))
            fail_msg("type %d, packet_size %u, line_length %u, input %ld: cuts %s", (int)d->type, d->packet_size, d->line_length,
                     k, same ? "do not matter" : "matter");
        *differing += !same;
    }
}

static void lines_are_cut_anywhere_but_where_packet_h_says(void **state)
{
    (void)state;
    static const gs_packet_type types[] = {GS_PACKET_LINE, GS_PACKET_HTTP, GS_PACKET_HTTPH};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        long differing = 0;
        for (uint32_t size = 0; size < LIMITS; size++)
            for (uint32_t length = 0; length < LIMITS; length++)
                each_input(&PACKET(types[t], .packet_size = size, .line_length = length), &differing);
        assert_true(differing > 0); /* the exceptions exist */
    }
}

static void records_are_cut_anywhere(void **state)
{
    (void)state;
    static const gs_packet_type types[] = {GS_PACKET_1,    GS_PACKET_2,    GS_PACKET_4,    GS_PACKET_ASN1,   GS_PACKET_SUNRM,
                                           GS_PACKET_CDR,  GS_PACKET_FCGI, GS_PACKET_TPKT, GS_PACKET_SSL_TLS};
    static const uint8_t bytes[] = {0, 1, 2, 3, 5, 8, 0x16, 0x1f, 0x30, 0x7f, 0x80, 0x81, 'G', 'I', 'O', 'P'};
    static const char *const starts[] = {"", "GIOP\1", "\3", "\x30", "\x16\3\1", "\x80", "\1"};
    struct rng r = {test_seed()};
    long decided = 0;
    for (long k = test_scale(100000, 1000000); k > 0; k--) {
        gs_decoder d = PACKET(types[rng_below(&r, sizeof types / sizeof types[0])], .packet_size = (uint32_t)rng_below(&r, 12));
        uint8_t in[RECORD];
        for (size_t i = 0; i < RECORD; i++)
            in[i] = bytes[rng_below(&r, sizeof bytes)];
        const char *start = starts[rng_below(&r, sizeof starts / sizeof starts[0])];
        memcpy(in, start, strlen(start));
        if (!cuts_do_not_matter(&d, in, RECORD))
            fail_msg("type %d, packet_size %u, case %ld: cuts matter", (int)d.type, d.packet_size, k);
        decided += ask(&d, in, RECORD).used != 0;
    }
    assert_true(decided > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_cut_anywhere_but_where_packet_h_says),
        cmocka_unit_test(records_are_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
