/* otp.c: the options of the otp level: those of the library's own socket, not the kernel's. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "socket/socket.h"

static int set_debug(struct gsi_socket *s, const gs_value *v)
{
    s->debug = v->v.i != 0;
    return 0;
}

static int set_iow(struct gsi_socket *s, const gs_value *v)
{
    s->iow = v->v.i != 0;
    return 0;
}

static int set_owner(struct gsi_socket *s, const gs_value *v) { return gsi_socket_give(s, v->v.mailbox); }

static int set_meta(struct gsi_socket *s, const gs_value *v)
{
    s->meta = v->v.ptr;
    return 0;
}

static int set_rcvbuf(struct gsi_socket *s, const gs_value *v)
{
    s->rcvbuf = v->v.buffer.size;
    s->rcvbuf_count = v->v.buffer.count;
    return 0;
}

static int set_limit(size_t *limit, const gs_value *v)
{
    if (v->v.i < 0 || v->v.i > INT_MAX)
        return -EINVAL;
    *limit = (size_t)v->v.i;
    return 0;
}

static int set_rcvctrlbuf(struct gsi_socket *s, const gs_value *v) { return set_limit(&s->rcvctrlbuf, v); }
static int set_sndctrlbuf(struct gsi_socket *s, const gs_value *v) { return set_limit(&s->sndctrlbuf, v); }

static void get_debug(const struct gsi_socket *s, gs_value *v) { v->v.i = s->debug; }
static void get_iow(const struct gsi_socket *s, gs_value *v) { v->v.i = s->iow; }
static void get_owner(const struct gsi_socket *s, gs_value *v)
{
    v->v.mailbox.id = s->source.owner ? s->source.owner->id : 0;
}
static void get_meta(const struct gsi_socket *s, gs_value *v) { v->v.ptr = s->meta; }
static void get_rcvctrlbuf(const struct gsi_socket *s, gs_value *v) { v->v.i = (int64_t)s->rcvctrlbuf; }
static void get_sndctrlbuf(const struct gsi_socket *s, gs_value *v) { v->v.i = (int64_t)s->sndctrlbuf; }
static void get_fd(const struct gsi_socket *s, gs_value *v) { v->v.i = s->fd; }
static void get_registry(const struct gsi_socket *s, gs_value *v) { v->v.i = s->registered; }
static void get_rcvbuf(const struct gsi_socket *s, gs_value *v)
{
    v->v.buffer.size = s->rcvbuf;
    v->v.buffer.count = s->rcvbuf_count;
}

static const struct row {
    const char *name;
    gs_value_kind kind;
    int (*set)(struct gsi_socket *s, const gs_value *v); /* NULL: get only */
    void (*get)(const struct gsi_socket *s, gs_value *v);
} rows[] = {
    {"otp:debug", GS_VALUE_INT, set_debug, get_debug},
    {"otp:iow", GS_VALUE_INT, set_iow, get_iow},
    {"otp:controlling_process", GS_VALUE_MAILBOX, set_owner, get_owner},
    {"otp:rcvbuf", GS_VALUE_BUFFER, set_rcvbuf, get_rcvbuf},
    {"otp:rcvctrlbuf", GS_VALUE_INT, set_rcvctrlbuf, get_rcvctrlbuf},
    {"otp:sndctrlbuf", GS_VALUE_INT, set_sndctrlbuf, get_sndctrlbuf},
    {"otp:meta", GS_VALUE_PTR, set_meta, get_meta},
    {"otp:fd", GS_VALUE_INT, NULL, get_fd},
    {"otp:use_registry", GS_VALUE_INT, NULL, get_registry},
};

static const struct row *find(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].name, name))
            return &rows[i];
    return NULL;
}

int gsi_otp_set(struct gsi_socket *s, const char *name, const gs_value *v)
{
    const struct row *r = find(name);
    if (!r)
        return GS_EINVALID;
    if (!r->set)
        return gsi_fail(-ENOPROTOOPT, "%s can only be read", r->name);
    if (r->kind != v->kind)
        return gsi_fail(-EINVAL, "%s takes a value of another kind", r->name);
    return r->set(s, v);
}

int gsi_otp_get(const struct gsi_socket *s, const char *name, gs_value *v)
{
    const struct row *r = find(name);
    if (!r)
        return GS_EINVALID;
    memset(v, 0, sizeof *v);
    v->kind = r->kind;
    r->get(s, v);
    return 0;
}
