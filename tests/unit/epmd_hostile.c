/* A careless caller of each call to epmd gets an answer, never a crash (promise P7). Nothing of it reaches a network. */
#include <errno.h>
#include <gensock/ei.h>
#include <string.h>

#include "hostile.h"

#define NOWHERE "mem://no-epmd-is-here"

static gs_epmd_node node;

HOSTILE(gs_epmd_lookup)
{
    (void)state;
    assert_code(gs_epmd_lookup(NOWHERE, NULL, NULL, &node, 0), GS_EBADARG);
    assert_code(gs_epmd_lookup(NOWHERE, NULL, "n", NULL, 0), GS_EBADARG);
    assert_code(gs_epmd_lookup(NOWHERE, NULL, "n", &node, GS_NOWAIT), GS_EBADARG);
    assert_code(gs_epmd_lookup(NOWHERE, NULL, "n", &node, -77), GS_EBADARG);
    assert_code(gs_epmd_lookup("", NULL, "n", &node, 0), GS_EFORMAT);
    assert_code(gs_epmd_lookup("127.0.0.1", NULL, "n", &node, 0), GS_EFORMAT);
    assert_code(gs_epmd_lookup("noscheme://x", NULL, "n", &node, 0), GS_ENOSCHEME);
    assert_code(gs_epmd_lookup(NOWHERE, NULL, "", &node, 0), -EINVAL);
    assert_code(gs_epmd_lookup(NOWHERE, NULL, "n@host", &node, 0), -EINVAL);
    assert_code(gs_epmd_lookup(NOWHERE, NULL, "n\nm", &node, 0), -EINVAL);
    assert_code(gs_epmd_lookup(NOWHERE, NULL, "\xff", &node, 0), -EINVAL);
    static char endless[5000];
    memset(endless, 'n', sizeof endless - 1);
    assert_code(gs_epmd_lookup(NOWHERE, NULL, endless, &node, 0), -EINVAL);
    assert_code(gs_epmd_lookup(NOWHERE, GS_OPTS(GS_INT(PACKET, GS_PACKET_4)), "n", &node, 0), -EINVAL);
    assert_code(gs_epmd_lookup(NOWHERE, GS_OPTS(GS_INT(ACTIVE, true)), "n", &node, 0), -EINVAL);
    assert_code(gs_epmd_lookup(NOWHERE, GS_OPTS(GS_INT(HEADER, 2)), "n", &node, 0), -EINVAL);
    assert_code(gs_epmd_lookup(NOWHERE, GS_OPTS(GS_INT(SEND_TIMEOUT, 2)), "n", &node, 0), -EINVAL);
    assert_code(gs_epmd_lookup(NOWHERE, GS_OPTS({.name = 999}), "n", &node, 0), -EINVAL);
    assert_code(gs_epmd_lookup(NOWHERE, NULL, "n", &node, 0), -ECONNREFUSED);
}

HOSTILE(gs_epmd_register)
{
    (void)state;
    gs_stream s = GS_NO_STREAM;
    uint32_t creation = 7;
    gs_epmd_node good = {.name = "n", .port = 1}, bad;
    assert_code(gs_epmd_register(NOWHERE, NULL, NULL, &s, &creation, 0), GS_EBADARG);
    assert_code(gs_epmd_register(NOWHERE, NULL, &good, NULL, &creation, 0), GS_EBADARG);
    assert_code(gs_epmd_register(NOWHERE, NULL, &good, &s, &creation, GS_NOWAIT), GS_EBADARG);
    assert_code(gs_epmd_register("noscheme://x", NULL, &good, &s, &creation, 0), GS_ENOSCHEME);
    bad = good, bad.port = 0;
    assert_code(gs_epmd_register(NOWHERE, NULL, &bad, &s, &creation, 0), -EINVAL);
    bad = good, bad.name[0] = '\0';
    assert_code(gs_epmd_register(NOWHERE, NULL, &bad, &s, &creation, 0), -EINVAL);
    bad = good, strcpy(bad.name, "n@host");
    assert_code(gs_epmd_register(NOWHERE, NULL, &bad, &s, &creation, 0), -EINVAL);
    bad = good, memset(bad.name, 'n', sizeof bad.name); /* without an end */
    assert_code(gs_epmd_register(NOWHERE, NULL, &bad, &s, &creation, 0), -EINVAL);
    bad = good, bad.extra_len = GS_EPMD_EXTRA_MAX + 1;
    assert_code(gs_epmd_register(NOWHERE, NULL, &bad, &s, &creation, 0), -EINVAL);
    assert_code(gs_epmd_register(NOWHERE, GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), &good, &s, &creation, 0), -EINVAL);
    assert_code(gs_epmd_register(NOWHERE, NULL, &good, &s, NULL, 0), -ECONNREFUSED);
    assert_int_equal(s.id, 0);
    assert_int_equal(creation, 7);
}

HOSTILE(gs_epmd_names)
{
    (void)state;
    assert_code(gs_epmd_names(NOWHERE, NULL, NULL, 1, 0), GS_EBADARG);
    assert_code(gs_epmd_names(NOWHERE, NULL, &node, 1, GS_NOWAIT), GS_EBADARG);
    assert_code(gs_epmd_names("://", NULL, &node, 1, 0), GS_EFORMAT);
    assert_code(gs_epmd_names(NOWHERE, GS_OPTS(GS_INT(ACTIVE, false)), &node, 1, 0), -EINVAL);
    assert_code(gs_epmd_names(NOWHERE, NULL, NULL, 0, 0), -ECONNREFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {ROW(gs_epmd_lookup), ROW(gs_epmd_register), ROW(gs_epmd_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
