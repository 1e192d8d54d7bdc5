/* runner: tsan
 *
 * MagicDNS: what each question gets, hand-made messages byte by byte, and that libc's own parser understands every answer. */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "support.h"
#include "tailnet/bytes/bytes.h"
#include "tailnet/names/dns.h"
#include "tailnet_libc_dns.h"

#define KEY(c) "nodekey:00000000000000000000000000000000000000000000000000000000000000" c

enum { WALL = 1795248930, ID = 0xbeef, RD = 1 << 8, PLAIN = 0, EDNS = 1, MANY = 60 };
enum { TXT = 16, HTTPS = 65, AXFR = 252, ANY = 255, CH = 3 };

static struct netmap *m;

static const char head[] =
    "{\"Node\":{\"ID\":1,\"Name\":\"self.net.test.\",\"Key\":\"" KEY("01") "\",\"Addresses\":[\"100.64.0.1/32\",\"fd7a:115c:a1e0::1/128\"]},"
    "\"DNSConfig\":{\"Proxied\":true,\"Domains\":[\"net.test\",\"corp.example\"],\"ExtraRecords\":["
    "{\"Name\":\"db.corp.example\",\"Value\":\"100.64.0.9\"},{\"Name\":\"wiki.net.test\",\"Value\":\"fd7a:115c:a1e0::9\"}]},"
    "\"Peers\":["
    "{\"ID\":2,\"Name\":\"alpha.net.test.\",\"Key\":\"" KEY("02") "\",\"HomeDERP\":1,\"Addresses\":[\"100.64.0.2/32\",\"fd7a:115c:a1e0::2/128\"]},"
    "{\"ID\":3,\"Name\":\"old.net.test.\",\"Key\":\"" KEY("03") "\",\"HomeDERP\":1,\"Addresses\":[\"100.64.0.3/32\"]},"
    "{\"ID\":4,\"Name\":\"localhost.net.test.\",\"Key\":\"" KEY("04") "\",\"HomeDERP\":1,\"Addresses\":[\"100.64.0.4/32\"]},"
    "{\"ID\":5,\"Name\":\"bad..net.test.\",\"Key\":\"" KEY("05") "\",\"HomeDERP\":1,\"Addresses\":[\"100.64.0.5/32\"]},"
    "{\"ID\":6,\"Name\":\"far.other.test.\",\"Key\":\"" KEY("06") "\",\"HomeDERP\":1,\"Addresses\":[\"10.9.8.7/32\"]},"
    "{\"ID\":7,\"Name\":\"many.net.test.\",\"Key\":\"" KEY("07") "\",\"HomeDERP\":1,\"Addresses\":[";

static int make_map(void **state)
{
    char json[16384];
    int n = snprintf(json, sizeof json, "%s", head);
    (void)state;
    for (int i = 0; i < MANY; i++)
        n += snprintf(json + n, sizeof json - (size_t)n, "%s\"100.64.7.%d/32\",\"fd7a:115c:a1e0::7:%x/128\"", i ? "," : "", i, i);
    n += snprintf(json + n, sizeof json - (size_t)n, "]}]}");
    struct map_update *u;
    struct map_error why;
    libc_dns_open();
    m = gsi_netmap_new();
    assert_ok(gsi_map_parse(json, (size_t)n, &u, &why));
    assert_ok(gsi_netmap_apply(m, u, WALL, &why));
    return 0;
}

static int free_map(void **state)
{
    (void)state;
    gsi_netmap_free(m);
    return 0;
}

/* ---- asking ---- */

static struct { /* the query */
    uint8_t bytes[8192];
    size_t n;
} q;

static struct { /* its answer */
    uint8_t bytes[DNS_TCP_MAX];
    size_t n;
    ns_msg msg;
} a;

static void put_name(struct writer *w, const char *name)
{
    while (*name) {
        size_t len = strcspn(name, ".");
        write_u8(w, (uint8_t)len);
        write_bytes(w, name, len);
        name += len + (name[len] == '.');
    }
    write_u8(w, 0);
}

