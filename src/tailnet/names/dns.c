/* dns.c: dns.h. A query is read whole before anything is looked up; the answer repeats the question's bytes, and its records
 * point to them. */
#include "tailnet/names/dns.h"

#include "tailnet/bytes/bytes.h"

enum {
    LABEL_MAX = 63,
    WIRE_MAX = 255, /* of a name, with its root */
    POINTER = 0xc0,
    QUESTION_AT = 0xc000 | DNS_HEADER, /* a pointer to the question's name */
    OPT_BYTES = 11,
    V4_BYTES = 4,
    ADDRESSES = 128, /* in an answer */
};

enum flag { QR = 1 << 15, AA = 1 << 10, TC = 1 << 9, RD = 1 << 8, OPCODE = 15 << 11 };

enum rcode { NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 16 };

/* RFC 6895, 3.1: types from META_FIRST on are questions about something else than records, but ANY. */
enum type { TYPE_A = 1, TYPE_PTR = 12, TYPE_AAAA = 28, TYPE_OPT = 41, META_FIRST = 128, META_LAST = 254, TYPE_ANY = 255 };
enum class { CLASS_IN = 1, CLASS_ANY = 255 };

struct query {
    uint16_t id, flags;
    const uint8_t *question; /* its bytes */
    size_t question_n;       /* 0: could not be read */
    uint16_t type, class;
    char name[WIRE_MAX];     /* without the last dot */
    size_t name_n;
    bool edns;
    uint16_t udp;            /* what the asker takes */
    uint8_t version;
};

struct answer {
    enum rcode rcode;
    bool ours; /* authoritative */
    struct ip ip[ADDRESSES];
    size_t n;
    const char *host; /* of PTR; NULL: none */
};

/* ---- the query ---- */

/* The question's name. No pointer may be in it: there is nothing before it to point to. */
static bool read_name(struct reader *r, struct query *q)
{
    for (size_t wire = 0;;) {
        uint8_t len = read_u8(r);
        const uint8_t *label = read_bytes(r, len);
        wire += 1u + len;
        if (!r->ok || len > LABEL_MAX || wire > WIRE_MAX)
            return false;
        if (len == 0)
            return true;
        if (q->name_n)
            q->name[q->name_n++] = '.';
        for (uint8_t i = 0; i < len; i++) /* a dot in a label is no border, and a 0 is in no name of the map */
            q->name[q->name_n++] = label[i] == '.' ? 0 : (char)label[i];
    }
}

/* A name that does not matter: to its root or its first pointer. */
static bool skip_name(struct reader *r, bool *is_root)
{
    *is_root = true;
    for (uint8_t len; r->ok && (len = read_u8(r)) != 0;) {
        *is_root = false;
        if ((len & POINTER) == POINTER) {
            (void)read_u8(r);
            return r->ok;
        }
        if (len > LABEL_MAX)
            return false;
        (void)read_bytes(r, len);
    }
    return r->ok;
}

static bool options_are_whole(const uint8_t *p, size_t n)
{
    struct reader r = reader_of(p, n);
    while (r.ok && r.n) {
        (void)read_u16(&r);
        (void)read_bytes(&r, read_u16(&r));
    }
    return r.ok;
}

/* RFC 6891, 6.1: at most one OPT, of the root. Other additional records (TSIG, …) mean nothing here. */
static bool read_additional(struct reader *r, struct query *q)
{
    bool root;
    if (!skip_name(r, &root))
        return false;
    uint16_t type = read_u16(r), class = read_u16(r);
    uint32_t ttl = read_u32(r);
    uint16_t n = read_u16(r);
    const uint8_t *data = read_bytes(r, n);
    if (!r->ok || type != TYPE_OPT)
        return r->ok;
    if (q->edns || !root || !options_are_whole(data, n))
        return false;
    q->edns = true;
    q->udp = class;
    q->version = (uint8_t)(ttl >> 16);
    return true;
}

/* Behind the id and the flags. */
static bool read_query(struct reader *r, struct query *q)
{
    uint16_t questions = read_u16(r), answers = read_u16(r), authority = read_u16(r), additional = read_u16(r);
    const uint8_t *at = r->p;
    if (!r->ok || questions != 1 || answers || authority || !read_name(r, q))
        return false;
    q->type = read_u16(r);
    q->class = read_u16(r);
    if (!r->ok)
        return false;
    q->question = at;
    q->question_n = (size_t)(r->p - at);
    for (; additional; additional--)
        if (!read_additional(r, q))
            return false;
    return r->n == 0;
}

/* ---- names ---- */

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

/* Whether name is domain or below it; *left is what stands in front of it, without the dot. */
static bool is_within(const char *name, size_t n, const char *domain, size_t domain_n, size_t *left)
{
    if (!domain_n || n < domain_n || (n > domain_n && name[n - domain_n - 1] != '.'))
        return false;
    for (size_t i = 0; i < domain_n; i++)
        if (lower(name[n - domain_n + i]) != lower(domain[i]))
            return false;
    *left = n > domain_n ? n - domain_n - 1 : 0;
    return true;
}

