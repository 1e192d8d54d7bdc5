/* epmd.c: what epmd answers, or whoever stands in its place. The first byte chooses the question, the second how the answer is
 * cut. Cut in any way it means the same; what is told of a node is what a person can read and a program can use; what we would
 * ask is read back as it was meant.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ei/epmd_wire.h"

enum { NODES = 4, INPUT_MAX = 5000 };

struct told {
    int e;
    size_t n;
    uint32_t creation;
    gs_epmd_node node[NODES];
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void expect(struct gsi_epmd *m, unsigned question, struct told *t)
{
    memset(t, 0, sizeof *t);
    switch (question % 3) {
    case 0: gsi_epmd_expect_creation(m, &t->creation); break;
    case 1: gsi_epmd_expect_port(m, "node", t->node); break;
    default: gsi_epmd_expect_names(m, t->node, NODES);
    }
}

/* Each part in a block of its own, as long as it is. */
static int feed(struct gsi_epmd *m, const uint8_t *in, size_t n)
{
    uint8_t *part = malloc(n);
    if (!part)
        abort();
    if (n > 0)
        memcpy(part, in, n);
    int e = gsi_epmd_feed(m, part, n);
    free(part);
    return e;
}

/* Parts of 1 to `cut` bytes, or all at once. */
static void read_answer(unsigned question, const uint8_t *in, size_t n, unsigned cut, struct told *t)
{
    struct gsi_epmd m;
    expect(&m, question, t);
    int e = 0;
    for (size_t at = 0, k = 1, part; at < n && e == 0; at += part, k++) {
        part = cut == 0 ? n : 1 + k * 7 % cut;
        part = part < n - at ? part : n - at;
        e = feed(&m, in + at, part);
    }
    if (e == 0)
        e = gsi_epmd_end(&m);
    t->e = e < 0 ? e : 0;
    t->n = m.n;
}

static void check_told(const struct told *t, unsigned question)
{
    check(t->e == 0 || t->e == GS_EINVALID || t->e == GS_ECLOSED || t->e == GS_ENXDOMAIN || t->e == -EEXIST || t->e == -EMSGSIZE);
    for (size_t i = 0; i < t->n && i < NODES; i++) {
        const gs_epmd_node *node = &t->node[i];
        size_t n = strnlen(node->name, sizeof node->name);
        check(n < sizeof node->name && gsi_epmd_name_ok(node->name, n) && node->extra_len <= GS_EPMD_EXTRA_MAX);
    }
    check(question % 3 != 1 || t->e != 0 || (t->n == 1 && strcmp(t->node->name, "node") == 0));
}

/* A registration that is asked for with these bytes says them, and an epmd that tells it on is understood. */
static void check_round(const uint8_t *in, size_t n)
{
    gs_epmd_node node = {.port = 4369, .type = GS_EPMD_HIDDEN, .highest = 6, .lowest = 5};
    static uint8_t request[EPMD_REQUEST_MAX], answer[EPMD_ANSWER_MAX];
    size_t len = n > GS_EPMD_NAME_MAX ? GS_EPMD_NAME_MAX : n;
    if (!gsi_epmd_name_ok(in, len))
        return;
    memcpy(node.name, in, len);
    node.extra_len = (uint16_t)(n - len < GS_EPMD_EXTRA_MAX ? n - len : GS_EPMD_EXTRA_MAX);
    memcpy(node.extra, in + len, node.extra_len);
    size_t asked = gsi_epmd_alive2(request, &node);
    check(asked == 15 + len + node.extra_len && request[0] * 256U + request[1] + 2 == asked);

    answer[0] = EPMD_PORT2_RESP;
    answer[1] = 0;
    memcpy(answer + 2, request + 3, asked - 3);
    struct gsi_epmd m;
    gs_epmd_node again;
    gsi_epmd_expect_port(&m, node.name, &again);
    check(feed(&m, answer, asked - 1) == 1);
    check(again.port == node.port && again.extra_len == node.extra_len && memcmp(again.extra, node.extra, node.extra_len) == 0);
    check(again.type == node.type && again.highest == 6 && again.lowest == 5 && strcmp(again.name, node.name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    if (n < 2 || n > INPUT_MAX)
        return 0;
    static struct told whole, cut;
    read_answer(in[0], in + 2, n - 2, 0, &whole);
    read_answer(in[0], in + 2, n - 2, 1 + in[1], &cut);
    check(memcmp(&whole, &cut, sizeof whole) == 0);
    check_told(&whole, in[0]);
    check_round(in + 2, n - 2);
    return 0;
}
