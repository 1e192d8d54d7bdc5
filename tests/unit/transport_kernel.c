/* tcp and unix by their slots: what the stream layer relies on of a connection, to its end. */
#include "kernel_ends.h"

/* ---- a connection ---- */

static void bytes_cross_and_pieces_are_gathered(struct two two)
{
    char got[16];
    struct iovec out[3] = {{"ab", 2}, {NULL, 0}, {"cde", 3}}, in[2] = {{got, 1}, {got + 1, 15}};
    size_t buffered = 9;
    assert_code(two.t->readv(two.b, in, 2), -EAGAIN);
    assert_int_equal(two.t->writev(two.a, out, 3), 5);
    struct pollfd p = {.fd = two.t->poll(two.b, &buffered), .events = POLLIN};
    assert_int_equal(buffered, 0);
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_int_equal(two.t->readv(two.b, in, 2), 5);
    assert_memory_equal(got, "abcde", 5);
    assert_int_equal(put(&two, two.b, "back"), 4);
    assert_int_equal(get(&two, two.a, got, 16), 4);
    assert_true(fcntl(p.fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(p.fd, F_GETFD) & FD_CLOEXEC);
    assert_ok(two.t->shutdown(two.a, GS_SHUT_WRITE));
    assert_int_equal(get(&two, two.b, got, 16), 0);
    assert_code(put(&two, two.a, "x"), -EPIPE);
    assert_int_equal(put(&two, two.b, "late"), 4);
    assert_int_equal(get(&two, two.a, got, 16), 4);
    assert_ok(two.t->shutdown(two.b, GS_SHUT_BOTH));
    pair_close(&two);
}

static void tcp_carries_bytes(void **state)
{
    (void)state;
    bytes_cross_and_pieces_are_gathered(tcp_pair(NULL));
}

static void unix_carries_bytes(void **state)
{
    (void)state;
    bytes_cross_and_pieces_are_gathered(local_pair(NULL));
}

static void close_with_reset_is_a_reset(void **state)
{
    (void)state;
    struct two two = tcp_pair(NULL);
    char got[4];
    tcp()->close(two.b, true);
    two.b = NULL;
    assert_code(get(&two, two.a, got, 4), -ECONNRESET);
    pair_close(&two);
    two = local_pair(NULL);
    local()->close(two.b, true); /* knows no reset */
    two.b = NULL;
    assert_int_equal(get(&two, two.a, got, 4), 0);
    pair_close(&two);
}

static void an_interrupted_call_is_made_again(void **state)
{
    (void)state;
    struct two two = tcp_pair(NULL);
    char got[4];
    void *ctx, *l;
    gs_addr a;
    assert_ok(tcp_open("127.0.0.1:0", NULL, &l));
    assert_ok(tcp()->name(l, false, &a));
    static const enum fault_call calls[] = {FAULT_send, FAULT_recv, FAULT_connect, FAULT_accept4, FAULT_sendfile, FAULT_poll};
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        fault_fail_call(calls[i], 1, 1, EINTR);
        switch (calls[i]) {
        case FAULT_send: assert_int_equal(put(&two, two.a, "x"), 1); break;
        case FAULT_recv: assert_int_equal(get(&two, two.b, got, 4), 1); break;
        case FAULT_accept4: assert_code(tcp()->accept(l, NULL, &ctx), -EAGAIN); break;
        case FAULT_sendfile: assert_int_equal(tcp()->sendfile(two.a, file, 0, 1), 1); break;
        case FAULT_poll: assert_ok(tcp()->handshake(two.a)); break;
        default:
            assert_ok(tcp_dial(&a, NULL, &ctx));
            tcp()->close(accepted(tcp(), l), false);
            tcp()->close(ctx, false);
        }
        assert_int_equal(fault_stop(), 1);
    }
    close(file);
    tcp()->close(l, false);
    pair_close(&two);
}

static volatile sig_atomic_t pipes;
static void on_pipe(int n)
{
    (void)n;
    pipes++;
}

static void nothing_raises_sigpipe(void **state)
{
    (void)state;
    struct sigaction mine = {.sa_handler = on_pipe}, was;
    sigaction(SIGPIPE, &mine, &was);
    sigset_t mask, pending;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        struct two two = i ? local_pair(NULL) : tcp_pair(NULL);
        assert_true(two.t->sendfile(two.a, file, 1, 10) > 0);
        assert_ok(two.t->shutdown(two.a, GS_SHUT_WRITE));
        assert_code(two.t->sendfile(two.a, file, 0, 10), -EPIPE);
        assert_code(put(&two, two.a, "x"), -EPIPE);
        struct iovec out[2] = {{"a", 1}, {"b", 1}};
        assert_code(two.t->writev(two.a, out, 2), -EPIPE);
        pair_close(&two);
    }
    assert_int_equal(pipes, 0);
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGPIPE), 0);
    close(file);
    sigaction(SIGPIPE, &was, NULL);
}

static void *leave_soon(void *arg)
{
    int *fd = arg;
    char some[4096];
    for (int i = 0; i < fd[1]; i++)
        (void)!read(fd[0], some, sizeof some);
    close(fd[0]);
    return NULL;
}

