/* A careless caller of each public call of lab.h gets an answer, never a crash (promise P7). */
#include <errno.h>
#include <gensock/lab.h>
#include <stdio.h>
#include <string.h>

#include "hostile.h"

static gs_lab stopped; /* a handle that was one */
static gs_lab running;
static char directory[256];

static const gs_lab bad[] = {{0}, {1}, {UINT64_MAX}, {UINT64_C(0x7a) << 56}, {UINT64_C(0xdeadbeef00000001)}};
/* The last of them is the stopped one. */
#define EACH_BAD(call)                                                          \
    do {                                                                        \
        for (size_t i_ = 0; i_ <= sizeof bad / sizeof bad[0]; i_++) {           \
            gs_lab h = i_ < sizeof bad / sizeof bad[0] ? bad[i_] : stopped;     \
            int e_ = (call);                                                    \
            if (e_ != GS_EBADARG && e_ != GS_ECLOSED)                           \
                fail_msg("%s: %d with handle %zu", #call, e_, i_);              \
        }                                                                       \
    } while (0)

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "%s", temp_path("lab"));
    const gs_lab_config config = {.directory = directory};
    assert_ok(gs_lab_start(&stopped, &config));
    assert_ok(gs_lab_stop(stopped));
    assert_ok(gs_lab_start(&running, &config));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_ok(gs_lab_stop(running));
    return 0;
}

HOSTILE(gs_lab_start)
{
    (void)state;
    gs_lab lab = {77};
    const gs_lab_config none = {0};
    assert_code(gs_lab_start(NULL, NULL), GS_EBADARG);
    assert_code(gs_lab_start(&lab, NULL), GS_EBADARG);
    assert_code(gs_lab_start(NULL, &none), GS_EBADARG);
    const char *other = temp_path("other");
    const gs_lab_config wrong[] = {
        {0},
        {.directory = ""},
        {.directory = "/nonexistent/lab"},
        {.directory = "/dev/null"},
        {.directory = other, .address = "nonsense"},
        {.directory = other, .address = "192.0.2.1"},
        {.directory = other, .domain = "a b"},
        {.directory = other, .filter = "nonsense"},
        {.directory = other, .filter = "{}"},
        {.directory = directory}, /* the running one has it */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (gs_lab_start(&lab, &wrong[i]) >= 0)
            fail_msg("row %zu started a lab", i);
    assert_int_equal(lab.id, 77);
}

HOSTILE(gs_lab_stop)
{
    (void)state;
    EACH_BAD(gs_lab_stop(h));
}

HOSTILE(gs_lab_control_url)
{
    (void)state;
    char buf[64] = "x";
    EACH_BAD(gs_lab_control_url(h, buf, sizeof buf));
    assert_true(gs_lab_control_url(running, NULL, 0) != 0); /* the length, or badarg */
    assert_true(gs_lab_control_url(running, NULL, 64) < 0);
    buf[3] = '#';
    assert_true(gs_lab_control_url(running, buf, 3) > 3);
    assert_int_equal(buf[2], 0);
    assert_int_equal(buf[3], '#');
}

HOSTILE(gs_lab_ca_file)
{
    (void)state;
    char buf[64] = "x";
    EACH_BAD(gs_lab_ca_file(h, buf, sizeof buf));
    assert_true(gs_lab_ca_file(running, NULL, 64) < 0);
    buf[3] = '#';
    assert_true(gs_lab_ca_file(running, buf, 3) > 3);
    assert_int_equal(buf[3], '#');
}

HOSTILE(gs_lab_port)
{
    (void)state;
    EACH_BAD(gs_lab_port(h, GS_LAB_CONTROL));
    for (int part = -2; part < 99; part++)
        if (part < GS_LAB_CONTROL || part > GS_LAB_STUN)
            assert_code(gs_lab_port(running, (gs_lab_part)part), -EINVAL);
}

HOSTILE(gs_lab_nodes)
{
    (void)state;
    EACH_BAD(gs_lab_nodes(h));
    assert_int_equal(gs_lab_nodes(running), 0);
}

HOSTILE(gs_lab_node)
{
    (void)state;
    gs_lab_node_info info;
    EACH_BAD(gs_lab_node(h, 0, &info));
    assert_code(gs_lab_node(running, 0, NULL), GS_EBADARG);
    assert_true(gs_lab_node(running, -1, &info) < 0);
    assert_code(gs_lab_node(running, 0, &info), -ENOENT);
    assert_true(gs_lab_node(running, INT32_MAX, &info) < 0);
    assert_true(gs_lab_node(running, INT32_MIN, &info) < 0);
}

HOSTILE(gs_lab_approve)
{
    (void)state;
    EACH_BAD(gs_lab_approve(h, "http://127.0.0.1/a/b", NULL));
    assert_code(gs_lab_approve(running, NULL, NULL), GS_EBADARG);
    assert_true(gs_lab_approve(running, "", NULL) < 0);
    assert_true(gs_lab_approve(running, "nonsense", "x") < 0);
    char long_text[5000];
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    assert_true(gs_lab_approve(running, long_text, long_text) < 0);
}

HOSTILE(gs_lab_authorize)
{
    (void)state;
    EACH_BAD(gs_lab_authorize(h, 1));
    assert_true(gs_lab_authorize(running, 0) < 0);
    assert_true(gs_lab_authorize(running, INT64_MIN) < 0);
}

HOSTILE(gs_lab_remove)
{
    (void)state;
    EACH_BAD(gs_lab_remove(h, 1));
    assert_true(gs_lab_remove(running, 0) < 0);
    assert_true(gs_lab_remove(running, INT64_MAX) < 0);
}

HOSTILE(gs_lab_expire)
{
    (void)state;
    EACH_BAD(gs_lab_expire(h, 1));
    assert_true(gs_lab_expire(running, 0) < 0);
    assert_true(gs_lab_expire(running, -1) < 0);
}

HOSTILE(gs_lab_set_filter)
{
    (void)state;
    EACH_BAD(gs_lab_set_filter(h, "[]"));
    assert_true(gs_lab_set_filter(running, "nonsense") < 0);
    assert_true(gs_lab_set_filter(running, "") < 0);
    assert_ok(gs_lab_set_filter(running, NULL)); /* everybody everybody, as in the config */
}

HOSTILE(gs_lab_restart)
{
    (void)state;
    EACH_BAD(gs_lab_restart(h, GS_LAB_RELAY));
    assert_code(gs_lab_restart(running, GS_LAB_STUN), -EINVAL);
    assert_code(gs_lab_restart(running, (gs_lab_part)0), -EINVAL);
    assert_code(gs_lab_restart(running, (gs_lab_part)-9), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(gs_lab_start),  ROW(gs_lab_stop),       ROW(gs_lab_control_url), ROW(gs_lab_ca_file),   ROW(gs_lab_port),
        ROW(gs_lab_nodes),  ROW(gs_lab_node),       ROW(gs_lab_approve),     ROW(gs_lab_authorize), ROW(gs_lab_remove),
        ROW(gs_lab_expire), ROW(gs_lab_set_filter), ROW(gs_lab_restart),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
