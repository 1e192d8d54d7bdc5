/* census.c: counting what the process holds (census.h). */
#include "census.h"

#include <dirent.h>
#include <execinfo.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmocka_all.h"

static _Atomic long blocks, bytes, stamps;

/* The optional record of live blocks; its mutex orders threads, so it is off unless somebody hunts a leak. */
enum { TRACE_MAX = 1 << 16, TRACE_DEPTH = 12 };
struct trace {
    void *p;
    long stamp;
    size_t n;
    int depth;
    void *chain[TRACE_DEPTH];
};
static struct trace *traces;
static size_t trace_count;
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void trace_init(void)
{
    if (getenv("GS_TEST_HEAP"))
        traces = calloc(TRACE_MAX, sizeof *traces);
}

static void *nothing(void *unused) { return unused; }

/* ThreadSanitizer starts a thread of its own beside the program's first; let it be there before anybody counts. */
__attribute__((constructor)) static void start_a_thread(void)
{
    pthread_t t;
    if (pthread_create(&t, NULL, nothing, NULL) == 0)
        pthread_join(t, NULL);
}

static void trace_add(void *p, size_t n, long stamp)
{
    if (!traces)
        return;
    pthread_mutex_lock(&trace_lock);
    if (trace_count < TRACE_MAX) {
        struct trace *t = &traces[trace_count++];
        *t = (struct trace){.p = p, .stamp = stamp, .n = n};
        t->depth = backtrace(t->chain, TRACE_DEPTH);
    }
    pthread_mutex_unlock(&trace_lock);
}

static void trace_remove(void *p)
{
    if (!traces)
        return;
    pthread_mutex_lock(&trace_lock);
    for (size_t i = trace_count; i-- > 0;) {
        if (traces[i].p == p) {
            traces[i] = traces[--trace_count];
            break;
        }
    }
    pthread_mutex_unlock(&trace_lock);
}

static void trace_print_since(long stamp)
{
    if (!traces)
        return;
    pthread_mutex_lock(&trace_lock);
    for (size_t i = 0; i < trace_count; i++) {
        if (traces[i].stamp <= stamp)
            continue;
        fprintf(stderr, "# live block %p, %zu bytes, allocation %ld:\n", traces[i].p, traces[i].n, traces[i].stamp);
        backtrace_symbols_fd(traces[i].chain, traces[i].depth, STDERR_FILENO);
    }
    pthread_mutex_unlock(&trace_lock);
}

static void count_in(void *p)
{
    size_t n = malloc_usable_size(p);
    atomic_fetch_add_explicit(&blocks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&bytes, (long)n, memory_order_relaxed);
    trace_add(p, n, atomic_fetch_add_explicit(&stamps, 1, memory_order_relaxed) + 1);
}

static void count_out(void *p)
{
    atomic_fetch_sub_explicit(&blocks, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&bytes, (long)malloc_usable_size(p), memory_order_relaxed);
    trace_remove(p);
}

void *census_malloc(size_t n)
{
    void *p = malloc(n);
    if (p)
        count_in(p);
    return p;
}

void *census_realloc(void *p, size_t n)
{
    if (!p)
        return census_malloc(n);
    if (n == 0) {
        census_free(p);
        return NULL;
    }
    count_out(p);
    void *q = realloc(p, n);
    count_in(q ? q : p);
    return q;
}

void census_free(void *p)
{
    if (!p)
        return;
    count_out(p);
    free(p);
}

/* Entries of a /proc directory of this process, less the one that reading it opens. */
static int count_entries(const char *path, bool opens_one)
{
    DIR *d = opendir(path);
    if (!d)
        return -1;
    int n = 0;
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n - opens_one;
}

void census_take(struct census *c)
{
    *c = (struct census){
        .fds = count_entries("/proc/self/fd", true),
        .threads = count_entries("/proc/self/task", false),
        .blocks = atomic_load_explicit(&blocks, memory_order_relaxed),
        .bytes = atomic_load_explicit(&bytes, memory_order_relaxed),
        .stamp = atomic_load_explicit(&stamps, memory_order_relaxed),
    };
}

static void name_fds(char *out, size_t cap)
{
    size_t used = strlen(out);
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[300], target[200];
        snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n < 0 || used >= cap || atoi(e->d_name) == dirfd(d))
            continue;
        target[n] = '\0';
        int k = snprintf(out + used, cap - used, " %s=%s", e->d_name, target);
        used += k > 0 ? (size_t)k : 0;
    }
    if (d)
        closedir(d);
}

static void explain(const struct census *before, const struct census *now, char *why, size_t cap)
{
    snprintf(why, cap, "fds %d -> %d, threads %d -> %d, blocks %ld -> %ld (%+ld bytes)", before->fds, now->fds,
             before->threads, now->threads, before->blocks, now->blocks, now->bytes - before->bytes);
    if (now->fds != before->fds) {
        strncat(why, "; open:", cap - strlen(why) - 1);
        name_fds(why, cap);
    }
}

bool census_equal(const struct census *before, int wait_ms, char *why, size_t cap)
{
    struct census now;
    for (int ms = 0;; ms++) {
        census_take(&now);
        /* What another thread was about to give back when `before` was taken (a closed stream, itself): fewer is no leak. */
        if (now.fds == before->fds && now.threads <= before->threads && now.blocks <= before->blocks)
            return true;
        if (ms >= wait_ms)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    if (why && cap)
        explain(before, &now, why, cap);
    if (now.blocks > before->blocks)
        trace_print_since(before->stamp);
    return false;
}

void census_assert_at(const struct census *before, const char *file, int line)
{
    char why[2000];
    if (census_equal(before, 2000, why, sizeof why))
        return;
    print_error("census: %s\n", why);
    _fail(file, line);
}
