/* The questions to epmd while every call and allocation beneath them fails once: the answer or a code, nothing left, and it works
 * the next time. The epmd is another process, on plain sockets, so that no fault meets it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <gensock/ei.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenario.h"
#include "support.h"

enum { TIMEOUT_MS = 5000 };
static char address[64];
static pid_t epmd;

static bool read_all(int fd, uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = read(fd, p, n);
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static void answer(int fd)
{
    uint8_t in[2 + 3000], more;
    size_t n = read_all(fd, in, 2) ? (size_t)in[0] << 8 | in[1] : 0;
    if (n == 0 || n > sizeof in - 2 || !read_all(fd, in + 2, n))
        return;
    const char *out = in[2] == 'z'   ? "w\0\x12\x67H\0\0\6\0\6\0\2c1\0\0"
                      : in[2] == 'x' ? "v\0\1\2\3\4"
                                     : "\0\0\x11\x11name c1 at port 4711\n";
    usleep(2000); /* so that each run waits at the same calls */
    size_t out_n = in[2] == 'z' ? 16 : in[2] == 'x' ? 6 : 25;
    if (send(fd, out, out_n, MSG_NOSIGNAL) == (ssize_t)out_n && in[2] == 'x')
        (void)!read(fd, &more, 1); /* its end */
    usleep(2000);
}

static void epmd_run(int l)
{
    for (int fd; (fd = accept(l, NULL, NULL)) >= 0; close(fd)) {
        struct timeval most = {.tv_sec = 10};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
        answer(fd);
    }
}

/* A process, not a thread: what it accepts must not be in the scenario's, which are forked at any time. */
static int epmd_start(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    (void)state;
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l < 0 || bind(l, (struct sockaddr *)&at, n) < 0 || listen(l, 64) < 0 || getsockname(l, (struct sockaddr *)&at, &n) < 0)
        return -1;
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", ntohs(at.sin_port));
    epmd = fork();
    if (epmd == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        epmd_run(l);
        _exit(0);
    }
    close(l);
    return epmd > 0 ? 0 : -1;
}

static int epmd_end(void **state)
{
    (void)state;
    return kill(epmd, SIGKILL) == 0 && waitpid(epmd, NULL, 0) == epmd ? 0 : -1;
}

static int look_up(void *unused)
{
    (void)unused;
    gs_epmd_node node;
    int e = gs_epmd_lookup(address, NULL, "c1", &node, TIMEOUT_MS);
    return e == 0 && node.port != 4711 ? -EPROTO : e;
}

static int register_one(void *unused)
{
    (void)unused;
    gs_epmd_node me = {.name = "c1", .port = 4711};
    gs_stream s;
    uint32_t creation;
    int e = gs_epmd_register(address, NULL, &me, &s, &creation, TIMEOUT_MS);
    if (e < 0)
        return e;
    gs_stream_close(s);
    return creation == 0x01020304 ? 0 : -EPROTO;
}

static int list(void *unused)
{
    (void)unused;
    gs_epmd_node node = {.port = 0};
    ssize_t n = gs_epmd_names(address, NULL, &node, 1, TIMEOUT_MS);
    return n < 0 ? (int)n : n == 1 && node.port == 4711 ? 0 : -EPROTO;
}

/* What a thread's first wait makes stays: a question waits or not, as fast as epmd is. */
static void wait_once(void)
{
    gs_stream l, none;
    assert_ok(gs_stream_listen(&l, "tcp://127.0.0.1:0", NULL, GS_NO_MAILBOX));
    assert_code(gs_stream_accept(l, &none, GS_NO_MAILBOX, 1, NULL), GS_ETIMEOUT);
    gs_stream_close(l);
}

/* The virtual clock would not wait for another process. */
static const struct fault_options options = {.prepare = wait_once, .real_clock = true};

static void a_lookup_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("epmd lookup", look_up, NULL, &options);
}

static void a_registration_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("epmd register", register_one, NULL, &options);
}

static void a_list_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("epmd names", list, NULL, &options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lookup_survives_every_fault),
        cmocka_unit_test(a_registration_survives_every_fault),
        cmocka_unit_test(a_list_survives_every_fault),
    };
    return cmocka_run_group_tests(tests, epmd_start, epmd_end);
}