static bool is_in(const struct query *q, const char *domain, size_t *left)
{
    return is_within(q->name, q->name_n, domain, strlen(domain), left);
}

static void look_up_name(const struct netmap *m, const struct query *q, struct answer *a)
{
    const char *dot = strchr(gsi_netmap_self(m)->name, '.'), *domain = dot ? dot + 1 : "";
    size_t left, domain_n = strlen(domain);
    int n = gsi_netmap_resolve(m, q->name, q->name_n, a->ip, ADDRESSES);
    if (domain_n && domain[domain_n - 1] == '.')
        domain_n--;
    bool within = is_within(q->name, q->name_n, domain, domain_n, &left);
    a->ours = n > 0 || within || (q->name_n && !memchr(q->name, '.', q->name_n));
    a->n = n > ADDRESSES ? ADDRESSES : n > 0 ? (size_t)n : 0;
    a->rcode = !a->ours ? REFUSED : n > 0 || (within && left == 0) ? NOERROR : NXDOMAIN;
}

/* RFC 6761, 6.3. */
static void look_up_localhost(struct answer *a)
{
    static const uint8_t v4[V4_BYTES] = {127, 0, 0, 1}, v6[IP_LEN] = {[IP_LEN - 1] = 1};
    a->ours = true;
    a->ip[0] = gsi_ip_of_v4(v4);
    a->ip[1] = gsi_ip_of_v6(v6);
    a->n = 2;
}

/* ---- addresses backwards ---- */

static int digit(char c, int base)
{
    int v = c >= '0' && c <= '9' ? c - '0' : lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : base;
    return v < base ? v : -1;
}

/* "7.0.64.100": the labels from the last one on, each `bits` wide, are the address from its first bit on. How many bits;
 * -1: it is none. */
static int read_backwards(const char *text, size_t n, unsigned bits, int base, size_t bytes, uint8_t *out)
{
    size_t at = 0; /* in bits */
    memset(out, 0, bytes);
    while (n) {
        int value = 0, weight = 1;
        size_t digits = 0;
        for (; n && text[n - 1] != '.'; n--, digits++, weight *= base) {
            int d = digit(text[n - 1], base);
            if (d < 0 || weight > 100)
                return -1;
            value += d * weight;
        }
        bool padded = digits > 1 && text[n] == '0';
        if (!digits || padded || value >> bits || at == 8 * bytes || (n && --n == 0))
            return -1;
        out[at / 8] |= (uint8_t)(value << (8 - bits - at % 8));
        at += bits;
    }
    return (int)at;
}

/* 100.64.0.0/10, fd7a:115c:a1e0::/48. Shorter prefixes of them are not ours alone. */
static bool is_tailnets(const struct ip *ip, bool v4, int bits)
{
    static const uint8_t ula[] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0};
    if (v4)
        return bits >= 16 && ip->b[12] == 100 && (ip->b[13] & 0xc0) == 64;
    return bits >= 8 * (int)sizeof ula && memcmp(ip->b, ula, sizeof ula) == 0;
}

static void look_up_address(const struct netmap *m, const struct query *q, bool v4, size_t left, struct answer *a)
{
    uint8_t bytes[IP_LEN];
    int bits = v4 ? read_backwards(q->name, left, 8, 10, V4_BYTES, bytes) : read_backwards(q->name, left, 4, 16, IP_LEN, bytes);
    if (bits < 0) {
        a->rcode = REFUSED;
        return;
    }
    struct ip ip = v4 ? gsi_ip_of_v4(bytes) : gsi_ip_of_v6(bytes);
    bool whole = bits == 8 * (v4 ? V4_BYTES : IP_LEN);
    const struct map_node *node = whole ? gsi_netmap_node_at(m, &ip) : NULL;
    a->host = node ? node->name : whole && gsi_ip_is_loopback(&ip) ? "localhost" : NULL;
    a->ours = a->host || is_tailnets(&ip, v4, bits);
    a->rcode = !a->ours ? REFUSED : a->host || !whole ? NOERROR : NXDOMAIN;
}

static void look_up(const struct netmap *m, const struct query *q, struct answer *a)
{
    size_t left;
    if ((q->class != CLASS_IN && q->class != CLASS_ANY) || q->type == TYPE_OPT || (q->type >= META_FIRST && q->type <= META_LAST))
        a->rcode = REFUSED;
    else if (is_in(q, "localhost", &left))
        look_up_localhost(a);
    else if (!m || !gsi_netmap_self(m))
        a->rcode = SERVFAIL;
    else if (is_in(q, "in-addr.arpa", &left))
        look_up_address(m, q, true, left, a);
    else if (is_in(q, "ip6.arpa", &left))
        look_up_address(m, q, false, left, a);
    else
        look_up_name(m, q, a);
}

/* ---- the answer ---- */

