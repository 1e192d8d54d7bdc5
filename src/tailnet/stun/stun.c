/* stun.c: stun.h. Header: type 2 | length 2 | cookie 4 | transaction 12; then attributes: type 2 | length 2 | value, padded. */
#include "tailnet/stun/stun.h"

#include "tailnet/bytes/bytes.h"

enum {
    BINDING_REQUEST = 0x0001,
    BINDING_SUCCESS = 0x0101,
    COOKIE = 0x2112a442,
    MAPPED_ADDRESS = 0x0001,
    XOR_MAPPED_ADDRESS = 0x0020,
    OLD_XOR_MAPPED_ADDRESS = 0x8020, /* before RFC 5389 */
    SOFTWARE = 0x8022,
    FINGERPRINT = 0x8028,
    FINGERPRINT_XOR = 0x5354554e,
    FINGERPRINT_LEN = 8, /* with its head */
    FAMILY_V4 = 1,
    FAMILY_V6 = 2,
};

static const char tailnode[8] = "tailnode";

/* CRC-32 of ISO 3309, as RFC 8489, 14.7 wants it. */
static uint32_t crc32(const uint8_t *p, size_t n)
{
    uint32_t crc = UINT32_MAX;
    while (n--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void write_header(struct writer *w, uint16_t type, uint16_t length, const uint8_t txid[STUN_TXID_LEN])
{
    write_u16(w, type);
    write_u16(w, length);
    write_u32(w, COOKIE);
    write_bytes(w, txid, STUN_TXID_LEN);
}

void gsi_stun_request(uint8_t out[STUN_REQUEST_LEN], const uint8_t txid[STUN_TXID_LEN])
{
    struct writer w = writer_of(out, STUN_REQUEST_LEN);
    write_header(&w, BINDING_REQUEST, STUN_REQUEST_LEN - STUN_HEADER_LEN, txid);
    write_u16(&w, SOFTWARE);
    write_u16(&w, sizeof tailnode);
    write_bytes(&w, tailnode, sizeof tailnode);
    uint32_t crc = crc32(out, w.n);
    write_u16(&w, FINGERPRINT);
    write_u16(&w, 4);
    write_u32(&w, crc ^ FINGERPRINT_XOR);
}

/* What lies behind the header, as far as its length says; false: no STUN. */
static bool read_header(struct reader *r, uint16_t *type, uint8_t txid[STUN_TXID_LEN])
{
    *type = read_u16(r);
    size_t n = read_u16(r);
    bool ok = read_u32(r) == COOKIE && *type >> 14 == 0;
    read_copy(r, txid, STUN_TXID_LEN);
    if (!r->ok || !ok || n > r->n)
        return false;
    r->n = n; /* trailing bytes are nobody's */
    return true;
}

bool gsi_stun_is(const void *in, size_t n)
{
    struct reader r = reader_of(in, n);
    uint16_t type = read_u16(&r);
    (void)read_u16(&r);
    return n >= STUN_HEADER_LEN && type >> 14 == 0 && (type & 0xff) == 1 && read_u32(&r) == COOKIE;
}

/* False: there is none, or it is cut. */
static bool next_attribute(struct reader *r, uint16_t *type, struct reader *value)
{
    if (!r->n)
        return false;
    *type = read_u16(r);
    size_t n = read_u16(r);
    const uint8_t *p = read_bytes(r, n);
    *value = reader_of(p, p ? n : 0);
    size_t padding = -n & 3;
    (void)read_bytes(r, padding < r->n ? padding : r->n);
    return r->ok;
}

/* Nothing of it is xored where mask is NULL. */
static bool read_address(struct reader *r, const uint8_t *mask, struct endpoint *out)
{
    (void)read_u8(r);
    uint8_t family = read_u8(r), ip[IP_LEN];
    uint16_t port = read_u16(r);
    size_t n = family == FAMILY_V4 ? 4 : IP_LEN;
    read_copy(r, ip, n);
    if (!r->ok || (family != FAMILY_V4 && family != FAMILY_V6))
        return false;
    for (size_t i = 0; mask && i < n; i++)
        ip[i] ^= mask[i];
    if (mask)
        port ^= COOKIE >> 16;
    *out = (struct endpoint){n == 4 ? gsi_ip_of_v4(ip) : gsi_ip_of_v6(ip), port};
    return true;
}

int gsi_stun_response_parse(const void *in, size_t n, uint8_t txid[STUN_TXID_LEN], struct endpoint *seen)
{
    struct reader r = reader_of(in, n), value;
    struct endpoint plain, found;
    uint8_t id[STUN_TXID_LEN];
    uint16_t type;
    bool have_plain = false, have = false;
    if (!read_header(&r, &type, id) || type != BINDING_SUCCESS)
        return GS_EINVALID;
    const uint8_t *mask = (const uint8_t *)in + 4; /* cookie and transaction */
    while (!have && next_attribute(&r, &type, &value)) {
        if (type == XOR_MAPPED_ADDRESS || type == OLD_XOR_MAPPED_ADDRESS)
            have = read_address(&value, mask, &found);
        else if (type == MAPPED_ADDRESS && !have_plain)
            have_plain = read_address(&value, NULL, &plain);
    }
    if (!have && !have_plain)
        return GS_EINVALID;
    *seen = have ? found : plain;
    memcpy(txid, id, sizeof id);
    return 0;
}

int gsi_stun_request_parse(const void *in, size_t n, uint8_t txid[STUN_TXID_LEN])
{
    struct reader r = reader_of(in, n), value;
    uint8_t id[STUN_TXID_LEN];
    uint16_t type;
    bool software = false, fingerprint = false;
    if (!read_header(&r, &type, id) || type != BINDING_REQUEST)
        return GS_EINVALID;
    const uint8_t *begin = in;
    while (!fingerprint && next_attribute(&r, &type, &value)) {
        if (type == SOFTWARE)
            software = value.n == sizeof tailnode && memcmp(value.p, tailnode, sizeof tailnode) == 0;
        else if (type == FINGERPRINT) {
            size_t covered = (size_t)(r.p - begin) - FINGERPRINT_LEN;
            fingerprint = value.n == 4 && r.n == 0 && read_u32(&value) == (crc32(begin, covered) ^ FINGERPRINT_XOR);
            break;
        }
    }
    if (!software || !fingerprint)
        return GS_EINVALID;
    memcpy(txid, id, sizeof id);
    return 0;
}

size_t gsi_stun_response(uint8_t out[STUN_RESPONSE_MAX], const uint8_t txid[STUN_TXID_LEN], const struct endpoint *seen)
{
    struct writer w = writer_of(out, STUN_RESPONSE_MAX);
    bool v4 = gsi_ip_is_v4(&seen->ip);
    uint16_t ip_len = v4 ? 4 : IP_LEN, value_len = (uint16_t)(4 + ip_len);
    write_header(&w, BINDING_SUCCESS, (uint16_t)(4 + value_len), txid);
    write_u16(&w, XOR_MAPPED_ADDRESS);
    write_u16(&w, value_len);
    write_u8(&w, 0);
    write_u8(&w, v4 ? FAMILY_V4 : FAMILY_V6);
    write_u16(&w, seen->port ^ (COOKIE >> 16));
    for (size_t i = 0; i < ip_len; i++)
        write_u8(&w, seen->ip.b[IP_LEN - ip_len + i] ^ out[4 + i]);
    return w.n;
}
