/* program.c: gs_tailnet_spawn. The first program of a node brings the resolver, which is the node's thread's. */
#include <stdio.h>

#include "tailnet/node/parts.h"

/* Views are made from the map where it does not change meanwhile. */
struct ask_views {
    struct command command; /* first */
    struct resolver_views *views;
    char detail[DETAIL_MAX];
};

static void run_views(struct node *n, struct command *c, uint64_t now)
{
    struct ask_views *a = (struct ask_views *)c;
    (void)now;
    c->result = n->resolver ? 0 : gsi_resolver_open(&n->resolver, n->ns);
    if (c->result < 0)
        snprintf(a->detail, sizeof a->detail, "%s", gs_error_detail(c->result));
    else
        gsi_resolver_views(n->map, a->views);
}

static int spawn(struct node *n, const char *const argv[], const char *const envp[], pid_t *out)
{
    struct resolver_views views;
    struct ask_views a = {.command = {.run = run_views}, .views = &views};
    int e = gsi_node_call(n, &a.command, GS_INFINITY);
    if (e < 0)
        return *a.detail ? gs_fail(e, "%s", a.detail) : e;
    pthread_mutex_lock(&n->inside);
    atomic_store(&n->bare, true);
    const struct namespace_program program = {argv, envp, views.view, views.n};
    e = n->ns ? gsi_namespace_spawn(n->ns, &program, out) : gs_fail(GS_ECLOSED, "the node was stopped");
    pthread_mutex_unlock(&n->inside);
    return e;
}

int gs_tailnet_spawn(gs_tailnet h, const char *const argv[], const char *const envp[], pid_t *out)
{
    struct node *n;
    int e = !argv || !argv[0] || !out ? GS_EBADARG : gsi_node_of(h, &n);
    if (e < 0)
        return e;
    e = spawn(n, argv, envp, out);
    gsi_node_release(n);
    return e;
}
