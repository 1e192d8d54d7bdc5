/* What the rig's node says and answers on its connections. Messages that it understands, to any name of it:
 *     {echo, Pid, Term}    Term goes to Pid
 *     {seq, Pid, I, N}     counts up from 0; when I is N - 1 Pid gets {seq, N, how many were out of order}
 *     {close, Pid}         ends the connection, Pid gets nothing
 */
#include "cnode.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

enum { THREADS_MAX = 16, VERSION_BYTE = 131 };

typedef struct {
    int fd;
    bool selects; /* waits by select before each message, as a program does that has more to wait for */
    long served, out_of_order, next;
    const char *end; /* why it ended */
} served;

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static const char *error_word(void)
{
    const char *name = strerrorname_np(erl_errno);
    return name ? name : "0";
}

/* ---- answering ---- */

static bool readable(int fd, int ms)
{
    fd_set set;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    FD_ZERO(&set);
    if (fd >= FD_SETSIZE)
        return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ms) == 1;
    FD_SET(fd, &set);
    return select(fd + 1, &set, NULL, NULL, &tv) == 1;
}

/* The rest of the message is a term of its own when the byte before it, which was read already, becomes its version. */
static bool send_rest(served *v, erlang_pid *to, ei_x_buff *x, int at)
{
    x->buff[at - 1] = (char)VERSION_BYTE;
    return ei_send(v->fd, to, x->buff + at - 1, x->index - at + 1) == 0;
}

static bool count(served *v, erlang_pid *to, ei_x_buff *x, int at)
{
    long i, n;
    if (ei_decode_long(x->buff, &at, &i) || ei_decode_long(x->buff, &at, &n))
        return false;
    v->out_of_order += i != v->next;
    v->next = i + 1;
    if (i != n - 1)
        return true;
    ei_x_buff out;
    ei_x_new_with_version(&out);
    ei_x_format_wo_ver(&out, "{seq, ~l, ~l}", n, v->out_of_order);
    bool sent = ei_send(v->fd, to, out.buff, out.index) == 0;
    ei_x_free(&out);
    v->next = v->out_of_order = 0;
    return sent;
}

/* False ends the connection; v->end says why. */
static bool handle(served *v, ei_x_buff *x)
{
    char what[MAXATOMLEN];
    int at = 0, version, arity;
    erlang_pid to;
    v->end = "not understood";
    if (ei_decode_version(x->buff, &at, &version) || ei_decode_tuple_header(x->buff, &at, &arity) ||
        ei_decode_atom(x->buff, &at, what) || ei_decode_pid(x->buff, &at, &to))
        return false;
    v->end = !strcmp(what, "close") ? "asked to" : "sending failed";
    if (!strcmp(what, "echo"))
        return send_rest(v, &to, x, at);
    return !strcmp(what, "seq") && count(v, &to, x, at);
}

static void serve(served *v)
{
    erlang_msg msg;
    ei_x_buff x;
    ei_x_new(&x);
    for (;;) {
        v->end = "select is silent";
        if (v->selects && !readable(v->fd, PATIENCE_MS))
            break;
        int got = ei_xreceive_msg(v->fd, &msg, &x);
        if (got == ERL_TICK)
            continue;
        if (got != ERL_MSG) {
            v->end = error_word();
            break;
        }
        v->served++;
        if ((msg.msgtype == ERL_SEND || msg.msgtype == ERL_REG_SEND) && !handle(v, &x))
            break;
    }
    ei_x_free(&x);
    ei_close_connection(v->fd);
}

void talk_serve(struct command *c)
{
    served v = {.fd = (int)number(c, 0), .selects = !strcmp(text(c, 1), "select")};
    serve(&v);
    answer(c, "%ld %s", v.served, v.end);
}

static void *serve_thread(void *arg)
{
    serve(arg);
    free(arg);
    return NULL;
}

void talk_accepts(struct command *c)
{
    pthread_t threads[64];
    int n = 0, fd = 0;
    ErlConnect con;
    while (n < 64 && (fd = ei_accept_tmo(&node, (int)number(c, 0), &con, PATIENCE_MS)) >= 0) {
        served *v = calloc(1, sizeof *v);
        if (!v)
            abort();
        v->fd = fd;
        if (pthread_create(&threads[n++], NULL, serve_thread, v))
            abort();
    }
    const char *end = error_word();
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    answer(c, "%d %s", n, end);
}

/* ---- asking ---- */

