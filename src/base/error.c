/* error.c: names and texts of codes, and the per-thread detail of the last failure. */
#include "base/error.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static _Thread_local struct {
    int code;
    char text[400];
} detail;

/* glibc names an errno "ECONNREFUSED"; Erlang's atom is the same in lower case. */
enum { POSIX_MAX = 134, NAME_MAX_LEN = 24 };

static char posix_names[POSIX_MAX][NAME_MAX_LEN];
static pthread_once_t names_once = PTHREAD_ONCE_INIT;

/* Linux has one number for two of POSIX's errors: glibc's name for it is EOPNOTSUPP, Erlang's atom is enotsup. */
static const char *upper_name(int e) { return e == ENOTSUP ? "ENOTSUP" : strerrorname_np(e); }

static void make_names(void)
{
    for (int e = 1; e < POSIX_MAX; e++) {
        const char *upper = upper_name(e);
        for (size_t i = 0; upper && upper[i] && i + 1 < NAME_MAX_LEN; i++)
            posix_names[e][i] = (char)tolower((unsigned char)upper[i]);
    }
}

static const char *posix_name(int e)
{
    pthread_once(&names_once, make_names);
    return e > 0 && e < POSIX_MAX && *posix_names[e] ? posix_names[e] : "unknown";
}

const char *gs_error_name(int code)
{
    if (code >= 0)
        return "ok";
    switch (code) {
#define CASE(code, value, atom, text)                                                                                 \
    case value:                                                                                                       \
        return atom;
        GS_ERRORS(CASE)
#undef CASE
    default:
        return code > -1000 ? posix_name(-code) : "unknown";
    }
}

const char *gs_error_text(int code)
{
    if (code >= 0)
        return "success";
    switch (code) {
#define CASE(code, value, atom, text)                                                                                 \
    case value:                                                                                                       \
        return text;
        GS_ERRORS(CASE)
#undef CASE
    default: {
        const char *text = code > -1000 ? strerrordesc_np(-code) : NULL;
        return text ? text : "not an error code";
    }
    }
}

int gs_error_code(const char *name)
{
    if (!name)
        return 0;
#define MATCH(code, value, atom, text)                                                                                \
    if (!strcmp(name, atom))                                                                                          \
        return value;
    GS_ERRORS(MATCH)
#undef MATCH
    for (int e = 1; e < POSIX_MAX; e++) {
        const char *upper = upper_name(e);
        if (upper && !strcasecmp(name, upper))
            return -e;
    }
    return strcasecmp(name, "eopnotsupp") ? 0 : -EOPNOTSUPP;
}

const char *gs_error_detail(int code) { return detail.code == code ? detail.text : ""; }

bool gs_error_is_transient(int code)
{
    switch (code) {
    case -EMFILE:
    case -ENFILE:
    case -ENOBUFS:
    case -ENOMEM:
    case -ECONNABORTED:
    case GS_ESYSLIMIT:
    case -EPROTO: /* accept(2), "Error handling": already-pending network errors of the new socket */
    case -ENETDOWN:
    case -ENOPROTOOPT:
    case -EHOSTDOWN:
    case -ENONET:
    case -EHOSTUNREACH:
    case -EOPNOTSUPP:
    case -ENETUNREACH:
    case -EPERM:
        return true;
    default:
        return false;
    }
}

static void set_detail(int code, const char *format, va_list args)
{
    vsnprintf(detail.text, sizeof detail.text, format, args);
    detail.code = code;
}

int gsi_fail(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_detail(code, format, args);
    va_end(args);
    return code;
}

int gs_fail(int code, const char *format, ...)
{
    if (!format)
        return code;
    va_list args;
    va_start(args, format);
    set_detail(code, format, args);
    va_end(args);
    return code;
}

int gsi_errno(void) { return -errno; }

const char *gs_version(void) { return GENSOCK_VERSION; }