static void make(const char *name, uint16_t type, uint16_t class, int udp)
{
    struct writer w = writer_of(q.bytes, sizeof q.bytes);
    const uint16_t header[] = {ID, RD, 1, 0, 0, udp != PLAIN};
    for (size_t i = 0; i < 6; i++)
        write_u16(&w, header[i]);
    put_name(&w, name);
    write_u16(&w, type);
    write_u16(&w, class);
    if (udp) {
        write_u8(&w, 0);
        write_u16(&w, 41);
        write_u16(&w, (uint16_t)udp);
        write_u32(&w, 0);
        write_u16(&w, 0);
    }
    assert_true(w.ok);
    q.n = w.n;
}

static int rcode(void) { return a.bytes[3] & 15; }
static bool flag(unsigned bit) { return (((unsigned)a.bytes[2] << 8 | a.bytes[3]) & bit) != 0; }

/* Exactly what is announced is there, and libc understands it. */
static void check_answer(enum dns_way way)
{
    ns_rr rr;
    assert_true(a.n >= DNS_HEADER && a.n <= (way == DNS_BY_TCP ? DNS_TCP_MAX : DNS_UDP_MAX));
    assert_int_equal(libc_initparse(a.bytes, (int)a.n, &a.msg), 0);
    for (int s = ns_s_qd; s < ns_s_max; s++)
        for (int i = 0; i < ns_msg_count(a.msg, s); i++)
            assert_int_equal(libc_parserr(&a.msg, (ns_sect)s, i, &rr), 0);
    assert_int_equal(memcmp(a.bytes, q.bytes, 2), 0);
    assert_true(flag(1 << 15));
    if (rcode() != 0)
        assert_true(a.n <= q.n && ns_msg_count(a.msg, ns_s_an) == 0);
}

static bool answer(const struct netmap *map, enum dns_way way)
{
    uint8_t *exact = malloc(q.n + 1); /* the sanitizer sees an over-read */
    assert_non_null(exact);
    memcpy(exact, q.bytes, q.n);
    memset(a.bytes, 0xa5, sizeof a.bytes);
    a.n = gsi_dns_answer(map, exact, q.n, way, a.bytes);
    free(exact);
    if (a.n)
        check_answer(way);
    return a.n > 0;
}

static void ask(const char *name, uint16_t type)
{
    make(name, type, ns_c_in, PLAIN);
    assert_true(answer(m, DNS_BY_UDP));
}

/* "100.64.0.2 fd7a:115c:a1e0::2 alpha.net.test": the records in order. */
static const char *told(void)
{
    static char out[8192];
    char one[NS_MAXDNAME];
    size_t n = 0;
    *out = 0;
    for (int i = 0; i < ns_msg_count(a.msg, ns_s_an); i++) {
        ns_rr rr;
        assert_int_equal(libc_parserr(&a.msg, ns_s_an, i, &rr), 0);
        if (ns_rr_type(rr) == ns_t_ptr)
            assert_true(ns_name_uncompress(a.bytes, a.bytes + a.n, ns_rr_rdata(rr), one, sizeof one) > 0);
        else
            assert_non_null(inet_ntop(ns_rr_type(rr) == ns_t_a ? AF_INET : AF_INET6, ns_rr_rdata(rr), one, sizeof one));
        assert_int_equal(ns_rr_ttl(rr), DNS_TTL_S);
        assert_int_equal(ns_rr_class(rr), ns_c_in);
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%s", i ? " " : "", one);
    }
    return out;
}

/* ---- facts ---- */

