/* TLS before and in the handshake: options that cannot be right, versions that do not meet, peers that say nothing under each way
 * of waiting, TLS within TLS. runner: tsan */
#include <errno.h>
#include <gensock/mailbox.h>
#include <stdlib.h>
#include <string.h>

#include "tls_pair.h"

enum { SILENCE_MS = 200 };

/* ---- options ---- */

static const char *file_of(const char *name, const char *text)
{
    const char *path = temp_path(name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static void what_cannot_be_right_is_told_before_anything_is_opened(void **state)
{
    (void)state;
    gs_stream s;
    assert_ok(gs_tls_register());
    struct pki_cert other = pki_make(&(struct pki_spec){.cn = "other", .san = "DNS:other.test"}, NULL);
    const char *cert = pki_default()->cert, *key = pki_default()->key, *others_key = pki_key_file("other.key", &other);
    const char *garbage = file_of("garbage.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
    pki_free(&other);
    const struct {
        gs_opt o[4];
        int code;
        const char *detail;
    } rows[] = {
        {{{0}}, -EINVAL, "tls_cert_file"},
        {{GS_STR(TLS_CERT_FILE, "/nowhere/x.pem")}, -ENOENT, "/nowhere/x.pem"},
        {{GS_STR(TLS_CERT_FILE, "/")}, -EINVAL, "no regular file"},
        {{GS_STR(TLS_CERT_FILE, garbage)}, -EINVAL, "garbage.pem"},
        {{GS_STR(TLS_CERT_FILE, cert)}, -EINVAL, "no PEM private key"},
        {{GS_STR(TLS_CERT_FILE, cert), GS_STR(TLS_KEY_FILE, others_key)}, -EINVAL, "is not the key of"},
        {{GS_STR(TLS_KEY_FILE, key)}, -EINVAL, "stands behind"},
        {{GS_STR(TLS_CERT_FILE, "")}, -EINVAL, "empty"},
        {{GS_INT(TLS_VERIFY, 3)}, -EINVAL, "tls_verify"},
        {{GS_INT(TLS_MIN_VERSION, 0x0302)}, -EINVAL, "tls_min_version"},
        {{GS_INT(TLS_MIN_VERSION, GS_TLS_1_3), GS_INT(TLS_MAX_VERSION, GS_TLS_1_2)}, -EINVAL, "above"},
        {{GS_STR(TLS_ALPN, "a,,b")}, -EINVAL, "tls_alpn"},
        {{GS_INT(TLS_KEY_UPDATE, 1)}, -EINVAL, "tls_key_update"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_code(gs_stream_listen(&s, "tls://127.0.0.1:0", rows[i].o, GS_NO_MAILBOX), rows[i].code);
        if (!strstr(gs_error_detail(rows[i].code), rows[i].detail))
            fail_msg("\"%s\" does not say \"%s\"", gs_error_detail(rows[i].code), rows[i].detail);
    }
    assert_code(gs_stream_connect(&s, "tls+unix:///nowhere", NULL, GS_NO_MAILBOX, TLS_WAIT_MS), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), "tls_server_name"));
    assert_code(gs_stream_connect(&s, "tls://localhost:1", GS_OPTS(GS_STR(TLS_CA_FILE, "/nowhere/ca")), GS_NO_MAILBOX, TLS_WAIT_MS), -ENOENT);
}

static void a_version_that_the_other_lacks_is_refused(void **state)
{
    (void)state;
    struct tls_pair p;
    tls_listen(&p, TLS_SERVER(GS_INT(TLS_MIN_VERSION, GS_TLS_1_3)));
    tls_meet(&p, TLS_CLIENT(GS_INT(TLS_MAX_VERSION, GS_TLS_1_2)));
    assert_code(p.accepted, GS_EALERT);
    assert_code(p.connected, GS_EALERT);
    assert_string_equal(p.client_detail, "received protocol_version");
    tls_pair_close(&p);
}

/* ---- silence ---- */

/* A plain connection to a listener of TLS, which says nothing. */
static gs_stream silent_client(const struct tls_pair *p)
{
    gs_stream s;
    char at[128];
    snprintf(at, sizeof at, "tcp://%s", p->at + strlen("tls://"));
    assert_ok(gs_stream_connect(&s, at, NULL, GS_NO_MAILBOX, TLS_WAIT_MS));
    return s;
}

static void a_silent_client_ends_in_a_message(void **state)
{
    (void)state;
    struct tls_pair p = {0};
    gs_mailbox mb;
    gs_msg m;
    gs_stream fresh;
    assert_ok(gs_tls_register());
    assert_ok(gs_mailbox_new(&mb));
    const gs_opt *opts = TLS_SERVER(GS_INT(ACCEPT, GS_ACTIVE_TRUE), GS_INT(HANDSHAKE_TIMEOUT, SILENCE_MS));
    assert_ok(gs_stream_listen(&p.listener, "tls://127.0.0.1:0", opts, mb));
    snprintf(p.at, sizeof p.at, "tls://127.0.0.1:%ld", assert_ok(gs_stream_port(p.listener)));
    gs_stream client = silent_client(&p);
    assert_ok(gs_receive(mb, &m, TLS_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_ACCEPT);
    fresh = m.fresh;
    assert_ok(gs_receive(mb, &m, TLS_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_ERROR);
    assert_code(m.error, GS_ETIMEOUT);
    assert_true(m.stream.id == fresh.id);
    assert_ok(gs_receive(mb, &m, TLS_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_CLOSED);
    gs_stream_close(client);
    gs_stream_close(p.listener);
    assert_ok(gs_mailbox_free(mb));
}

static void a_silent_client_ends_whatever_call_waits(void **state)
{
    (void)state;
    struct tls_pair p;
    char got[4];
    tls_listen(&p, TLS_SERVER(GS_INT(HANDSHAKE_TIMEOUT, SILENCE_MS)));
    for (int way = 0; way < 3; way++) {
        gs_stream client = silent_client(&p), s;
        assert_ok(gs_stream_accept(p.listener, &s, GS_NO_MAILBOX, TLS_WAIT_MS, NULL));
        long e = way == 0   ? gs_stream_handshake(s, GS_INFINITY)
                 : way == 1 ? gs_stream_recv(s, got, sizeof got, 0, GS_INFINITY)
                            : gs_stream_send(s, "x", 1);
        assert_code(e, GS_ETIMEOUT);
        gs_stream_close(s);
        gs_stream_close(client);
    }
    tls_pair_close(&p);
}

static void a_silent_server_ends_a_nowait_connect(void **state)
{
    (void)state;
    gs_stream listener, s;
    gs_mailbox mb;
    gs_msg m;
    char at[64];
    assert_ok(gs_tls_register());
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(gs_stream_listen(&listener, "tcp://127.0.0.1:0", NULL, GS_NO_MAILBOX)); /* the kernel accepts */
    snprintf(at, sizeof at, "tls://127.0.0.1:%ld", assert_ok(gs_stream_port(listener)));
    assert_code(gs_stream_connect(&s, at, TLS_CLIENT(GS_INT(HANDSHAKE_TIMEOUT, SILENCE_MS)), mb, GS_NOWAIT), GS_ESELECT);
    assert_ok(gs_receive(mb, &m, TLS_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_CONNECT);
    assert_code(m.error, GS_ETIMEOUT);
    assert_code(gs_stream_send(s, "x", 1), GS_ECLOSED);
    assert_code(gs_stream_connect(&s, at, TLS_CLIENT(NO_MORE), GS_NO_MAILBOX, SILENCE_MS), GS_ETIMEOUT); /* the caller's own */
    gs_stream_close(listener);
    assert_ok(gs_mailbox_free(mb));
}

/* The first call that needs it does the handshake. */
static void a_handshake_is_done_by_the_first_call(void **state)
{
    (void)state;
    struct tls_pair p;
    char got[4];
    tls_listen(&p, TLS_SERVER(NO_MORE));
    for (int way = 0; way < 2; way++) {
        pthread_t thread;
        p.opts = TLS_CLIENT(NO_MORE);
        assert_int_equal(pthread_create(&thread, NULL, tls_pair_connect, &p), 0);
        assert_ok(gs_stream_accept(p.listener, &p.server, GS_NO_MAILBOX, TLS_WAIT_MS, NULL));
        if (way == 0)
            assert_ok(gs_stream_send(p.server, "late", 4));
        else
            assert_code(gs_stream_recv(p.server, got, 4, 4, 300), GS_ETIMEOUT); /* nothing was sent, but the handshake is done */
        pthread_join(thread, NULL);
        assert_ok(p.connected);
        assert_true(gs_stream_secure(p.server));
        if (way == 0)
            assert_code(gs_stream_recv(p.client, got, 4, 4, TLS_WAIT_MS), 4);
        tls_part(&p);
    }
    tls_pair_close(&p);
}

/* ---- layers ---- */

static void tls_goes_over_tls(void **state)
{
    (void)state;
    struct tls_pair p = {0};
    assert_ok(gs_tls_register());
    assert_ok(gs_stream_listen(&p.listener, "tls+tls+tcp://127.0.0.1:0", TLS_SERVER(NO_MORE), GS_NO_MAILBOX));
    snprintf(p.at, sizeof p.at, "tls+tls+tcp://127.0.0.1:%ld", assert_ok(gs_stream_port(p.listener)));
    tls_meet(&p, TLS_CLIENT(NO_MORE));
    assert_ok(p.connected);
    assert_ok(p.accepted);
    tls_carry(p.client, p.server, 300000);
    tls_carry(p.server, p.client, 300000);
    gs_stream_info_t info;
    assert_ok(gs_stream_info(p.client, &info));
    assert_string_equal(info.transport, "tls+tls+tcp");
    tls_pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_right_is_told_before_anything_is_opened),
        cmocka_unit_test(a_version_that_the_other_lacks_is_refused),
        cmocka_unit_test(a_silent_client_ends_in_a_message),
        cmocka_unit_test(a_silent_client_ends_whatever_call_waits),
        cmocka_unit_test(a_silent_server_ends_a_nowait_connect),
        cmocka_unit_test(a_handshake_is_done_by_the_first_call),
        cmocka_unit_test(tls_goes_over_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
