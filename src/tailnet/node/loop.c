/* loop.c: the node's thread: packets first, then streams, commands, and what time brings. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tailnet/node/parts.h"

#define SOON (SECOND / 20000)
#define NEW_WAY (SECOND / 20) /* between a handshake's beginning and the next, on a new way */
enum { FOLLOWERS = 8 }; /* so many in a row, and the next is waited for awake */

static uint64_t clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

uint64_t gsi_node_now(void) { return clock_of(CLOCK_MONOTONIC); }
uint64_t gsi_node_wall_ns(void) { return clock_of(CLOCK_REALTIME); }
int64_t gsi_node_wall_s(void) { return (int64_t)(gsi_node_wall_ns() / SECOND); }

void gsi_node_wake(struct node *n)
{
    static const uint64_t one = 1;
    (void)!write(n->wake, &one, sizeof one); /* full: it is awake */
}

/* ---- commands ---- */

static void wait_until(struct node *n, uint64_t until, bool *late)
{
    struct timespec t = {(time_t)(until / SECOND), (long)(until % SECOND)};
    if (until == UINT64_MAX)
        pthread_cond_wait(&n->changed, &n->lock);
    else
        *late = pthread_cond_timedwait(&n->changed, &n->lock, &t) == ETIMEDOUT;
}

/* Locked. Out of a list, when it is there. */
static void take_out(struct command **list, struct command *c)
{
    while (*list && *list != c)
        list = &(*list)->next;
    if (*list)
        *list = c->next;
}

int gsi_node_call(struct node *n, struct command *c, int timeout_ms)
{
    uint64_t until = timeout_ms < 0 ? UINT64_MAX : gsi_node_now() + (uint64_t)timeout_ms * 1000000;
    bool late = false;
    pthread_mutex_lock(&n->lock);
    if (n->stopping) {
        pthread_mutex_unlock(&n->lock);
        return GS_ECLOSED;
    }
    c->next = NULL;
    *n->commands_last = c;
    n->commands_last = &c->next;
    pthread_mutex_unlock(&n->lock);
    gsi_node_wake(n);
    pthread_mutex_lock(&n->lock);
    while (c->running || (!c->done && !late && !n->stopping))
        if (c->running)
            pthread_cond_wait(&n->changed, &n->lock);
        else
            wait_until(n, until, &late);
    if (!c->done) {
        take_out(&n->waiting, c);
        take_out(&n->commands, c);
        n->commands_last = &n->commands;
        while (*n->commands_last)
            n->commands_last = &(*n->commands_last)->next;
        c->result = n->stopping ? GS_EABORTED : GS_ETIMEOUT;
    }
    pthread_mutex_unlock(&n->lock);
    return c->result;
}

void gsi_command_done(struct node *n, struct command *c, int result)
{
    take_out(&n->waiting, c);
    c->result = result;
    c->done = true;
    pthread_cond_broadcast(&n->changed);
}

void gsi_commands_done(struct node *n, command_run *run, int result)
{
    pthread_mutex_lock(&n->lock);
    for (struct command *c = n->waiting, *next; c; c = next) {
        next = c->next;
        if (c->run == run)
            gsi_command_done(n, c, result);
    }
    pthread_mutex_unlock(&n->lock);
}

static void run_commands(struct node *n, uint64_t now)
{
    pthread_mutex_lock(&n->lock);
    for (struct command *c; (c = n->commands);) {
        if (!(n->commands = c->next))
            n->commands_last = &n->commands;
        if (c->kept) {
            c->next = n->waiting;
            n->waiting = c;
        }
        c->running = true;
        pthread_mutex_unlock(&n->lock);
        c->run(n, c, now);
        pthread_mutex_lock(&n->lock);
        c->running = false;
        c->done |= !c->kept;
        pthread_cond_broadcast(&n->changed);
    }
    pthread_mutex_unlock(&n->lock);
}

/* ---- what is told ---- */