static const struct row {
    const char *name;
    uint16_t type;
    int rcode; /* ns_r_ */
    const char *records;
} rows[] = {
    {"alpha.net.test", ns_t_a, ns_r_noerror, "100.64.0.2"},
    {"ALPHA.Net.Test", ns_t_aaaa, ns_r_noerror, "fd7a:115c:a1e0::2"},
    {"alpha", ns_t_a, ns_r_noerror, "100.64.0.2"},
    {"alpha.net.test", ANY, ns_r_noerror, "100.64.0.2 fd7a:115c:a1e0::2"},
    {"self.net.test", ns_t_a, ns_r_noerror, "100.64.0.1"},
    {"db.corp.example", ns_t_a, ns_r_noerror, "100.64.0.9"},
    {"db", ns_t_a, ns_r_noerror, "100.64.0.9"}, /* by the search domains */
    {"wiki.net.test", ns_t_aaaa, ns_r_noerror, "fd7a:115c:a1e0::9"},
    {"far.other.test", ns_t_a, ns_r_noerror, "10.9.8.7"}, /* shared in from another tailnet */
    /* known names without such a record */
    {"old.net.test", ns_t_aaaa, ns_r_noerror, ""},
    {"alpha.net.test", ns_t_mx, ns_r_noerror, ""},
    {"alpha.net.test", TXT, ns_r_noerror, ""},
    {"alpha.net.test", HTTPS, ns_r_noerror, ""},
    {"alpha.net.test", ns_t_ptr, ns_r_noerror, ""},
    {"net.test", ns_t_a, ns_r_noerror, ""},
    {"net.test", ns_t_soa, ns_r_noerror, ""},
    /* the tailnet's, and there is none */
    {"nobody.net.test", ns_t_a, ns_r_nxdomain, ""},
    {"x.alpha.net.test", ns_t_a, ns_r_nxdomain, ""},
    {"nobody", ns_t_a, ns_r_nxdomain, ""},
    {"nobody", ns_t_mx, ns_r_nxdomain, ""},
    /* not the tailnet's */
    {"example.com", ns_t_a, ns_r_refused, ""},
    {"alpha.example.com", ns_t_a, ns_r_refused, ""},
    {"xnet.test", ns_t_a, ns_r_refused, ""},
    {"alpha.xnet.test", ns_t_a, ns_r_refused, ""},
    {"test", ns_t_a, ns_r_nxdomain, ""}, /* a single label */
    {"www.corp.example", ns_t_a, ns_r_refused, ""}, /* a search domain is not all ours */
    {"other.test", ns_t_a, ns_r_refused, ""},
    {"", ns_t_ns, ns_r_refused, ""},
    {"alpha.net.test", AXFR, ns_r_refused, ""},
    {"alpha.net.test", 41, ns_r_refused, ""},
    {"alpha.net.test", 128, ns_r_refused, ""},
    /* RFC 6761 */
    {"localhost", ns_t_a, ns_r_noerror, "127.0.0.1"},
    {"a.b.LOCALHOST", ns_t_aaaa, ns_r_noerror, "::1"},
    {"localhost", ns_t_mx, ns_r_noerror, ""},
    {"localhost.net.test", ns_t_a, ns_r_noerror, "100.64.0.4"},
    /* backwards */
    {"2.0.64.100.in-addr.arpa", ns_t_ptr, ns_r_noerror, "alpha.net.test"},
    {"2.0.64.100.IN-ADDR.ARPA", ANY, ns_r_noerror, "alpha.net.test"},
    {"1.0.64.100.in-addr.arpa", ns_t_ptr, ns_r_noerror, "self.net.test"},
    {"7.8.9.10.in-addr.arpa", ns_t_ptr, ns_r_noerror, "far.other.test"},
    {"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.A.c.5.1.1.a.7.D.F.ip6.arpa", ns_t_ptr, ns_r_noerror, "alpha.net.test"},
    {"0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa", ns_t_ptr, ns_r_refused, ""}, /* 33 */
    {"2.0.64.100.in-addr.arpa", ns_t_a, ns_r_noerror, ""},
    {"5.0.64.100.in-addr.arpa", ns_t_ptr, ns_r_noerror, ""}, /* of a name that cannot be written */
    {"1.0.0.127.in-addr.arpa", ns_t_ptr, ns_r_noerror, "localhost"},
    {"99.0.64.100.in-addr.arpa", ns_t_ptr, ns_r_nxdomain, ""},
    {"99.0.127.100.in-addr.arpa", ns_t_ptr, ns_r_nxdomain, ""},
    {"0.64.100.in-addr.arpa", ns_t_ptr, ns_r_noerror, ""}, /* between: not a name, but not nothing either */
    {"64.100.in-addr.arpa", ns_t_ptr, ns_r_noerror, ""},
    {"100.in-addr.arpa", ns_t_ptr, ns_r_refused, ""},
    {"in-addr.arpa", ns_t_ptr, ns_r_refused, ""},
    {"1.0.63.100.in-addr.arpa", ns_t_ptr, ns_r_refused, ""},
    {"1.0.128.100.in-addr.arpa", ns_t_ptr, ns_r_refused, ""},
    {"8.8.8.8.in-addr.arpa", ns_t_ptr, ns_r_refused, ""},
    {"2.0.64.356.in-addr.arpa", ns_t_ptr, ns_r_refused, ""},
    {"02.0.64.100.in-addr.arpa", ns_t_ptr, ns_r_refused, ""},
    {"x.0.64.100.in-addr.arpa", ns_t_ptr, ns_r_refused, ""},
    {"1.2.0.64.100.in-addr.arpa", ns_t_ptr, ns_r_refused, ""},
    {"0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa", ns_t_ptr, ns_r_noerror, ""},
    {"e.1.a.c.5.1.1.a.7.d.f.ip6.arpa", ns_t_ptr, ns_r_refused, ""},
    {"1.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa", ns_t_ptr, ns_r_refused, ""},
    {"10.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa", ns_t_ptr, ns_r_refused, ""},
    {"g.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa", ns_t_ptr, ns_r_refused, ""},
};

