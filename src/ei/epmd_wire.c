/* epmd_wire.c: requests to epmd and its answers, as bytes. */
#include "ei/epmd_wire.h"

#include <errno.h>
#include <string.h>

/* ---- names ---- */

/* The bytes of the character at p, of n; 0: none of UTF-8, or a control (RFC 3629 §4). */
static size_t character(const uint8_t *p, size_t n)
{
    uint32_t c = p[0];
    size_t len = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (len == 0 || len > n)
        return 0;
    if (len > 1)
        c &= 0x7fU >> len;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fU);
    }
    if (c < least[len] || c > 0x10ffff || c >> 11 == 0x1b) /* too long a form, beyond Unicode, half a surrogate pair */
        return 0;
    return c < 0x20 || (c >= 0x7f && c < 0xa0) ? 0 : len;
}

bool gsi_epmd_name_ok(const void *p, size_t n)
{
    const uint8_t *at = p;
    size_t characters = 0;
    for (size_t len; n > 0; at += len, n -= len) {
        len = character(at, n);
        if (len == 0 || ++characters > EPMD_NAME_CHARS)
            return false;
    }
    return characters > 0;
}

/* ---- requests ---- */

static uint8_t *put8(uint8_t *p, unsigned v)
{
    *p = (uint8_t)v;
    return p + 1;
}

static uint8_t *put16(uint8_t *p, unsigned v) { return put8(put8(p, v >> 8), v); }

static uint8_t *put_bytes(uint8_t *p, const void *from, size_t n)
{
    memcpy(p, from, n);
    return p + n;
}

/* The length in front, now that it is known. */
static size_t request(uint8_t *out, const uint8_t *end)
{
    put16(out, (unsigned)(end - out - 2));
    return (size_t)(end - out);
}

size_t gsi_epmd_alive2(uint8_t out[EPMD_REQUEST_MAX], const gs_epmd_node *node)
{
    size_t n = strlen(node->name);
    uint8_t *p = put8(out + 2, EPMD_ALIVE2_REQ);
    p = put16(p, node->port);
    p = put8(p, node->type);
    p = put8(p, node->protocol);
    p = put16(p, node->highest);
    p = put16(p, node->lowest);
    p = put_bytes(put16(p, (unsigned)n), node->name, n);
    p = put_bytes(put16(p, node->extra_len), node->extra, node->extra_len);
    return request(out, p);
}

size_t gsi_epmd_port_please2(uint8_t out[EPMD_REQUEST_MAX], const char *alive)
{
    return request(out, put_bytes(put8(out + 2, EPMD_PORT_PLEASE2_REQ), alive, strlen(alive)));
}

size_t gsi_epmd_names(uint8_t out[EPMD_REQUEST_MAX])
{
    return request(out, put8(out + 2, EPMD_NAMES_REQ));
}

/* ---- answers ---- */

static unsigned get16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }
static uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }

void gsi_epmd_expect_creation(struct gsi_epmd *m, uint32_t *creation)
{
    *m = (struct gsi_epmd){.state = EPMD_EXPECT_ALIVE2_RESP, .need = 2, .creation = creation};
}

void gsi_epmd_expect_port(struct gsi_epmd *m, const char *alive, gs_epmd_node *out)
{
    *m = (struct gsi_epmd){.state = EPMD_EXPECT_PORT2_RESP, .need = 2, .alive = alive, .node = out, .cap = 1};
}

void gsi_epmd_expect_names(struct gsi_epmd *m, gs_epmd_node *out, size_t cap)
{
    *m = (struct gsi_epmd){.state = EPMD_EXPECT_EPMD_PORT, .need = 4, .node = out, .cap = cap};
}

static int answered(struct gsi_epmd *m)
{
    m->state = EPMD_ANSWERED;
    return 1;
}

/* ALIVE2_RESP: tag, result, creation of 2 bytes. ALIVE2_X_RESP: of 4. A refusal's creation means nothing and is not waited for.
 */
static int read_alive2_resp(struct gsi_epmd *m)
{
    const uint8_t *p = m->in;
    if (p[0] != EPMD_ALIVE2_RESP && p[0] != EPMD_ALIVE2_X_RESP)
        return GS_EINVALID;
    if (p[1] != 0)
        return -EEXIST;
    bool wide = p[0] == EPMD_ALIVE2_X_RESP;
    m->need = wide ? 6 : 4;
    if (m->have < m->need)
        return 0;
    *m->creation = wide ? get32(p + 2) : get16(p + 2);
    return answered(m);
}

