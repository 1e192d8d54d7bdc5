/* runner: timeout 300
 *
 * A node starts, joins, connects, accepts and stops while every allocation and every call of the core's fails once: a code or
 * success, no thread, process, descriptor or block left, and the next node works.
 *
 * OpenSSL's allocations are counted and failed with those of the library; in the census are those that the tailnet's code makes
 * (TLS keeps sessions, tls_setup.c is about it). The lab and the peer are another process, which has no faults.
 */
#include <openssl/crypto.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "fault_plan.h"
#include "flusher.h"
#include "stream_fault.h"
#include "../unit/tailnet_world.h"

enum { PEER_PORT = 7, OWN_PORT = 9 };

static struct world world;
static int expire_fd; /* a byte: the keys of all nodes called node have run out */

/* ---- OpenSSL's memory ---- */

enum { HEAD_BYTES = 16 };

static bool is_ours(const char *file) { return file && strstr(file, "src/tailnet/"); }

static void *ssl_realloc(void *p, size_t n, const char *file, int line)
{
    (void)line;
    char *at = p ? (char *)p - HEAD_BYTES : NULL;
    bool ours = at ? *at : is_ours(file); /* it may be freed from elsewhere */
    if (!n) {
        if (at)
            ours ? gsi_free(at) : free(at);
        return NULL;
    }
    if (ours)
        at = gsi_realloc(at, n + HEAD_BYTES);
    else
        at = fault_decide(at ? FAULT_realloc : FAULT_malloc, -1, 0) ? NULL : realloc(at, n + HEAD_BYTES);
    if (!at)
        return NULL;
    *at = ours;
    return at + HEAD_BYTES;
}

static void *ssl_malloc(size_t n, const char *file, int line) { return ssl_realloc(NULL, n, file, line); }
static void ssl_free(void *p, const char *file, int line) { (void)(p && ssl_realloc(p, 0, file, line)); }

/* ---- the other process ---- */

/* Who calls and says something is called back. */
static void call_back(gs_tailnet peer, gs_stream s)
{
    char c, at[GS_ADDR_TEXT_MAX + 16];
    gs_addr from;
    gs_stream back;
    if (gs_stream_recv(s, &c, 1, 1, 1000) != 1 || gs_stream_peername(s, &from) < 0)
        return;
    char host[GS_ADDR_TEXT_MAX];
    gs_addr_text(&from, host, sizeof host);
    *strrchr(host, ':') = 0;
    snprintf(at, sizeof at, "tailnet://%s:%d", host, OWN_PORT);
    if (gs_stream_connect(&back, at, GS_OPTS(on_node(peer)), GS_NO_MAILBOX, 1000) == 0) {
        (void)!gs_stream_send(back, &c, 1);
        gs_stream_close(back);
    }
}

static void *expire_when_told(void *fd)
{
    gs_lab_node_info info;
    for (char c; read(*(int *)fd, &c, 1) == 1;)
        for (int i = 0; gs_lab_node(world.lab, i, &info) == 0; i++)
            if (strncmp(info.name, "node", 4) == 0)
                (void)!gs_lab_expire(world.lab, info.id);
    return NULL;
}

static void be_world(int told, int expire)
{
    gs_stream s;
    pthread_t thread;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    world_begin(&world, (gs_lab_config){.auth_key = "key"});
    gs_tailnet peer = world_join(&world, "peer");
    gs_stream l = world_listen(peer, "tailnet://:7");
    must(pthread_create(&thread, NULL, expire_when_told, &expire) == 0);
    must(write(told, &world, sizeof world) == sizeof world);
    for (;;)
        if (gs_stream_accept(l, &s, GS_NO_MAILBOX, GS_INFINITY, NULL) == 0) {
            call_back(peer, s);
            gs_stream_close(s);
        }
}

static pid_t begin_world(void)
{
    int told[2], expire[2];
    must(pipe(told) == 0 && pipe(expire) == 0);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        close(told[0]);
        close(expire[1]);
        be_world(told[1], expire[0]);
    }
    close(told[1]);
    close(expire[0]);
    expire_fd = expire[1];
    must(read(told[0], &world, sizeof world) == sizeof world);
    close(told[0]);
    return pid;
}

/* ---- a node's life ---- */