void talk_rpc(struct command *c)
{
    ei_x_buff args, out;
    char *shown = NULL;
    int at = 0;
    ei_x_new(&args);
    ei_x_new(&out);
    ei_x_encode_list_header(&args, 1);
    ei_x_encode_string(&args, text(c, 3));
    ei_x_encode_empty_list(&args);
    int e = ei_rpc(&node, (int)number(c, 0), c->word[1], c->word[2], args.buff, args.index, &out);
    if (e < 0)
        fail_with(c, "rpc", e);
    else if (ei_s_print_term(&shown, out.buff, &at) >= 0)
        answer(c, "%s", shown);
    free(shown);
    ei_x_free(&args);
    ei_x_free(&out);
}

typedef struct {
    int fd, number;
    const char *name;
    long count, size;
    pthread_mutex_t *writing;
    bool failed;
} flood;

static void *flood_thread(void *arg)
{
    flood *f = arg;
    char *bytes = malloc((size_t)f->size + 1);
    ei_x_buff x;
    ei_x_new(&x);
    for (long i = 0; bytes && i < f->count && !f->failed; i++) {
        memset(bytes, (int)((f->number * 31 + i) & 255), (size_t)f->size);
        x.index = 0;
        ei_x_encode_version(&x);
        ei_x_encode_tuple_header(&x, 3);
        ei_x_encode_long(&x, f->number);
        ei_x_encode_long(&x, i);
        ei_x_encode_binary(&x, bytes, (int)f->size);
        pthread_mutex_lock(f->writing); /* ei itself has no lock between the parts of a message */
        f->failed = ei_reg_send(&node, f->fd, (char *)(uintptr_t)f->name, x.buff, x.index) < 0;
        pthread_mutex_unlock(f->writing);
    }
    ei_x_free(&x);
    free(bytes);
    return NULL;
}

