/* options.c: the list of options: its table, the check that precedes every change, copies, and the process-wide defaults.
 * The table is option_table.h; the text of values is option_text.c, the kernel's side options_kernel.c. Called by the stream's
 * open calls, setopts and getopts (transport.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/seam.h"
#include "gensock/packet.h"
#include "net/addr.h"
#include "transport/option_text.h"
#include "transport/transport.h"

enum { L = GSI_ON_LISTEN, C = GSI_ON_CONNECT, S = GSI_ON_SET, G = GSI_ON_GET };

static const struct gsi_opt_row rows[GS_OPT_COUNT] = {
#define GSI_OPTION(id, erlang, type, class, where, least, most, level, number, initial, note)                          \
    [GS_OPT_##id] = {GS_OPT_##id, erlang, GSI_##type, GSI_##class##_OPT, where, least, most, level, number, initial, note},
#define GSI_NOT_AN_OPTION(erlang, instead)
#include "transport/option_table.h"
#undef GSI_OPTION
#undef GSI_NOT_AN_OPTION
};

static const struct {
    const char *erlang, *instead;
} others[] = {
#define GSI_OPTION(id, erlang, type, class, where, least, most, level, number, initial, note)
#define GSI_NOT_AN_OPTION(erlang, instead) {erlang, instead},
#include "transport/option_table.h"
#undef GSI_OPTION
#undef GSI_NOT_AN_OPTION
};

const struct gsi_opt_row *gsi_opt_row(int name)
{
    return name > GS_OPT_END && name < GS_OPT_COUNT && rows[name].erlang ? &rows[name] : NULL;
}

const struct gsi_opt_row *gsi_opt_row_named(const char *erlang)
{
    for (int i = 1; i < GS_OPT_COUNT; i++)
        if (rows[i].erlang && !strcmp(rows[i].erlang, erlang))
            return &rows[i];
    return NULL;
}

const char *gsi_opt_instead(const char *erlang)
{
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (!strcmp(others[i].erlang, erlang))
            return others[i].instead;
    return NULL;
}

const char *gs_opt_name_text(int name)
{
    const struct gsi_opt_row *row = gsi_opt_row(name);
    return row ? row->erlang : NULL;
}

/* ---- check ---- */

static bool is_word(int64_t i) { return i == GS_ACTIVE_FALSE || i == GS_ACTIVE_TRUE || i == GS_ACTIVE_ONCE; }

static bool value_ok(const struct gsi_opt_row *row, const gs_opt *o)
{
    int64_t i = o->v.i;
    switch (row->type) {
    case GSI_ACTIVE:
        return is_word(i) || (i >= row->min && i <= row->max);
    case GSI_TIMEOUT:
        return i == GS_INFINITY || i == GS_NOWAIT || (i >= row->min && i <= row->max);
    case GSI_PACKET:
        return i >= row->min && i <= row->max && gs_packet_type_name((gs_packet_type)i);
    case GSI_FAMILY:
        return i == AF_INET || i == AF_INET6 || i == AF_UNIX;
    case GSI_LINGER:
        return o->v.linger.seconds >= row->min;
    case GSI_STRING: {
        size_t n = o->v.s ? strnlen(o->v.s, (size_t)row->max + 1) : 0;
        return o->v.s && n >= (size_t)row->min && n <= (size_t)row->max;
    }
    case GSI_ADDR:
        return gsi_addr_ok(o->v.addr);
    case GSI_RAW:
        return o->v.raw.level >= 0 && o->v.raw.number >= 0 && (o->v.raw.p || !o->v.raw.n) && o->v.raw.n <= INT32_MAX;
    case GSI_BIN:
        return (o->v.bin.p || !o->v.bin.n) && o->v.bin.n <= INT32_MAX;
    case GSI_DEBUG:
    case GSI_PTR:
        return true;
    default:
        return i >= row->min && i <= row->max;
    }
}

