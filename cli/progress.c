/* progress.c: a line that tells how a transfer goes, drawn five times a second on a terminal. */
#include <time.h>
#include <unistd.h>

#include "cli.h"

enum { DRAW_NS = 200 * 1000 * 1000 };

uint64_t cli_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void cli_progress_start(struct cli_progress *p, uint64_t total)
{
    *p = (struct cli_progress){.on = isatty(STDERR_FILENO), .total = total, .began_ns = cli_now_ns()};
    p->drawn_ns = p->began_ns;
}

static void draw(const struct cli_progress *p, uint64_t done)
{
    fprintf(stderr, "\r\033[K%.1f MB", (double)done / 1e6);
    if (p->total != UINT64_MAX && p->total > 0)
        fprintf(stderr, " of %.1f MB  %3.0f %%", (double)p->total / 1e6, 100 * (double)done / (double)p->total);
    fprintf(stderr, "  %.1f MB/s", p->rate / 1e6);
    if (p->total != UINT64_MAX && p->total >= done && p->rate >= 1) {
        double left = (double)(p->total - done) / p->rate;
        unsigned long s = left < 360000 ? (unsigned long)(left + 0.5) : 359999;
        fprintf(stderr, "  ETA %lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    }
    fflush(stderr);
}

void cli_progress_at(struct cli_progress *p, uint64_t done)
{
    if (!p->on)
        return;
    uint64_t now = cli_now_ns();
    if (now - p->drawn_ns < DRAW_NS)
        return;
    /* Half of the rate is the last interval's: it follows a change within a second and does not flicker. */
    double latest = (double)(done - p->drawn_at) * 1e9 / (double)(now - p->drawn_ns);
    p->rate = p->drawn_at ? (p->rate + latest) / 2 : latest;
    p->drawn_ns = now;
    p->drawn_at = done;
    draw(p, done);
}

double cli_progress_end(struct cli_progress *p)
{
    if (p->on)
        fputs("\r\033[K", stderr);
    p->on = false;
    return (double)(cli_now_ns() - p->began_ns) / 1e9;
}
