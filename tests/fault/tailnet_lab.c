/* A lab starts and stops while every call of the core's and every allocation of its fails once: a code, nothing left, and it
 * works the next time. */
#include <stdio.h>

#include "flusher.h"
#include "gensock/lab.h"
#include "gensock/stream.h"
#include "scenario.h"
#include "support.h"

static int start_ask_stop(void *unused)
{
    (void)unused;
    gs_lab lab;
    gs_stream s;
    char url[128], at[160];
    int e = gs_lab_start(&lab, &(gs_lab_config){.directory = temp_path("lab"), .auth_key = "key-1"});
    if (e < 0)
        return e;
    e = gs_lab_control_url(lab, url, sizeof url);
    snprintf(at, sizeof at, "tcp%s", url + 4);
    e = gs_stream_connect(&s, at, NULL, GS_NO_MAILBOX, 5000);
    if (e == 0) {
        char answer[256];
        e = gs_stream_send(s, "GET /key?v=115 HTTP/1.1\r\n\r\n", 27);
        if (e == 0) {
            ssize_t n = gs_stream_recv(s, answer, sizeof answer, 0, 5000);
            e = n < 0 ? (int)n : 0;
        }
        gs_stream_close(s);
    }
    if (e == 0)
        e = gs_lab_restart(lab, GS_LAB_RELAY);
    int f = gs_lab_stop(lab);
    return e ? e : f;
}

/* Certificates, and what OpenSSL and the core make at their first use. */
static void once(void)
{
    flusher_is_there();
    assert_ok(start_ask_stop(NULL));
}

static void a_lab_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("lab", start_ask_stop, NULL, &(struct fault_options){.prepare = once, .real_clock = true, .at_most = 12});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_lab_survives_every_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
