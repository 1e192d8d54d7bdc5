/* Sending and receiving on each kind of socket: timeouts, peek, out of band, waitall, sendfile, never SIGPIPE. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "lib/fault.h"
#include "lib/vclock.h"
#include "socket_test.h"

static void an_echo_over(int domain)
{
    gs_addr at;
    gs_socket l = bound(domain, SOCK_STREAM, &at), a = open_socket(domain, SOCK_STREAM), b;
    char buf[16];
    assert_ok(gs_socket_listen(l, 5));
    assert_ok(gs_socket_connect(a, &at, GS_MS(5000)));
    assert_ok(gs_socket_accept(l, &b, GS_MS(5000)));
    assert_int_equal(gs_socket_send(a, "hello", 5, 0, GS_MS(1000)), 5);
    assert_int_equal(gs_socket_recv(b, buf, sizeof buf, 0, GS_MS(5000)), 5);
    assert_int_equal(gs_socket_send(b, buf, 5, 0, NULL), 5);
    assert_int_equal(gs_socket_recv(a, buf, 5, MSG_WAITALL, NULL), 5);
    assert_memory_equal(buf, "hello", 5);
    assert_ok(gs_socket_shutdown(a, SHUT_WR));
    assert_code(gs_socket_recv(b, buf, 1, 0, GS_MS(5000)), GS_ECLOSED); /* the peer's end */
    assert_int_equal(gs_socket_send(b, "bye", 3, 0, NULL), 3);          /* half of it */
    assert_int_equal(gs_socket_recv(a, buf, sizeof buf, 0, GS_MS(5000)), 3);
    close_both(a, b);
    assert_ok(gs_socket_close(l));
}

static void echo_over_inet(void **state)
{
    (void)state;
    an_echo_over(AF_INET);
}

static void echo_over_inet6(void **state)
{
    (void)state;
    gs_addr a;
    gs_socket s = open_socket(AF_INET6, SOCK_STREAM);
    assert_ok(gs_addr_special(&a, AF_INET6, GS_ADDR_LOOPBACK, 0));
    int e = gs_socket_bind(s, &a);
    assert_ok(gs_socket_close(s));
    if (e == -EADDRNOTAVAIL)
        skip_because("no ::1 here");
    an_echo_over(AF_INET6);
}

static void local_by(const gs_addr *at, int type)
{
    gs_socket l = open_socket(AF_UNIX, type), a = open_socket(AF_UNIX, type), b;
    char buf[8];
    assert_int_equal(gs_socket_bind(l, at), 0);
    assert_ok(gs_socket_listen(l, 5));
    assert_ok(gs_socket_connect(a, at, GS_MS(1000)));
    assert_ok(gs_socket_accept(l, &b, GS_MS(1000)));
    assert_int_equal(gs_socket_send(a, "one", 3, 0, NULL), 3);
    assert_int_equal(gs_socket_send(a, "two2", 4, 0, NULL), 4);
    ssize_t first = gs_socket_recv(b, buf, sizeof buf, 0, GS_MS(1000));
    assert_int_equal(first, type == SOCK_SEQPACKET ? 3 : 7); /* packets keep their borders */
    gs_addr name;
    assert_ok(gs_socket_peername(a, &name));
    assert_true(gs_addr_equal(&name, at));
    close_both(a, b);
    assert_ok(gs_socket_close(l));
}

static void local_by_path_and_abstract_name(void **state)
{
    (void)state;
    gs_addr at;
    char name[64];
    for (int type = SOCK_STREAM; type == SOCK_STREAM || type == SOCK_SEQPACKET; type += SOCK_SEQPACKET - SOCK_STREAM) {
        int n = snprintf(name, sizeof name, "%cgensock-test-%d-%d", 0, (int)getpid(), type);
        assert_ok(gs_addr_local(&at, name, (size_t)n));
        local_by(&at, type);
        const char *path = temp_path("sock");
        assert_ok(gs_addr_local(&at, path, strlen(path)));
        local_by(&at, type);
        assert_int_equal(unlink(path), 0);
    }
}