void talk_flood(struct command *c)
{
    flood f[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
    int n = (int)number(c, 4);
    for (int i = 0; i < n && i < THREADS_MAX; i++) {
        f[i] = (flood){.fd = (int)number(c, 0), .name = text(c, 1), .number = i, .count = number(c, 2) / n, .size = number(c, 3),
                       .writing = &writing};
        if (pthread_create(&threads[i], NULL, flood_thread, &f[i]))
            abort();
    }
    for (int i = 0; i < n && i < THREADS_MAX; i++) {
        pthread_join(threads[i], NULL);
        if (f[i].failed)
            fail_with(c, "flood", -1);
    }
}

static int receive(int fd, ei_x_buff *x)
{
    erlang_msg msg;
    int got;
    while ((got = ei_xreceive_msg_tmo(fd, &msg, x, PATIENCE_MS)) == ERL_TICK)
        ;
    return got;
}

static void bytes_make(char *p, long n)
{
    uint64_t s = 0x9e3779b97f4a7c15u ^ (uint64_t)n;
    for (long i = 0; i < n; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        p[i] = (char)(s >> 56);
    }
}

void talk_round(struct command *c)
{
    long size = number(c, 2), got = 0;
    int fd = (int)number(c, 0), at = 0, version, type, arity;
    char *bytes = malloc((size_t)size + 1);
    ei_x_buff x;
    ei_x_new_with_version(&x);
    if (!bytes)
        abort();
    bytes_make(bytes, size);
    ei_x_encode_tuple_header(&x, c->n > 3 ? 3 : 2);
    if (c->n > 3)
        ei_x_encode_atom(&x, c->word[3]);
    ei_x_encode_pid(&x, ei_self(&node));
    ei_x_encode_binary(&x, bytes, (int)size);
    int e = ei_reg_send(&node, fd, c->word[1], x.buff, x.index);
    if (e < 0) {
        fail_with(c, "send", e);
    } else if ((e = receive(fd, &x)) != ERL_MSG) {
        fail_with(c, "receive", e);
    } else if (ei_decode_version(x.buff, &at, &version) || ei_get_type(x.buff, &at, &type, &arity) || type != ERL_BINARY_EXT ||
               arity != size) {
        c->failed = true;
        answer(c, "another term came back, of %d bytes", x.index);
    } else {
        char *back = malloc((size_t)size + 1);
        c->failed = !back || ei_decode_binary(x.buff, &at, back, &got) || got != size || memcmp(back, bytes, (size_t)size);
        answer(c, c->failed ? "other bytes came back" : "%ld", got);
        free(back);
    }
    ei_x_free(&x);
    free(bytes);
}

void talk_sequence(struct command *c)
{
    long n = number(c, 1), of, wrong;
    int fd = (int)number(c, 0), at = 0, version, arity, e = 0;
    char what[MAXATOMLEN];
    ei_x_buff x;
    ei_x_new(&x);
    for (long i = 0; i < n && e == 0; i++) {
        x.index = 0;
        ei_x_encode_version(&x);
        ei_x_encode_tuple_header(&x, 4);
        ei_x_encode_atom(&x, "seq");
        ei_x_encode_pid(&x, ei_self(&node));
        ei_x_encode_long(&x, i);
        ei_x_encode_long(&x, n);
        e = ei_reg_send(&node, fd, (char *)(uintptr_t) "any", x.buff, x.index);
    }
    if (e < 0)
        fail_with(c, "send", e);
    else if ((e = receive(fd, &x)) != ERL_MSG)
        fail_with(c, "receive", e);
    else if (ei_decode_version(x.buff, &at, &version) || ei_decode_tuple_header(x.buff, &at, &arity) ||
             ei_decode_atom(x.buff, &at, what) || ei_decode_long(x.buff, &at, &of) || ei_decode_long(x.buff, &at, &wrong))
        c->failed = true;
    else
        answer(c, "%ld", wrong);
    ei_x_free(&x);
}

/* ---- ei's functions with a timeout ---- */

/* What a send gets: a message of this size; nobody is registered as nobody. */
static int timed_send(const char *function, int fd, unsigned ms, long size)
{
    char *bytes = calloc(1, (size_t)size + 1);
    ei_x_buff x;
    ei_x_new_with_version(&x);
    ei_x_encode_binary(&x, bytes, (int)size);
    erlang_pid *self = ei_self(&node);
    int r = -2;
    if (!strcmp(function, "send"))
        r = ei_send_tmo(fd, self, x.buff, x.index, ms);
    else if (!strcmp(function, "send_encoded"))
        r = ei_send_encoded_tmo(fd, self, x.buff, x.index, ms);
    else if (!strcmp(function, "reg_send"))
        r = ei_reg_send_tmo(&node, fd, (char *)(uintptr_t) "nobody", x.buff, x.index, ms);
    else if (!strcmp(function, "send_reg_encoded"))
        r = ei_send_reg_encoded_tmo(fd, self, "nobody", x.buff, x.index, ms);
    ei_x_free(&x);
    free(bytes);
    return r;
}

static int timed_receive(const char *function, int fd, unsigned ms)
{
    unsigned char plain[1000];
    erlang_msg msg;
    ei_x_buff x;
    int r = -2, length = 0;
    ei_x_new(&x);
    if (!strcmp(function, "receive"))
        r = ei_receive_tmo(fd, plain, (int)sizeof plain, ms);
    else if (!strcmp(function, "receive_msg"))
        r = ei_receive_msg_tmo(fd, &msg, &x, ms);
    else if (!strcmp(function, "xreceive_msg"))
        r = ei_xreceive_msg_tmo(fd, &msg, &x, ms);
    else if (!strcmp(function, "receive_encoded"))
        r = ei_receive_encoded_tmo(fd, &x.buff, &x.buffsz, &msg, &length, ms);
    else if (!strcmp(function, "rpc_from"))
        r = ei_rpc_from(&node, fd, (int)ms, &msg, &x);
    ei_x_free(&x);
    return r;
}

void talk_timed(struct command *c)
{
    uint64_t began = now_ms();
    const char *function = text(c, 0);
    bool sends = strstr(function, "send");
    int r = sends ? timed_send(function, (int)number(c, 1), (unsigned)number(c, 2), number(c, 3))
                  : timed_receive(function, (int)number(c, 1), (unsigned)number(c, 2));
    answer(c, "%d %s %llu", r, r < 0 ? error_word() : "0", (unsigned long long)(now_ms() - began));
}

/* ---- looking ---- */

void talk_flags(struct command *c)
{
    int flags = fcntl((int)number(c, 0), F_GETFL);
    answer(c, "%s", flags < 0 ? "closed" : flags & O_NONBLOCK ? "nonblocking" : "blocking");
}

void talk_idle(struct command *c)
{
    int fd = (int)number(c, 0), ticks = 0;
    uint64_t end = now_ms() + (uint64_t)number(c, 1);
    erlang_msg msg;
    ei_x_buff x;
    ei_x_new(&x);
    for (uint64_t now; !c->failed && (now = now_ms()) < end;) {
        int got = ei_xreceive_msg_tmo(fd, &msg, &x, (unsigned)(end - now));
        if (got == ERL_TICK)
            ticks++;
        else if (got == ERL_MSG || erl_errno != ETIMEDOUT)
            fail_with(c, "idle", got);
    }
    if (!c->failed)
        answer(c, "%d", ticks);
    ei_x_free(&x);
}

void talk_ready(struct command *c)
{
    answer(c, "%s", readable((int)number(c, 0), (int)number(c, 1)) ? "ready" : "silent");
}
