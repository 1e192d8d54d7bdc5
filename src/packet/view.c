/* view.c: a packet's views after its bytes have moved. */
#include "packet/packet.h"

/* Static texts and names built inside the packet stay where they are. */
static void rebase(gs_bytes *b, gs_bytes from, uint8_t *to)
{
    uintptr_t at = (uintptr_t)b->p, start = (uintptr_t)from.p;
    if (b->p && at >= start && at <= start + from.n)
        b->p = to + (at - start);
}

void gsi_packet_rebase(gs_packet *p, gs_bytes from, uint8_t *to)
{
    rebase(&p->data, from, to);
    rebase(&p->header, from, to);
    switch (p->kind) {
    case GS_PK_HTTP_REQUEST:
        rebase(&p->u.request.name, from, to);
        rebase(&p->u.request.host, from, to);
        rebase(&p->u.request.path, from, to);
        break;
    case GS_PK_HTTP_RESPONSE:
        rebase(&p->u.response.phrase, from, to);
        break;
    case GS_PK_HTTP_HEADER:
        rebase(&p->u.field.name, from, to);
        rebase(&p->u.field.original, from, to);
        rebase(&p->u.field.value, from, to);
        break;
    default:
        break;
    }
}