static void datagrams_tell_whence_and_are_cut(void **state)
{
    (void)state;
    gs_addr at_a, at_b, from;
    gs_socket a = bound(AF_INET, SOCK_DGRAM, &at_a), b = bound(AF_INET, SOCK_DGRAM, &at_b);
    char buf[8];
    assert_int_equal(gs_socket_sendto(a, "abcdef", 6, &at_b, 0, NULL), 6);
    assert_int_equal(gs_socket_sendto(a, "", 0, &at_b, 0, NULL), 0);
    assert_int_equal(gs_socket_sendto(a, "abcdef", 6, &at_b, 0, NULL), 6);
    assert_int_equal(gs_socket_recvfrom(b, buf, 4, &from, 0, GS_MS(5000)), 4); /* the rest of it is gone */
    assert_true(gs_addr_equal(&from, &at_a));
    assert_int_equal(gs_socket_recvfrom(b, buf, sizeof buf, NULL, 0, GS_MS(5000)), 0); /* an empty one is no end */
    assert_int_equal(gs_socket_recvfrom(b, buf, 2, NULL, MSG_TRUNC, GS_MS(5000)), 6);
    assert_ok(gs_socket_connect(a, &at_b, NULL));
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    assert_int_equal(gs_socket_recv(b, buf, 1, 0, GS_MS(5000)), 1);
    static char big[70000];
    assert_code(gs_socket_send(a, big, sizeof big, 0, NULL), -EMSGSIZE);
    gs_addr none = {.len = sizeof(struct sockaddr), .sa.ss_family = AF_UNSPEC};
    assert_ok(gs_socket_connect(a, &none, NULL)); /* dissolves the association */
    assert_code(gs_socket_peername(a, &from), -ENOTCONN);
    close_both(a, b);
}

static void timeouts_are_never_early(void **state)
{
    (void)state;
    gs_socket a, b;
    char c;
    local_pair(SOCK_STREAM, &a, &b);
    fill(a);
    for (int ms = 0; ms <= 40; ms += 20) {
        uint64_t at = real_ms();
        assert_code(gs_socket_recv(a, &c, 1, 0, GS_MS(ms)), GS_ETIMEOUT);
        assert_true(real_ms() - at + 1 >= (uint64_t)ms);
        at = real_ms();
        assert_code(gs_socket_send(a, &c, 1, 0, GS_MS(ms)), GS_ETIMEOUT);
        assert_true(real_ms() - at + 1 >= (uint64_t)ms);
    }
    close_both(a, b);
    gs_addr at;
    gs_socket l = listener(&at), fresh;
    assert_code(gs_socket_accept(l, &fresh, GS_MS(0)), GS_ETIMEOUT);
    assert_code(gs_socket_accept(l, &fresh, GS_MS(20)), GS_ETIMEOUT);
    assert_ok(gs_socket_close(l));
}

static void timeouts_are_exact(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_addr at;
    char c;
    local_pair(SOCK_STREAM, &a, &b);
    fill(a);
    gs_socket l = listener(&at), fresh;
    vclock_start(VCLOCK_AUTO);
    assert_code(gs_socket_recv(a, &c, 1, 0, GS_MS(60000)), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 60000);
    assert_code(gs_socket_send(a, &c, 1, 0, GS_MS(1)), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 60001);
    assert_code(gs_socket_accept(l, &fresh, GS_MS(1000)), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 61001);
    assert_code(gs_socket_recv(a, &c, 1, 0, GS_MS(0)), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 61001);
    vclock_stop();
    close_both(a, b);
    assert_ok(gs_socket_close(l));
}

static void a_timed_out_send_tells_how_much_went(void **state)
{
    (void)state;
    gs_socket a, b;
    enum { BIG = 8 << 20 };
    static uint8_t out[BIG], in[BIG];
    pattern_fill(out, BIG, 3, 0);
    tcp_pair(&a, &b);
    ssize_t n = gs_socket_send(a, out, BIG, 0, GS_MS(30));
    assert_in_range(n, 1, BIG - 1);
    assert_int_equal(info_of(a).write_byte, n);
    assert_int_equal(gs_socket_recv(b, in, (size_t)n, MSG_WAITALL, GS_MS(5000)), n);
    assert_int_equal(pattern_check(in, (size_t)n, 3, 0), n);
    close_both(a, b);
}

