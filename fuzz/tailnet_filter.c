/* Rules and packets from one input. Lines are rules, "source destination first last protocol", until an empty one; behind it come
 * packets, each with its length in a byte. A packet passes all rules together when it passes one of them alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tailnet/filter/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

enum { RULES_MAX = 4, OWN = 2 };

struct rule_text {
    struct filter_text source;
    struct filter_destination destination;
    int64_t protocol;
    bool grant;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool has(void *arg, const struct ip *src, const char *name)
{
    (void)arg;
    return (src->b[IP_LEN - 1] ^ name[0]) & 1;
}

/* The next word of the line. */
static struct filter_text word(const uint8_t **at, const uint8_t *end)
{
    while (*at < end && **at == ' ')
        ++*at;
    const uint8_t *from = *at;
    while (*at < end && **at != ' ')
        ++*at;
    return (struct filter_text){(const char *)from, (size_t)(*at - from)};
}

static unsigned number(struct filter_text t)
{
    unsigned v = 0;
    for (size_t i = 0; i < t.n; i++)
        v = v * 10 + ((unsigned)(uint8_t)t.p[i] - '0');
    return v;
}

static struct rule_text read_rule(const uint8_t *at, const uint8_t *end)
{
    struct rule_text r = {.source = word(&at, end)};
    r.destination.ip = word(&at, end);
    r.destination.first = (uint16_t)number(word(&at, end));
    struct filter_text last = word(&at, end), protocol = word(&at, end);
    r.destination.last = last.n ? (uint16_t)number(last) : FILTER_PORT_LAST;
    r.protocol = protocol.n ? (int64_t)number(protocol) : -1;
    r.grant = at < end;
    return r;
}

static struct rules *compile(const struct rule_text *text, size_t n)
{
    static const uint8_t v4[] = {100, 64, 0, 1};
    const struct prefix own[OWN] = {{gsi_ip_of_v4(v4), PREFIX_BITS}, {{{0xfd}}, 8}};
    struct filter_rule rules[RULES_MAX] = {{0}};
    struct filter_capability capability[RULES_MAX];
    struct filter_grant grants[RULES_MAX];
    struct rules *out = NULL;
    for (size_t i = 0; i < n; i++) {
        capability[i] = (struct filter_capability){text[i].destination.ip, &text[i].source, i % 2};
        grants[i] = (struct filter_grant){&text[i].destination.ip, 1, &capability[i], 1};
        rules[i] = (struct filter_rule){.sources = &text[i].source, .n_sources = 1, .destinations = &text[i].destination,
            .n_destinations = 1, .protocols = &text[i].protocol, .n_protocols = text[i].protocol >= 0, .grants = &grants[i],
            .n_grants = text[i].grant};
    }
    struct filter_list list = {rules, n};
    if (gsi_rules_compile(own, OWN, &list, 1, &out, NULL) < 0)
        return NULL;
    return out;
}

/* A filter for each rule, kept for the inputs to come. */
static struct filter *alone[RULES_MAX];

static bool passes_alone(size_t n, const uint8_t *in, size_t len)
{
    struct packet p;
    for (size_t i = 0; i < n; i++)
        if (gsi_filter_in(alone[i], in, len, 0, &p) == PASS_RULE)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    struct rule_text text[RULES_MAX];
    struct filter *f = NULL;
    size_t rules = 0;
    const uint8_t *end = in + n;
    while (in < end && *in != '\n') {
        const uint8_t *stop = memchr(in, '\n', (size_t)(end - in));
        stop = stop ? stop : end;
        if (rules < RULES_MAX)
            text[rules++] = read_rule(in, stop);
        in = stop < end ? stop + 1 : end;
    }
    if (gsi_filter_new(&f, has, NULL) < 0)
        return 0;
    gsi_filter_use(f, compile(text, rules));
    for (size_t i = 0; i < rules; i++) {
        if (!alone[i])
            must(gsi_filter_new(&alone[i], has, NULL) == 0);
        gsi_filter_use(alone[i], compile(&text[i], 1));
    }
    if (in < end)
        in++;
    for (int packets = 0; in < end && packets < 8; packets++) {
        struct packet p;
        size_t len = *in++;
        len = len < (size_t)(end - in) ? len : (size_t)(end - in);
        enum verdict v = gsi_filter_in(f, in, len, packets % 4 == 3 ? FILTER_JAILED : 0, &p);
        enum verdict lone = gsi_filter_in(f, in, len, FILTER_JAILED, &p);
        must(v < VERDICTS && v != PASS_OUT && v != DROP_SHIELDS_UP && (v == PASS_KEEPALIVE) == (len == 0));
        must(lone == (v == PASS_RULE || v == DROP_NO_RULE ? DROP_JAILED : v));
        if (packets % 4 != 3 && (v == PASS_RULE || v == DROP_NO_RULE))
            must((v == PASS_RULE) == passes_alone(rules, in, len));
        if (v == PASS_RULE && (p.protocol == PROTOCOL_UDP || p.protocol == PROTOCOL_SCTP)) {
            struct packet answer = p;
            answer.src = p.dst, answer.dst = p.src, answer.src_port = p.dst_port, answer.dst_port = p.src_port;
            if (gsi_filter_out(f, &answer) == PASS_OUT)
                must(gsi_filter_in(f, in, len, FILTER_JAILED, &p) == PASS_REPLY);
        }
        struct filter_text name, value;
        size_t grants = 0;
        for (size_t at = 0; len && gsi_filter_capability(f, &p.src, &p.dst, &at, &name, &value); grants++)
            must(name.p != NULL);
        must(grants <= RULES_MAX * 2);
        in += len;
    }
    gsi_filter_free(f);
    return 0;
}
