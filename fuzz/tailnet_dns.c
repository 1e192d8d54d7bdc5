/* tailnet_dns.c: a query, behind a byte that says how it came: whatever it is, the answer is a message that can be read to its
 * end, within its limits, and its records are the map's. */
#include <stdio.h>
#include <stdlib.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/names/dns.h"

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                           \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

#define KEY(c) "nodekey:00000000000000000000000000000000000000000000000000000000000000" c

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct netmap *map_of_two(void)
{
    static const char json[] =
        "{\"Node\":{\"ID\":1,\"Name\":\"a.b.\",\"Key\":\"" KEY("01") "\",\"Addresses\":[\"100.64.0.1/32\",\"fd7a:115c:a1e0::1/128\"]},"
        "\"DNSConfig\":{\"Domains\":[\"b\",\"c\"],\"ExtraRecords\":[{\"Name\":\"d.c\",\"Value\":\"100.64.0.9\"}]},"
        "\"Peers\":[{\"ID\":2,\"Name\":\"e.b.\",\"Key\":\"" KEY("02") "\",\"Addresses\":[\"100.64.0.2/32\"]}]}";
    struct map_update *u;
    struct map_error why;
    struct netmap *m = gsi_netmap_new();
    CHECK(m && gsi_map_parse(json, sizeof json - 1, &u, &why) == 0 && gsi_netmap_apply(m, u, 1795248930, &why) == 0);
    return m;
}

static void check_record(const struct netmap *m, uint16_t type, const uint8_t *data, uint16_t n)
{
    if (type == 41) {
        CHECK(n == 0);
        return;
    }
    if (type == 12) {
        CHECK(n >= 3 && n <= 255 && data[n - 1] == 0);
        return;
    }
    CHECK((type == 1 && n == 4) || (type == 28 && n == 16));
    struct ip ip = type == 1 ? gsi_ip_of_v4(data) : gsi_ip_of_v6(data);
    static const uint8_t record[] = {100, 64, 0, 9};
    struct ip extra = gsi_ip_of_v4(record);
    CHECK(gsi_netmap_node_at(m, &ip) || gsi_ip_is_loopback(&ip) || gsi_ip_equal(&ip, &extra));
}

static void check_answer(const struct netmap *m, const uint8_t *query, size_t query_n, const uint8_t *out, size_t n)
{
    struct reader r = reader_of(out, n);
    uint16_t id = read_u16(&r), flags = read_u16(&r), questions = read_u16(&r), answers = read_u16(&r), none = read_u16(&r),
             additional = read_u16(&r);
    CHECK(id == (uint16_t)(query[0] << 8 | query[1]) && flags >> 15 && questions <= 1 && none == 0 && additional <= 1);
    CHECK(!(flags & 15) || (n <= query_n && !answers)); /* an error is no longer than what it is about */
    if (questions) {
        const uint8_t *at = r.p;
        for (uint8_t len; (len = read_u8(&r)) != 0;)
            (void)read_bytes(&r, len);
        (void)read_u32(&r);
        CHECK(r.ok && memcmp(at, query + DNS_HEADER, (size_t)(r.p - at)) == 0);
    }
    for (unsigned i = 0; i < answers + (unsigned)additional; i++) {
        if (i < answers)
            CHECK(read_u16(&r) == (0xc000 | DNS_HEADER));
        else
            CHECK(read_u8(&r) == 0);
        uint16_t type = read_u16(&r);
        (void)read_bytes(&r, 6);
        uint16_t len = read_u16(&r);
        const uint8_t *rdata = read_bytes(&r, len);
        CHECK(r.ok && (type == 41) == (i >= answers));
        check_record(m, type, rdata, len);
    }
    CHECK(r.ok && r.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct netmap *m;
    static char text[DNS_FILE_MAX];
    uint8_t out[DNS_TCP_MAX];
    if (size == 0)
        return 0;
    if (!m)
        m = map_of_two();
    enum dns_way way = data[0] & 1 ? DNS_BY_TCP : DNS_BY_UDP;
    size_t n = gsi_dns_answer(data[0] & 2 ? NULL : m, data + 1, size - 1, way, out);
    CHECK(n <= (way == DNS_BY_TCP ? DNS_TCP_MAX : DNS_UDP_MAX));
    CHECK((n == 0) == (size - 1 < DNS_HEADER || data[3] >> 7));
    if (n)
        check_answer(m, data + 1, size - 1, out, n);
    if (gsi_dns_nsswitch((const char *)data, size, text))
        CHECK(strncmp(text, "hosts: files dns\n", 17) == 0);
    return 0;
}