/* A name in wire form; 0: it cannot be one. */
static size_t write_name(const char *name, uint8_t out[WIRE_MAX])
{
    size_t n = 0;
    for (const char *dot; *name; name = dot + (*dot == '.')) {
        dot = name + strcspn(name, ".");
        size_t len = (size_t)(dot - name);
        if (!len || len > LABEL_MAX || n + len + 2 > WIRE_MAX)
            return 0;
        out[n++] = (uint8_t)len;
        memcpy(out + n, name, len);
        n += len;
    }
    out[n] = 0;
    return n ? n + 1 : 0;
}

static void write_record(struct writer *w, uint16_t type, const uint8_t *data, size_t n)
{
    write_u16(w, QUESTION_AT);
    write_u16(w, type);
    write_u16(w, CLASS_IN);
    write_u32(w, DNS_TTL_S);
    write_u16(w, (uint16_t)n);
    write_bytes(w, data, n);
}

static bool wants(const struct query *q, enum type type) { return q->type == (uint16_t)type || q->type == TYPE_ANY; }

/* How many; the record that found no room is undone, and *all is false. */
static uint16_t write_records(struct writer *w, const struct query *q, const struct answer *a, bool *all)
{
    uint8_t wire[WIRE_MAX];
    size_t wire_n = a->host && wants(q, TYPE_PTR) ? write_name(a->host, wire) : 0;
    uint16_t records = 0;
    size_t before = w->n;
    if (wire_n) {
        write_record(w, TYPE_PTR, wire, wire_n);
        records += w->ok;
    }
    for (size_t i = 0; i < a->n && w->ok; i++) {
        bool v4 = gsi_ip_is_v4(&a->ip[i]);
        if (!wants(q, v4 ? TYPE_A : TYPE_AAAA))
            continue;
        before = w->n;
        write_record(w, v4 ? TYPE_A : TYPE_AAAA, a->ip[i].b + (v4 ? IP_LEN - V4_BYTES : 0), v4 ? V4_BYTES : IP_LEN);
        records += w->ok;
    }
    *all = w->ok;
    if (!w->ok)
        *w = (struct writer){w->p, before, w->cap, true};
    return records;
}

/* RFC 6891, 6.1.2; the root, OPT, what we take, the upper bits of the rcode, version 0, no flags, no options. */
static void write_opt(struct writer *w, enum rcode rcode)
{
    write_u8(w, 0);
    write_u16(w, TYPE_OPT);
    write_u16(w, DNS_UDP_MAX);
    write_u32(w, (uint32_t)rcode >> 4 << 24);
    write_u16(w, 0);
}

static size_t room_for(const struct query *q, enum dns_way way)
{
    if (way == DNS_BY_TCP)
        return DNS_TCP_MAX;
    return !q->edns || q->udp < DNS_UDP ? DNS_UDP : q->udp > DNS_UDP_MAX ? DNS_UDP_MAX : q->udp;
}

static size_t write_answer(const struct query *q, const struct answer *a, enum dns_way way, uint8_t *out)
{
    size_t opt = q->edns ? OPT_BYTES : 0;
    struct writer head = writer_of(out, DNS_HEADER), w = writer_of(out, room_for(q, way) - opt);
    bool all = true;
    write_zeros(&w, DNS_HEADER);
    write_bytes(&w, q->question, q->question_n);
    size_t bare = w.n;
    uint16_t records = a->rcode == NOERROR ? write_records(&w, q, a, &all) : 0;
    bool cut = !all && way == DNS_BY_UDP;
    if (cut) { /* half a list may be taken for a whole one: RFC 2181, 9 */
        w.n = bare;
        records = 0;
    }
    w.cap += opt;
    if (opt)
        write_opt(&w, a->rcode);
    write_u16(&head, q->id);
    write_u16(&head, (uint16_t)(QR | (q->flags & (OPCODE | RD)) | (a->ours ? AA : 0) | (cut ? TC : 0) | (a->rcode & 15)));
    write_u16(&head, q->question_n ? 1 : 0);
    write_u16(&head, records);
    write_u16(&head, 0);
    write_u16(&head, q->edns);
    return w.n;
}

size_t gsi_dns_answer(const struct netmap *m, const void *query, size_t n, enum dns_way way, uint8_t out[DNS_TCP_MAX])
{
    struct reader r = reader_of(query, n);
    struct query q = {.id = read_u16(&r)};
    struct answer a = {.rcode = NOERROR};
    q.flags = read_u16(&r);
    if (n < DNS_HEADER || q.flags & QR)
        return 0;
    if (q.flags & OPCODE)
        a.rcode = NOTIMP;
    else if (n > DNS_QUERY_MAX || !read_query(&r, &q)) {
        a.rcode = FORMERR;
        q.edns = false;
    } else if (q.edns && q.version)
        a.rcode = BADVERS;
    else
        look_up(m, &q, &a);
    return write_answer(&q, &a, way, out);
}
