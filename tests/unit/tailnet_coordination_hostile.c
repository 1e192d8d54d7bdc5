/* lab/coordination.h: what no client of good will sends, limits, and no memory. */
#include <openssl/err.h>

#include "tailnet_coordination_world.h"
#include "tailnet/lab/inside.h"

static struct end *const a = &ends[0], *const b = &ends[1];

static int set_up(void **state)
{
    (void)state;
    struct coordination_config config = config_of();
    world_start(&config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_end();
    return 0;
}

/* ---- garbage ---- */

static char answer[4096];
static int status;

static int on_status(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t n, uint8_t flags, void *user)
{
    (void)session, (void)frame, (void)flags, (void)user, (void)n;
    if (name_n == 7 && memcmp(name, ":status", 7) == 0)
        status = atoi((const char *)value);
    return 0;
}

static int on_body(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *p, size_t n, void *user)
{
    (void)session, (void)flags, (void)stream, (void)user;
    assert_true(n < sizeof answer);
    memcpy(answer, p, n);
    answer[n] = 0;
    return 0;
}

struct source {
    const char *p;
    size_t n;
};

static ssize_t read_source(nghttp2_session *session, int32_t stream, uint8_t *out, size_t cap, uint32_t *flags,
                           nghttp2_data_source *source, void *user)
{
    (void)session, (void)stream, (void)user;
    struct source *from = source->ptr;
    size_t n = from->n < cap ? from->n : cap;
    memcpy(out, from->p, n);
    from->p += n;
    from->n -= n;
    if (!from->n)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* A request by a plain HTTP/2 client, into a connection whose handshake is taken as done. */
static int ask(const char *method, const char *path, const char *body, size_t n)
{
    struct coordination_conn *conn = gsi_coordination_join(lab, NULL, now);
    struct source from = {body, n};
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    const uint8_t *p;
    ssize_t k;
    conn->noise.state = NOISE_OPEN;
    conn->state = CHANNEL;
    memcpy(conn->noise.peer, world_public(a->machine), KEY_LEN);
    assert_ok(gsi_lab_h2_start(conn));
    assert_ok(nghttp2_session_callbacks_new(&callbacks));
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_status);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_body);
    assert_ok(nghttp2_session_client_new(&session, callbacks, NULL));
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_nv fields[] = {{(uint8_t *)(uintptr_t)":method", (uint8_t *)(uintptr_t)method, 7, strlen(method), 0},
                           {(uint8_t *)(uintptr_t)":path", (uint8_t *)(uintptr_t)path, 5, strlen(path), 0},
                           {(uint8_t *)(uintptr_t)":scheme", (uint8_t *)(uintptr_t)"https", 7, 5, 0},
                           {(uint8_t *)(uintptr_t)":authority", (uint8_t *)(uintptr_t)"lab", 10, 3, 0}};
    nghttp2_data_provider provider = {{.ptr = &from}, read_source};
    assert_ok(nghttp2_submit_settings(session, 0, NULL, 0));
    assert_true(nghttp2_submit_request(session, NULL, fields, 4, &provider, NULL) > 0);
    status = 0;
    *answer = 0;
    for (bool moved = true; moved;) {
        moved = false;
        while ((k = nghttp2_session_mem_send(session, &p)) > 0) {
            assert_ok(gsi_http2_feed(&conn->http2, p, (size_t)k));
            moved = true;
        }
        conn->http2.plain_n = 0;
        assert_ok(gsi_http2_gather(&conn->http2));
        if (conn->http2.plain_n) {
            assert_int_equal(nghttp2_session_mem_recv(session, conn->http2.plain, conn->http2.plain_n), conn->http2.plain_n);
            moved = true;
        }
    }
    nghttp2_session_del(session);
    gsi_coordination_leave(conn, now);
    return status;
}

static int ask_text(const char *path, const char *body) { return ask("POST", path, body, strlen(body)); }

#define KEY "\"NodeKey\":\"nodekey:0101010101010101010101010101010101010101010101010101010101010101\""

