/* plane.c: making and ticking a plane. */
#include "tailnet/plane/plane.h"

#include <stddef.h>
#include <string.h>

#include "tailnet/plane/parts.h"

struct plane *gsi_plane_new(const struct plane_config *c)
{
    struct plane *p = OPENSSL_malloc(sizeof *p);
    if (!p)
        return NULL;
    memset(p, 0, offsetof(struct plane, from_tun)); /* pages of the buffers come with use */
    p->c = *c;
    gsi_join_init(&p->join);
    return p;
}

void gsi_plane_free(struct plane *p) { OPENSSL_clear_free(p, sizeof *p); }

uint64_t gsi_plane_deadline(const struct plane *p)
{
    uint64_t wireguard = gsi_wireguard_deadline(p->c.wireguard), paths = gsi_paths_deadline(p->c.paths);
    return wireguard < paths ? wireguard : paths;
}

void gsi_plane_tick(struct plane *p, uint64_t now_ns, uint64_t wall_ns)
{
    gsi_wireguard_tick(p->c.wireguard, now_ns, wall_ns);
    gsi_plane_drain(p, now_ns);
    gsi_plane_flush(p);
}

const struct plane_stat *gsi_plane_stat(const struct plane *p) { return &p->stat; }
