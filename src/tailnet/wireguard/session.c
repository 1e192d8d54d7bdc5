/* session.c: a peer's key pairs. tailnet-protocol.md 8.4.
 *
 *   next      ours as a responder: nothing is sent with it before the initiator's first packet has confirmed it
 *   current   what packets are sealed with
 *   previous  the current one before, for what is still under way
 */
#include <openssl/crypto.h>

#include "tailnet/wireguard/peer.h"

bool gsi_session_alive(const struct keypair *k, uint64_t now_ns) { return k && now_ns < k->born_ns + REJECT_AFTER_TIME; }

static void pair_free(struct keypair *k)
{
    gsi_aead_free(k->seal);
    gsi_aead_free(k->open);
    OPENSSL_clear_free(k, sizeof *k);
}

struct keypair *gsi_session_new(const struct noise_keys *keys, uint32_t local, bool initiator, uint64_t now_ns)
{
    struct keypair *k = OPENSSL_zalloc(sizeof *k);
    if (!k)
        return NULL;
    k->seal = gsi_aead_new(keys->send);
    k->open = gsi_aead_new(keys->receive);
    k->born_ns = now_ns;
    k->local = local;
    k->remote = keys->index;
    k->initiator = initiator;
    if (k->seal && k->open)
        return k;
    pair_free(k);
    return NULL;
}

void gsi_session_free(struct wg_peer *p, struct keypair *k)
{
    if (!k)
        return;
    gsi_index_give(&p->w->indexes, k->local);
    pair_free(k);
}

static void replace(struct wg_peer *p, struct keypair **place, struct keypair *by)
{
    gsi_session_free(p, *place);
    *place = by;
}

void gsi_session_install(struct wg_peer *p, struct keypair *k)
{
    if (!k->initiator) {
        replace(p, &p->next, k);
        return;
    }
    replace(p, &p->previous, p->current);
    p->current = k;
}

/* When both sides began at once, both handshakes come to an end, and each side has one pair as initiator and one as responder.
 * An older next than the current does not take its place, so that they do not swap for ever, but its packets are read. */
bool gsi_session_confirm(struct wg_peer *p, struct keypair *k)
{
    if (k != p->next)
        return false;
    p->next = NULL;
    if (p->current && p->current->born_ns > k->born_ns) {
        replace(p, &p->previous, k);
        return false;
    }
    replace(p, &p->previous, p->current);
    p->current = k;
    return true;
}

uint64_t gsi_session_expire(struct wg_peer *p, uint64_t now_ns)
{
    struct keypair **const pairs[] = {&p->next, &p->current, &p->previous};
    uint64_t soonest = NEVER;
    for (int i = 0; i < 3; i++) {
        struct keypair *k = *pairs[i];
        if (k && !gsi_session_alive(k, now_ns))
            replace(p, pairs[i], NULL);
        else if (k && k->born_ns + REJECT_AFTER_TIME < soonest)
            soonest = k->born_ns + REJECT_AFTER_TIME;
    }
    return soonest;
}

void gsi_session_forget(struct wg_peer *p)
{
    if (p->initiation_pending)
        gsi_index_give(&p->w->indexes, p->initiation_index);
    p->initiation_pending = false;
    gsi_wipe(&p->initiation, sizeof p->initiation);
}

void gsi_session_wipe_all(struct wg_peer *p)
{
    gsi_session_forget(p);
    replace(p, &p->next, NULL);
    replace(p, &p->current, NULL);
    replace(p, &p->previous, NULL);
}