static void what_is_no_request_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body;
        int status;
        const char *words;
    } rows[] = {
        {"/machine/register", "", 400, ""},
        {"/machine/register", "{", 400, ""},
        {"/machine/register", "[]", 400, ""},
        {"/machine/register", "{}", 400, "NodeKey is missing\n"},
        {"/machine/register", "{\"Version\":115,\"NodeKey\":\"nodekey:00\"}", 400, "a key that is none\n"},
        {"/machine/register", "{\"Version\":115,\"NodeKey\":\"nodekey:0000000000000000000000000000000000000000000000000000000000000000\"}", 400, "NodeKey is missing\n"},
        {"/machine/register", "{" KEY "}", 400, "unsupported client version: 0\n"},
        {"/machine/register", "{" KEY ",\"Version\":112}", 400, "unsupported client version: 112\n"},
        {"/machine/register", "{" KEY ",\"Version\":65536}", 400, "unsupported client version: 65536\n"},
        {"/machine/register", "{" KEY ",\"Version\":115}", 400, "Hostinfo is missing\n"},
        {"/machine/register", "{" KEY ",\"Version\":115,\"Hostinfo\":{},\"Auth\":{\"AuthKey\":\"key-1\"}} x", 400, ""},
        {"/machine/register", "{" KEY ",\"Version\":115,\"Hostinfo\":{},\"Auth\":{\"AuthKey\":\"key-1\"}}", 200, ""},
        {"/machine/map", "{" KEY ",\"Version\":115,\"Compress\":\"gzip\"}", 400, "a compression that is not served\n"},
        {"/machine/map", "{" KEY ",\"Version\":115,\"OmitPeers\":true,\"Endpoints\":[\"\",\"x\",\"fe80::1%eth0\",\"1.2.3.4:5\",\"1.2.3.4:0\"]}", 200, ""},
        {"/machine/map", "{\"Version\":115,\"NodeKey\":\"nodekey:0201010101010101010101010101010101010101010101010101010101010101\"}", 404, "node not found\n"},
        {"/machine/update-health", "{}", 204, ""},
        {"/machine/id-token", "{}", 501, "not served by this lab\n"},
        {"/machine/register/and/a/very/long/path/that/is/longer/than/any/that/is/served", "{}", 501, ""},
    };
    static char flood[300 * 1024];
    struct coordination_node n;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (ask_text(rows[i].path, rows[i].body) != rows[i].status || (*rows[i].words && strcmp(answer, rows[i].words) != 0))
            fail_msg("%s: %d %s", rows[i].body, status, answer);
    }
    assert_true(gsi_coordination_node(lab, 0, &n));
    assert_int_equal(n.endpoints, 1);
    assert_int_equal(ask("GET", "/machine/map", "", 0), 501);
    memset(flood, ' ', sizeof flood);
    assert_int_equal(ask("POST", "/machine/map", flood, sizeof flood), 413);
    assert_int_equal(ask_text("/machine/map", "{" KEY ",\"Version\":115}"), 200); /* one message, and the end */
    assert_non_null(strstr(answer + 4, "\"Node\""));
}

static struct coordination_conn *open_channel(void)
{
    struct coordination_conn *conn = gsi_coordination_join(lab, NULL, now);
    conn->noise.state = NOISE_OPEN;
    conn->state = CHANNEL;
    conn->until = now + 300 * S;
    assert_ok(gsi_lab_h2_start(conn));
    return conn;
}

