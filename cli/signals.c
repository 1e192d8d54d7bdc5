/* signals.c: SIGINT and SIGTERM as a call in a thread, where every call of the library is allowed; a handler could do next to
 * nothing.
 *
 * The thread begins with cli_signals_guard or cli_signals_start, and stays. Where nobody has asked for the signals they end the
 * process as ever, but it leaves its tailnet first. The second one ends it at once.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "cli.h"

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t let_go;
    sigset_t set, before;
    bool blocked, runs, held, foreign;
    void (*on)(void *arg);
    void *arg;
    void (*at_death)(void *arg);
    void *death_arg;
    int came;
    bool dying; /* the thread `dies` is at it */
    pthread_t dies;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER, .let_go = PTHREAD_COND_INITIALIZER};

static bool is_ignored(int number)
{
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

/* From here on signals end the process by themselves. */
static void to_default(int number)
{
    sigset_t open;
    sigemptyset(&open);
    sigaddset(&open, number);
    signal(number, SIG_DFL);
    for (int i = 0; i < NUMBERS; i++)
        if (!is_ignored(numbers[i])) {
            signal(numbers[i], SIG_DFL);
            sigaddset(&open, numbers[i]);
        }
    pthread_sigmask(SIG_UNBLOCK, &open, NULL);
}

static _Noreturn void end_by(int number)
{
    to_default(number);
    raise(number);
    exit(128 + number); /* blocked by whoever started us */
}

static void *wait_for_signals(void *unused)
{
    (void)unused;
    for (;;) {
        int number;
        if (sigwait(&watch.set, &number) != 0)
            continue;
        pthread_mutex_lock(&watch.lock);
        while (watch.held)
            pthread_cond_wait(&watch.let_go, &watch.lock);
        bool again = watch.came || watch.dying, taken = watch.on && !again && number != SIGHUP;
        if (taken) {
            watch.came = number;
            watch.on(watch.arg);
        }
        bool ends = !taken && !is_ignored(number);
        if (ends && !again) {
            watch.dying = true;
            watch.dies = pthread_self();
        }
        pthread_mutex_unlock(&watch.lock);
        if (ends && again)
            end_by(number);
        if (ends)
            cli_die_of(number);
    }
    return NULL;
}

/* With the lock. */
static void block(void)
{
    if (watch.blocked)
        return;
    sigemptyset(&watch.set);
    for (int i = 0; i < NUMBERS; i++)
        if (numbers[i] != SIGHUP || !is_ignored(SIGHUP))
            sigaddset(&watch.set, numbers[i]);
    pthread_sigmask(SIG_BLOCK, &watch.set, &watch.before);
    watch.blocked = true;
}

static void unblock(void)
{
    if (!watch.runs && watch.blocked)
        pthread_sigmask(SIG_SETMASK, &watch.before, NULL);
    watch.blocked = watch.runs;
}

/* With the lock. 0, -errno. */
static int begin(void)
{
    pthread_t thread;
    int e = watch.runs ? 0 : pthread_create(&thread, NULL, wait_for_signals, NULL);
    if (e == 0 && !watch.runs) {
        pthread_detach(thread);
        watch.runs = true;
    }
    return -e;
}

void cli_signals_leave_alone(void) { watch.foreign = true; }

int cli_signals_guard(void)
{
    int e = 0;
    pthread_mutex_lock(&watch.lock);
    if (!watch.foreign) {
        block();
        e = begin();
        if (e < 0 && !watch.held)
            unblock();
    }
    pthread_mutex_unlock(&watch.lock);
    return e;
}

void cli_signals_hold(void)
{
    pthread_mutex_lock(&watch.lock);
    block();
    watch.held = true;
    pthread_mutex_unlock(&watch.lock);
    (void)cli_signals_came(); /* what is made from now on nobody would remove */
}

static void let_go(void)
{
    watch.held = false;
    pthread_cond_broadcast(&watch.let_go);
    unblock();
}

void cli_signals_release(void)
{
    pthread_mutex_lock(&watch.lock);
    let_go();
    pthread_mutex_unlock(&watch.lock);
}

int cli_signals_start(void (*on)(void *arg), void *arg)
{
    pthread_mutex_lock(&watch.lock);
    int e = begin();
    if (e == 0) {
        watch.on = on;
        watch.arg = arg;
        watch.came = 0;
    }
    let_go();
    pthread_mutex_unlock(&watch.lock);
    return e;
}

int cli_signals_stop(void)
{
    pthread_mutex_lock(&watch.lock);
    watch.on = NULL;
    int came = watch.came;
    pthread_mutex_unlock(&watch.lock);
    return came;
}

void cli_signals_at_death(void (*at_death)(void *arg), void *arg)
{
    (void)cli_signals_came();
    pthread_mutex_lock(&watch.lock);
    watch.at_death = at_death;
    watch.death_arg = arg;
    pthread_mutex_unlock(&watch.lock);
    (void)cli_signals_came();
}

bool cli_signals_came(void)
{
    pthread_mutex_lock(&watch.lock);
    bool came = watch.came, aside = watch.dying && !pthread_equal(watch.dies, pthread_self());
    pthread_mutex_unlock(&watch.lock);
    while (aside)
        (void)poll(NULL, 0, -1);
    return came;
}

void cli_die_of(int signal_number)
{
    pthread_mutex_lock(&watch.lock);
    if (!watch.dying) {
        watch.dying = true;
        watch.dies = pthread_self();
    }
    void (*at_death)(void *arg) = watch.at_death;
    void *arg = watch.death_arg;
    pthread_mutex_unlock(&watch.lock);
    (void)cli_signals_came(); /* another thread may be at it */
    to_default(signal_number);
    if (at_death)
        at_death(arg);
    cli_tailnet_leave();
    end_by(signal_number);
}