/* PORT2_RESP: tag, result; port 2, type, protocol, highest 2, lowest 2, length 2, name, length 2, extra. */
static int read_port2_resp(struct gsi_epmd *m)
{
    const uint8_t *p = m->in;
    if (p[0] != EPMD_PORT2_RESP)
        return GS_EINVALID;
    if (p[1] != 0)
        return GS_ENXDOMAIN;
    m->need = 12;
    if (m->have < m->need)
        return 0;
    size_t n = get16(p + 10);
    if (n != strlen(m->alive))
        return GS_EINVALID;
    m->need = 14 + n;
    if (m->have < m->need)
        return 0;
    size_t extra = get16(p + 12 + n);
    if (memcmp(p + 12, m->alive, n) != 0 || extra > GS_EPMD_EXTRA_MAX)
        return GS_EINVALID;
    m->need = 14 + n + extra;
    if (m->have < m->need)
        return 0;
    gs_epmd_node *out = m->node;
    *out = (gs_epmd_node){.port = (uint16_t)get16(p + 2), .type = p[4], .protocol = p[5], .highest = (uint16_t)get16(p + 6),
                          .lowest = (uint16_t)get16(p + 8), .extra_len = (uint16_t)extra};
    memcpy(out->name, m->alive, n);
    memcpy(out->extra, p + 14 + n, extra);
    m->n = 1;
    return answered(m);
}

/* The port that epmd itself listens at. What is not epmd hardly begins with it. */
static int read_epmd_port(struct gsi_epmd *m)
{
    if (get32(m->in) > UINT16_MAX)
        return GS_EINVALID;
    m->state = EPMD_EXPECT_LINE;
    m->have = 0;
    return 0;
}

/* Digits of a port at the end of a line; where they begin, or NULL. */
static const uint8_t *port_at_end(const uint8_t *line, const uint8_t *end, unsigned *port)
{
    const uint8_t *p = end;
    while (p > line && end - p < 6 && p[-1] >= '0' && p[-1] <= '9')
        p--;
    *port = 0;
    for (const uint8_t *d = p; d < end; d++)
        *port = *port * 10 + (*d - '0');
    return p < end && end - p < 6 && *port <= UINT16_MAX ? p : NULL;
}

/* "name NAME at port PORT". Whoever may register a name can write lines that are none of these: they hide nobody else. */
static void read_line(struct gsi_epmd *m, size_t n)
{
    static const char front[] = "name ", middle[] = " at port ";
    enum { FRONT = sizeof front - 1, MIDDLE = sizeof middle - 1 };
    unsigned port;
    const uint8_t *digits = port_at_end(m->in, m->in + n, &port);
    size_t used = digits ? (size_t)(digits - m->in) : 0;
    if (used < FRONT + MIDDLE || memcmp(m->in, front, FRONT) != 0 || memcmp(digits - MIDDLE, middle, MIDDLE) != 0)
        return;
    size_t len = used - FRONT - MIDDLE;
    if (!gsi_epmd_name_ok(m->in + FRONT, len))
        return;
    if (m->n < m->cap) {
        gs_epmd_node *out = &m->node[m->n];
        *out = (gs_epmd_node){.port = (uint16_t)port};
        memcpy(out->name, m->in + FRONT, len);
    }
    m->n++;
}

/* Takes bytes up to the end of a line. The bytes taken, or an error. */
static ssize_t feed_line(struct gsi_epmd *m, const uint8_t *in, size_t n)
{
    const uint8_t *newline = memchr(in, '\n', n);
    size_t part = newline ? (size_t)(newline - in) : n;
    if (part > EPMD_LINE_MAX - 1 - m->have)
        return GS_EINVALID;
    memcpy(m->in + m->have, in, part);
    m->have += part;
    if (!newline)
        return (ssize_t)part;
    if (++m->lines > EPMD_LINES_MAX)
        return -EMSGSIZE;
    read_line(m, m->have);
    m->have = 0;
    return (ssize_t)part + 1;
}

/* Takes bytes up to what the state needs, and looks at them: *e as gsi_epmd_feed. */
static ssize_t feed_fields(struct gsi_epmd *m, const uint8_t *in, size_t n, int *e)
{
    size_t part = m->need - m->have < n ? m->need - m->have : n;
    memcpy(m->in + m->have, in, part);
    m->have += part;
    if (m->have < m->need)
        return (ssize_t)part;
    switch (m->state) {
    case EPMD_EXPECT_ALIVE2_RESP: *e = read_alive2_resp(m); break;
    case EPMD_EXPECT_PORT2_RESP: *e = read_port2_resp(m); break;
    case EPMD_EXPECT_EPMD_PORT: *e = read_epmd_port(m); break;
    default: *e = GS_EINVALID;
    }
    return (ssize_t)part;
}

int gsi_epmd_feed(struct gsi_epmd *m, const void *in, size_t n)
{
    const uint8_t *p = in;
    int e = m->state == EPMD_ANSWERED;
    while (n > 0 && e == 0) {
        ssize_t took;
        if (m->state == EPMD_EXPECT_LINE)
            took = feed_line(m, p, n);
        else
            took = feed_fields(m, p, n, &e);
        if (took < 0)
            return (int)took;
        p += took;
        n -= (size_t)took;
    }
    return e;
}

int gsi_epmd_end(struct gsi_epmd *m)
{
    if (m->state != EPMD_EXPECT_LINE || m->have > 0)
        return GS_ECLOSED;
    answered(m);
    return 0;
}
