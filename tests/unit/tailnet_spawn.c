/* runner: tsan, timeout 240
 *
 * Programs inside a node: they reach peers by name, names follow the network map, and the node's end is theirs. */
#include <errno.h>
#include <fcntl.h>
#include <gensock/lab.h>
#include <gensock/stream.h>
#include <gensock/tailnet.h>
#include <signal.h>
#include <sys/wait.h>

#include "tailnet_nobody.h"

enum { WAIT = 20000 };

static gs_lab lab;
static char url[128], ca[256];
static gs_tailnet alpha, beta;

static gs_tailnet join(const char *name)
{
    gs_tailnet n;
    const gs_tailnet_config c = {.hostname = name, .control_url = url, .ca_file = ca, .auth_key = "key", .ephemeral = true};
    assert_ok(gs_tailnet_start(&n, &c));
    assert_ok(gs_tailnet_up(n, WAIT));
    return n;
}

static bool knows(gs_tailnet n, const char *name)
{
    gs_addr a;
    return gs_tailnet_resolve(n, name, &a, 1) > 0;
}

static int begin(void **state)
{
    (void)state;
    assert_ok(gs_lab_start(&lab, &(gs_lab_config){.directory = temp_path("lab"), .auth_key = "key"}));
    assert_ok(gs_lab_control_url(lab, url, sizeof url));
    assert_ok(gs_lab_ca_file(lab, ca, sizeof ca));
    alpha = join("alpha");
    beta = join("beta");
    assert_until(knows(alpha, "beta") && knows(beta, "alpha"), WAIT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    gs_tailnet_stop(alpha, WAIT);
    gs_tailnet_stop(beta, WAIT);
    gs_lab_stop(lab);
    return 0;
}

static pid_t run(gs_tailnet n, const char *script)
{
    const char *const argv[] = {"bash", "-c", script, NULL};
    pid_t pid = 0;
    assert_ok(gs_tailnet_spawn(n, argv, NULL, &pid));
    return pid;
}

static int status_of(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int code_of(gs_tailnet n, const char *script)
{
    int status = status_of(run(n, script));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void a_program_reaches_a_peer_by_name(void **state)
{
    gs_stream listener, s;
    char got[16] = "";
    const gs_opt *opts = GS_OPTS(GS_INT(TAILNET_NODE, (int64_t)beta.id));
    (void)state;
    assert_ok(gs_stream_listen(&listener, "tailnet://:7", opts, GS_NO_MAILBOX));
    /* beta may not have told its relay yet */
    pid_t pid = run(alpha, "for i in {1..200}; do exec 3<>/dev/tcp/beta/7 && break; sleep 0.1; done 2>/dev/null\n"
                           "echo hello >&3; read answer <&3; test \"$answer\" = hollo");
    assert_ok(gs_stream_accept(listener, &s, GS_NO_MAILBOX, WAIT, NULL));
    assert_int_equal(assert_ok(gs_stream_recv(s, got, sizeof got, 6, WAIT)), 6);
    assert_string_equal(got, "hello\n");
    assert_ok(gs_stream_send(s, "hollo\n", 6));
    assert_int_equal(status_of(pid), 0);
    gs_stream_close(s);
    gs_stream_close(listener);
}

static void a_program_is_reached_by_its_nodes_name(void **state)
{
    gs_stream s;
    char got[16] = "";
    const char *ready = temp_path("ready");
    char script[512];
    const gs_opt *opts = GS_OPTS(GS_INT(TAILNET_NODE, (int64_t)beta.id));
    (void)state;
    if (system("command -v python3 >/dev/null") != 0)
        skip_because("no python3 to listen with");
    snprintf(script, sizeof script, "exec python3 -c 'import socket; l = socket.create_server((\"\", 99)); open(\"%s\", \"w\"); "
                                    "c, _ = l.accept(); c.sendall(b\"inside\"); c.close()'", ready);
    pid_t pid = run(alpha, script);
    assert_until(access(ready, F_OK) == 0, WAIT);
    int e = -EHOSTUNREACH;
    for (uint64_t by = real_ms() + WAIT; e == -EHOSTUNREACH && real_ms() < by; pause_1ms())
        e = gs_stream_connect(&s, "tailnet://alpha:99", opts, GS_NO_MAILBOX, WAIT);
    assert_ok(e);
    assert_int_equal(assert_ok(gs_stream_recv(s, got, sizeof got, 6, WAIT)), 6);
    assert_string_equal(got, "inside");
    gs_stream_close(s);
    assert_int_equal(status_of(pid), 0);
}

static void names_follow_the_map(void **state)
{
    (void)state;
    assert_int_equal(code_of(alpha, "getent hosts beta | grep -q 'beta\\.lab\\.test'"), 0);
    assert_int_equal(code_of(alpha, "getent hosts alpha.lab.test >/dev/null"), 0);
    assert_int_equal(code_of(alpha, "getent ahosts gamma >/dev/null"), 2);
    pid_t waits = run(alpha, "until getent hosts gamma >/dev/null; do sleep 0.05; done");
    gs_tailnet gamma = join("gamma");
    assert_int_equal(status_of(waits), 0);
    gs_tailnet_stop(gamma, WAIT);
}

static void the_host_and_its_resolver_are_out_of_reach(void **state)
{
    (void)state;
    assert_int_equal(code_of(alpha, "getent ahosts example.com >/dev/null"), 2);
    assert_int_equal(code_of(alpha, "grep -q 'nameserver 100.100.100.100' /etc/resolv.conf"), 0);
    char script[128]; /* the lab listens on the host's loopback */
    snprintf(script, sizeof script, "! (: < /dev/tcp/127.0.0.1/%d) 2>/dev/null", gs_lab_port(lab, GS_LAB_CONTROL));
    assert_int_equal(code_of(alpha, script), 0);
}

static void the_nodes_end_is_its_programs(void **state)
{
    (void)state;
    gs_tailnet n = join("delta");
    const char *const argv[] = {"true", NULL};
    pid_t pid = run(n, "trap '' TERM HUP; while :; do sleep 1; done"), more;
    assert_int_equal(code_of(beta, "exit 5"), 5); /* each node has its own */
    assert_ok(gs_tailnet_stop(n, WAIT));
    int status = status_of(pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_code(gs_tailnet_spawn(n, argv, NULL, &more), GS_ECLOSED);
}

static void what_cannot_run_is_told(void **state)
{
    (void)state;
    const char *const none[] = {"no-such-program-of-gensock", NULL};
    pid_t pid;
    assert_code(gs_tailnet_spawn(alpha, none, NULL, &pid), -ENOENT);
    assert_non_null(strstr(gs_error_detail(-ENOENT), "no-such-program-of-gensock"));
}

static void a_taken_port_is_told(void **state)
{
    (void)state;
    gs_tailnet n = join("epsilon");
    gs_stream listener;
    pid_t pid;
    const char *const argv[] = {"true", NULL};
    assert_ok(gs_stream_listen(&listener, "tailnet://:53", GS_OPTS(GS_INT(TAILNET_NODE, (int64_t)n.id)), GS_NO_MAILBOX));
    assert_code(gs_tailnet_spawn(n, argv, NULL, &pid), -EADDRINUSE);
    assert_non_null(strstr(gs_error_detail(-EADDRINUSE), "53"));
    gs_stream_close(listener);
    assert_ok(gs_tailnet_spawn(n, argv, NULL, &pid));
    assert_int_equal(status_of(pid), 0);
    gs_tailnet_stop(n, WAIT);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "nobody") == 0)
        become_nobody(true);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_reaches_a_peer_by_name),
        cmocka_unit_test(a_program_is_reached_by_its_nodes_name),
        cmocka_unit_test(names_follow_the_map),
        cmocka_unit_test(the_host_and_its_resolver_are_out_of_reach),
        cmocka_unit_test(the_nodes_end_is_its_programs),
        cmocka_unit_test(what_cannot_run_is_told),
        cmocka_unit_test(a_taken_port_is_told),
        cmocka_unit_test(all_of_it_works_as_nobody),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
