/* handle.c: handles of nodes: a place and a generation, checked at each call. */
#include <errno.h>
#include <unistd.h>

#include "tailnet/node/parts.h"

enum {
    EXIT_MS = 2000, /* of all nodes together */
    PLACE_BITS = 8,
    TAG = 0x7a, /* tells a handle of ours from numbers of other kinds */
};

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct place {
    struct node *node;
    uint32_t generation;
} table[NODES_MAX];
static struct node *order[NODES_MAX]; /* running ones, the first one started first */
static int running;

static uint64_t handle_of(int place)
{
    return (uint64_t)TAG << 56 | (uint64_t)table[place].generation << PLACE_BITS | (uint64_t)place;
}

int gsi_node_publish(struct node *n)
{
    pthread_mutex_lock(&table_lock);
    int place = 0;
    while (place < NODES_MAX && table[place].node)
        place++;
    if (place < NODES_MAX) {
        table[place].generation++;
        table[place].node = n;
        n->id = handle_of(place);
        order[running++] = n;
    }
    pthread_mutex_unlock(&table_lock);
    return place < NODES_MAX ? 0 : gs_fail(GS_ESYSLIMIT, "%d nodes run in this process already", NODES_MAX);
}

/* The handle is no more; whoever holds the node keeps it. */
bool gsi_node_withdraw(struct node *n)
{
    pthread_mutex_lock(&table_lock);
    struct place *p = &table[n->id & ((1u << PLACE_BITS) - 1)];
    bool was = p->node == n;
    if (was) {
        p->node = NULL;
        int at = 0;
        while (order[at] != n)
            at++;
        for (running--; at < running; at++)
            order[at] = order[at + 1];
    }
    pthread_mutex_unlock(&table_lock);
    return was;
}

void gsi_nodes_end(void)
{
    uint64_t by = gsi_node_now() + EXIT_MS * (SECOND / 1000);
    for (;;) {
        pthread_mutex_lock(&table_lock);
        gs_tailnet first = {running && order[0]->pid == getpid() ? order[0]->id : 0};
        pthread_mutex_unlock(&table_lock);
        if (!first.id)
            return;
        uint64_t now = gsi_node_now();
        gs_tailnet_stop(first, now < by ? (int)((by - now) * 1000 / SECOND) : 0);
    }
}

int gsi_node_of(gs_tailnet handle, struct node **out)
{
    uint64_t place = handle.id & ((1u << PLACE_BITS) - 1);
    uint32_t generation = (uint32_t)(handle.id >> PLACE_BITS);
    int e = GS_EBADARG;
    if (handle.id >> 56 != TAG || place >= NODES_MAX || handle.id >> (PLACE_BITS + 32) & 0xffff)
        return e;
    pthread_mutex_lock(&table_lock);
    if (generation && generation <= table[place].generation)
        e = generation == table[place].generation && table[place].node ? 0 : GS_ECLOSED;
    if (e == 0 && table[place].node->pid != getpid())
        e = GS_ECLOSED; /* a child of fork has no node: its thread is the parent's */
    if (e == 0) {
        *out = table[place].node;
        (*out)->holders++;
    }
    pthread_mutex_unlock(&table_lock);
    return e;
}

int gsi_node_default(struct node **out)
{
    pthread_mutex_lock(&table_lock);
    pid_t own = getpid(); /* those before a fork are the parent's */
    *out = NULL;
    for (int i = 0; i < running && !*out; i++)
        *out = order[i]->pid == own ? order[i] : NULL;
    if (*out)
        (*out)->holders++;
    pthread_mutex_unlock(&table_lock);
    return *out ? 0 : gs_fail(-ENETDOWN, "no tailnet node runs in this process: gs_tailnet_start makes one");
}

void gsi_node_hold(struct node *n)
{
    pthread_mutex_lock(&table_lock);
    n->holders++;
    pthread_mutex_unlock(&table_lock);
}

void gsi_node_release(struct node *n)
{
    pthread_mutex_lock(&table_lock);
    bool last = --n->holders == 0;
    pthread_mutex_unlock(&table_lock);
    if (last)
        gsi_node_free(n);
}
