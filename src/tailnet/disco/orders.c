/* orders.c: what is to be sent. Orders wait in a ring and are sealed when they are taken, with the keys of that moment. */
#include "tailnet/disco/path.h"

/* The peer's key changes seldom: X25519 once, then the shared secret is kept. */
const uint8_t *gsi_path_shared(struct paths *p, struct path *path)
{
    if (path->has_disco && !path->has_shared)
        path->has_disco = path->has_shared = gsi_box_key(path->shared, p->private, path->disco);
    return path->has_disco ? path->shared : NULL;
}

void gsi_paths_order(struct paths *p, const struct order *o)
{
    if (p->n_orders == ORDERS_MAX) {
        p->stats.full++;
        return;
    }
    p->orders[(p->first_order + p->n_orders++) & (ORDERS_MAX - 1)] = *o;
    o->path->n_orders++;
}

void gsi_paths_forget_orders(struct paths *p, struct path *path)
{
    for (size_t i = 0; path->n_orders && i < p->n_orders; i++) {
        struct order *o = &p->orders[(p->first_order + i) & (ORDERS_MAX - 1)];
        if (o->path == path) {
            o->path = NULL;
            path->n_orders--;
        }
    }
}

/* False: it is not to be sent any more. */
static bool write_order(struct paths *p, const struct order *o, struct disco_packet *out)
{
    const uint8_t *shared = gsi_path_shared(p, o->path);
    struct disco_message m = {.type = o->type, .seen = o->seen};
    if (!shared)
        return false;
    memcpy(m.txid, o->txid, sizeof m.txid);
    memcpy(m.node, p->node, sizeof m.node);
    if (o->type == DISCO_CALL_ME_MAYBE) {
        m.n = p->n_own;
        memcpy(m.endpoints, p->own, p->n_own * sizeof p->own[0]);
    }
    out->relay = o->relay;
    out->to = o->to;
    out->region = o->region;
    memcpy(out->node, o->path->node, sizeof out->node);
    out->n = gsi_disco_seal(out->bytes, p->public, shared, &m);
    return out->n != 0;
}

bool gsi_paths_output(struct paths *p, struct disco_packet *out)
{
    while (p->n_orders) {
        struct order o = p->orders[p->first_order];
        p->first_order = (p->first_order + 1) & (ORDERS_MAX - 1);
        p->n_orders--;
        if (!o.path)
            continue;
        o.path->n_orders--;
        if (!write_order(p, &o, out))
            continue;
        p->stats.pings += o.type == DISCO_PING;
        p->stats.pongs += o.type == DISCO_PONG;
        p->stats.calls += o.type == DISCO_CALL_ME_MAYBE;
        return true;
    }
    return false;
}
