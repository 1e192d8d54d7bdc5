/* msg.c: control messages: walking over them, appending them, and their typed values.
 *
 * The buffer has any alignment, so headers are copied; sizes and padding are those of CMSG_LEN and CMSG_SPACE (RFC
 * 3542 §20).
 * */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/error.h"
#include "socket/socket.h"

const struct gsi_cmsg_type gsi_cmsg_types[] = {
    {"ip:tos", GSI_FORM_INT, IPPROTO_IP, IP_TOS, IP_TOS},
    {"ip:ttl", GSI_FORM_INT, IPPROTO_IP, IP_TTL, IP_TTL},
    {"ip:pktinfo", GSI_FORM_PKTINFO, IPPROTO_IP, IP_PKTINFO, IP_PKTINFO},
    {"ip:origdstaddr", GSI_FORM_SOCKADDR, IPPROTO_IP, IP_ORIGDSTADDR, -1},
    {"ip:recverr", GSI_FORM_ERROR, IPPROTO_IP, IP_RECVERR, -1},
    {"ipv6:tclass", GSI_FORM_INT, IPPROTO_IPV6, IPV6_TCLASS, IPV6_TCLASS},
    {"ipv6:hoplimit", GSI_FORM_INT, IPPROTO_IPV6, IPV6_HOPLIMIT, IPV6_HOPLIMIT},
    {"ipv6:pktinfo", GSI_FORM_PKTINFO6, IPPROTO_IPV6, IPV6_PKTINFO, IPV6_PKTINFO},
    {"ipv6:recverr", GSI_FORM_ERROR, IPPROTO_IPV6, IPV6_RECVERR, -1},
    {"socket:timestamp", GSI_FORM_TIMEVAL, SOL_SOCKET, SCM_TIMESTAMP, -1},
    {"socket:rights", GSI_FORM_FDS, SOL_SOCKET, SCM_RIGHTS, SCM_RIGHTS},
    {"socket:credentials", GSI_FORM_CRED, SOL_SOCKET, SCM_CREDENTIALS, SCM_CREDENTIALS},
};
const size_t gsi_cmsg_types_n = sizeof gsi_cmsg_types / sizeof gsi_cmsg_types[0];

bool gs_cmsg_next(const gs_msghdr *m, size_t *at, gs_cmsg *out)
{
    struct cmsghdr h;
    if (!m || !at || !out || !m->control || *at > m->control_len || m->control_len - *at < sizeof h)
        return false;
    const uint8_t *p = (const uint8_t *)m->control + *at;
    size_t left = m->control_len - *at;
    memcpy(&h, p, sizeof h);
    if (h.cmsg_len < CMSG_LEN(0) || h.cmsg_len > left)
        return false;
    *out = (gs_cmsg){.level = h.cmsg_level, .type = h.cmsg_type, .data = {p + CMSG_LEN(0), h.cmsg_len - CMSG_LEN(0)}};
    size_t step = CMSG_ALIGN(h.cmsg_len);
    *at += step < left ? step : left;
    return true;
}

int gs_cmsg_put(gs_msghdr *m, size_t room, int level, int type, const void *p, size_t n)
{
    if (!m || !m->control || (!p && n) || m->control_len > room)
        return GS_EBADARG;
    size_t at = CMSG_ALIGN(m->control_len);
    if (at > room || n > room - at || CMSG_SPACE(n) > room - at)
        return -EMSGSIZE;
    struct cmsghdr h = {.cmsg_len = CMSG_LEN(n), .cmsg_level = level, .cmsg_type = type};
    uint8_t *to = (uint8_t *)m->control + at;
    memset(to, 0, CMSG_SPACE(n));
    memcpy(to, &h, sizeof h);
    if (n)
        memcpy(to + CMSG_LEN(0), p, n);
    m->control_len = at + CMSG_SPACE(n);
    return 0;
}

int gs_cmsg_add(gs_msghdr *m, size_t room, const char *name, const gs_value *value)
{
    uint8_t bytes[GSI_VALUE_MAX];
    if (!m || !name || !value)
        return GS_EBADARG;
    for (size_t i = 0; i < gsi_cmsg_types_n; i++) {
        const struct gsi_cmsg_type *t = &gsi_cmsg_types[i];
        if (strcmp(t->name, name) != 0)
            continue;
        int n = t->send < 0 ? gsi_fail(GS_EINVALID, "%s is only received", name) : gsi_value_encode(t->form, value, bytes);
        return n < 0 ? n : gs_cmsg_put(m, room, t->level, t->send, bytes, (size_t)n);
    }
    return gsi_fail(GS_EINVALID, "no control message has this name; gs_supports(\"cmsgs\", …) lists them");
}

const char *gs_cmsg_value(const gs_cmsg *c, gs_value *value)
{
    if (!c || !value || (!c->data.p && c->data.n))
        return NULL;
    for (size_t i = 0; i < gsi_cmsg_types_n; i++) {
        const struct gsi_cmsg_type *t = &gsi_cmsg_types[i];
        if (t->level == c->level && t->type == c->type)
            return gsi_value_decode(t->form, c->data.p, c->data.n, value) == 0 ? t->name : NULL;
    }
    return NULL;
}

int gs_cmsg_fds(const gs_cmsg *c, int *out, size_t cap)
{
    if (!c || (!out && cap))
        return GS_EBADARG;
    size_t n = c->data.n / sizeof(int);
    if (c->level != SOL_SOCKET || c->type != SCM_RIGHTS || n > cap || !c->data.p)
        return GS_EINVALID;
    memcpy(out, c->data.p, n * sizeof(int));
    return (int)n;
}
