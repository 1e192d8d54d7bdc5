/* registry.c: which sockets there are, and what is known of each. The id table is the registry: a registered socket is
 * one with a flag. */
#include <netinet/in.h>

#include "socket/socket.h"

static _Atomic size_t registered;
static _Atomic bool use_registry = true;

void gsi_registry_count(int change)
{
    atomic_fetch_add_explicit(&registered, (size_t)change, memory_order_relaxed); /* wraps on purpose */
}

bool gsi_registry_default(void) { return atomic_load_explicit(&use_registry, memory_order_relaxed); }

bool gs_use_registry(bool use) { return atomic_exchange(&use_registry, use); }

size_t gs_number_of_sockets(void) { return atomic_load_explicit(&registered, memory_order_relaxed); }

/* Socket locked. */
static void describe(const struct gsi_socket *s, gs_socket_info_t *out)
{
    const struct gsi_counts *r = &s->count[GSI_Q_READ], *w = &s->count[GSI_Q_WRITE], *a = &s->count[GSI_Q_ACCEPT];
    *out = (gs_socket_info_t){
        .domain = s->domain, .type = s->type, .protocol = s->protocol, .fd = s->fd,
        .owner.id = s->source.owner ? s->source.owner->id : 0, .state = s->state,
        .readers = s->q[GSI_Q_READ].n, .writers = s->q[GSI_Q_WRITE].n,
        .acceptors = s->q[GSI_Q_ACCEPT].n, .connectors = s->q[GSI_Q_CONNECT].n,
        .read_byte = r->byte, .read_pkg = r->pkg, .read_pkg_max = r->pkg_max,
        .read_tries = r->tries, .read_waits = r->waits, .read_fails = r->fails,
        .write_byte = w->byte, .write_pkg = w->pkg, .write_pkg_max = w->pkg_max,
        .write_tries = w->tries, .write_waits = w->waits, .write_fails = w->fails,
        .sendfile_byte = s->sendfile.byte, .sendfile_tries = s->sendfile.tries, .sendfile_fails = s->sendfile.fails,
        .acc_success = a->pkg, .acc_tries = a->tries, .acc_waits = a->waits, .acc_fails = a->fails,
    };
}

static int look(uint64_t id, gs_socket_info_t *out, bool *in_registry)
{
    struct gsi_socket *s;
    int e = gsi_socket_lock((gs_socket){id}, &s);
    if (e < 0)
        return e;
    describe(s, out);
    *in_registry = s->registered;
    gsi_socket_unlock(s);
    return 0;
}

int gs_socket_info(gs_socket s, gs_socket_info_t *out)
{
    bool unused;
    return out ? look(s.id, out, &unused) : GS_EBADARG;
}

int gs_info(gs_info_t *out)
{
    if (!out)
        return GS_EBADARG;
    gs_info_t i = {.use_registry = gsi_registry_default()};
    uint32_t at = 0;
    for (uint64_t id; (id = gsi_live_next(GSI_SOCKET, &at));) {
        gs_socket_info_t s;
        bool unused;
        if (look(id, &s, &unused) < 0)
            continue;
        i.num_sockets++;
        i.num_inet += s.domain == AF_INET;
        i.num_inet6 += s.domain == AF_INET6;
        i.num_local += s.domain == AF_UNIX;
        i.num_stream += s.type == SOCK_STREAM;
        i.num_dgram += s.type == SOCK_DGRAM;
        i.num_seqpacket += s.type == SOCK_SEQPACKET;
        bool ip = s.domain == AF_INET || s.domain == AF_INET6; /* protocol numbers mean nothing elsewhere */
        i.num_tcp += ip && s.protocol == IPPROTO_TCP;
        i.num_udp += ip && s.protocol == IPPROTO_UDP;
        i.num_sctp += ip && s.protocol == IPPROTO_SCTP;
    }
    *out = i;
    return 0;
}

static bool passes(const gs_socket_filter *f, gs_socket s, const gs_socket_info_t *i)
{
    if (!f)
        return true;
    return (!f->domain || f->domain == i->domain) && (!f->type || f->type == i->type) &&
           (!f->protocol || f->protocol == i->protocol) && (!f->owner.id || f->owner.id == i->owner.id) &&
           (!f->keep || f->keep(s, i, f->arg));
}

size_t gs_which_sockets(const gs_socket_filter *filter, gs_socket *out, size_t cap)
{
    size_t n = 0;
    uint32_t at = 0;
    for (uint64_t id; (id = gsi_live_next(GSI_SOCKET, &at));) {
        gs_socket_info_t i;
        bool in_registry;
        gs_socket s = {id};
        if (look(id, &i, &in_registry) < 0 || !in_registry || !passes(filter, s, &i))
            continue;
        if (out && n < cap)
            out[n] = s;
        n++;
    }
    return n;
}
