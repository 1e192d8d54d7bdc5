/* filter.c: the decision (filter.h; tailnet-protocol.md section 9, whose numbers stand at the steps of gsi_filter_in). */
#include "tailnet/filter/filter.h"

#include <errno.h>
#include <openssl/crypto.h>

#include "tailnet/crypto/crypto.h"
#include "tailnet/filter/rules.h"

struct filter {
    struct rules *rules;
    filter_peer_has *has;
    void *arg;
    bool shields_up;
    struct flows flows;
};

int gsi_filter_new(struct filter **out, filter_peer_has *has, void *arg)
{
    struct filter *f = OPENSSL_zalloc(sizeof *f);
    if (!f)
        return -ENOMEM;
    f->has = has;
    f->arg = arg;
    gsi_random(&f->flows.seed, sizeof f->flows.seed);
    *out = f;
    return 0;
}

void gsi_filter_free(struct filter *f)
{
    if (f)
        gsi_rules_free(f->rules);
    OPENSSL_free(f);
}

void gsi_filter_use(struct filter *f, struct rules *r)
{
    if (f->rules != r)
        gsi_rules_free(f->rules);
    f->rules = r;
}

void gsi_filter_set_shields_up(struct filter *f, bool up) { f->shields_up = up; }

const char *gsi_verdict_text(enum verdict v)
{
    static const char *const texts[VERDICTS] = {
        [PASS_KEEPALIVE] = "keep-alive",
        [PASS_RULE] = "a rule allows it",
        [PASS_TCP] = "TCP, but no SYN",
        [PASS_REPLY] = "answers a flow of ours",
        [PASS_ICMP_REPLY] = "ICMP reply or error",
        [PASS_FRAGMENT] = "later fragment",
        [PASS_TSMP] = "TSMP",
        [PASS_OUT] = "sent by us",
        [DROP_NO_RULES] = "no packet filter was received yet",
        [DROP_MALFORMED] = "malformed",
        [DROP_MULTICAST] = "to a multicast address",
        [DROP_LINK_LOCAL] = "to a link-local address",
        [DROP_NOT_OURS] = "not to an address of ours",
        [DROP_SHIELDS_UP] = "shields are up",
        [DROP_JAILED] = "the peer is jailed",
        [DROP_NO_RULE] = "no rule allows it",
    };
    return (unsigned)v < VERDICTS ? texts[v] : "";
}

uint8_t gsi_verdict_reject(enum verdict v, const struct packet *p)
{
    if (p->version != 4 || !gsi_packet_is_syn(p))
        return 0;
    if (v == DROP_SHIELDS_UP)
        return TSMP_SHIELDS_UP;
    return v == DROP_NO_RULE || v == DROP_JAILED ? TSMP_ACL : 0;
}

/* ---- searching ---- */

static const uint64_t *set_of(const struct rules *r, uint32_t set) { return r->sets + set * r->words; }

/* The last place that begins at or before the key. */
static const struct place *find(const struct place *places, uint32_t n, const struct key *key)
{
    while (n > 1) {
        uint32_t half = n / 2;
        bool behind = !key_before(key, &places[half].from);
        places += behind ? half : 0;
        n = behind ? n - half : half;
    }
    return places;
}

static const struct own_place *find_own(const struct rules *r, const struct ip *ip)
{
    struct key key = gsi_filter_key(ip);
    const struct own_place *places = r->owns;
    for (uint32_t n = r->n_owns; n > 1;) {
        uint32_t half = n / 2;
        bool behind = !key_before(&key, &places[half].from);
        places += behind ? half : 0;
        n = behind ? n - half : half;
    }
    return places;
}

static const uint64_t *source_set(const struct rules *r, const struct ip *src)
{
    struct key key = gsi_filter_key(src);
    return set_of(r, find(r->sources, r->n_sources, &key)->set);
}

static bool share(const uint64_t *a, const uint64_t *b, const uint64_t *c, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (a[i] & b[i] & c[i])
            return true;
    return false;
}

/* Is there a rule for this protocol set and this destination set that allows the source? */
static bool allowed(const struct filter *f, const struct packet *p, uint32_t protocol, uint32_t destination)
{
    const struct rules *r = f->rules;
    const uint64_t *protocols = set_of(r, protocol), *destinations = set_of(r, destination);
    if (!protocol || !destination)
        return false;
    if (share(source_set(r, &p->src), destinations, protocols, r->words))
        return true;
    for (uint32_t i = 0; f->has && i < r->n_capabilities; i++) {
        const struct source_capability *c = &r->capabilities[i];
        if (share(set_of(r, c->set), destinations, protocols, r->words) && f->has(f->arg, &p->src, r->text + c->name))
            return true;
    }
    return false;
}

