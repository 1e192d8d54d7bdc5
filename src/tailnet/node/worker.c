/* worker.c: threads for what would hold packets up: reading big maps, looking up names. Each is there only while it has something
 * to do. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "tailnet/node/parts.h"

/* Nobody is there any more who takes what is done, or adds to it. */
static void drop_all(struct worker *w)
{
    struct job *lists[] = {w->first, w->finished};
    w->first = w->finished = NULL;
    for (int i = 0; i < 2; i++)
        for (struct job *j = lists[i], *next; j; j = next) {
            next = j->next;
            j->drop(j);
        }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct node *n = w->node;
    pthread_mutex_lock(&n->lock);
    for (struct job *j; !w->stop && (j = w->first);) {
        if (!(w->first = j->next))
            w->last = &w->first;
        pthread_mutex_unlock(&n->lock);
        j->run(j);
        pthread_mutex_lock(&n->lock);
        j->next = NULL;
        *w->finished_last = j;
        w->finished_last = &j->next;
        pthread_mutex_unlock(&n->lock);
        gsi_node_wake(n);
        pthread_mutex_lock(&n->lock);
    }
    w->running = false;
    bool left = w->left;
    pthread_mutex_unlock(&n->lock);
    if (left) {
        drop_all(w);
        gsi_node_release(n);
    }
    return NULL;
}

/* Locked. */
static int begin(struct worker *w)
{
    sigset_t all, before;
    if (w->joinable)
        pthread_join(w->thread, NULL); /* it has ended, or is about to return */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&w->thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->joinable = w->running = e == 0;
    if (e == 0)
        pthread_setname_np(w->thread, "gs-tailnet-work");
    return e == 0 ? 0 : gs_fail(GS_ESYSLIMIT, "no thread: %s", strerror(e));
}

void gsi_worker_init(struct node *n, struct worker *w)
{
    *w = (struct worker){.node = n, .last = &w->first, .finished_last = &w->finished};
}

int gsi_worker_give(struct node *n, struct worker *w, struct job *j)
{
    pthread_mutex_lock(&n->lock);
    int e = w->running ? 0 : begin(w);
    if (e == 0) {
        j->next = NULL;
        *w->last = j;
        w->last = &j->next;
    }
    pthread_mutex_unlock(&n->lock);
    return e;
}

void gsi_worker_take(struct node *n, struct worker *w, uint64_t now)
{
    pthread_mutex_lock(&n->lock);
    for (struct job *j; (j = w->finished);) {
        if (!(w->finished = j->next))
            w->finished_last = &w->finished;
        pthread_mutex_unlock(&n->lock);
        j->done(n, j, now);
        pthread_mutex_lock(&n->lock);
    }
    pthread_mutex_unlock(&n->lock);
}

bool gsi_worker_is_stopping(struct worker *w)
{
    pthread_mutex_lock(&w->node->lock);
    bool stop = w->stop;
    pthread_mutex_unlock(&w->node->lock);
    return stop;
}

void gsi_worker_end(struct node *n, struct worker *w)
{
    pthread_mutex_lock(&n->lock);
    w->stop = true;
    pthread_mutex_unlock(&n->lock);
    if (w->joinable)
        pthread_join(w->thread, NULL);
    w->joinable = false;
    drop_all(w);
}

void gsi_worker_leave(struct node *n, struct worker *w)
{
    gsi_node_hold(n);
    pthread_mutex_lock(&n->lock);
    w->stop = true;
    w->left = w->running;
    if (w->left) {
        pthread_detach(w->thread);
        w->joinable = false;
    }
    pthread_mutex_unlock(&n->lock);
    if (!w->left) {
        gsi_worker_end(n, w);
        gsi_node_release(n);
    }
}