static void send_half_a_request(struct coordination_conn *conn, bool first, uint8_t stream, size_t body)
{
    static const char start[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    uint8_t head[] = "\0\0\41\1\4\0\0\0.\203\207\0\5:path\14/machine/map\0\12:authority\1h";
    uint8_t data[9 + 16384] = {(uint8_t)(body >> 16), (uint8_t)(body >> 8), (uint8_t)body, 0, 0, 0, 0, 0, stream};
    head[2] = (uint8_t)(sizeof head - 1 - 9);
    head[8] = stream;
    if (first)
        assert_ok(gsi_http2_feed(&conn->http2, (const uint8_t *)start, sizeof start - 1));
    assert_ok(gsi_http2_feed(&conn->http2, head, sizeof head - 1));
    if (body)
        assert_ok(gsi_http2_feed(&conn->http2, data, 9 + body));
    conn->http2.plain_n = 0;
    assert_ok(gsi_http2_gather(&conn->http2));
}

static void a_request_that_never_ends_is_not_waited_for(void **state)
{
    (void)state;
    uint8_t buf[4096];
    struct coordination_conn *conn = open_channel();
    send_half_a_request(conn, true, 1, 10);
    assert_int_equal(conn->exchanges_n, 1);
    conn->http2.plain_n = 0;
    now += 59 * S;
    gsi_coordination_tick(lab, now);
    assert_int_equal(conn->state, CHANNEL);
    now += 2 * S;
    gsi_coordination_tick(lab, now);
    ssize_t n;
    while ((n = gsi_coordination_output(conn, buf, sizeof buf, now)) > 0)
        ;
    assert_code(n, GS_ETIMEOUT);
    gsi_coordination_leave(conn, now);
    assert_int_equal(lab->bodies_n, 0);
}

static void requests_at_once_and_their_bytes_have_a_maximum(void **state)
{
    (void)state;
    struct coordination_conn *conn = open_channel();
    for (uint8_t i = 0; i < 40; i++)
        send_half_a_request(conn, i == 0, (uint8_t)(2 * i + 1), 0);
    assert_int_equal(conn->exchanges_n, EXCHANGES_MAX);
    gsi_coordination_leave(conn, now);
    conn = open_channel();
    lab->bodies_n = BODIES_MAX - 8192;
    send_half_a_request(conn, true, 1, 8192);
    assert_false(conn->exchanges->too_long);
    send_half_a_request(conn, false, 3, 1);
    assert_true(conn->exchanges->too_long);
    assert_int_equal(conn->exchanges->body_cap, 0);
    gsi_coordination_leave(conn, now);
    assert_int_equal(lab->bodies_n, BODIES_MAX - 8192);
}

static void a_channel_of_garbage_ends(void **state)
{
    (void)state;
    world_join(a);
    world_connect(b);
    world_pump();
    gsi_coordination_feed(b->conn, "\4\0\24garbage garbage garbage", 23, now);
    b->over = -1; /* its client is not asked any more */
    world_pump();
    assert_code(b->server_over, GS_EINVALID);
    world_update(a, "192.0.2.1:5", 1);
    assert_int_equal(a->event.type, CONTROL_UPDATED);
}

/* ---- no memory ---- */

static long fail_at, allocations, blocks; /* 0: none fails */

static bool fails(void) { return ++allocations == fail_at; }

static void *counted_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    void *p = fails() ? NULL : malloc(n);
    blocks += p != NULL;
    return p;
}

static void *counted_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    if (n && fails())
        return NULL;
    blocks += !p && n;
    blocks -= p && !n;
    if (n)
        return realloc(p, n);
    free(p);
    return NULL;
}

static void counted_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    blocks -= p != NULL;
    free(p);
}

/* A whole life of a server with two clients, of which any allocation may fail. True: both saw each other. */
static bool life(void)
{
    static uint8_t buf[16 * 1024];
    struct coordination_config config = config_of();
    int seen = 0;
    if (gsi_coordination_new(&lab, &config) != 0)
        return false;
    for (int i = 0; i < 2; i++) {
        struct end *e = &ends[i];
        struct register_request r = world_request(e, "key-1");
        struct map_request m = world_map_request(e);
        if (!(e->conn = gsi_coordination_join(lab, e, now))
            || gsi_control_new(&e->c, &(struct control_config){.url = &url, .server_key = gsi_coordination_public(lab), .machine_private = e->machine},
                               now) != 0)
            break;
        if (gsi_control_register(e->c, &r, now) != 0 || gsi_control_map(e->c, &m, now) != 0)
            break;
        for (int round = 0; round < 200; round++)
            for (int k = 0; k <= i; k++) {
                ssize_t n = gsi_control_output(ends[k].c, buf, sizeof buf);
                if (n > 0)
                    gsi_coordination_feed(ends[k].conn, buf, (size_t)n, now);
                n = gsi_coordination_output(ends[k].conn, buf, sizeof buf, now);
                if (n > 0)
                    (void)!gsi_control_feed(ends[k].c, buf, (size_t)n, now);
                for (struct control_event event; gsi_control_next(ends[k].c, &event);)
                    seen |= event.type == CONTROL_MAP && event.message.n &&
                                    memmem(event.message.p, event.message.n, k ? "nodea" : "nodeb", 5)
                                ? 1 << k
                                : 0;
            }
    }
    world_end();
    return seen == 3;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    world_end();
    assert_true(life());
    ERR_clear_error();
    long before = blocks, failed = 0;
    for (long n = 1;; n++) {
        memset(ends, 0, sizeof ends);
        struct coordination_config config = config_of();
        fail_at = 0;
        world_start(&config);
        world_end();
        allocations = 0;
        fail_at = n;
        bool whole = life();
        bool fired = allocations >= n;
        fail_at = 0;
        world_end();
        memset(ends, 0, sizeof ends);
        ERR_clear_error(); /* its texts are blocks */
        assert_int_equal(blocks, before);
        failed += fired && !whole;
        if (!fired) {
            assert_true(whole);
            break;
        }
    }
    assert_true(failed > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_no_request_is_refused_with_a_reason, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_request_that_never_ends_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_at_once_and_their_bytes_have_a_maximum, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_channel_of_garbage_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, set_up, tear_down),
    };
    if (CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
