/* A control server whose certificate is not valid at this time: most often this machine's clock is wrong, and the node says
 * so. */
#include <gensock/tls.h>
#include <pthread.h>

#include "pki.h"
#include "tailnet_world.h"

static void *accept_all(void *listener)
{
    gs_stream s;
    while (gs_stream_accept(*(gs_stream *)listener, &s, GS_NO_MAILBOX, GS_INFINITY, NULL) == 0) {
        (void)!gs_stream_handshake(s, WAIT);
        gs_stream_close(s);
    }
    return NULL;
}

/* What up answers to a control server with such a certificate. */
static int join(const struct pki_spec *spec, const char *name)
{
    const struct pki_spec root = {.cn = "root", .ca = true, .from_s = -30 * 24 * 3600, .days = 60};
    struct pki_cert ca = pki_make(&root, NULL), cert = pki_make(spec, &ca);
    const struct pki_cert *chain[] = {&cert}, *top[] = {&ca};
    char ca_name[64], key_name[64], url[64];
    gs_stream listener;
    gs_tailnet n;
    pthread_t thread;
    snprintf(ca_name, sizeof ca_name, "%s-ca", name);
    snprintf(key_name, sizeof key_name, "%s-key", name);
    gs_tailnet_config c = {.hostname = "late", .ephemeral = true, .control_url = url, .ca_file = pki_cert_file(ca_name, top, 1)};
    const gs_opt *opts = GS_OPTS(GS_STR(TLS_CERT_FILE, pki_cert_file(name, chain, 1)),
                                 GS_STR(TLS_KEY_FILE, pki_key_file(key_name, &cert)));
    assert_ok(gs_tls_register());
    assert_ok(gs_stream_listen(&listener, "tls://127.0.0.1:0", opts, GS_NO_MAILBOX));
    assert_int_equal(pthread_create(&thread, NULL, accept_all, &listener), 0);
    snprintf(url, sizeof url, "https://127.0.0.1:%d", gs_stream_port(listener));
    assert_ok(gs_tailnet_start(&n, &c));
    int e = gs_tailnet_up(n, 1500);
    gs_tailnet_stop(n, 0);
    gs_stream_close(listener);
    pthread_join(thread, NULL);
    pki_free(&cert);
    pki_free(&ca);
    return e;
}

static void a_certificate_of_tomorrow_is_a_clock_that_is_slow(void **state)
{
    (void)state;
    assert_code(join(&(struct pki_spec){.san = "IP:127.0.0.1", .from_s = 24 * 3600}, "tomorrow"), GS_ECLOCK);
    assert_non_null(strstr(gs_error_detail(GS_ECLOCK), "not yet valid"));
    assert_non_null(strstr(gs_error_detail(GS_ECLOCK), "This machine's clock says 20"));
}

static void a_certificate_of_yesterday_may_be_a_clock_that_is_fast(void **state)
{
    (void)state;
    assert_code(join(&(struct pki_spec){.san = "IP:127.0.0.1", .from_s = -48 * 3600, .days = 1}, "yesterday"), GS_ECLOCK);
    assert_non_null(strstr(gs_error_detail(GS_ECLOCK), "has expired"));
}

static void a_certificate_of_somebody_else_is_no_matter_of_the_clock(void **state)
{
    (void)state;
    assert_code(join(&(struct pki_spec){.san = "IP:192.0.2.1"}, "other"), GS_ETIMEOUT);
    assert_null(strstr(gs_error_detail(GS_ETIMEOUT), "clock"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_of_tomorrow_is_a_clock_that_is_slow),
        cmocka_unit_test(a_certificate_of_yesterday_may_be_a_clock_that_is_fast),
        cmocka_unit_test(a_certificate_of_somebody_else_is_no_matter_of_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
