/* support.h: what tests need besides cmocka: readable assertions on codes, waits with a deadline, seeded random numbers and
 * patterns, a rolling hash, temporary folders, child processes. */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmocka_all.h"
#include "gensock/error.h"

/* The answer of a call is this code; on failure both names and the detail are printed. */
#define assert_code(call, expected) assert_code_at((long)(call), expected, #call, __FILE__, __LINE__)
/* The answer is no error. Yields it. */
#define assert_ok(call) assert_ok_at((long)(call), #call, __FILE__, __LINE__)
void assert_code_at(long answer, long expected, const char *call, const char *file, int line);
long assert_ok_at(long answer, const char *call, const char *file, int line);

/* Ends the test as skipped; the runner prints the reason. */
#define skip_because(...)                                                                                             \
    do {                                                                                                              \
        print_message("# skip: " __VA_ARGS__);                                                                        \
        print_message("\n");                                                                                          \
        skip();                                                                                                       \
    } while (0)

/* True under ./run test --all. test_scale: the size of a test's load in either case. */
bool test_long(void);
long test_scale(long quick, long all);
/* GS_TEST_SEED, else a fixed number; printed once, so that a failure can be repeated. */
uint64_t test_seed(void);

/* Real time. Looks at the condition each millisecond until it holds or ms are over. */
#define wait_until(condition, ms)                                                                                     \
    __extension__({                                                                                                   \
        uint64_t wait_end_ = real_ms() + (uint64_t)(ms);                                                              \
        bool wait_holds_;                                                                                             \
        while (!(wait_holds_ = (condition)) && real_ms() < wait_end_)                                                 \
            pause_1ms();                                                                                              \
        wait_holds_;                                                                                                  \
    })
#define assert_until(condition, ms)                                                                                   \
    do {                                                                                                              \
        if (!wait_until(condition, ms))                                                                               \
            fail_msg("not within %d ms: %s", (int)(ms), #condition);                                                  \
    } while (0)
uint64_t real_ms(void);
void pause_1ms(void);

/* SplitMix64. */
struct rng {
    uint64_t s;
};
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0 .. n - 1; n > 0 */

/* The byte at a position of the endless stream that a seed names: both ends can make and check any part of it. */
uint8_t pattern_byte(uint64_t seed, uint64_t at);
void pattern_fill(void *p, size_t n, uint64_t seed, uint64_t at);
/* The index of the first wrong byte, or n when all are right. */
size_t pattern_check(const void *p, size_t n, uint64_t seed, uint64_t at);

/* A 64-bit hash of a stream that does not depend on how the stream was cut. */
struct stream_hash {
    uint64_t h, n;
};
void hash_feed(struct stream_hash *s, const void *p, size_t n);
bool hash_equal(const struct stream_hash *a, const struct stream_hash *b);

/* This process's temporary folder: made at first use, removed with its contents at exit. Short enough for a unix socket. */
const char *temp_dir(void);
/* temp_dir()/name in a buffer of the calling thread that the fifth later call reuses. */
const char *temp_path(const char *name);

/* A program in a process group of its own; stdin from /dev/null, stdout and stderr together. */
struct child {
    pid_t pid;
    int out;
};
/* Fails the test when the program cannot be started. argv ends with NULL. */
struct child child_start(const char *const argv[]);
/* Reads the output until the end or a line that contains `word`; false after ms, or at the end without it. out gets the
 * text, ended with '\0', cut at cap. word NULL: until the end. */
bool child_expect(struct child *c, const char *word, int ms, char *out, size_t cap);
/* Waits for the end: the exit code, or 128 + signal; -1 after ms (it runs on). */
int child_wait(struct child *c, int ms);
/* Kills the group if it still runs, and reaps. */
void child_stop(struct child *c);

#endif
