/* The program of cnode.h: lines in, threads, lines out. */
#include "cnode.h"
#include "census.h"
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t speaking = PTHREAD_MUTEX_INITIALIZER;
static atomic_int running;              /* threads that were begun and are not joined */
static _Atomic(struct command *) ended; /* whose threads are ending */
static struct census marked;
static size_t marked_heap;

/* The sanitizer's count where there is one: it sees ei's and the bridge's blocks alike. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t heap_bytes(void)
{
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : mallinfo2().uordblks;
}

long number(const struct command *c, int n) { return n < c->n ? strtol(c->word[n], NULL, 0) : 0; }

const char *text(const struct command *c, int n) { return n < c->n ? c->word[n] : ""; }

void answer(struct command *c, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(c->answer, sizeof c->answer, format, ap);
    va_end(ap);
}

static void speak(struct command *c)
{
    for (char *p = c->answer; *p; p++)
        if (*p == '\n')
            *p = ' ';
    pthread_mutex_lock(&speaking);
    printf("%lu %s %s\n", c->id, c->failed ? "error" : "ok", c->answer);
    fflush(stdout);
    pthread_mutex_unlock(&speaking);
}

/* Joins the threads that have ended; wait_ms: waits so long for those that have not. What libraries keep for a thread goes with it. */
static void reap(int wait_ms)
{
    for (int ms = 0; ms <= wait_ms && atomic_load(&running) > 0; ms++) {
        for (struct command *c = atomic_exchange(&ended, NULL), *next; c; c = next) {
            next = c->next;
            pthread_join(c->thread, NULL);
            free(c->line);
            free(c);
            atomic_fetch_sub(&running, 1);
        }
        if (wait_ms)
            usleep(1000);
    }
}

/* mark: what is held now. check: nothing more is held; the bytes by which the heap grew. Commands that have answered and are not
 * quite gone yet are waited for. */
static void census_command(struct command *c)
{
    reap(2000);
    if (!strcmp(text(c, 0), "mark")) {
        census_take(&marked);
        marked_heap = heap_bytes();
        return;
    }
    c->failed = !census_equal(&marked, 2000, c->answer, sizeof c->answer);
    if (!c->failed)
        answer(c, "%ld", (long)(heap_bytes() - marked_heap));
}

static const struct {
    const char *name;
    void (*run)(struct command *c);
} commands[] = {
    {"listen", open_listen}, {"publish", open_publish}, {"accept", open_accept}, {"connect", open_connect},
    {"named", open_named},   {"lookup", open_lookup},   {"stream", open_stream}, {"close", open_close},
    {"serve", talk_serve},   {"accepts", talk_accepts}, {"rpc", talk_rpc},       {"flood", talk_flood},
    {"round", talk_round},   {"timed", talk_timed},     {"flags", talk_flags},   {"idle", talk_idle},
    {"ready", talk_ready},   {"sequence", talk_sequence}, {"census", census_command},
};

static void run(struct command *c)
{
    const char *name = c->word[0];
    size_t i = 0;
    while (i < sizeof commands / sizeof *commands && strcmp(commands[i].name, name))
        i++;
    memmove(c->word, c->word + 1, (size_t)--c->n * sizeof *c->word);
    if (i < sizeof commands / sizeof *commands) {
        commands[i].run(c);
    } else {
        c->failed = true;
        answer(c, "no command %s", name);
    }
    speak(c);
}

static void *run_thread(void *arg)
{
    struct command *c = arg;
    run(c);
    c->next = atomic_load(&ended);
    while (!atomic_compare_exchange_weak(&ended, &c->next, c))
        ;
    return NULL;
}

static void begin(const char *line)
{
    struct command *c = calloc(1, sizeof *c);
    char *rest = NULL;
    if (!c || !(c->line = strdup(line)))
        abort();
    const char *id = strtok_r(c->line, " \n", &rest);
    c->id = id ? strtoul(id, NULL, 10) : 0;
    for (char *w; c->n < WORDS_MAX && (w = strtok_r(NULL, " \n", &rest));)
        c->word[c->n++] = w;
    if (c->n > 0 && strcmp(c->word[0], "census")) {
        reap(0);
        atomic_fetch_add(&running, 1);
        if (pthread_create(&c->thread, NULL, run_thread, c))
            abort();
        return;
    }
    if (c->n > 0)
        run(c);
    free(c->line);
    free(c);
}

int main(int argc, char **argv)
{
    char line[4096];
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (ei_init() != 0 || !node_open(argc - 1, argv + 1))
        return 2;
    printf("0 ok\n");
    while (fgets(line, sizeof line, stdin))
        begin(line);
    reap(5000);
    node_close();
    return 0;
}
