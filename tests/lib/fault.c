/* fault.c: the plan of the fault injector (fault.h): which call is hit, and by which error. fault_wrap.c has the wrappers.
 *
 * All state is relaxed atomics: any thread of the library asks, and the asking must not order threads for TSan. */
#include "fault.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault_plan.h"

enum { ERRORS_MAX = 7, TRACE_DEPTH = 40 };

/* What each call can answer on a healthy program: manual pages of Linux, less what only a wrong argument causes. Errors that
 * pass by themselves stand last. */
static const struct row {
    int errors[ERRORS_MAX];
} rows[FAULT_CALLS] = {
    [FAULT_malloc] = {{ENOMEM}},
    [FAULT_realloc] = {{ENOMEM}},
    [FAULT_socket] = {{EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EAFNOSUPPORT}},
    [FAULT_socketpair] = {{EMFILE, ENFILE, ENOMEM}},
    [FAULT_bind] = {{EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOMEM}},
    [FAULT_listen] = {{EADDRINUSE}},
    [FAULT_accept4] = {{EMFILE, ENFILE, ECONNABORTED, ENOBUFS, ENOMEM, EINTR, EAGAIN}},
    [FAULT_connect] = {{ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL, ETIMEDOUT, EACCES}},
    [FAULT_getsockname] = {{ENOBUFS}},
    [FAULT_getpeername] = {{ENOTCONN, ENOBUFS}},
    [FAULT_getsockopt] = {{ENOMEM, ENOPROTOOPT}},
    [FAULT_setsockopt] = {{ENOMEM, ENOPROTOOPT, EPERM}},
    [FAULT_shutdown] = {{ENOTCONN}},
    [FAULT_close] = {{EIO, EINTR}},
    [FAULT_read] = {{EIO, ECONNRESET, EINTR, EAGAIN}},
    [FAULT_write] = {{EPIPE, ENOSPC, EIO, EINTR, EAGAIN}},
    [FAULT_recv] = {{ECONNRESET, ETIMEDOUT, ENOMEM, EINTR, EAGAIN}},
    [FAULT_send] = {{EPIPE, ECONNRESET, ENOBUFS, ENOMEM, EINTR, EAGAIN}},
    [FAULT_recvmsg] = {{ECONNRESET, ETIMEDOUT, ENOMEM, EINTR, EAGAIN}},
    [FAULT_sendmsg] = {{EPIPE, ECONNRESET, ENOBUFS, ENOMEM, EINTR, EAGAIN}},
    [FAULT_sendfile] = {{EPIPE, EIO, ENOMEM, EINTR, EAGAIN}},
    [FAULT_pread] = {{EIO, EINTR}},
    [FAULT_poll] = {{ENOMEM, EINTR}},
    [FAULT_epoll_create1] = {{EMFILE, ENFILE, ENOMEM}},
    [FAULT_epoll_ctl] = {{ENOMEM, ENOSPC}},
    [FAULT_epoll_wait] = {{EINTR}},
    [FAULT_eventfd] = {{EMFILE, ENFILE, ENOMEM}},
    [FAULT_timerfd_create] = {{EMFILE, ENFILE, ENOMEM}},
    [FAULT_timerfd_settime] = {{EINVAL}}, /* cancelled clock; Linux has no other for a good call */
    [FAULT_open] = {{EMFILE, ENOENT, EACCES, ENOMEM, EINTR}},
    [FAULT_unlink] = {{EACCES, EROFS, ENOENT}},
    [FAULT_fstat] = {{ENOMEM, EIO}},
    [FAULT_fcntl] = {{ENOMEM, EPERM}},
    [FAULT_ioctl] = {{ENOMEM, ENODEV}},
    [FAULT_setns] = {{EPERM, ENOMEM}},
    [FAULT_thread_create] = {{EAGAIN}},
    [FAULT_gethostname] = {{ENAMETOOLONG}},
    [FAULT_getifaddrs] = {{EMFILE, ENOMEM, ENOBUFS}},
    [FAULT_getaddrinfo] = {{EAI_AGAIN, EAI_MEMORY, EAI_FAIL}},
    [FAULT_getnameinfo] = {{EAI_AGAIN, EAI_MEMORY, EAI_FAIL}},
};

