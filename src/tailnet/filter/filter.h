/* filter.h: which packets of other nodes come in (tailnet-protocol.md section 9). The receiver enforces it, after decryption and
 * the check of the source against AllowedIPs. Without rules nothing passes.
 *
 *     struct rules *rules;
 *     if (gsi_rules_compile(own, n_own, lists, n_lists, &rules, NULL) == 0)
 *         gsi_filter_use(f, rules);                     … an error: rules of no lists, which allow nothing
 *
 *     enum verdict v = gsi_filter_in(f, in, n, 0, &p);  … per packet
 *     counts[v]++;
 *     if (gsi_verdict_passes(v) && n)                   … n = 0 is a keep-alive
 *         deliver(in, p.length);
 *     else if ((reason = gsi_verdict_reject(v, &p)))
 *         n = gsi_tsmp_reject(out, &p, reason);         … back to p.src
 *
 * Rules say what is allowed and their order means nothing, so they are compiled to sets of rules by source address, by own
 * address and port, and by protocol: a packet passes when its sets share a rule. One search per set, however many rules there
 * are.
 *
 * struct rules does not change once compiled, and may be compiled by another thread. struct filter is one thread's.
 */
#ifndef GSI_TAILNET_FILTER_H
#define GSI_TAILNET_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"
#include "tailnet/endpoint/endpoint.h"
#include "tailnet/packet/packet.h"

enum {
    FILTER_FLOWS = 512, /* outbound UDP and SCTP flows whose answers pass; the least recently used goes */
    FILTER_OWN_MAX = 1024,
    FILTER_RULES_MAX = 16384,             /* that concern own addresses */
    FILTER_SOURCES_MAX = 1 << 19,         /* address ranges of all their sources */
    FILTER_DESTINATIONS_MAX = 1 << 17,    /* likewise */
    FILTER_SETS_MAX = 32 << 20,           /* bytes of all sets of rules */
    FILTER_SOURCE_CAPABILITIES_MAX = 256, /* names behind "cap:" */
    FILTER_GRANTS_MAX = 1 << 17,          /* capabilities by own address and value */
    FILTER_TEXT_MAX = 8 << 20,            /* bytes of their names and values */
    FILTER_PORT_LAST = 65535,
};

/* ---- rules as control sends them (tailcfg.FilterRule); all borrowed while gsi_rules_compile runs ---- */

struct filter_text {
    const char *p;
    size_t n; /* no 0 needed */
};

/* DstPorts */
struct filter_destination {
    struct filter_text ip; /* "*", address, CIDR, "a-b" */
    uint16_t first, last;  /* both included; "*" is 0 - FILTER_PORT_LAST */
};

/* An item of Caps (no values) or a member of CapMap. */
struct filter_capability {
    struct filter_text name;
    const struct filter_text *values; /* each the JSON text of one value */
    size_t n_values;
};

/* CapGrant */
struct filter_grant {
    const struct filter_text *destinations; /* Dsts: CIDRs */
    size_t n_destinations;
    const struct filter_capability *capabilities;
    size_t n_capabilities;
};

struct filter_rule {
    const struct filter_text *sources; /* SrcIPs: "*", address, CIDR, "a-b", "cap:NAME" */
    size_t n_sources;
    const struct filter_destination *destinations;
    size_t n_destinations;
    const int64_t *protocols; /* IPProto; none: TCP, UDP, ICMP, ICMPv6. What is outside 0 - 255 is ignored */
    size_t n_protocols;
    const struct filter_grant *grants;
    size_t n_grants;
    bool has_bits; /* SrcBits is not empty, or Bits is not null in a destination: the old form, which is refused */
};

/* One list of rules: PacketFilter, or a member of PacketFilters. */
struct filter_list {
    const struct filter_rule *rules;
    size_t n;
};

/* ---- compiled ---- */

struct rules;

/* own: our addresses, and the routes that we advertise; nothing else is ever delivered. *skipped (or NULL) counts entries that
 * are not understood: each is skipped, its rule stays with the others. 0; GS_EINVALID: the old form; GS_ESYSLIMIT: beyond a
 * maximum above; -ENOMEM. After an error there is no *out. No lists, or empty ones, are rules that allow nothing. */
GS_MUST_USE int gsi_rules_compile(const struct prefix *own, size_t n_own, const struct filter_list *lists, size_t n_lists,
                                  struct rules **out, size_t *skipped);
void gsi_rules_free(struct rules *r);
/* Bytes held. */
size_t gsi_rules_size(const struct rules *r);

/* ---- the filter ---- */

enum verdict {
    PASS_KEEPALIVE, /* n = 0 */
    PASS_RULE,
    PASS_TCP,        /* not a SYN: the stack knows its connections */
    PASS_REPLY,      /* UDP or SCTP that answers one of our flows */
    PASS_ICMP_REPLY, /* echo reply, or an error */
    PASS_FRAGMENT,   /* a later one */
    PASS_TSMP,       /* for gsi_tsmp_parse, never for the stack */
    PASS_OUT,
    DROP_NO_RULES, /* none were given yet */
    DROP_MALFORMED,
    DROP_MULTICAST,
    DROP_LINK_LOCAL,
    DROP_NOT_OURS, /* the destination */
    DROP_SHIELDS_UP,
    DROP_JAILED,
    DROP_NO_RULE, /* that would allow it */
    VERDICTS,
};

static inline bool gsi_verdict_passes(enum verdict v) { return v < DROP_NO_RULES; }
/* "no rule allows it" */
const char *gsi_verdict_text(enum verdict v);
/* The reason to be told to the sender of this packet by gsi_tsmp_reject, or 0: silence. Only IPv4 SYNs are answered, as by Go. */
uint8_t gsi_verdict_reject(enum verdict v, const struct packet *p);

enum { FILTER_JAILED = 1 /* the packet is of a peer that is jailed, or unsigned, or expired: only answers come in */ };

/* Does the node whose address this is have this capability in its CapMap? Asked for "cap:NAME" alone, when nothing else allows
 * the packet. */
typedef bool filter_peer_has(void *arg, const struct ip *src, const char *capability);

struct filter;

/* -ENOMEM. has may be NULL: no node has any. */
GS_MUST_USE int gsi_filter_new(struct filter **out, filter_peer_has *has, void *arg);
void gsi_filter_free(struct filter *f);

/* Takes r and frees what was in force; flows stay. NULL: from now on nothing passes. */
void gsi_filter_use(struct filter *f, struct rules *r);
/* No rule and no capability counts: only answers come in. */
void gsi_filter_set_shields_up(struct filter *f, bool up);

/* Parses and judges what a peer sent; *p is the packet (all zero when malformed, or n = 0). in is not changed. */
enum verdict gsi_filter_in(struct filter *f, const uint8_t *in, size_t n, unsigned flags, struct packet *p);
/* Judges what we send, and remembers its flow. Every packet of ours goes through here, else no answer comes in. */
enum verdict gsi_filter_out(struct filter *f, const struct packet *p);

/* What src may do on this node by CapGrants, for whois; own is our address of the same family. *at is 0 at first. A name comes
 * once for each value; value.p NULL: without one. Borrowed until gsi_filter_use or gsi_filter_free. False: no more. */
GS_MUST_USE bool gsi_filter_capability(const struct filter *f, const struct ip *src, const struct ip *own, size_t *at,
                                       struct filter_text *name, struct filter_text *value);

#endif
