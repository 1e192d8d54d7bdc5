/* netmap.c: an update goes into the map, whole or not at all, and what changed is told. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "tailnet/netmap/parts.h"

enum {
    CLOCK_SLACK_S = 60,                /* less is the way's delay */
    CLOCK_SANE_S = 1673373066,         /* testcontrol always says 2020 */
};

struct netmap *gsi_netmap_new(void)
{
    struct netmap *m = OPENSSL_zalloc(sizeof *m);
    if (!m)
        return NULL;
    gsi_random(&m->seed, sizeof m->seed);
    m->fresh = true;
    return m;
}

/* The events are over, and with them what they show of before. */
static void end_events(struct netmap *m)
{
    for (size_t i = m->change_at ? m->change_at - 1 : 0; i < m->changes_n; i++)
        OPENSSL_free(m->changes[i].before);
    OPENSSL_free(m->changes);
    OPENSSL_free(m->self_before);
    gsi_map_update_free(m->last);
    m->changes = NULL;
    m->changes_n = m->change_at = 0;
    m->self_before = NULL;
    m->last = NULL;
    m->pending = 0;
}

void gsi_netmap_free(struct netmap *m)
{
    if (!m)
        return;
    end_events(m);
    for (uint32_t i = 0; i < m->nodes_n; i++)
        OPENSSL_free(m->nodes[i]);
    for (size_t i = 0; i < m->users_n; i++)
        OPENSSL_free(m->users[i]);
    struct config *configs[] = {m->derp, m->scores, m->dns, m->health, m->domain, m->browsed};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        gsi_config_free(configs[i]);
    gsi_named_list_free(&m->filters, true);
    gsi_named_list_free(&m->messages, true);
    OPENSSL_free(m->self);
    OPENSSL_free(m->nodes);
    OPENSSL_free(m->holes);
    OPENSSL_free(m->users);
    OPENSSL_free(m->index.slots);
    OPENSSL_free(m);
}

void gsi_netmap_start(struct netmap *m) { m->fresh = true; }

/* ---- users: merged by ID ---- */

struct users {
    struct map_user **of; /* n that stay, and behind them lost that are replaced */
    size_t n, lost;
};

struct place {
    struct map_user *user;
    size_t order;
};