static const char *const call_names[FAULT_CALLS] = {
    [FAULT_malloc] = "malloc",
    [FAULT_realloc] = "realloc",
#define NAME(result, name, params, args) [FAULT_##name] = #name,
    GSI_SYSCALLS(NAME)
#undef NAME
};

static const char *const profile_names[FAULT_PROFILES] = {"short", "eintr", "eagain", "nofd", "nomem", "gone"};

enum plan { OFF, COUNT, NTH, CALL, PROFILE };
static _Atomic int plan;
static _Atomic long first, last, seen, fired, seen_on[FAULT_CALLS], fired_on[FAULT_CALLS];
static _Atomic int choice, only, only_error, profile, rate, first_call;
static _Atomic uint64_t seed;

#define GET(x) atomic_load_explicit(&(x), memory_order_relaxed)
#define SET(x, v) atomic_store_explicit(&(x), v, memory_order_relaxed)
#define NEXT(x) (atomic_fetch_add_explicit(&(x), 1, memory_order_relaxed) + 1)

static void begin(enum plan p)
{
    SET(plan, OFF);
    SET(seen, 0);
    SET(fired, 0);
    SET(first_call, FAULT_CALLS);
    for (int i = 0; i < FAULT_CALLS; i++) {
        SET(seen_on[i], 0);
        SET(fired_on[i], 0);
    }
    atomic_store(&plan, p);
}

void fault_count(void) { begin(COUNT); }

void fault_fail_nth(long n, bool from_then_on, int which)
{
    SET(first, n);
    SET(last, from_then_on ? -1 : n);
    SET(choice, which);
    begin(NTH);
}

void fault_fail_call(enum fault_call call, long from, long count, int error)
{
    SET(only, (int)call);
    SET(first, from);
    SET(last, from + count - 1);
    SET(only_error, error);
    begin(CALL);
}

void fault_start_profile(enum fault_profile p, uint64_t s, int of_256)
{
    SET(profile, (int)p);
    SET(seed, s);
    SET(rate, of_256);
    begin(PROFILE);
}

long fault_stop(void)
{
    atomic_store(&plan, OFF);
    return GET(fired);
}

long fault_fired(void) { return GET(fired); }
bool fault_armed(void) { return GET(plan) != OFF && GET(plan) != COUNT; }
long fault_fired_on(enum fault_call call) { return GET(fired_on[call]); }
long fault_seen(void) { return GET(seen); }
long fault_seen_on(enum fault_call call) { return GET(seen_on[call]); }
enum fault_call fault_first(void) { return (enum fault_call)GET(first_call); }
const char *fault_call_name(enum fault_call call) { return call < FAULT_CALLS ? call_names[call] : "none"; }
const char *fault_profile_name(enum fault_profile p) { return profile_names[p]; }

const int *fault_errors(enum fault_call call, int *n)
{
    const int *e = rows[call].errors;
    for (*n = 0; *n < ERRORS_MAX && e[*n]; ++*n)
        ;
    return e;
}

static bool passes_by_itself(int error) { return error == EINTR || error == EAGAIN; }