static void waitall_waits_for_all_and_gives_the_shorter_end(void **state)
{
    (void)state;
    gs_socket a, b;
    char buf[10];
    tcp_pair(&a, &b);
    assert_int_equal(gs_socket_send(a, "abcd", 4, 0, NULL), 4);
    assert_int_equal(gs_socket_recv(b, buf, sizeof buf, MSG_WAITALL, GS_MS(30)), 4); /* time over: nothing is lost */
    assert_int_equal(gs_socket_send(a, "efg", 3, 0, NULL), 3);
    assert_ok(gs_socket_close(a));
    assert_int_equal(gs_socket_recv(b, buf, sizeof buf, MSG_WAITALL, GS_MS(5000)), 3); /* the end came */
    assert_code(gs_socket_recv(b, buf, sizeof buf, MSG_WAITALL, GS_MS(5000)), GS_ECLOSED);
    assert_ok(gs_socket_close(b));
}

static void peek_leaves_the_bytes(void **state)
{
    (void)state;
    gs_socket a, b;
    char buf[8];
    tcp_pair(&a, &b);
    assert_int_equal(gs_socket_send(a, "peek", 4, 0, NULL), 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(gs_socket_recv(b, buf, sizeof buf, MSG_PEEK, GS_MS(5000)), 4);
    assert_int_equal(gs_socket_recv(b, buf, 2, 0, GS_MS(0)), 2);
    assert_int_equal(gs_socket_recv(b, buf, sizeof buf, MSG_PEEK, GS_MS(0)), 2);
    assert_memory_equal(buf, "ek", 2);
    close_both(a, b);
}

static void out_of_band_comes_by_its_flag_or_inline(void **state)
{
    (void)state;
    gs_socket a, b;
    char buf[8];
    tcp_pair(&a, &b);
    assert_int_equal(gs_socket_send(a, "ab", 2, 0, NULL), 2);
    assert_int_equal(gs_socket_send(a, "!", 1, MSG_OOB, NULL), 1);
    assert_int_equal(gs_socket_recv(b, buf, 2, MSG_WAITALL, GS_MS(5000)), 2);
    assert_true(wait_until(gs_socket_recv(b, buf, 1, MSG_OOB, GS_MS(100)) == 1, 5000));
    assert_int_equal(buf[0], '!');
    close_both(a, b);
    tcp_pair(&a, &b);
    assert_ok(gs_socket_setopt(b, "socket:oobinline", GS_VALUE_OF_INT(1)));
    assert_int_equal(gs_socket_send(a, "?", 1, MSG_OOB, NULL), 1);
    assert_int_equal(gs_socket_recv(b, buf, 1, 0, GS_MS(5000)), 1);
    assert_int_equal(buf[0], '?');
    close_both(a, b);
}

static void more_holds_bytes_back(void **state)
{
    (void)state;
    gs_socket a, b;
    char buf[8];
    tcp_pair(&a, &b);
    assert_int_equal(gs_socket_send(a, "ab", 2, MSG_MORE, NULL), 2);
    assert_int_equal(gs_socket_send(a, "cd", 2, 0, NULL), 2);
    assert_int_equal(gs_socket_recv(b, buf, sizeof buf, 0, GS_MS(5000)), 4); /* one segment */
    close_both(a, b);
}

static atomic_int pipes;
static void on_pipe(int signal_number)
{
    (void)signal_number;
    atomic_fetch_add(&pipes, 1);
}

static int file_of(size_t n, uint64_t seed)
{
    static uint8_t bytes[1 << 20];
    int fd = open(temp_path("file"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    for (size_t at = 0; at < n; at += sizeof bytes) {
        size_t piece = n - at < sizeof bytes ? n - at : sizeof bytes;
        pattern_fill(bytes, piece, seed, at);
        assert_int_equal(write(fd, bytes, piece), piece);
    }
    return fd;
}

static void nothing_raises_sigpipe(void **state)
{
    (void)state;
    gs_socket a, b;
    struct sigaction act = {.sa_handler = on_pipe}, before;
    assert_int_equal(sigaction(SIGPIPE, &act, &before), 0);
    int fd = file_of(1000, 1);
    local_pair(SOCK_STREAM, &a, &b);
    assert_ok(gs_socket_close(b));
    struct iovec v = {.iov_base = (char[]){"x"}, .iov_len = 1};
    assert_code(gs_socket_send(a, "x", 1, 0, NULL), -EPIPE);
    assert_code(gs_socket_sendmsg(a, &(gs_msghdr){.iov = &v, .iovcnt = 1}, 0, NULL), -EPIPE);
    assert_code(gs_socket_sendfile(a, fd, 0, 1000, NULL), -EPIPE);
    sigset_t pending, mask;
    sigpending(&pending);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_false(sigismember(&pending, SIGPIPE) || sigismember(&mask, SIGPIPE));
    assert_int_equal(atomic_load(&pipes), 0);

    /* One that the program had pending itself stays. */
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &only, NULL);
    raise(SIGPIPE);
    assert_code(gs_socket_sendfile(a, fd, 0, 1000, NULL), -EPIPE);
    sigpending(&pending);
    assert_true(sigismember(&pending, SIGPIPE));
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    assert_int_equal(atomic_load(&pipes), 1);
    assert_int_equal(sigaction(SIGPIPE, &before, NULL), 0);
    close(fd);
    assert_ok(gs_socket_close(a));
}

static void sendfile_sends_parts_the_rest_and_tells_a_short_file(void **state)
{
    (void)state;
    gs_socket a, b;
    enum { SIZE = 3 << 20 };
    static uint8_t in[SIZE];
    int fd = file_of(SIZE, 9);
    assert_int_equal(lseek(fd, 5, SEEK_SET), 5);
    tcp_pair(&a, &b);
    assert_int_equal(gs_socket_sendfile(a, fd, 10, 100, GS_MS(1000)), 100);
    assert_int_equal(gs_socket_recv(b, in, 100, MSG_WAITALL, GS_MS(5000)), 100);
    assert_int_equal(pattern_check(in, 100, 9, 10), 100);
    assert_int_equal(gs_socket_sendfile(a, fd, SIZE - 7, 100, GS_MS(1000)), 7); /* the file ends */
    assert_int_equal(gs_socket_sendfile(a, fd, SIZE, 100, GS_MS(1000)), 0);
    assert_int_equal(gs_socket_recv(b, in, 7, MSG_WAITALL, GS_MS(5000)), 7);
    gs_mailbox mb = new_mailbox();
    size_t sent = 0, got = 0;
    gs_wait w = nowait(mb);
    while (got < SIZE) { /* all of it, with what the buffer takes at a time */
        ssize_t n = sent < SIZE ? gs_socket_sendfile(a, fd, (off_t)sent, 0, &w) : 0;
        if (n != GS_ESELECT)
            sent += (size_t)assert_ok(n);
        n = gs_socket_recv(b, in + got, SIZE - got, 0, GS_MS(5000));
        got += (size_t)assert_ok(n);
        gs_msg m;
        (void)!gs_receive(mb, &m, 0);
    }
    assert_int_equal(pattern_check(in, SIZE, 9, 0), SIZE);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 5); /* the file's own position stays */
    gs_socket_info_t i = info_of(a);
    assert_int_equal(i.sendfile_byte, SIZE + 107);
    assert_code(gs_socket_sendfile(a, -1, 0, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_sendfile(a, fd, -1, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_sendfile(a, 1 << 20, 0, 1, NULL), -EBADF);
    assert_ok(gs_mailbox_free(mb));
    close(fd);
    close_both(a, b);
}

static void econnreset_is_told(void **state)
{
    (void)state;
    gs_socket a, b;
    char c;
    tcp_pair(&a, &b);
    gs_value hard = {.kind = GS_VALUE_LINGER, .v.linger = {.on = true, .seconds = 0}};
    assert_ok(gs_socket_setopt(a, "socket:linger", &hard));
    assert_ok(gs_socket_close(a)); /* RST */
    assert_code(gs_socket_recv(b, &c, 1, 0, GS_MS(5000)), -ECONNRESET);
    assert_ok(gs_socket_close(b));
}

static void close_waits_for_linger(void **state)
{
    (void)state;
    gs_socket a, b;
    tcp_pair(&a, &b);
    gs_value linger = {.kind = GS_VALUE_LINGER, .v.linger = {.on = true, .seconds = 1}};
    assert_ok(gs_socket_setopt(a, "socket:linger", &linger));
    fill(a); /* and nobody reads */
    uint64_t at = real_ms();
    (void)gs_socket_close(a);
    assert_true(real_ms() - at >= 900);
    assert_code(gs_socket_close(a), GS_ECLOSED);
    assert_ok(gs_socket_close(b));
}

static void interrupted_and_shortened_calls_go_on(void **state)
{
    (void)state;
    enum { SIZE = 200000 };
    static uint8_t out[SIZE], in[SIZE];
    pattern_fill(out, SIZE, 4, 0);
    for (int profile = FAULT_SHORT; profile <= FAULT_EAGAIN; profile++) {
        gs_socket a, b;
        tcp_pair(&a, &b);
        fault_start_profile((enum fault_profile)profile, 11, 100);
        size_t sent = 0, got = 0;
        while (got < SIZE) {
            if (sent < SIZE) {
                ssize_t n = gs_socket_send(a, out + sent, SIZE - sent < 3000 ? SIZE - sent : 3000, 0, GS_MS(5));
                sent += n == GS_ETIMEOUT ? 0 : (size_t)assert_ok(n);
            }
            ssize_t n = gs_socket_recv(b, in + got, SIZE - got, 0, GS_MS(5));
            got += n == GS_ETIMEOUT ? 0 : (size_t)assert_ok(n);
        }
        assert_true(fault_stop() > 0);
        assert_int_equal(pattern_check(in, SIZE, 4, 0), SIZE);
        close_both(a, b);
    }
}

static void emfile_at_accept_keeps_the_connection(void **state)
{
    (void)state;
    gs_addr at, from, peer;
    gs_socket l = listener(&at), a = open_socket(AF_INET, SOCK_STREAM), b;
    assert_ok(gs_socket_connect(a, &at, GS_MS(5000)));
    fault_fail_call(FAULT_accept4, 1, 2, EMFILE);
    assert_code(gs_socket_accept(l, &b, GS_MS(5000)), -EMFILE);
    assert_code(gs_socket_accept(l, &b, GS_MS(5000)), -EMFILE);
    assert_int_equal(fault_stop(), 2);
    assert_true(gs_error_is_transient(-EMFILE));
    assert_ok(gs_socket_accept(l, &b, GS_MS(5000)));
    assert_ok(gs_socket_sockname(a, &from));
    assert_ok(gs_socket_peername(b, &peer));
    assert_true(gs_addr_equal(&from, &peer));
    gs_socket_info_t i = info_of(l);
    assert_int_equal(i.acc_fails, 2);
    assert_int_equal(i.acc_success, 1);
    close_both(a, b);
    assert_ok(gs_socket_close(l));
}

static void a_full_local_backlog_is_waited_for(void **state)
{
    (void)state;
    gs_addr at;
    char name[64];
    int n = snprintf(name, sizeof name, "%cgensock-full-%d", 0, (int)getpid());
    assert_ok(gs_addr_local(&at, name, (size_t)n));
    gs_socket l = open_socket(AF_UNIX, SOCK_STREAM), first = open_socket(AF_UNIX, SOCK_STREAM), b;
    assert_ok(gs_socket_bind(l, &at));
    assert_ok(gs_socket_listen(l, 0));
    assert_ok(gs_socket_connect(first, &at, NULL));
    gs_socket s = open_socket(AF_UNIX, SOCK_STREAM);
    gs_mailbox mb = new_mailbox();
    gs_wait w = nowait(mb);
    assert_code(gs_socket_connect(s, &at, &w), -EAGAIN);
    assert_code(gs_socket_connect(s, &at, GS_MS(20)), GS_ETIMEOUT);
    assert_ok(gs_socket_accept(l, &b, GS_MS(1000)));
    assert_ok(gs_socket_connect(s, &at, GS_MS(1000)));
    close_both(first, b);
    close_both(s, l);
    assert_ok(gs_mailbox_free(mb));
}

static void a_full_local_datagram_peer_is_waited_for(void **state)
{
    (void)state;
    gs_addr at;
    char name[64];
    int n = snprintf(name, sizeof name, "%cgensock-dgram-%d", 0, (int)getpid());
    assert_ok(gs_addr_local(&at, name, (size_t)n));
    gs_socket b = open_socket(AF_UNIX, SOCK_DGRAM), a = open_socket(AF_UNIX, SOCK_DGRAM);
    gs_mailbox mb = new_mailbox();
    char byte;
    assert_ok(gs_socket_bind(b, &at));
    while (gs_socket_sendto(a, "x", 1, &at, 0, GS_MS(0)) == 1)
        ;
    gs_wait w = nowait(mb);
    assert_code(gs_socket_sendto(a, "x", 1, &at, 0, &w), -EAGAIN); /* nothing would tell */
    assert_code(gs_socket_sendto(a, "x", 1, &at, 0, GS_MS(20)), GS_ETIMEOUT);
    assert_true(info_of(a).write_tries < 2000); /* it does not spin meanwhile */
    assert_int_equal(gs_socket_recv(b, &byte, 1, 0, NULL), 1);
    assert_int_equal(gs_socket_sendto(a, "x", 1, &at, 0, GS_MS(1000)), 1);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void receive_limits_of_the_otp_level_hold(void **state)
{
    (void)state;
    gs_socket a, b;
    char buf[16];
    gs_value v = {.kind = GS_VALUE_BUFFER, .v.buffer.size = 3};
    local_pair(SOCK_STREAM, &a, &b);
    assert_ok(gs_socket_setopt(b, "otp:rcvbuf", &v));
    assert_int_equal(gs_socket_send(a, "abcdefgh", 8, 0, NULL), 8);
    assert_int_equal(gs_socket_recv(b, buf, sizeof buf, 0, NULL), 3);
    assert_int_equal(gs_socket_recv(b, buf, 5, MSG_WAITALL, NULL), 5);
    close_both(a, b);
}

static void a_vector_goes_out_whole(void **state)
{
    (void)state;
    enum { PIECES = 1000, SIZE = 5000, TOTAL = PIECES * SIZE };
    static uint8_t out[TOTAL], in[TOTAL];
    struct iovec v[PIECES];
    gs_socket a, b;
    pattern_fill(out, TOTAL, 5, 0);
    for (int i = 0; i < PIECES; i++)
        v[i] = (struct iovec){.iov_base = out + i * SIZE, .iov_len = SIZE};
    tcp_pair(&a, &b);
    gs_mailbox mb = new_mailbox();
    gs_wait w = nowait(mb);
    size_t got = 0;
    ssize_t n = gs_socket_sendmsg(a, &(gs_msghdr){.iov = v, .iovcnt = PIECES}, 0, &w);
    size_t sent = (size_t)assert_ok(n);
    assert_true(sent < TOTAL && w.info.ref);
    while (got < TOTAL) {
        got += (size_t)assert_ok(gs_socket_recv(b, in + got, TOTAL - got, 0, GS_MS(5000)));
        n = sent < TOTAL ? gs_socket_send(a, out + sent, TOTAL - sent, 0, &w) : 0;
        sent += n == GS_ESELECT ? 0 : (size_t)assert_ok(n);
    }
    assert_int_equal(pattern_check(in, TOTAL, 5, 0), TOTAL);
    assert_code(gs_socket_sendmsg(a, &(gs_msghdr){.iov = v, .iovcnt = 1025}, 0, NULL), -EINVAL);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_over_inet),
        cmocka_unit_test(echo_over_inet6),
        cmocka_unit_test(local_by_path_and_abstract_name),
        cmocka_unit_test(datagrams_tell_whence_and_are_cut),
        cmocka_unit_test(timeouts_are_never_early),
        cmocka_unit_test(timeouts_are_exact),
        cmocka_unit_test(a_timed_out_send_tells_how_much_went),
        cmocka_unit_test(waitall_waits_for_all_and_gives_the_shorter_end),
        cmocka_unit_test(peek_leaves_the_bytes),
        cmocka_unit_test(out_of_band_comes_by_its_flag_or_inline),
        cmocka_unit_test(more_holds_bytes_back),
        cmocka_unit_test(nothing_raises_sigpipe),
        cmocka_unit_test(sendfile_sends_parts_the_rest_and_tells_a_short_file),
        cmocka_unit_test(econnreset_is_told),
        cmocka_unit_test(close_waits_for_linger),
        cmocka_unit_test(interrupted_and_shortened_calls_go_on),
        cmocka_unit_test(emfile_at_accept_keeps_the_connection),
        cmocka_unit_test(a_full_local_backlog_is_waited_for),
        cmocka_unit_test(a_full_local_datagram_peer_is_waited_for),
        cmocka_unit_test(receive_limits_of_the_otp_level_hold),
        cmocka_unit_test(a_vector_goes_out_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
