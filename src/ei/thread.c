/* thread.c: what a thread has told and is told beside ei's own calls, which have no room for it: the next address, the last
 * error. */
#include <errno.h>
#include <string.h>

#include "ei/bridge.h"

static _Thread_local char next[GS_EI_ADDRESS_MAX];
static _Thread_local int last;

int gs_ei_next(const char *address)
{
    size_t n = address ? strlen(address) : 0;
    if (address && !n)
        return gs_fail(GS_EFORMAT, "an empty address");
    if (n >= sizeof next)
        return gs_fail(GS_EFORMAT, "an address of %zu bytes; the longest has %zu", n, sizeof next - 1);
    if (n)
        memcpy(next, address, n);
    next[n] = '\0';
    if (address)
        last = 0;
    return 0;
}

int gs_ei_error(void) { return last; }

void gsi_ei_take_next(char *out)
{
    memcpy(out, next, sizeof next);
    next[0] = '\0';
}

int gsi_ei_succeeded(void)
{
    last = 0;
    return 0;
}

/* ei keeps ETIMEDOUT and tells it; what has no errno is one of the kinds that a socket would have answered. */
int gsi_ei_failed(int code)
{
    last = code;
    if (code > -1000)
        return -code;
    switch (code) {
    case GS_ETIMEOUT:
        return ETIMEDOUT;
    case GS_ECLOSED:
        return ECONNRESET;
    case GS_EBADARG:
        return EBADF;
    case GS_ESYSLIMIT:
        return EMFILE;
    case GS_ENXDOMAIN:
        return EHOSTUNREACH;
    case GS_ENOSCHEME:
    case GS_EFORMAT:
        return EINVAL;
    case GS_EFILTERED:
        return ECONNREFUSED;
    default:
        return EIO;
    }
}