const char *gsi_opt_wanted(const struct gsi_opt_row *row, char *buf, size_t cap)
{
    switch (row->type) {
    case GSI_BOOL:
    case GSI_DEBUG:
        return "true or false";
    case GSI_ACTIVE:
        snprintf(buf, cap, "true, false, once or a number from %" PRId64 " to %" PRId64, row->min, row->max);
        return buf;
    case GSI_PACKET:
        return "raw, 0, 1, 2, 4, asn1, sunrm, cdr, fcgi, tpkt, line, http, httph, http_bin or httph_bin";
    case GSI_LINGER:
        return "true or false, and seconds >= 0: true,5";
    case GSI_ADDR:
        return "a numeric address: 127.0.0.1, ::1, [::1]:80, /path, @name";
    case GSI_RAW:
        return "level,number,bytes: level and number >= 0, the bytes in hexadecimal: 6,1,01000000";
    case GSI_BIN:
        return "bytes in hexadecimal";
    case GSI_PTR:
        return "an address in hexadecimal: 0x1000";
    case GSI_TIMEOUT:
        return "milliseconds >= 0, infinity or nowait";
    case GSI_SEND_MODE:
        return "queued or direct";
    case GSI_FAMILY:
        return "inet, inet6 or local";
    case GSI_MODE:
        return "list or binary";
    case GSI_DELIVER:
        return "port or term";
    case GSI_STRING:
        snprintf(buf, cap, "a text of %" PRId64 " to %" PRId64 " bytes", row->min, row->max);
        return buf;
    case GSI_INT:
        break;
    }
    snprintf(buf, cap, "a number from %" PRId64 " to %" PRId64, row->min, row->max);
    return buf;
}

int gsi_opt_check_value(const struct gsi_opt_row *row, const gs_opt *o)
{
    if (value_ok(row, o))
        return 0;
    char value[GSI_QUOTE_MAX], wanted[96];
    switch (row->type) {
    case GSI_STRING:
        if (o->v.s)
            gsi_quote(value, sizeof value, o->v.s);
        else
            strcpy(value, "NULL");
        break;
    case GSI_LINGER:
        snprintf(value, sizeof value, "%s,%d", o->v.linger.on ? "true" : "false", o->v.linger.seconds);
        break;
    case GSI_ADDR:
        strcpy(value, o->v.addr ? "what is no address" : "NULL");
        break;
    case GSI_RAW:
        snprintf(value, sizeof value, "%d,%d and %zu bytes at %p", o->v.raw.level, o->v.raw.number, o->v.raw.n, o->v.raw.p);
        break;
    case GSI_BIN:
        snprintf(value, sizeof value, "%zu bytes at %p", o->v.bin.n, o->v.bin.p);
        break;
    case GSI_PACKET:
        if (o->v.i == GS_PACKET_SSL_TLS) {
            strcpy(value, "ssl_tls, which is gs_decode's only,");
            break;
        } /* fall through */
    default:
        snprintf(value, sizeof value, "%" PRId64, o->v.i);
    }
    return gsi_fail(-EINVAL, "option %s: %s is not %s", row->erlang, value, gsi_opt_wanted(row, wanted, sizeof wanted));
}

static const char *place_name(unsigned where)
{
    return where == GSI_ON_LISTEN ? "listen" : where == GSI_ON_CONNECT ? "connect" : where == GSI_ON_SET ? "setopts" : "getopts";
}

int gsi_opts_check(const gs_opt *opts, unsigned where)
{
    for (const gs_opt *o = opts; o && o->name != GS_OPT_END; o++) {
        if (o->name >= GS_OPT_TRANSPORT_STRING && !o->v.s)
            return gsi_fail(-EINVAL, "option %d: a string is wanted, not NULL", o->name);
        if (o->name >= GS_OPT_TRANSPORT)
            continue;
        const struct gsi_opt_row *row = gsi_opt_row(o->name);
        if (!row)
            return gsi_fail(-EINVAL, "option %d: there is none of this number (a list ends with GS_OPT_END)", o->name);
        if (!(row->where & where))
            return gsi_fail(-EINVAL, "option %s cannot be given to %s", row->erlang, place_name(where));
        int e = gsi_opt_check_value(row, o);
        if (e < 0)
            return e;
    }
    return 0;
}

/* ---- lists ---- */

const gs_opt *gsi_opts_find(const gs_opt *opts, int name)
{
    const gs_opt *found = NULL;
    for (const gs_opt *o = opts; o && o->name != GS_OPT_END; o++)
        if (o->name == name)
            found = o;
    return found;
}

/* A transport's own are numbers, or pointers that are its affair, or strings. */
static enum gsi_opt_type type_of(const gs_opt *o)
{
    const struct gsi_opt_row *row = gsi_opt_row(o->name);
    return row ? row->type : o->name >= GS_OPT_TRANSPORT_STRING ? GSI_STRING : GSI_INT;
}

