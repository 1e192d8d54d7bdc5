/* value.c: typed values of options and control messages as the kernel's bytes, and back.
 *
 * A form says how a value looks to the kernel; its kind, how it looks to the caller. Bytes are copied, never cast:
 * control messages lie at any alignment.
 * */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include <linux/errqueue.h> /* needs time.h before it */

#include "base/error.h"
#include "net/addr.h"
#include "socket/socket.h"

enum { FDS_MAX = 253, US = 1000000 }; /* SCM_MAX_FD */

gs_value_kind gsi_value_kind(enum gsi_value_form form)
{
    switch (form) {
    case GSI_FORM_INT:
    case GSI_FORM_BOOL:
        return GS_VALUE_INT;
    case GSI_FORM_LINGER:
        return GS_VALUE_LINGER;
    case GSI_FORM_TIMEVAL:
        return GS_VALUE_TIME;
    case GSI_FORM_TEXT:
        return GS_VALUE_TEXT;
    case GSI_FORM_IN_ADDR:
    case GSI_FORM_SOCKADDR:
        return GS_VALUE_ADDR;
    case GSI_FORM_MREQ:
    case GSI_FORM_MREQ_SOURCE:
    case GSI_FORM_MREQ6:
        return GS_VALUE_MREQ;
    case GSI_FORM_CRED:
        return GS_VALUE_CRED;
    case GSI_FORM_PKTINFO:
    case GSI_FORM_PKTINFO6:
        return GS_VALUE_PKTINFO;
    case GSI_FORM_ERROR:
        return GS_VALUE_ERROR;
    case GSI_FORM_FDS:
        return GS_VALUE_FDS;
    case GSI_FORM_BYTES:
    case GSI_FORM_NONE:
        break;
    }
    return GS_VALUE_BYTES;
}

/* ---- addresses ---- */

/* No address is the any address, where the kernel takes one so. */
static bool to_in(const gs_addr *a, bool optional, struct in_addr *out)
{
    *out = (struct in_addr){0};
    if (optional && (!a || a->len == 0))
        return true;
    if (gs_addr_family(a) != AF_INET)
        return false;
    struct sockaddr_in in;
    memcpy(&in, &a->sa, sizeof in);
    *out = in.sin_addr;
    return true;
}

static bool to_in6(const gs_addr *a, bool optional, struct in6_addr *out)
{
    *out = (struct in6_addr){0};
    if (optional && (!a || a->len == 0))
        return true;
    if (gs_addr_family(a) != AF_INET6)
        return false;
    struct sockaddr_in6 in6;
    memcpy(&in6, &a->sa, sizeof in6);
    *out = in6.sin6_addr;
    return true;
}

static gs_addr from_in(struct in_addr a)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = a};
    gs_addr out = {.len = sizeof in};
    memcpy(&out.sa, &in, sizeof in);
    return out;
}

static gs_addr from_in6(struct in6_addr a)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = a};
    gs_addr out = {.len = sizeof in6};
    memcpy(&out.sa, &in6, sizeof in6);
    return out;
}

/* ---- encode ---- */

static int put(void *p, const void *value, size_t n)
{
    memcpy(p, value, n);
    return (int)n;
}

static int encode_int(bool is_bool, int64_t i, void *p)
{
    if (!is_bool && (i < INT_MIN || i > INT_MAX))
        return -EINVAL;
    int value = is_bool ? i != 0 : (int)i;
    return put(p, &value, sizeof value);
}

static int encode_group(enum gsi_value_form form, const gs_value *v, void *p)
{
    if (form == GSI_FORM_MREQ6) {
        struct ipv6_mreq m = {.ipv6mr_interface = v->v.mreq.ifindex};
        return to_in6(v->v.mreq.group, false, &m.ipv6mr_multiaddr) ? put(p, &m, sizeof m) : -EINVAL;
    }
    if (form == GSI_FORM_MREQ) {
        struct ip_mreqn m = {.imr_ifindex = (int)v->v.mreq.ifindex};
        bool ok = to_in(v->v.mreq.group, false, &m.imr_multiaddr) && to_in(v->v.mreq.interface, true, &m.imr_address);
        return ok ? put(p, &m, sizeof m) : -EINVAL;
    }
    struct ip_mreq_source m;
    bool ok = to_in(v->v.mreq.group, false, &m.imr_multiaddr) && to_in(v->v.mreq.interface, true, &m.imr_interface) &&
              to_in(v->v.mreq.source, false, &m.imr_sourceaddr);
    return ok ? put(p, &m, sizeof m) : -EINVAL;
}

