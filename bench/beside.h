/* beside.h: what one would have without gensock: a queue of messages between threads, by mutex and condition variable. */
#ifndef BENCH_BESIDE_H
#define BENCH_BESIDE_H

#include <pthread.h>
#include <stdlib.h>

struct beside_node {
    struct beside_node *next;
    size_t n;
};

struct beside_queue {
    pthread_mutex_t mutex;
    pthread_cond_t some;
    struct beside_node *first, **last;
};

static inline void beside_init(struct beside_queue *q)
{
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->some, NULL);
    q->first = NULL;
    q->last = &q->first;
}

static inline void beside_post(struct beside_queue *q)
{
    struct beside_node *m = malloc(sizeof *m);
    if (!m)
        abort();
    m->next = NULL;
    pthread_mutex_lock(&q->mutex);
    *q->last = m;
    q->last = &m->next;
    pthread_mutex_unlock(&q->mutex);
    pthread_cond_signal(&q->some);
}

static inline void beside_take(struct beside_queue *q)
{
    pthread_mutex_lock(&q->mutex);
    while (!q->first)
        pthread_cond_wait(&q->some, &q->mutex);
    struct beside_node *m = q->first;
    q->first = m->next;
    if (!q->first)
        q->last = &q->first;
    pthread_mutex_unlock(&q->mutex);
    free(m);
}

#endif