uint64_t fault_random(void)
{
    static _Atomic uint64_t draws;
    uint64_t z = GET(seed) + NEXT(draws) * UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* With GS_FAULT_TRACE in the environment: who made the call that is hit first (addr2line -e PROGRAM names the lines). */
static void trace_first(void)
{
    void *chain[TRACE_DEPTH];
    if (getenv("GS_FAULT_TRACE"))
        backtrace_symbols_fd(chain, backtrace(chain, TRACE_DEPTH), STDERR_FILENO);
}

void fault_hit(enum fault_call call)
{
    if (NEXT(fired) == 1)
        trace_first();
    (void)NEXT(fired_on[call]);
    int none = FAULT_CALLS;
    atomic_compare_exchange_strong_explicit(&first_call, &none, (int)call, memory_order_relaxed, memory_order_relaxed);
}

static int nth_error(enum fault_call call, long n, long of_kind)
{
    long end = GET(last);
    if (n < GET(first) || (end >= 0 && n > end))
        return 0;
    int count;
    const int *errors = fault_errors(call, &count);
    if (count == 0)
        return 0;
    int error = errors[GET(choice) % count];
    bool lasts = !passes_by_itself(error) || call == FAULT_thread_create;
    return lasts || n == GET(first) || of_kind % 2 ? error : 0;
}

static bool waits_or_moves(enum fault_call call)
{
    switch ((int)call) {
    case FAULT_accept4:
    case FAULT_read:
    case FAULT_write:
    case FAULT_recv:
    case FAULT_send:
    case FAULT_recvmsg:
    case FAULT_sendmsg:
    case FAULT_sendfile:
        return true;
    default:
        return false;
    }
}

static bool is_nonblocking(int fd, int flags)
{
    return flags & MSG_DONTWAIT || (fd >= 0 && fcntl(fd, F_GETFL) & O_NONBLOCK);
}

static int gone_error(enum fault_call call)
{
    switch ((int)call) {
    case FAULT_connect:
        return ECONNREFUSED;
    case FAULT_read:
    case FAULT_recv:
    case FAULT_recvmsg:
        return ECONNRESET;
    case FAULT_write:
    case FAULT_send:
    case FAULT_sendmsg:
    case FAULT_sendfile:
        return EPIPE;
    default:
        return 0;
    }
}

/* The error with which a profile meets this call, or 0 when it does not concern it. */
static int profile_error(enum fault_profile p, enum fault_call call, int fd, int flags)
{
    int count;
    const int *errors = fault_errors(call, &count);
    switch (p) {
    case FAULT_EINTR:
        return waits_or_moves(call) || call == FAULT_poll || call == FAULT_epoll_wait || call == FAULT_open ? EINTR : 0;
    case FAULT_EAGAIN:
        return waits_or_moves(call) && is_nonblocking(fd, flags) ? EAGAIN : 0;
    case FAULT_GONE:
        return gone_error(call);
    case FAULT_NOFD:
    case FAULT_NOMEM:
        for (int i = 0; i < count; i++) {
            if (p == FAULT_NOFD ? errors[i] == EMFILE : errors[i] == ENOMEM || errors[i] == EAI_MEMORY)
                return errors[i];
        }
        return 0;
    default:
        return 0;
    }
}

int fault_decide(enum fault_call call, int fd, int flags)
{
    static _Thread_local int streak;
    int p = GET(plan), error = 0;
    if (p == OFF)
        return 0;
    long n = NEXT(seen), of_kind = NEXT(seen_on[call]);
    if (p == NTH) {
        error = nth_error(call, n, of_kind);
    } else if (p == CALL && (int)call == GET(only)) {
        error = of_kind >= GET(first) && of_kind <= GET(last) ? GET(only_error) : 0;
    } else if (p == PROFILE) {
        error = profile_error((enum fault_profile)GET(profile), call, fd, flags);
        if (error && (int)(fault_random() & 255) >= GET(rate))
            error = 0;
        streak = passes_by_itself(error) && streak < 3 ? streak + 1 : 0;
        if (passes_by_itself(error) && streak == 0)
            error = 0;
    }
    if (error)
        fault_hit(call);
    return error;
}

size_t fault_shorten(size_t n)
{
    if (GET(plan) != PROFILE || GET(profile) != FAULT_SHORT || n < 2 || (int)(fault_random() & 255) >= GET(rate))
        return n;
    uint64_t r = fault_random();
    return r & 3 ? 1 + (r >> 2) % (n - 1) : 1;
}

/* GS_FAULT=profile[:seed[:rate]] runs a whole test program under a profile; the closing line lets the runner check that it
 * fired. */
static void report(void)
{
    printf("# fault profile %s seed %llu: %ld firings\n", profile_names[GET(profile)], (unsigned long long)GET(seed),
           fault_stop());
    fflush(stdout);
}

bool fault_start_asked(void)
{
    char name[16] = "";
    unsigned long long s = 1;
    int of_256 = 64;
    const char *text = getenv("GS_FAULT");
    if (!text || sscanf(text, "%15[a-z]:%llu:%d", name, &s, &of_256) < 1)
        return false;
    for (int i = 0; i < FAULT_PROFILES; i++) {
        if (!strcmp(name, profile_names[i])) {
            fault_start_profile((enum fault_profile)i, s, of_256);
            return true;
        }
    }
    fprintf(stderr, "GS_FAULT=%s: no such profile\n", text);
    abort();
}

__attribute__((constructor(201))) static void start_from_environment(void)
{
    if (fault_start_asked())
        atexit(report);
}
