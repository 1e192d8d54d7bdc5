/* census.h: what the process holds: descriptors, threads, blocks and bytes from gsi_alloc. Equal before and after = no leak.
 *
 *     struct census before;
 *     census_take(&before);
 *     … act, clean up …
 *     census_assert(&before);
 *
 * The heap counters are plain relaxed atomics, so that they order nothing and hide no data race from TSan. With
 * GS_TEST_HEAP=1 in the environment every block's call chain is kept as well, and a failed census prints the chains of the
 * blocks that are too many (addr2line -e PROGRAM names their lines).
 */
#ifndef TEST_CENSUS_H
#define TEST_CENSUS_H

#include <stdbool.h>
#include <stddef.h>

struct census {
    int fds;
    int threads;
    long blocks; /* live blocks of gsi_alloc, gsi_zalloc, gsi_realloc */
    long bytes;
    long stamp; /* allocations made so far */
};

void census_take(struct census *c);

/* True when fds, threads and blocks are as in `before`; waits up to wait_ms for threads and descriptors that are just going
 * away. When false, `why` (NULL is allowed) tells the differences, with the names of the open descriptors. */
bool census_equal(const struct census *before, int wait_ms, char *why, size_t cap);

/* Fails the running cmocka test unless census_equal within 2 s. */
#define census_assert(before) census_assert_at(before, __FILE__, __LINE__)
void census_assert_at(const struct census *before, const char *file, int line);

/* The counting allocator under the fault injector (fault.c puts both in place before main). */
void *census_malloc(size_t n);
void *census_realloc(void *p, size_t n);
void census_free(void *p);

#endif
