/* support.c: the small helpers of support.h. */
#include "support.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A crash must not take the lines along that cmocka had printed. */
/* Whoever started the tests may ignore signals, as nohup does; programs that tests start would as well. */
__attribute__((constructor)) static void take_signals(void)
{
    static const int all[] = {SIGHUP, SIGINT, SIGQUIT};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        (void)signal(all[i], SIG_DFL);
}

__attribute__((constructor)) static void line_buffered(void) { setvbuf(stdout, NULL, _IOLBF, 0); }

void assert_code_at(long answer, long expected, const char *call, const char *file, int line)
{
    if (answer == expected)
        return;
    print_error("%s: %ld (%s) instead of %ld (%s) %s\n", call, answer, gs_error_name((int)answer), expected,
                gs_error_name((int)expected), answer < 0 ? gs_error_detail((int)answer) : "");
    _fail(file, line);
}

long assert_ok_at(long answer, const char *call, const char *file, int line)
{
    if (answer >= 0)
        return answer;
    print_error("%s: %ld (%s) %s\n", call, answer, gs_error_name((int)answer), gs_error_detail((int)answer));
    _fail(file, line);
    return answer;
}

bool test_long(void)
{
    const char *e = getenv("GS_TEST_LONG");
    return e && *e && strcmp(e, "0") != 0;
}

long test_scale(long quick, long all) { return test_long() ? all : quick; }

uint64_t test_seed(void)
{
    static uint64_t seed;
    if (!seed) {
        const char *e = getenv("GS_TEST_SEED");
        seed = e ? strtoull(e, NULL, 0) : 20261121;
        print_message("# GS_TEST_SEED=%llu\n", (unsigned long long)seed);
    }
    return seed;
}

uint64_t real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void pause_1ms(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t rng_next(struct rng *r) { return mix(r->s += UINT64_C(0x9e3779b97f4a7c15)); }

uint64_t rng_below(struct rng *r, uint64_t n) { return rng_next(r) % n; }

uint8_t pattern_byte(uint64_t seed, uint64_t at)
{
    return (uint8_t)(mix(seed + (at / 8) * UINT64_C(0x9e3779b97f4a7c15)) >> (at % 8 * 8));
}

void pattern_fill(void *p, size_t n, uint64_t seed, uint64_t at)
{
    uint8_t *out = p;
    for (size_t i = 0; i < n; i++)
        out[i] = pattern_byte(seed, at + i);
}

size_t pattern_check(const void *p, size_t n, uint64_t seed, uint64_t at)
{
    const uint8_t *in = p;
    size_t i = 0;
    while (i < n && in[i] == pattern_byte(seed, at + i))
        i++;
    return i;
}

void hash_feed(struct stream_hash *s, const void *p, size_t n)
{
    const uint8_t *in = p;
    for (size_t i = 0; i < n; i++)
        s->h = (s->h ^ in[i]) * UINT64_C(0x9e3779b97f4a7c15) + (s->h >> 47);
    s->n += n;
}

bool hash_equal(const struct stream_hash *a, const struct stream_hash *b) { return a->h == b->h && a->n == b->n; }

static char folder[64];
static pid_t folder_owner;

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void remove_folder(void)
{
    if (folder_owner == getpid())
        nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *temp_dir(void)
{
    if (folder_owner == getpid())
        return folder;
    snprintf(folder, sizeof folder, "/tmp/gensock-XXXXXX");
    if (!mkdtemp(folder))
        fail_msg("mkdtemp: %s", strerror(errno));
    folder_owner = getpid();
    atexit(remove_folder);
    return folder;
}

const char *temp_path(const char *name)
{
    static _Thread_local char paths[5][108];
    static _Thread_local unsigned turn;
    char *p = paths[turn++ % 5];
    snprintf(p, sizeof paths[0], "%s/%s", temp_dir(), name);
    return p;
}