static void each_question_gets_its_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int way = DNS_BY_UDP; way <= DNS_BY_TCP; way++)
            for (int udp = PLAIN; udp <= EDNS; udp++) {
                const struct row *r = &rows[i];
                make(r->name, r->type, ns_c_in, udp);
                assert_true(answer(m, (enum dns_way)way));
                if (rcode() != r->rcode || strcmp(told(), r->records) != 0)
                    fail_msg("%s %d: rcode %d %s, wanted %d %s", r->name, r->type, rcode(), told(), r->rcode, r->records);
                assert_int_equal(flag(1 << 10), r->rcode != ns_r_refused); /* AA */
                assert_int_equal(flag(1 << 9), false);                     /* TC */
                assert_int_equal(flag(1 << 8), true);                      /* RD as it was */
                assert_int_equal(flag(1 << 7), false);                     /* RA: nobody's resolver */
                assert_int_equal(ns_msg_count(a.msg, ns_s_ns), 0);
                assert_int_equal(ns_msg_count(a.msg, ns_s_ar), udp);
                assert_int_equal(memcmp(a.bytes + 12, q.bytes + 12, strlen(r->name) + (*r->name ? 6 : 5)), 0);
            }
}

static void an_ipv6_address_backwards_is_a_name(void **state)
{
    static const char nibbles[] = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7.d.f";
    char name[100];
    (void)state;
    assert_int_equal(strlen(nibbles), 63);
    snprintf(name, sizeof name, "%s.ip6.arpa", nibbles);
    ask(name, ns_t_ptr);
    assert_string_equal(told(), "alpha.net.test");
    name[0] = '8';
    ask(name, ns_t_ptr);
    assert_int_equal(rcode(), ns_r_nxdomain);
}

static void without_a_map_all_but_localhost_has_to_wait(void **state)
{
    struct netmap *empty = gsi_netmap_new();
    (void)state;
    for (int i = 0; i < 2; i++) {
        static const char *const name[] = {"alpha.net.test", "alpha", "example.com", "2.0.64.100.in-addr.arpa"};
        for (size_t k = 0; k < sizeof name / sizeof name[0]; k++) {
            make(name[k], ns_t_a, ns_c_in, EDNS);
            assert_true(answer(i ? empty : NULL, DNS_BY_UDP));
            assert_int_equal(rcode(), ns_r_servfail);
        }
        make("localhost", ns_t_a, ns_c_in, PLAIN);
        assert_true(answer(i ? empty : NULL, DNS_BY_UDP));
        assert_string_equal(told(), "127.0.0.1");
    }
    gsi_netmap_free(empty);
}

static void other_classes_are_refused_and_any_class_is_the_internet(void **state)
{
    (void)state;
    make("alpha.net.test", ns_t_a, CH, PLAIN);
    assert_true(answer(m, DNS_BY_UDP));
    assert_int_equal(rcode(), ns_r_refused);
    make("version.bind", TXT, CH, PLAIN);
    assert_true(answer(m, DNS_BY_UDP));
    assert_int_equal(rcode(), ns_r_refused);
    make("alpha.net.test", ns_t_a, ns_c_any, PLAIN);
    assert_true(answer(m, DNS_BY_UDP));
    assert_string_equal(told(), "100.64.0.2");
}

