/* 07_own_loop: a mailbox inside a loop of one's own. Its descriptor is readable whenever gs_receive(mb, &m, 0) has something
 * to do; here it stands in an epoll set beside a timer of the program. libuv, GLib or poll(2) do the same. */
#include <gensock/stream.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { TICKS = 3, TICK_MS = 20 };

static void *client(void *arg)
{
    char address[64], answer[8];
    gs_stream s;
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", *(int *)arg);
    if (gs_stream_connect(&s, address, GS_OPTS(GS_INT(PACKET, GS_PACKET_4)), GS_NO_MAILBOX, 5000) < 0)
        return NULL;
    for (int i = 0; i < 3; i++)
        if (gs_stream_send(s, "ping", 4) < 0 || gs_stream_recv(s, answer, sizeof answer, 0, 5000) != 4)
            arg = NULL;
    gs_stream_close(s);
    return arg;
}

/* One message; true when the connection is gone. */
static bool on_mailbox(gs_mailbox mb)
{
    gs_msg m;
    if (gs_receive(mb, &m, 0) < 0)
        return false;
    if (m.kind == GS_MSG_DATA) {
        printf("mailbox: %.*s\n", (int)m.packet.data.n, (const char *)m.packet.data.p);
        if (gs_stream_send(m.stream, m.packet.data.p, m.packet.data.n) < 0)
            gs_stream_close(m.stream);
    }
    return m.kind == GS_MSG_CLOSED;
}

static bool loop(gs_mailbox mb, int set, int timer)
{
    int ticks = 0;
    bool gone = false;
    while (!gone || ticks < TICKS) {
        struct epoll_event ready[2];
        int n = epoll_wait(set, ready, 2, 5000);
        if (n <= 0)
            return false;
        for (int i = 0; i < n; i++) {
            uint64_t expired;
            if (ready[i].data.fd != timer)
                gone = on_mailbox(mb) || gone;
            else if (read(timer, &expired, sizeof expired) > 0)
                printf("timer: tick %d\n", ++ticks);
        }
    }
    return true;
}

int main(void)
{
    gs_mailbox mb;
    gs_stream listener;
    pthread_t thread;
    void *went_well = NULL;
    struct itimerspec every = {{0, TICK_MS * 1000000}, {0, TICK_MS * 1000000}};
    int set = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), fd;
    if (gs_mailbox_new(&mb) < 0 || (fd = gs_mailbox_fd(mb)) < 0 || timerfd_settime(timer, 0, &every, NULL) < 0 ||
        gs_stream_listen(&listener, "tcp://127.0.0.1:0",
                         GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE), GS_INT(PACKET, GS_PACKET_4)), mb) < 0)
        return 1;
    struct epoll_event mailbox = {.events = EPOLLIN, .data.fd = fd}, tick = {.events = EPOLLIN, .data.fd = timer};
    int port = gs_stream_port(listener);
    if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &mailbox) < 0 || epoll_ctl(set, EPOLL_CTL_ADD, timer, &tick) < 0 ||
        pthread_create(&thread, NULL, client, &port) != 0)
        return 1;
    bool right = loop(mb, set, timer);
    pthread_join(thread, &went_well);
    gs_mailbox_free(mb);
    close(timer);
    close(set);
    return right && went_well ? 0 : 1;
}