static int be_patient(void) { return fault_armed() ? 1200 : WAIT; }

static int talk(gs_tailnet n)
{
    gs_stream l = GS_NO_STREAM, a = GS_NO_STREAM, b = GS_NO_STREAM;
    const gs_tailnet_status_t *status;
    char c = 'x';
    int e = 0;
    then(gs_stream_listen(&l, "tailnet://:9", GS_OPTS(on_node(n)), GS_NO_MAILBOX));
    then(gs_stream_connect(&a, "tailnet://peer:7", GS_OPTS(on_node(n)), GS_NO_MAILBOX, be_patient()));
    then(gs_stream_send(a, &c, 1));
    then(gs_stream_accept(l, &b, GS_NO_MAILBOX, be_patient(), NULL));
    then(gs_stream_recv(b, &c, 1, 1, be_patient()));
    must(e < 0 || c == 'x');
    then(gs_tailnet_status(n, &status));
    if (e == 0)
        gs_tailnet_status_free(status);
    gs_stream_close(b);
    gs_stream_close(a);
    gs_stream_close(l);
    return e;
}

static int live(void *unused)
{
    (void)unused;
    gs_tailnet n;
    gs_tailnet_config c = world_config(&world, "node");
    int e = traced(first_code(0, gs_tailnet_start(&n, &c)), __LINE__);
    if (e < 0)
        return e;
    then(gs_tailnet_up(n, be_patient()));
    then(talk(n));
    int f = gs_tailnet_stop(n, fault_armed() ? 300 : 2000);
    must(f == 0);
    must(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD); /* no process is left */
    return e;
}

/* What comes with first use, OpenSSL's tables among it. */
static void once(void)
{
    flusher_is_there();
    for (int i = 0; i < 2; i++) {
        int e = live(NULL);
        if (e < 0)
            fprintf(stderr, "# without a fault: %s %s\n", gs_error_name(e), gs_error_detail(e));
        must(e == 0);
    }
}

static void a_node_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("node", live, NULL,
                   &(struct fault_options){.prepare = once, .real_clock = true, .at_most = 3, .timeout_ms = 60000});
}

/* ---- a new key ---- */

static gs_tailnet lasting;

static void start_lasting(void)
{
    gs_tailnet_config c = world_config(&world, "node");
    must(gs_tailnet_start(&lasting, &c) == 0 && gs_tailnet_up(lasting, WAIT) == 0);
}

static int look(gs_tailnet_state *state, uint8_t key[32])
{
    const gs_tailnet_status_t *s;
    int e = first_code(0, gs_tailnet_status(lasting, &s));
    if (e == 0) {
        *state = s->state;
        memcpy(key, s->self.node_key, 32);
        e = s->state == GS_TAILNET_FAILED ? s->error : 0;
        gs_tailnet_status_free(s);
    }
    return e;
}

/* Its key runs out; it has another one soon, or tells why not. One that has given up is replaced. */
static int renew(void *unused)
{
    (void)unused;
    gs_tailnet_state state = 0;
    uint8_t before[32] = {0}, after[32];
    if (look(&state, before) < 0 || state != GS_TAILNET_RUNNING) {
        if (fault_armed())
            return GS_ECLOSED;
        must(gs_tailnet_stop(lasting, 0) == 0);
        start_lasting();
        must(look(&state, before) == 0);
    }
    must(write(expire_fd, "", 1) == 1);
    for (uint64_t by = real_ms() + (uint64_t)be_patient(); real_ms() < by; poll(NULL, 0, 10)) {
        int e = look(&state, after);
        if (e < 0 && state == GS_TAILNET_FAILED)
            return first_code(0, e);
        if (e == 0 && state == GS_TAILNET_RUNNING && memcmp(before, after, sizeof before) != 0)
            return 0;
    }
    return GS_ETIMEOUT;
}

static void a_new_key_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("new key", renew, NULL,
                   &(struct fault_options){.prepare = start_lasting,
                                           .real_clock = true,
                                           .at_most = 1,
                                           .timeout_ms = 60000,
                                           .census_may_grow = true /* a node that goes on knows more with time */});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_survives_every_fault),
        cmocka_unit_test(a_new_key_survives_every_fault),
    };
    if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1)
        abort();
    pid_t pid = begin_world();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return failed;
}