/* The kernel raises it within a sendfile whose first pieces went, and tells only their count. */
static void a_peer_that_leaves_within_a_sendfile_raises_no_sigpipe(void **state)
{
    (void)state;
    struct sigaction mine = {.sa_handler = on_pipe}, was;
    sigaction(SIGPIPE, &mine, &was);
    pipes = 0;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 300 && !pipes; i++) {
        int fd[2], peer[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
        peer[0] = fd[1];
        peer[1] = i % 30;
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, leave_soon, peer), 0);
        off_t at = 0;
        ssize_t k;
        while ((k = gsi_sys.sendfile(fd[0], file, &at, 256 * 1024)) > 0)
            at = at > 512 * 1024 ? 0 : at;
        assert_true(k < 0 && (errno == EPIPE || errno == ECONNRESET));
        pthread_join(t, NULL);
        close(fd[0]);
    }
    assert_int_equal(pipes, 0);
    close(file);
    sigaction(SIGPIPE, &was, NULL);
}

static void a_sigpipe_of_the_program_stays_its_own(void **state)
{
    (void)state;
    struct two two = tcp_pair(NULL);
    sigset_t pipe, was, pending;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &was);
    pthread_kill(pthread_self(), SIGPIPE);
    assert_ok(tcp()->shutdown(two.a, GS_SHUT_WRITE));
    assert_code(tcp()->sendfile(two.a, file, 0, 10), -EPIPE);
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 1);
    assert_int_equal(sigtimedwait(&pipe, NULL, &(struct timespec){0}), SIGPIPE);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    close(file);
    pair_close(&two);
}

static void sendfile_takes_the_offset_and_ends_with_the_file(void **state)
{
    (void)state;
    struct two two = tcp_pair(NULL);
    const char *path = temp_path("file");
    char got[16];
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(file, "0123456789", 10), 10);
    assert_int_equal(tcp()->sendfile(two.a, file, 7, 100), 3);
    assert_int_equal(tcp()->sendfile(two.a, file, 10, 100), 0);
    assert_int_equal(get(&two, two.b, got, 16), 3);
    assert_memory_equal(got, "789", 3);
    close(file);
    pair_close(&two);
}

static void unix_names_its_peer_and_tcp_does_not(void **state)
{
    (void)state;
    struct two two = local_pair(NULL);
    gs_peer a = {0}, b = {0};
    assert_ok(local()->peer(two.a, &a));
    assert_ok(local()->peer(two.b, &b));
    assert_int_equal(b.kind, GS_PEER_UNIX);
    assert_int_equal(b.pid, getpid());
    assert_int_equal(b.uid, geteuid());
    assert_int_equal(b.gid, getegid());
    assert_int_equal(a.pid, getpid());
    pair_close(&two);
    int alone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_code(local()->peer(gsi_kernel_ctx(alone), &a), -ENOTCONN);
    close(alone);
    two = tcp_pair(NULL);
    assert_ok(tcp()->peer(two.a, &a));
    assert_int_equal(a.kind, GS_PEER_UNKNOWN);
    pair_close(&two);
}

static void connections_inherit_their_listeners_options(void **state)
{
    (void)state;
    const gs_opt *common = GS_OPTS(GS_INT(PRIORITY, 3), GS_INT(KEEPALIVE, 1), GS_INT(SNDBUF, 30000), GS_INT(RECBUF, 20000));
    struct two two = local_pair(common);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(option_of(two.b, SOL_SOCKET, SO_PRIORITY), 3);
        assert_int_equal(option_of(two.b, SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option_of(two.b, SOL_SOCKET, SO_SNDBUF), 60000);
        assert_int_equal(option_of(two.b, SOL_SOCKET, SO_RCVBUF), 40000);
        pair_close(&two);
        if (i == 0)
            two = tcp_pair(GS_OPTS(GS_INT(PRIORITY, 3), GS_INT(KEEPALIVE, 1), GS_INT(SNDBUF, 30000), GS_INT(RECBUF, 20000)));
    }
    two = tcp_pair(GS_OPTS(GS_INT(NODELAY, 1), GS_INT(TTL, 9), GS_INT(TOS, 0x10), GS_INT(RECVTOS, 1), GS_INT(DONTROUTE, 1)));
    assert_int_equal(option_of(two.b, IPPROTO_TCP, TCP_NODELAY) != 0, 1);
    assert_int_equal(option_of(two.b, IPPROTO_IP, IP_TTL), 9);
    assert_int_equal(option_of(two.b, IPPROTO_IP, IP_TOS), 0x10);
    assert_int_equal(option_of(two.b, IPPROTO_IP, IP_RECVTOS), 1);
    assert_int_equal(option_of(two.b, SOL_SOCKET, SO_DONTROUTE), 1);
    pair_close(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(tcp_carries_bytes),
        T(unix_carries_bytes),
        T(close_with_reset_is_a_reset),
        T(an_interrupted_call_is_made_again),
        T(nothing_raises_sigpipe),
        T(a_peer_that_leaves_within_a_sendfile_raises_no_sigpipe),
        T(a_sigpipe_of_the_program_stays_its_own),
        T(sendfile_takes_the_offset_and_ends_with_the_file),
        T(unix_names_its_peer_and_tcp_does_not),
        T(connections_inherit_their_listeners_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
