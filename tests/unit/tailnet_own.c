/* disco/own.h: which of this node's endpoints are told to others, and in which order. */
#include <stdio.h>

#include "support.h"
#include "tailnet/disco/own.h"

#define SEC UINT64_C(1000000000)

static struct endpoint endpoint_of(const char *text)
{
    struct endpoint e;
    assert_ok(gsi_endpoint_parse(text, strlen(text), &e));
    return e;
}

static void assert_own(const struct own_endpoint *list, size_t n, const char *wanted)
{
    char text[1024] = "", one[ENDPOINT_TEXT];
    for (size_t i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s/%d", i ? " " : "", gsi_endpoint_text(&list[i].at, one),
                 list[i].type);
    assert_string_equal(text, wanted);
}

static void own_endpoints_come_best_first(void **state)
{
    (void)state;
    static const char *const texts[] = {"127.0.0.1", "::1", "192.168.1.2", "fe80::1", "100.64.1.1", "100.115.92.3",
                                        "fd7a:115c:a1e0::1", "2001:db8::2", "169.254.7.7", "192.168.1.2", "0.0.0.0"};
    struct ip ips[sizeof texts / sizeof texts[0]];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_ok(gsi_ip_parse(texts[i], strlen(texts[i]), &ips[i]));
    struct own_seen seen = {0};
    struct own_endpoint list[OWN_MAX];
    struct own_source from = {.stun_v4 = endpoint_of("198.51.100.1:5000"), .hard_nat = true, .fixed_port = true, .port_v4 = 41641,
                              .port_v6 = 41642, .interfaces = ips, .n = sizeof ips / sizeof ips[0]};
    assert_own(list, gsi_own_list(&seen, &from, SEC, list), 
               "198.51.100.1:5000/2 198.51.100.1:41641/4 192.168.1.2:41641/1 100.115.92.3:41641/1 [2001:db8::2]:41642/1");
    from.port_mapped = endpoint_of("198.51.100.1:7");
    from.stun_v4 = endpoint_of("198.51.100.1:5001");
    from.hard_nat = false;
    from.n = 0;
    assert_own(list, gsi_own_list(&seen, &from, 2 * SEC, list),
               "198.51.100.1:7/3 198.51.100.1:5001/2 198.51.100.1:5000/2 198.51.100.1:41641/4");
    assert_own(list, gsi_own_list(&seen, &from, 311 * SEC, list), "198.51.100.1:7/3 198.51.100.1:5001/2"); /* 5 min 10 s later */
    from = (struct own_source){.port_v4 = 41641, .port_v6 = 41642, .interfaces = ips, .n = 2};
    seen.n = 0;
    assert_own(list, gsi_own_list(&seen, &from, SEC, list), "127.0.0.1:41641/1 [::1]:41642/1"); /* nothing else */
    from.n = sizeof ips / sizeof ips[0];
    from.interfaces += 3; /* fe80, tailnet's, … */
    from.n = 1;
    assert_own(list, gsi_own_list(&seen, &from, SEC, list), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_endpoints_come_best_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
