/* 04_send_timeout: the gen_tcp manual's forwarder. Clients post data to a thread that sends it on to a server; nothing comes
 * back from there, so only the option send_timeout tells that the server has stopped reading. This one never reads. */
#include <gensock/stream.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { SEND_DATA = 1, DATA_SENT, ERROR_SENDING, SEND_TIMEOUT_MS = 300, BLOCK = 32768 };

struct request { /* {Client, send_data, Binary} */
    gs_mailbox client;
    char data[BLOCK];
};

struct forwarder {
    gs_mailbox self;
    char server[64];
};

static void loop(gs_mailbox self, gs_stream s)
{
    static struct request q;
    gs_msg m;
    int e = 0;
    while (e == 0 && gs_receive(self, &m, GS_INFINITY) == 0) {
        if (m.kind != GS_MSG_POST || m.post.tag != SEND_DATA)
            continue;
        memcpy(&q, m.post.body.p, sizeof q);
        e = gs_stream_send(s, q.data, sizeof q.data);
        if (e == GS_ETIMEOUT)
            printf("forwarder: send timeout, closing!\n"); /* how much has reached the server is unknown */
        else if (e < 0)
            printf("forwarder: some other error (%s), closing\n", gs_error_name(e));
        if (gs_post(q.client, e < 0 ? ERROR_SENDING : DATA_SENT, &e, sizeof e) < 0)
            break;
    }
    gs_stream_close(s);
}

static void *forward(void *arg)
{
    struct forwarder *f = arg;
    gs_stream s;
    const gs_opt *opts = GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(SEND_TIMEOUT, SEND_TIMEOUT_MS),
                                 GS_INT(PACKET, GS_PACKET_4), GS_INT(SNDBUF, 65536));
    if (gs_stream_connect(&s, f->server, opts, f->self, 5000) == 0)
        loop(f->self, s);
    return NULL;
}

/* The client: sends until it hears of an error; answers that error. */
static int client(gs_mailbox me, gs_mailbox forwarder)
{
    static struct request q = {.data = "some data"};
    gs_msg m;
    q.client = me;
    for (int sent = 0;; sent++) {
        if (gs_post(forwarder, SEND_DATA, &q, sizeof q) < 0 || gs_receive(me, &m, 10000) < 0)
            return -1;
        if (m.post.tag == ERROR_SENDING) {
            int e;
            memcpy(&e, m.post.body.p, sizeof e);
            printf("client: %d blocks sent, then %s\n", sent, gs_error_name(e));
            return e;
        }
    }
}

int main(void)
{
    gs_stream deaf; /* a listener: the kernel takes the connection, and bytes until its buffer is full */
    gs_mailbox me;
    struct forwarder f;
    pthread_t thread;
    if (gs_mailbox_new(&me) < 0 || gs_mailbox_new(&f.self) < 0 ||
        gs_stream_listen(&deaf, "tcp://127.0.0.1:0", GS_OPTS(GS_INT(RECBUF, 65536)), GS_NO_MAILBOX) < 0)
        return 1;
    snprintf(f.server, sizeof f.server, "tcp://127.0.0.1:%d", gs_stream_port(deaf));
    if (pthread_create(&thread, NULL, forward, &f) != 0)
        return 1;
    int e = client(me, f.self);
    gs_stream_close(deaf);
    pthread_join(thread, NULL);
    return e == GS_ETIMEOUT ? 0 : 1;
}
