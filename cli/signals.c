/* signals.c: SIGINT and SIGTERM as a call in a thread, where every call of the library is allowed; a handler could do next to
 * nothing. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "cli.h"

static struct {
    pthread_t thread;
    sigset_t set, before;
    void (*on)(void *arg);
    void *arg;
    bool ends; /* written before the thread is woken for its end */
    int came;  /* read after it is joined */
} watch;

static void *wait_for_signal(void *unused)
{
    (void)unused;
    int number;
    if (sigwait(&watch.set, &number) == 0 && !__atomic_load_n(&watch.ends, __ATOMIC_ACQUIRE)) {
        watch.came = number;
        watch.on(watch.arg);
    }
    return NULL;
}

void cli_signals_hold(void)
{
    sigemptyset(&watch.set);
    sigaddset(&watch.set, SIGINT);
    sigaddset(&watch.set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &watch.set, &watch.before);
}

void cli_signals_release(void) { pthread_sigmask(SIG_SETMASK, &watch.before, NULL); }

int cli_signals_start(void (*on)(void *arg), void *arg)
{
    watch.on = on;
    watch.arg = arg;
    watch.came = 0;
    __atomic_store_n(&watch.ends, false, __ATOMIC_RELEASE);
    int e = pthread_create(&watch.thread, NULL, wait_for_signal, NULL);
    if (e)
        cli_signals_release();
    return -e;
}

int cli_signals_stop(void)
{
    __atomic_store_n(&watch.ends, true, __ATOMIC_RELEASE);
    /* To that thread alone; when it has ended already this wakes nobody. */
    pthread_kill(watch.thread, SIGTERM);
    pthread_join(watch.thread, NULL);
    cli_signals_release();
    return watch.came;
}

void cli_die_of(int signal_number)
{
    cli_tailnet_leave();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
    exit(128 + signal_number); /* blocked by whoever started us */
}
