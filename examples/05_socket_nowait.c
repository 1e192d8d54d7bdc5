/* The socket document's examples: connect with a timeout, without waiting, by a reference of one's own, and cancelled.
 *
 * The program makes its own listener. A connect that cannot be done at once answers GS_ESELECT; a GS_MSG_SELECT in the
 * mailbox then says when to finish it. */
#include <gensock/mailbox.h>
#include <gensock/socket.h>
#include <stdio.h>

static int say(const char *what, int e)
{
    printf("%s: %s\n", what, e < 0 ? gs_error_name(e) : "ok");
    return e;
}

static int connect_timeout(gs_socket s, const gs_addr *to) { return gs_socket_connect(s, to, GS_MS(5000)); }

/* ref 0: `nowait`; else a reference made before the call: `select_handle()`. */
static int connect_nowait(gs_mailbox self, gs_socket s, const gs_addr *to, uint64_t ref)
{
    gs_wait w = {.timeout_ms = GS_NOWAIT, .to = self, .ref = ref};
    int e = gs_socket_connect(s, to, &w);
    if (e != GS_ESELECT)
        return e;
    gs_msg m;
    e = gs_receive_ref(self, w.info.ref, &m, 5000); /* what else the mailbox gets stays there */
    if (e == GS_ETIMEOUT)
        return say("cancel", gs_socket_cancel(s, &w.info)) < 0 ? e : GS_ETIMEOUT;
    if (e < 0 || m.kind == GS_MSG_ABORT)
        return e < 0 ? e : m.error;
    return gs_socket_connect(s, NULL, GS_MS(0));
}

/* Nobody sends: the wait is given up, and the socket is as before. */
static int cancel_recv(gs_mailbox self, gs_socket s)
{
    char byte;
    gs_msg m;
    gs_wait w = {.timeout_ms = GS_NOWAIT, .to = self};
    ssize_t n = gs_socket_recv(s, &byte, 1, 0, &w);
    if (n != GS_ESELECT || gs_receive_ref(self, w.info.ref, &m, 10) != GS_ETIMEOUT)
        return -1;
    return gs_socket_cancel(s, &w.info);
}

static int listen_anywhere(gs_socket *l, gs_addr *at)
{
    int e = gs_addr_special(at, AF_INET, GS_ADDR_LOOPBACK, 0);
    if (e == 0)
        e = gs_socket_open(l, AF_INET, SOCK_STREAM, 0, NULL);
    if (e == 0)
        e = gs_socket_bind(*l, at); /* the port */
    if (e >= 0)
        e = gs_socket_listen(*l, 5);
    return e < 0 ? e : gs_socket_sockname(*l, at);
}

int main(void)
{
    gs_mailbox self;
    gs_socket l, s[3];
    gs_addr at;
    int e = gs_mailbox_new(&self);
    if (e < 0 || say("listen", e = listen_anywhere(&l, &at)) < 0)
        return 1;
    for (int i = 0; i < 3 && e == 0; i++)
        e = gs_socket_open(&s[i], AF_INET, SOCK_STREAM, 0, NULL);
    if (e < 0 || say("connect with a timeout", connect_timeout(s[0], &at)) < 0 ||
        say("connect nowait", connect_nowait(self, s[1], &at, 0)) < 0 ||
        say("connect nowait by reference", connect_nowait(self, s[2], &at, gs_make_ref())) < 0 ||
        say("recv, cancelled", cancel_recv(self, s[0])) < 0)
        return 1;
    printf("%zu sockets\n", gs_number_of_sockets());
    for (int i = 0; i < 3; i++)
        gs_socket_close(s[i]);
    gs_socket_close(l);
    gs_mailbox_free(self);
    return 0;
}