void gsi_node_event(struct node *n, gs_tailnet_event tag, const char *format, ...)
{
    char text[LOGIN_URL_MAX + DETAIL_MAX];
    va_list args;
    if (!n->config.events.id)
        return;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t kept = len < 0 ? 0 : (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
    (void)!gs_post_event(n->config.events, tag, n->id, text, kept); /* a mailbox that is full or gone hears nothing */
}

void gsi_node_state(struct node *n, gs_tailnet_state state)
{
    pthread_mutex_lock(&n->lock);
    bool new = n->state != state && !n->stopping && n->state != GS_TAILNET_FAILED;
    if (new)
        n->state = state;
    if (new && state == GS_TAILNET_RUNNING) {
        n->login_url[0] = 0;
        if (n->error != GS_ELOCKED) /* told before, of this very map */
            n->error = n->detail[0] = 0;
    }
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    if (new)
        gsi_node_event(n, GS_TAILNET_STATE, "%s", gs_tailnet_state_name(state));
}

void gsi_node_hindered(struct node *n, int error, const char *detail)
{
    pthread_mutex_lock(&n->lock);
    if (n->state != GS_TAILNET_FAILED) {
        n->error = error;
        snprintf(n->detail, sizeof n->detail, "%s", error ? detail : "");
        pthread_cond_broadcast(&n->changed);
    }
    pthread_mutex_unlock(&n->lock);
}

void gsi_node_fail(struct node *n, int error, const char *detail)
{
    gsi_node_hindered(n, error, detail);
    gsi_node_state(n, GS_TAILNET_FAILED);
}

void gsi_node_login(struct node *n, const char *url)
{
    pthread_mutex_lock(&n->lock);
    bool new = strcmp(n->login_url, url) != 0;
    if (new) {
        snprintf(n->login_url, sizeof n->login_url, "%s", url);
        n->login_told = false;
    }
    pthread_mutex_unlock(&n->lock);
    gsi_node_state(n, GS_TAILNET_LOGIN);
    if (new)
        gsi_node_event(n, GS_TAILNET_LOGIN_URL, "%s", url);
}

/* ---- the thread ---- */

static void take_paths_event(struct node *n, const struct paths_event *e, uint64_t now)
{
    struct peer *p = e->user;
    char at[ENDPOINT_TEXT];
    switch (e->type) {
    case PATHS_WANT_ENDPOINTS: gsi_outside_want(n, now); break;
    case PATHS_PONG: gsi_pings_pong(n, e); break;
    case PATHS_CHANGED:
        if (p->plane.wg && e->info.kind != PATH_NONE)
            gsi_wireguard_hurry(p->plane.wg, NEW_WAY, now); /* what was said before there was a way is lost */
        if (e->info.kind == PATH_DIRECT)
            gsi_node_event(n, GS_TAILNET_PATH, "%s direct %s", gsi_member_name(n, p), gsi_endpoint_text(&e->info.at, at));
        else if (e->info.kind == PATH_RELAY)
            gsi_node_event(n, GS_TAILNET_PATH, "%s relay %s", gsi_member_name(n, p), gsi_node_region_code(n, e->info.region));
        else
            gsi_node_event(n, GS_TAILNET_PATH, "%s none", gsi_member_name(n, p));
        break;
    }
}

static void take_events(struct node *n, uint64_t now)
{
    struct paths_event path;
    struct wg_event wg;
    while (gsi_paths_next(n->paths, &path))
        take_paths_event(n, &path, now);
    while (gsi_wireguard_next(n->wireguard, &wg))
        ; /* sessions are WireGuard's own matter; status asks for them */
}

static void step(struct node *n, uint64_t now)
{
    gsi_worker_take(n, &n->reader, now);
    gsi_worker_take(n, &n->finder, now);
    run_commands(n, now);
    gsi_session_step(n, now);
    gsi_members_step(n, now);
    gsi_relays_step(n, now);
    gsi_outside_step(n, now);
    for (int i = 0; i < 3 && (n->stirred || gsi_plane_deadline(n->plane) <= now); i++) {
        n->stirred = false;
        gsi_plane_tick(n->plane, now, gsi_node_wall_ns());
    }
    take_events(n, now);
}

static void take_messages(struct node *n, uint64_t now)
{
    gs_msg m;
    int e = 0;
    for (int i = 0; i < NODE_MESSAGES && (e = gs_receive(n->mailbox, &m, 0)) == 0; i++) {
        struct channel *c = m.user;
        if (c && m.stream.id && c->stream.id == m.stream.id)
            c->take(n, c, &m, now);
    }
    if (e < 0 && e != GS_ETIMEOUT) /* nothing is lost, and it stays readable: packets go on, and there may be memory soon */
        n->messages_at = now + SECOND / 100;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t deadline(const struct node *n)
{
    uint64_t at = least(gsi_plane_deadline(n->plane), gsi_session_deadline(n));
    at = least(at, gsi_members_deadline(n));
    at = least(at, gsi_relays_deadline(n));
    return least(at, gsi_outside_deadline(n));
}

enum { FDS = 7 };

/* Packets that follow each other soon, as in a conversation of questions and answers, are met awake: to wake up takes longer than
 * they do. Where they do not follow, nobody is kept awake. */
static void packets_came(struct node *n, uint64_t now)
{
    bool soon = now - n->packet_ns < 2 * SOON;
    n->followers = soon ? n->followers < 2 * FOLLOWERS ? n->followers + 1 : n->followers : n->followers / 2;
    n->packet_ns = now;
}

static bool comes_soon(struct node *n, struct pollfd fds[FDS], uint64_t at)
{
    static const struct timespec none;
    if (n->followers < FOLLOWERS)
        return false;
    for (uint64_t now = gsi_node_now(); now < at && now - n->packet_ns < SOON; now = gsi_node_now()) {
        if (ppoll(fds, FDS, &none, NULL) > 0)
            return true;
        sched_yield();
    }
    return false;
}

static void wait_for(struct node *n, struct pollfd fds[FDS])
{
    uint64_t at = deadline(n);
    bool rests = n->messages_at && gsi_node_now() < n->messages_at;
    if (rests)
        at = least(at, n->messages_at);
    fds[0] = (struct pollfd){.fd = n->tun_gone ? -1 : gsi_namespace_tun(n->ns), .events = POLLIN};
    fds[1] = (struct pollfd){.fd = gsi_link_fd(n->link, false), .events = POLLIN};
    fds[2] = (struct pollfd){.fd = gsi_link_fd(n->link, true), .events = POLLIN};
    fds[3] = (struct pollfd){.fd = rests ? -1 : gs_mailbox_fd(n->mailbox), .events = POLLIN};
    fds[4] = (struct pollfd){.fd = n->resolver ? gsi_resolver_fd(n->resolver) : -1, .events = POLLIN};
    fds[5] = (struct pollfd){.fd = n->wake, .events = POLLIN};
    fds[6] = (struct pollfd){.fd = n->outside.watch, .events = POLLIN};
    if (comes_soon(n, fds, at))
        return;
    uint64_t now = gsi_node_now(), left = at > now ? at - now : 0;
    struct timespec t = {(time_t)(left / SECOND), (long)(left % SECOND)};
    if (ppoll(fds, FDS, at == UINT64_MAX ? NULL : &t, NULL) < 0)
        for (int i = 0; i < FDS; i++)
            fds[i].revents = 0;
}

static bool is_stopping(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    bool stopping = n->stopping;
    pthread_mutex_unlock(&n->lock);
    return stopping;
}

/* The resets that closing connections make still go out. */
static void leave(struct node *n)
{
    gsi_conns_reset(n, GS_EABORTED);
    (void)!gsi_plane_from_tun(n->plane, gsi_node_now());
    gsi_resolver_close(n->resolver);
    n->resolver = NULL;
    pthread_mutex_lock(&n->inside);
    gsi_namespace_close(n->ns); /* and its programs end */
    n->ns = NULL;
    pthread_mutex_unlock(&n->inside);
    gsi_worker_end(n, &n->reader);
    gsi_worker_leave(n, &n->finder);
    gsi_session_end(n);
    gsi_relays_end(n);
    gsi_node_let_go(n);
}

void *gsi_node_loop(void *node)
{
    struct node *n = node;
    struct pollfd fds[FDS] = {0};
    while (!is_stopping(n)) {
        uint64_t now = gsi_node_now();
        if (fds[0].revents && !gsi_plane_from_tun(n->plane, now)) {
            n->tun_gone = true;
            gsi_node_fail(n, -ENETDOWN, "the private network is gone: its helper process was killed");
            gsi_conns_reset(n, -ENETDOWN); /* nothing would ever come */
            gsi_listenings_shut(n, -ENETDOWN);
        }
        for (int v6 = 0; v6 < 2; v6++)
            if (fds[1 + v6].revents)
                gsi_plane_from_link(n->plane, v6, now);
        if (fds[0].revents || fds[1].revents || fds[2].revents)
            packets_came(n, now);
        if (fds[3].revents)
            take_messages(n, now);
        if (fds[4].revents)
            gsi_resolver_serve(n->resolver, n->map);
        if (fds[5].revents)
            (void)!read(n->wake, &(uint64_t){0}, sizeof(uint64_t));
        if (fds[6].revents)
            gsi_outside_watch(n, now);
        step(n, now);
        if (!is_stopping(n)) /* what would wake us may have been taken above */
            wait_for(n, fds);
    }
    leave(n);
    return NULL;
}