static void a_dot_within_a_label_is_not_a_border(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* \5alpha\3net… as one label with dots in it */
        make("alphaxnetxtest", ns_t_a, ns_c_in, PLAIN);
        q.bytes[13 + 5] = i ? 0 : '.';
        q.bytes[13 + 9] = i ? 0 : '.';
        assert_true(answer(m, DNS_BY_UDP));
        assert_int_equal(rcode(), ns_r_nxdomain); /* a single label that is nobody's */
    }
    make("2x0.64.100.in-addr.arpa", ns_t_ptr, ns_c_in, PLAIN);
    q.bytes[14] = '.';
    assert_true(answer(m, DNS_BY_UDP));
    assert_int_equal(rcode(), ns_r_refused);
}

static void what_does_not_fit_is_asked_for_by_tcp(void **state)
{
    static const struct { int udp; bool cut; int records; } by[] = {
        {PLAIN, true, 0}, {1, true, 0}, {512, true, 0}, {900, true, 0}, {1232, false, MANY}, {65535, false, MANY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof by / sizeof by[0]; i++) {
        make("many.net.test", ns_t_a, ns_c_in, by[i].udp);
        assert_true(answer(m, DNS_BY_UDP));
        assert_int_equal(flag(1 << 9), by[i].cut);
        assert_int_equal(ns_msg_count(a.msg, ns_s_an), by[i].records);
        assert_true(a.n <= (by[i].udp < 512 ? 512 : 1232));
        assert_int_equal(ns_msg_count(a.msg, ns_s_ar), by[i].udp != PLAIN);
    }
    make("many.net.test", ns_t_aaaa, ns_c_in, 65535); /* 28 bytes each */
    assert_true(answer(m, DNS_BY_UDP) && flag(1 << 9));
    assert_true(answer(m, DNS_BY_TCP) && !flag(1 << 9));
    assert_int_equal(ns_msg_count(a.msg, ns_s_an), MANY);
    make("many.net.test", ANY, ns_c_in, PLAIN);
    assert_true(answer(m, DNS_BY_TCP));
    assert_int_equal(ns_msg_count(a.msg, ns_s_an), 2 * MANY);
}

/* ---- malformed ---- */

static void only_a_query_of_one_question_is_read(void **state)
{
    (void)state;
    static const struct { size_t at; uint8_t value; int rcode; } rows_[] = {
        {2, 0x08, ns_r_notimpl}, {2, 0x28, ns_r_notimpl}, {2, 0x78, ns_r_notimpl}, /* IQUERY, UPDATE, 15 */
        {5, 0, ns_r_formerr}, {5, 2, ns_r_formerr}, {4, 1, ns_r_formerr},          /* questions */
        {7, 1, ns_r_formerr}, {9, 1, ns_r_formerr}, {10, 255, ns_r_formerr}, {11, 1, ns_r_formerr},
        {12, 64, ns_r_formerr}, {12, 128, ns_r_formerr}, {12, 0xc0, ns_r_formerr}, /* labels that are none */
        {12, 6, ns_r_formerr}, {12, 4, ns_r_formerr},
    };
    for (size_t i = 0; i < sizeof rows_ / sizeof rows_[0]; i++) {
        make("alpha.net.test", ns_t_a, ns_c_in, PLAIN);
        q.bytes[rows_[i].at] = rows_[i].value;
        assert_true(answer(m, DNS_BY_UDP));
        if (rcode() != rows_[i].rcode)
            fail_msg("byte %zu = %d: rcode %d", rows_[i].at, rows_[i].value, rcode());
        assert_int_equal(flag(1 << 10), false);
    }
    make("alpha.net.test", ns_t_a, ns_c_in, PLAIN);
    q.n++; /* a byte too many */
    assert_true(answer(m, DNS_BY_UDP));
    assert_int_equal(rcode(), ns_r_formerr);
    q.n = DNS_QUERY_MAX + 1;
    assert_true(answer(m, DNS_BY_TCP));
    assert_int_equal(rcode(), ns_r_formerr);
    assert_int_equal(a.n, DNS_HEADER);
}

static void answers_and_crumbs_are_not_answered(void **state)
{
    (void)state;
    make("alpha.net.test", ns_t_a, ns_c_in, PLAIN);
    q.bytes[2] |= 0x80;
    assert_false(answer(m, DNS_BY_UDP)); /* or two of us would talk for ever */
    make("alpha.net.test", ns_t_a, ns_c_in, PLAIN);
    for (q.n = 0; q.n < DNS_HEADER; q.n++)
        assert_false(answer(m, DNS_BY_UDP));
}

static void each_cut_of_a_query_is_a_format_error(void **state)
{
    (void)state;
    make("alpha.net.test", ns_t_a, ns_c_in, 1232);
    size_t whole = q.n;
    for (q.n = DNS_HEADER; q.n < whole; q.n++) {
        assert_true(answer(m, DNS_BY_UDP));
        assert_int_equal(rcode(), ns_r_formerr);
    }
    assert_true(answer(m, DNS_BY_UDP));
    assert_string_equal(told(), "100.64.0.2");
}

static void names_are_as_long_as_names_may_be(void **state)
{
    char name[300];
    (void)state;
    for (size_t n = 250; n <= 256; n++) { /* labels of 63, the last one shorter */
        memset(name, 'a', n);
        name[63] = name[127] = name[191] = '.';
        name[n] = 0;
        if (n == 256)
            name[255] = '.'; /* 63 letters at the end: 256 bytes */
        name[n == 256 ? 255 : n] = 0;
        make(name, ns_t_a, ns_c_in, PLAIN);
        assert_true(answer(m, DNS_BY_UDP));
        assert_int_equal(rcode(), strlen(name) <= 253 ? ns_r_refused : ns_r_formerr);
    }
    memset(name, 'a', 63);
    snprintf(name + 63, sizeof name - 63, ".net.test");
    ask(name, ns_t_a);
    assert_int_equal(rcode(), ns_r_nxdomain);
}

/* Behind the question: `n` bytes as one additional record. */
static void with_additional(const void *record, size_t n, uint16_t records)
{
    make("alpha.net.test", ns_t_a, ns_c_in, PLAIN);
    memcpy(q.bytes + q.n, record, n);
    q.n += n;
    q.bytes[10] = (uint8_t)(records >> 8);
    q.bytes[11] = (uint8_t)records;
    assert_true(answer(m, DNS_BY_UDP));
}

static void edns_is_read_by_its_rules(void **state)
{
    static const uint8_t opt[] = {0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0}, version1[] = {0, 0, 41, 4, 0, 0, 1, 0, 0, 0, 0};
    static const uint8_t named[] = {1, 'x', 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t cookie[] = {0, 0, 41, 4, 0, 0, 0, 0x80, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t torn[] = {0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 5, 0, 10, 0, 8, 1};
    static const uint8_t other[] = {0xc0, 12, 0, 250, 0, 255, 0, 0, 0, 0, 0, 2, 7, 7};
    uint8_t two[sizeof opt * 2], both[sizeof other + sizeof opt];
    ns_rr rr;
    (void)state;
    memcpy(two, opt, sizeof opt);
    memcpy(two + sizeof opt, opt, sizeof opt);
    memcpy(both, other, sizeof other);
    memcpy(both + sizeof other, opt, sizeof opt);
    with_additional(opt, sizeof opt, 1);
    assert_string_equal(told(), "100.64.0.2");
    assert_int_equal(libc_parserr(&a.msg, ns_s_ar, 0, &rr), 0);
    assert_int_equal(ns_rr_class(rr), DNS_UDP_MAX);
    assert_int_equal(ns_rr_ttl(rr), 0);
    with_additional(version1, sizeof version1, 1); /* BADVERS is 16: 0 in the header, 1 in OPT */
    assert_int_equal(rcode(), 0);
    assert_string_equal(told(), "");
    assert_int_equal(libc_parserr(&a.msg, ns_s_ar, 0, &rr), 0);
    assert_int_equal(ns_rr_ttl(rr), 1 << 24);
    with_additional(cookie, sizeof cookie, 1);
    assert_string_equal(told(), "100.64.0.2");
    with_additional(both, sizeof both, 2); /* what is not ours to understand is passed over */
    assert_string_equal(told(), "100.64.0.2");
    assert_int_equal(ns_msg_count(a.msg, ns_s_ar), 1);
    with_additional(named, sizeof named, 1);
    assert_int_equal(rcode(), ns_r_formerr);
    with_additional(torn, sizeof torn, 1);
    assert_int_equal(rcode(), ns_r_formerr);
    with_additional(two, sizeof two, 2);
    assert_int_equal(rcode(), ns_r_formerr);
}

static void random_bytes_do_no_harm(void **state)
{
    (void)state;
    srandom((unsigned)test_seed());
    unsigned answered = 0, good = 0;
    for (long i = 0; i < test_scale(40000, 400000); i++) {
        const struct row *r = &rows[(size_t)random() % (sizeof rows / sizeof rows[0])];
        make(r->name, r->type, ns_c_in, i % 3 ? PLAIN : 1232);
        for (long k = random() % 4; k > 0; k--) {
            q.bytes[(size_t)random() % q.n] = (uint8_t)random();
            if (random() % 8 == 0)
                q.n -= (size_t)random() % 8 % q.n;
        }
        answered += answer(m, i % 2 ? DNS_BY_UDP : DNS_BY_TCP);
        good += a.n && rcode() == 0;
    }
    assert_true(answered > 1000 && good > 1000);
}

/* ---- files ---- */

static void resolv_conf_names_the_server_and_the_domain(void **state)
{
    char out[DNS_FILE_MAX];
    (void)state;
    gsi_dns_resolv_conf(m, "100.100.100.100", out);
    assert_non_null(strstr(out, "\nnameserver 100.100.100.100\nsearch net.test\n"));
    gsi_dns_resolv_conf(NULL, "100.100.100.100", out);
    assert_non_null(strstr(out, "\nnameserver 100.100.100.100\n"));
    assert_null(strstr(out, "search"));
}

static void a_domain_cannot_write_lines_of_its_own(void **state)
{
    static const char json[] = "{\"Node\":{\"ID\":1,\"Name\":\"self.x\\nnameserver 8.8.8.8.\",\"Key\":\"" KEY("01") "\"}}";
    char out[DNS_FILE_MAX];
    struct map_update *u;
    struct map_error why;
    struct netmap *bad = gsi_netmap_new();
    (void)state;
    assert_ok(gsi_map_parse(json, sizeof json - 1, &u, &why));
    assert_ok(gsi_netmap_apply(bad, u, WALL, &why));
    gsi_dns_resolv_conf(bad, "100.100.100.100", out);
    assert_null(strstr(out, "8.8.8.8"));
    gsi_netmap_free(bad);
}

static void hosts_are_asked_of_files_and_dns_alone(void **state)
{
    static const struct { const char *in, *out; } by[] = {
        {"", "hosts: files dns\n"},
        {"passwd: files\nhosts:  files resolve [!UNAVAIL=return] dns\nnetworks: files\n",
         "hosts: files dns\npasswd: files\nnetworks: files\n"},
        {" hosts\t: mdns\n#hosts: x\nhostsx: y", "hosts: files dns\n#hosts: x\nhostsx: y"},
        {"hosts", "hosts: files dns\nhosts"},
    };
    char out[DNS_FILE_MAX], big[DNS_FILE_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof by / sizeof by[0]; i++) {
        assert_true(gsi_dns_nsswitch(by[i].in, strlen(by[i].in), out));
        assert_string_equal(out, by[i].out);
    }
    memset(big, '#', sizeof big);
    assert_false(gsi_dns_nsswitch(big, sizeof big, out));
    assert_true(gsi_dns_nsswitch(big, DNS_FILE_MAX - 18, out));
    assert_false(gsi_dns_nsswitch(big, DNS_FILE_MAX - 17, out));
    assert_false(gsi_dns_nsswitch("a\0b", 3, out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_question_gets_its_answer),
        cmocka_unit_test(an_ipv6_address_backwards_is_a_name),
        cmocka_unit_test(without_a_map_all_but_localhost_has_to_wait),
        cmocka_unit_test(other_classes_are_refused_and_any_class_is_the_internet),
        cmocka_unit_test(a_dot_within_a_label_is_not_a_border),
        cmocka_unit_test(what_does_not_fit_is_asked_for_by_tcp),
        cmocka_unit_test(only_a_query_of_one_question_is_read),
        cmocka_unit_test(answers_and_crumbs_are_not_answered),
        cmocka_unit_test(each_cut_of_a_query_is_a_format_error),
        cmocka_unit_test(names_are_as_long_as_names_may_be),
        cmocka_unit_test(edns_is_read_by_its_rules),
        cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(resolv_conf_names_the_server_and_the_domain),
        cmocka_unit_test(a_domain_cannot_write_lines_of_its_own),
        cmocka_unit_test(hosts_are_asked_of_files_and_dns_alone),
    };
    return cmocka_run_group_tests(tests, make_map, free_map);
}
