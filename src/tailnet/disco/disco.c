/* disco.c: disco.h. Packet: magic 6 | sender's disco key 32 | nonce 24 | box of: type u8 | version u8 | body. */
#include "tailnet/disco/disco.h"

#include <errno.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/stun/stun.h"

static const uint8_t magic[DISCO_MAGIC_LEN] = {'T', 'S', 0xf0, 0x9f, 0x92, 0xac};

/* Geneve's head is 8 bytes: version and option length, flags, protocol u16, network 24 bits, reserved. */
enum { GENEVE_HEAD_LEN = 8, GENEVE_DISCO = 0x7a11, GENEVE_WIREGUARD = 0x7a12 };

static bool is_geneve(const void *in, size_t n)
{
    struct reader r = reader_of(in, n);
    uint8_t version_and_options = read_u8(&r);
    (void)read_u8(&r);
    uint16_t protocol = read_u16(&r);
    return n >= GENEVE_HEAD_LEN && version_and_options == 0 && (protocol == GENEVE_DISCO || protocol == GENEVE_WIREGUARD);
}

enum datagram gsi_datagram_kind(const void *in, size_t n)
{
    if (gsi_stun_is(in, n))
        return DATAGRAM_STUN;
    if (is_geneve(in, n))
        return DATAGRAM_GENEVE;
    return gsi_disco_is(in, n) ? DATAGRAM_DISCO : DATAGRAM_WIREGUARD;
}

static void read_endpoint(struct reader *r, struct endpoint *out)
{
    read_copy(r, out->ip.b, IP_LEN);
    out->port = read_u16(r);
}

static void write_endpoint(struct writer *w, const struct endpoint *e)
{
    write_bytes(w, e->ip.b, IP_LEN);
    write_u16(w, e->port);
}

int gsi_disco_read(const void *in, size_t n, struct disco_message *m)
{
    struct reader r = reader_of(in, n);
    uint8_t type = read_u8(&r), version = read_u8(&r);
    memset(m, 0, sizeof *m);
    switch (type) {
    case DISCO_PING: /* padding may follow */
        read_copy(&r, m->txid, DISCO_TXID_LEN);
        if (r.ok && r.n >= KEY_LEN)
            read_copy(&r, m->node, KEY_LEN);
        break;
    case DISCO_PONG:
        read_copy(&r, m->txid, DISCO_TXID_LEN);
        read_endpoint(&r, &m->seen);
        break;
    case DISCO_CALL_ME_MAYBE:
        if (version != 0 || r.n % DISCO_ENDPOINT_LEN != 0)
            break; /* of the future: it has no endpoints that we know */
        while (r.n && m->n < DISCO_ENDPOINTS_MAX)
            read_endpoint(&r, &m->endpoints[m->n++]);
        break;
    default: /* relay handshakes (4-9), and what is not invented yet */
        return GS_EINVALID;
    }
    m->type = (enum disco_type)type;
    return r.ok ? 0 : GS_EINVALID;
}

size_t gsi_disco_write(uint8_t out[DISCO_PLAIN_MAX], const struct disco_message *m)
{
    struct writer w = writer_of(out, DISCO_PLAIN_MAX);
    write_u8(&w, (uint8_t)m->type);
    write_u8(&w, 0);
    if (m->type == DISCO_CALL_ME_MAYBE) {
        for (size_t i = 0; i < m->n && i < DISCO_ENDPOINTS_MAX; i++)
            write_endpoint(&w, &m->endpoints[i]);
        return w.n;
    }
    write_bytes(&w, m->txid, DISCO_TXID_LEN);
    if (m->type == DISCO_PING)
        write_bytes(&w, m->node, KEY_LEN);
    else
        write_endpoint(&w, &m->seen);
    return w.n;
}

bool gsi_disco_is(const void *in, size_t n) { return n >= DISCO_OVERHEAD && memcmp(in, magic, sizeof magic) == 0; }

const uint8_t *gsi_disco_sender(const void *in) { return (const uint8_t *)in + DISCO_MAGIC_LEN; }

size_t gsi_disco_seal(uint8_t out[DISCO_PACKET_MAX], const uint8_t own_public[KEY_LEN], const uint8_t shared[KEY_LEN],
                      const struct disco_message *m)
{
    uint8_t plain[DISCO_PLAIN_MAX], nonce[XNONCE_LEN];
    size_t n = gsi_disco_write(plain, m);
    struct writer w = writer_of(out, DISCO_PACKET_MAX);
    gsi_random(nonce, sizeof nonce);
    write_bytes(&w, magic, sizeof magic);
    write_bytes(&w, own_public, KEY_LEN);
    write_bytes(&w, nonce, sizeof nonce);
    uint8_t *box = write_room(&w, BOX_OVERHEAD + n);
    if (!box)
        return 0; /* cannot be: plain is at most DISCO_PLAIN_MAX */
    gsi_box_seal(box, shared, nonce, plain, n);
    return w.n;
}

int gsi_disco_open(const void *in, size_t n, const uint8_t shared[KEY_LEN], struct disco_message *m)
{
    uint8_t plain[DISCO_READ_MAX];
    if (!gsi_disco_is(in, n) || n > DISCO_OVERHEAD + sizeof plain)
        return GS_EINVALID;
    struct reader r = reader_of(in, n);
    (void)read_bytes(&r, DISCO_MAGIC_LEN + KEY_LEN);
    const uint8_t *nonce = read_bytes(&r, XNONCE_LEN);
    if (!gsi_box_open(plain, shared, nonce, r.p, r.n))
        return -EACCES;
    return gsi_disco_read(plain, r.n - BOX_OVERHEAD, m);
}