static int by_id(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->user->id != y->user->id)
        return x->user->id < y->user->id ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static int merge_users(const struct netmap *m, const struct map_update *u, struct users *out)
{
    size_t n = m->users_n + u->users_n;
    if (!u->users_n)
        return 0;
    struct place *all = OPENSSL_malloc(n * sizeof *all);
    out->of = OPENSSL_malloc(n * sizeof(struct map_user *));
    if (!all || !out->of) {
        OPENSSL_free(all);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        all[i] = (struct place){i < m->users_n ? m->users[i] : u->users[i - m->users_n], i};
    qsort(all, n, sizeof *all, by_id);
    for (size_t i = 0; i < n; i++)
        if (i + 1 < n && all[i].user->id == all[i + 1].user->id)
            out->of[n - ++out->lost] = all[i].user;
        else
            out->of[out->n++] = all[i].user;
    OPENSSL_free(all);
    return out->n > MAP_USERS_MAX ? GS_EINVALID : 0;
}

static void commit_users(struct netmap *m, struct map_update *u, struct users *users)
{
    if (!users->of)
        return;
    for (size_t i = 0; i < users->lost; i++)
        OPENSSL_free(users->of[users->n + i]);
    OPENSSL_free(m->users);
    m->users = users->of;
    m->users_n = users->n;
    users->of = NULL;
    u->users_n = 0;
}

/* ---- the filter against unsigned peers ---- */

static bool lets_unsigned_in(const struct netmap *m)
{
    size_t left = m->unsigned_n;
    for (size_t at = 0; left;) {
        const struct map_node *peer = gsi_netmap_each(m, &at);
        if (!peer)
            break;
        if (!peer->unsigned_peer_api_only)
            continue;
        left--;
        for (size_t i = 0; i < m->filters.n; i++)
            for (size_t k = 0; k < m->filters.of[i]->list.n; k++) {
                const struct filter_rule *r = &m->filters.of[i]->list.rules[k];
                if (r->n_destinations && gsi_rule_overlaps(r, peer))
                    return true;
            }
    }
    return false;
}

/* ---- apply ---- */

struct plan {
    struct stage peers;
    struct users users;
    struct named_list filters, messages;
    bool has_filters, has_messages;
};

static int make_plan(struct netmap *m, struct map_update *u, int64_t wall_s, struct plan *p, const char **why)
{
    static const struct named_ops none;
    if (m->fresh && !u->self) {
        *why = "the first message of a stream lacks Node";
        return GS_EINVALID;
    }
    p->peers = (struct stage){.from_empty = m->fresh || u->has_peers, .self = u->self ? u->self : m->self};
    p->has_filters = m->fresh || u->filter || u->filters.given;
    p->has_messages = m->fresh || u->messages.given;
    int e = gsi_stage_peers(m, u, wall_s, &p->peers, why);
    if (e == 0 && p->has_filters)
        e = gsi_named_merge(&m->filters, m->fresh, u->filter, &u->filters, &p->filters);
    if (e == 0 && p->has_messages)
        e = gsi_named_merge(&m->messages, m->fresh, NULL, u->messages.given ? &u->messages : &none, &p->messages);
    if (e == 0)
        e = merge_users(m, u, &p->users);
    return e;
}

static void drop_plan(struct plan *p)
{
    gsi_stage_free(&p->peers);
    OPENSSL_free(p->filters.of);
    OPENSSL_free(p->messages.of);
    OPENSSL_free(p->users.of);
}

/* The entries that are in made leave the update, those that are not in it leave the map. */
static void commit_named(struct named_list *list, struct named_list *made, struct named **first, struct named_ops *ops)
{
    gsi_named_list_free(list, false);
    *list = *made;
    *made = (struct named_list){0};
    if (*first && (*first)->taken)
        *first = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < ops->set.n; i++)
        if (!ops->set.of[i]->taken)
            ops->set.of[kept++] = ops->set.of[i];
    ops->set.n = kept;
}

static void tell(struct netmap *m, enum map_event_kind kind) { m->pending |= 1u << kind; }

/* Takes *with, if there is one, or clears for a new stream. */
static void commit_config(struct netmap *m, struct config **of, struct config **with, bool clear, enum map_event_kind kind)
{
    if (!*with && (!clear || !*of))
        return;
    gsi_config_free(*of);
    *of = *with;
    *with = NULL;
    tell(m, kind);
}

static void commit_self(struct netmap *m, struct map_update *u)
{
    if (!u->self)
        return;
    if (m->self && !gsi_node_diff(m->self, u->self))
        return;
    m->self_before = m->self;
    m->self = u->self;
    u->self = NULL;
    tell(m, MAP_SELF);
}

static void commit(struct netmap *m, struct map_update *u, struct plan *p)
{
    struct named *no_first = NULL;
    bool fresh = m->fresh;
    commit_self(m, u);
    gsi_stage_commit(m, &p->peers);
    if (m->changes_n)
        tell(m, MAP_PEER);
    if (p->has_filters) {
        commit_named(&m->filters, &p->filters, &u->filter, &u->filters);
        m->has_filter = (m->has_filter && !fresh) || u->filters.given || m->filters.n;
        tell(m, MAP_FILTER);
    }
    bool discarded = lets_unsigned_in(m);
    if (discarded != m->filter_discarded)
        tell(m, MAP_FILTER);
    m->filter_discarded = discarded;
    if (p->has_messages) {
        commit_named(&m->messages, &p->messages, &no_first, &u->messages);
        tell(m, MAP_HEALTH);
    }
    commit_users(m, u, &p->users);
    commit_config(m, &m->derp, &u->derp, false, MAP_DERP);
    commit_config(m, &m->scores, &u->scores, false, MAP_DERP);
    commit_config(m, &m->dns, &u->dns, fresh, MAP_DNS);
    commit_config(m, &m->domain, &u->domain, fresh, MAP_DNS);
    commit_config(m, &m->health, &u->health, fresh, MAP_HEALTH);
    bool locked = u->has_lock ? u->lock : m->locked && !fresh;
    if (locked != m->locked)
        tell(m, MAP_TAILNET_LOCK);
    m->locked = locked;
    m->fresh = false;
}