static int encode_pktinfo(enum gsi_value_form form, const gs_value *v, void *p)
{
    if (form == GSI_FORM_PKTINFO6) {
        struct in6_pktinfo i = {.ipi6_ifindex = v->v.pktinfo.ifindex};
        return to_in6(&v->v.pktinfo.addr, true, &i.ipi6_addr) ? put(p, &i, sizeof i) : -EINVAL;
    }
    struct in_pktinfo i = {.ipi_ifindex = (int)v->v.pktinfo.ifindex};
    bool ok = to_in(&v->v.pktinfo.addr, true, &i.ipi_addr) && to_in(&v->v.pktinfo.local, true, &i.ipi_spec_dst);
    return ok ? put(p, &i, sizeof i) : -EINVAL;
}

int gsi_value_encode(enum gsi_value_form form, const gs_value *v, void *p)
{
    if (v->kind != gsi_value_kind(form))
        return GS_EINVALID;
    switch (form) {
    case GSI_FORM_INT:
    case GSI_FORM_BOOL:
        return encode_int(form == GSI_FORM_BOOL, v->v.i, p);
    case GSI_FORM_LINGER: {
        struct linger l = {.l_onoff = v->v.linger.on, .l_linger = v->v.linger.seconds};
        return l.l_linger < 0 ? -EINVAL : put(p, &l, sizeof l);
    }
    case GSI_FORM_TIMEVAL: {
        struct timeval t = {.tv_sec = v->v.us / US, .tv_usec = v->v.us % US};
        return v->v.us < 0 ? -EINVAL : put(p, &t, sizeof t);
    }
    case GSI_FORM_TEXT: {
        size_t n = strnlen(v->v.text, sizeof v->v.text);
        return n == sizeof v->v.text ? -EINVAL : put(p, v->v.text, n + 1);
    }
    case GSI_FORM_IN_ADDR: {
        struct in_addr a;
        return to_in(&v->v.addr, false, &a) ? put(p, &a, sizeof a) : -EINVAL;
    }
    case GSI_FORM_SOCKADDR:
        return gsi_addr_ok(&v->v.addr) ? put(p, &v->v.addr.sa, v->v.addr.len) : -EINVAL;
    case GSI_FORM_MREQ:
    case GSI_FORM_MREQ_SOURCE:
    case GSI_FORM_MREQ6:
        return encode_group(form, v, p);
    case GSI_FORM_CRED: {
        struct ucred c = {.pid = v->v.cred.pid, .uid = v->v.cred.uid, .gid = v->v.cred.gid};
        return put(p, &c, sizeof c);
    }
    case GSI_FORM_PKTINFO:
    case GSI_FORM_PKTINFO6:
        return encode_pktinfo(form, v, p);
    case GSI_FORM_FDS:
        if (!v->v.fds.fd || v->v.fds.n == 0 || v->v.fds.n > FDS_MAX)
            return -EINVAL;
        return put(p, v->v.fds.fd, v->v.fds.n * sizeof *v->v.fds.fd);
    case GSI_FORM_ERROR:
    case GSI_FORM_BYTES:
    case GSI_FORM_NONE:
        break;
    }
    return GS_EINVALID;
}

/* ---- decode ---- */

static bool take(void *value, size_t size, const void *p, size_t n)
{
    if (n < size)
        return false;
    memcpy(value, p, size);
    return true;
}

/* ip:tos comes as one byte, nearly everything else as an int. */
static int decode_int(bool is_bool, const void *p, size_t n, int64_t *out)
{
    int i;
    if (n == 1)
        i = *(const uint8_t *)p;
    else if (!take(&i, sizeof i, p, n))
        return -EINVAL;
    *out = is_bool ? i != 0 : i;
    return 0;
}

