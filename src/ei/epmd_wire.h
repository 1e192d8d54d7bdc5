/* epmd_wire.h: what is said to epmd, and what it answers. Sans-IO: bytes go in and out.
 *
 *     struct gsi_epmd m;
 *     gsi_epmd_expect_port(&m, "alive", &node);
 *     while ((e = gsi_epmd_feed(&m, in, n)) == 0)    more input is wanted
 *         …
 *
 * A request is a length of two bytes and a tag with its fields; answers have no length of their own. All numbers in network
 * order. (Erlang's documentation, ERTS, "Distribution Protocol", 14.1 to 14.4.)
 */
#ifndef GSI_EI_EPMD_WIRE_H
#define GSI_EI_EPMD_WIRE_H

#include "gensock/ei.h"

enum {
    EPMD_NAMES_REQ = 110,
    EPMD_ALIVE2_X_RESP = 118, /* a creation of 32 bits, for who says that its highest version is 6 or above */
    EPMD_PORT2_RESP = 119,
    EPMD_ALIVE2_REQ = 120,
    EPMD_ALIVE2_RESP = 121,
    EPMD_PORT_PLEASE2_REQ = 122,

    EPMD_NAME_CHARS = 255, /* of a name; each up to 4 bytes of UTF-8 */
    EPMD_REQUEST_MAX = 2 + 13 + GS_EPMD_NAME_MAX + GS_EPMD_EXTRA_MAX,
    EPMD_ANSWER_MAX = 14 + GS_EPMD_NAME_MAX + GS_EPMD_EXTRA_MAX,
    EPMD_LINE_MAX = 5 + GS_EPMD_NAME_MAX + 14, /* "name NAME at port 65535" and the end of the line */
    EPMD_LINES_MAX = 65536                     /* of one answer: no host has more ports */
};

/* Whether these bytes are a name that epmd knows to keep and a person can read: UTF-8 of 1 to 255 characters, none of them a
 * control. */
bool gsi_epmd_name_ok(const void *p, size_t n);

/* Requests; the bytes written. The names are good ones, and node's extra is no longer than it may be. */
size_t gsi_epmd_alive2(uint8_t out[EPMD_REQUEST_MAX], const gs_epmd_node *node);
size_t gsi_epmd_port_please2(uint8_t out[EPMD_REQUEST_MAX], const char *alive);
size_t gsi_epmd_names(uint8_t out[EPMD_REQUEST_MAX]);

/* One answer that is being read. */
struct gsi_epmd {
    enum { EPMD_EXPECT_ALIVE2_RESP, EPMD_EXPECT_PORT2_RESP, EPMD_EXPECT_EPMD_PORT, EPMD_EXPECT_LINE, EPMD_ANSWERED } state;
    size_t have, need;  /* bytes of in; need: until the next look at them */
    const char *alive;  /* borrowed, as what stands below */
    gs_epmd_node *node; /* where the answer goes when it is whole */
    size_t cap, n;      /* of node: room, and how many were told */
    size_t lines;
    uint32_t *creation;
    uint8_t in[EPMD_ANSWER_MAX];
};

void gsi_epmd_expect_creation(struct gsi_epmd *m, uint32_t *creation);
void gsi_epmd_expect_port(struct gsi_epmd *m, const char *alive, gs_epmd_node *out);
void gsi_epmd_expect_names(struct gsi_epmd *m, gs_epmd_node *out, size_t cap);

/* 0: more is wanted; 1: the answer is whole, what follows is not looked at (one of names ends with the connection). -EEXIST:
 * epmd refuses the name; GS_ENXDOMAIN: it knows none such; GS_EINVALID: this is no answer of an epmd; -EMSGSIZE: it never ends.
 * After an error nothing was written but names. */
GS_MUST_USE int gsi_epmd_feed(struct gsi_epmd *m, const void *in, size_t n);
/* The connection has ended: 0 when that ends the answer, or GS_ECLOSED. */
GS_MUST_USE int gsi_epmd_end(struct gsi_epmd *m);

#endif