/* What an option points to, n bytes; NULL when its value is whole in itself. */
static const void *pointee(const gs_opt *o, size_t *n)
{
    *n = 0;
    switch (type_of(o)) {
    case GSI_STRING:
        *n = o->v.s ? strlen(o->v.s) + 1 : 0;
        return o->v.s;
    case GSI_ADDR:
        *n = o->v.addr ? sizeof *o->v.addr : 0;
        return o->v.addr;
    case GSI_RAW:
        *n = o->v.raw.n;
        return o->v.raw.p;
    case GSI_BIN:
        *n = o->v.bin.n;
        return o->v.bin.p;
    default:
        return NULL;
    }
}

static void point_to(gs_opt *o, void *copy)
{
    switch (type_of(o)) {
    case GSI_STRING:
        o->v.s = copy;
        break;
    case GSI_ADDR:
        o->v.addr = copy;
        break;
    case GSI_RAW:
        o->v.raw.p = copy;
        break;
    default:
        o->v.bin.p = copy;
    }
}

/* Whatever is copied lies as malloc would lay it. */
static size_t rounded(size_t n) { return (n + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) * _Alignof(max_align_t); }

static void measure(const gs_opt *opts, size_t *count, size_t *bytes)
{
    for (const gs_opt *o = opts; o && o->name != GS_OPT_END; o++) {
        size_t n;
        pointee(o, &n);
        *bytes += rounded(n);
        ++*count;
    }
}

static void copy_list(const gs_opt *opts, gs_opt **to, char **room)
{
    for (const gs_opt *o = opts; o && o->name != GS_OPT_END; o++, ++*to) {
        size_t n;
        const void *p = pointee(o, &n);
        **to = *o;
        if (!p || !n)
            continue;
        memcpy(*room, p, n);
        point_to(*to, *room);
        *room += rounded(n);
    }
}

gs_opt *gsi_opts_join(const gs_opt *first, const gs_opt *second)
{
    size_t count = 1, bytes = 0;
    measure(first, &count, &bytes);
    measure(second, &count, &bytes);
    size_t list = rounded(count * sizeof(gs_opt));
    gs_opt *all = gsi_alloc(list + bytes);
    if (!all)
        return NULL;
    gs_opt *to = all;
    char *room = (char *)all + list;
    copy_list(first, &to, &room);
    copy_list(second, &to, &room);
    *to = (gs_opt){.name = GS_OPT_END};
    return all;
}

/* ---- defaults ---- */

static struct {
    pthread_mutex_t mutex; /* a leaf */
    gs_opt *list[2];       /* by gs_defaults */
} defaults = {.mutex = PTHREAD_MUTEX_INITIALIZER};

int gs_set_default_opts(gs_defaults which, const gs_opt *opts)
{
    if (which != GS_CONNECT_DEFAULTS && which != GS_LISTEN_DEFAULTS)
        return gsi_fail(-EINVAL, "defaults exist for GS_CONNECT_DEFAULTS and GS_LISTEN_DEFAULTS, not for %d", (int)which);
    int e = gsi_opts_check(opts, which == GS_LISTEN_DEFAULTS ? GSI_ON_LISTEN : GSI_ON_CONNECT);
    if (e < 0)
        return e;
    if (gsi_opts_find(opts, GS_OPT_FD))
        return gsi_fail(-EINVAL, "option fd: a descriptor is taken by one call, it cannot be a default");
    gs_opt *copy = opts && opts->name != GS_OPT_END ? gsi_opts_join(opts, NULL) : NULL;
    if (!copy && opts && opts->name != GS_OPT_END)
        return -ENOMEM;
    pthread_mutex_lock(&defaults.mutex);
    gs_opt *old = defaults.list[which];
    defaults.list[which] = copy;
    pthread_mutex_unlock(&defaults.mutex);
    gsi_free(old);
    return 0;
}

gs_opt *gsi_opts_with_defaults(gs_defaults which, const gs_opt *opts)
{
    pthread_mutex_lock(&defaults.mutex);
    gs_opt *all = gsi_opts_join(defaults.list[which], opts);
    pthread_mutex_unlock(&defaults.mutex);
    return all;
}