/* What a keep-alive may bring as well. */
static void take_signals(struct netmap *m, struct map_update *u, int64_t wall_s)
{
    if (u->control_time.s >= CLOCK_SANE_S) {
        int64_t ahead = u->control_time.s - wall_s;
        m->clock_ahead_s = ahead > CLOCK_SLACK_S || ahead < -CLOCK_SLACK_S ? ahead : 0;
    }
    if (u->has_ping)
        tell(m, MAP_PING);
    if (u->browse && !(m->browsed && strcmp(m->browsed->u.text, u->browse->u.text) == 0)) {
        gsi_config_free(m->browsed);
        m->browsed = u->browse;
        u->browse = NULL;
        tell(m, MAP_BROWSE);
    }
    if (u->sleep_s > 0)
        tell(m, MAP_SLEEP);
    if (u->session || u->seq)
        tell(m, MAP_SESSION);
    m->last = u;
}

int gsi_netmap_apply(struct netmap *m, struct map_update *u, int64_t wall_s, struct map_error *why)
{
    struct plan p = {0};
    *why = (struct map_error){.why = "a part of the map is too long"};
    end_events(m);
    if (!u->keep_alive) {
        int e = make_plan(m, u, wall_s, &p, &why->why);
        if (e < 0) {
            drop_plan(&p);
            gsi_map_update_free(u);
            if (e == -ENOMEM)
                why->why = "no memory";
            return e;
        }
        commit(m, u, &p);
    }
    take_signals(m, u, wall_s);
    why->why = "";
    return 0;
}

/* ---- events ---- */

static bool next_peer(struct netmap *m, struct map_event *out)
{
    if (m->change_at) {
        OPENSSL_free(m->changes[m->change_at - 1].before);
        m->changes[m->change_at - 1].before = NULL;
    }
    if (m->change_at == m->changes_n)
        return false;
    const struct change *c = &m->changes[m->change_at++];
    *out = (struct map_event){.kind = MAP_PEER, .changed = c->changed, .before = c->before, .after = c->after};
    return true;
}

bool gsi_netmap_next(struct netmap *m, struct map_event *out)
{
    while (m->pending) {
        enum map_event_kind kind = (enum map_event_kind)__builtin_ctz(m->pending);
        const struct map_update *u = m->last;
        if (kind == MAP_PEER && next_peer(m, out))
            return true;
        m->pending &= ~(1u << kind);
        if (kind == MAP_PEER)
            continue;
        *out = (struct map_event){.kind = kind, .text = "", .types = ""};
        if (kind == MAP_SELF) {
            out->before = m->self_before;
            out->after = m->self;
            out->changed = m->self_before ? gsi_node_diff(m->self_before, m->self) : MAP_CHANGED_ALL;
        } else if (kind == MAP_PING) {
            out->text = u->ping_url ? u->ping_url->u.text : "";
            out->types = u->ping_types ? u->ping_types->u.text : "";
            out->noise = u->ping_noise;
        } else if (kind == MAP_BROWSE)
            out->text = m->browsed->u.text;
        else if (kind == MAP_SLEEP)
            out->seconds = u->sleep_s;
        else if (kind == MAP_SESSION) {
            out->text = u->session ? u->session->u.text : "";
            out->seq = u->seq;
        }
        return true;
    }
    end_events(m);
    return false;
}