static uint32_t port_set(const struct rules *r, const struct own_place *o, uint16_t port)
{
    return find(r->ports + o->ports, o->n_ports, &(struct key){0, port})->set;
}

/* ---- deciding ---- */

static enum verdict judge_destination(const struct packet *p)
{
    static const uint8_t metadata[] = {169, 254, 169, 254}; /* of clouds, behind who advertises it */
    struct ip allowed_link_local = gsi_ip_of_v4(metadata);
    if (gsi_ip_is_multicast(&p->dst))
        return DROP_MULTICAST;
    if (gsi_ip_is_link_local(&p->dst) && !gsi_ip_equal(&p->dst, &allowed_link_local))
        return DROP_LINK_LOCAL;
    return PASS_OUT;
}

/* What passes without a rule; else DROP_NO_RULE. */
static enum verdict judge_answer(struct filter *f, const struct packet *p)
{
    if (p->later_fragment)
        return PASS_FRAGMENT;
    if (gsi_packet_is_icmp_error(p) || gsi_packet_is_echo_reply(p))
        return PASS_ICMP_REPLY;
    if (p->protocol == PROTOCOL_TCP && !gsi_packet_is_syn(p))
        return PASS_TCP;
    if ((p->protocol == PROTOCOL_UDP || p->protocol == PROTOCOL_SCTP) && gsi_flows_answer(&f->flows, p))
        return PASS_REPLY;
    return p->protocol == PROTOCOL_TSMP ? PASS_TSMP : DROP_NO_RULE;
}

static bool allowed_by_rule(const struct filter *f, const struct packet *p, const struct own_place *o)
{
    const struct rules *r = f->rules;
    if (gsi_packet_is_icmp(p))
        return allowed(f, p, r->all, o->any);
    if (p->protocol == PROTOCOL_TCP || p->protocol == PROTOCOL_UDP || p->protocol == PROTOCOL_SCTP)
        return allowed(f, p, r->protocols[p->protocol], port_set(r, o, p->dst_port));
    return allowed(f, p, r->protocols[p->protocol], o->full);
}

enum verdict gsi_filter_in(struct filter *f, const uint8_t *in, size_t n, unsigned flags, struct packet *p)
{
    int e = gsi_packet_parse(in, n, p);
    /* 1. empty; unparsable; multicast and link-local. Its later fragments wait for 2: what is not ours is never delivered */
    if (!n)
        return PASS_KEEPALIVE;
    if (!f->rules)
        return DROP_NO_RULES;
    if (e < 0)
        return DROP_MALFORMED;
    enum verdict v = judge_destination(p);
    if (v != PASS_OUT)
        return v;
    /* 2. destination */
    const struct own_place *o = find_own(f->rules, &p->dst);
    if (!o->own)
        return DROP_NOT_OURS;
    /* 3. - 6. what passes without a rule */
    v = judge_answer(f, p);
    if (v != DROP_NO_RULE)
        return v;
    if (flags & FILTER_JAILED)
        return DROP_JAILED;
    if (f->shields_up)
        return DROP_SHIELDS_UP;
    /* 3. - 7. what does not */
    return allowed_by_rule(f, p, o) ? PASS_RULE : DROP_NO_RULE;
}

enum verdict gsi_filter_out(struct filter *f, const struct packet *p)
{
    enum verdict v = judge_destination(p);
    if (v == PASS_OUT && !p->later_fragment && (p->protocol == PROTOCOL_UDP || p->protocol == PROTOCOL_SCTP))
        gsi_flows_add(&f->flows, p);
    return v;
}

bool gsi_filter_capability(const struct filter *f, const struct ip *src, const struct ip *own, size_t *at,
                           struct filter_text *name, struct filter_text *value)
{
    const struct rules *r = f->rules;
    if (!r || f->shields_up)
        return false;
    const uint64_t *from = source_set(r, src);
    struct key to = gsi_filter_key(own);
    while (*at < r->n_grants) {
        const struct granted *g = &r->grants[(*at)++];
        if (!(from[g->rule / FILTER_WORD_BITS] >> g->rule % FILTER_WORD_BITS & 1) || key_before(&to, &g->own.first) ||
            key_before(&g->own.last, &to))
            continue;
        *name = (struct filter_text){r->text + g->name, g->name_len};
        *value = g->has_value ? (struct filter_text){r->text + g->value, g->value_len} : (struct filter_text){0};
        return true;
    }
    return false;
}