static int decode_addr(enum gsi_value_form form, const void *p, size_t n, gs_addr *out)
{
    struct in_addr a;
    if (form == GSI_FORM_SOCKADDR)
        return gs_addr_make(out, p, (socklen_t)n) < 0 ? -EINVAL : 0;
    if (!take(&a, sizeof a, p, n))
        return -EINVAL;
    *out = from_in(a);
    return 0;
}

static int decode_pktinfo(enum gsi_value_form form, const void *p, size_t n, gs_value *v)
{
    if (form == GSI_FORM_PKTINFO6) {
        struct in6_pktinfo i;
        if (!take(&i, sizeof i, p, n))
            return -EINVAL;
        v->v.pktinfo.ifindex = i.ipi6_ifindex;
        v->v.pktinfo.addr = from_in6(i.ipi6_addr);
        return 0;
    }
    struct in_pktinfo i;
    if (!take(&i, sizeof i, p, n))
        return -EINVAL;
    v->v.pktinfo.ifindex = (unsigned)i.ipi_ifindex;
    v->v.pktinfo.addr = from_in(i.ipi_addr);
    v->v.pktinfo.local = from_in(i.ipi_spec_dst);
    return 0;
}

static int decode_error(const void *p, size_t n, gs_value *v)
{
    struct sock_extended_err e;
    if (!take(&e, sizeof e, p, n))
        return -EINVAL;
    v->v.error.error = -(int)e.ee_errno;
    v->v.error.origin = e.ee_origin;
    v->v.error.type = e.ee_type;
    v->v.error.code = e.ee_code;
    v->v.error.info = e.ee_info;
    v->v.error.data = e.ee_data;
    /* Behind it who sent the error, when that is known. */
    const void *behind = (const char *)p + sizeof e;
    if (gs_addr_make(&v->v.error.offender, behind, (socklen_t)(n - sizeof e)) < 0)
        v->v.error.offender = (gs_addr){0};
    return 0;
}

int gsi_value_decode(enum gsi_value_form form, const void *p, size_t n, gs_value *v)
{
    memset(v, 0, sizeof *v);
    v->kind = gsi_value_kind(form);
    struct linger l;
    struct timeval t;
    struct ucred c;
    switch (form) {
    case GSI_FORM_INT:
    case GSI_FORM_BOOL:
        return decode_int(form == GSI_FORM_BOOL, p, n, &v->v.i);
    case GSI_FORM_LINGER:
        if (!take(&l, sizeof l, p, n))
            return -EINVAL;
        v->v.linger.on = l.l_onoff;
        v->v.linger.seconds = l.l_linger;
        return 0;
    case GSI_FORM_TIMEVAL:
        if (!take(&t, sizeof t, p, n))
            return -EINVAL;
        v->v.us = (int64_t)t.tv_sec * US + t.tv_usec;
        return 0;
    case GSI_FORM_TEXT:
        n = strnlen(p, n);
        return n < sizeof v->v.text && take(v->v.text, n, p, n) ? 0 : -EINVAL;
    case GSI_FORM_IN_ADDR:
    case GSI_FORM_SOCKADDR:
        return decode_addr(form, p, n, &v->v.addr);
    case GSI_FORM_CRED:
        if (!take(&c, sizeof c, p, n))
            return -EINVAL;
        v->v.cred.pid = c.pid;
        v->v.cred.uid = c.uid;
        v->v.cred.gid = c.gid;
        return 0;
    case GSI_FORM_PKTINFO:
    case GSI_FORM_PKTINFO6:
        return decode_pktinfo(form, p, n, v);
    case GSI_FORM_ERROR:
        return decode_error(p, n, v);
    case GSI_FORM_FDS:
        v->v.fds.n = n / sizeof(int);
        return n % sizeof(int) ? -EINVAL : 0;
    case GSI_FORM_MREQ:
    case GSI_FORM_MREQ_SOURCE:
    case GSI_FORM_MREQ6:
    case GSI_FORM_BYTES:
    case GSI_FORM_NONE:
        break;
    }
    return -EINVAL;
}
