/* What gensock address an address of ei's stands for. */
#include <arpa/inet.h>
#include <gensock/ei.h>
#include <string.h>

#include "ei/bridge.h"
#include "support.h"

static struct sockaddr_in at(const char *ip, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    assert_int_equal(inet_pton(AF_INET, ip, &in.sin_addr), 1);
    return in;
}

static void without_a_map_it_is_the_transport_with_ip_and_port(void **state)
{
    (void)state;
    const struct sockaddr_in peer = at("127.0.0.1", 4370), any = at("0.0.0.0", 0);
    const gs_ei_setup tcp = {0}, tls = {.transport = "tls"}, mem = {.transport = "mem"};
    char out[GS_EI_ADDRESS_MAX];
    assert_ok(gsi_ei_address(NULL, &peer, false, out));
    assert_string_equal(out, "tcp://127.0.0.1:4370");
    assert_ok(gsi_ei_address(&tcp, &peer, true, out));
    assert_string_equal(out, "tcp://127.0.0.1:4370");
    assert_ok(gsi_ei_address(&tls, &any, true, out));
    assert_string_equal(out, "tls://:0");
    assert_ok(gsi_ei_address(&mem, &any, false, out));
    assert_string_equal(out, "mem://0.0.0.0:0");
}

static void unix_takes_a_map(void **state)
{
    (void)state;
    const struct sockaddr_in peer = at("127.0.0.1", 4370);
    const gs_ei_setup plain = {.transport = "unix"}, secure = {.transport = "tls+unix"};
    char out[GS_EI_ADDRESS_MAX];
    assert_code(gsi_ei_address(&plain, &peer, false, out), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), "map"));
    assert_code(gsi_ei_address(&secure, &peer, true, out), -EINVAL);
}

static void a_transport_with_an_endless_name_is_refused(void **state)
{
    (void)state;
    char name[GS_EI_ADDRESS_MAX + 1], out[GS_EI_ADDRESS_MAX];
    const struct sockaddr_in peer = at("1.2.3.4", 1);
    memset(name, 'x', sizeof name);
    name[GS_EI_ADDRESS_MAX] = '\0';
    assert_code(gsi_ei_address(&(gs_ei_setup){.transport = name}, &peer, false, out), GS_EFORMAT);
}

struct map {
    const char *answer;
    int result;
    uint16_t port;
    bool listens, endless;
};

static int map(const struct sockaddr_in *in, bool listens, char *address, size_t cap, void *arg)
{
    struct map *m = arg;
    m->port = ntohs(in->sin_port);
    m->listens = listens;
    if (m->endless)
        memset(address, 'x', cap);
    else if (m->answer)
        snprintf(address, cap, "%s", m->answer);
    return m->result;
}

static void a_map_says_the_whole_address(void **state)
{
    (void)state;
    const struct sockaddr_in peer = at("127.0.0.1", 4370);
    struct map m = {.answer = "tls+tcp://[::1]:9"};
    char out[GS_EI_ADDRESS_MAX];
    assert_ok(gsi_ei_address(&(gs_ei_setup){.transport = "unix", .map = map, .map_arg = &m}, &peer, true, out));
    assert_string_equal(out, "tls+tcp://[::1]:9");
    assert_int_equal(m.port, 4370);
    assert_true(m.listens);
}

static void a_map_that_fails_or_writes_nonsense_is_an_error(void **state)
{
    (void)state;
    const struct sockaddr_in peer = at("127.0.0.1", 4370);
    struct map wrong[] = {{.result = -ENOENT}, {.result = 1}, {.result = 0}, {.endless = true}};
    const int codes[] = {-ENOENT, -EINVAL, GS_EFORMAT, GS_EFORMAT};
    char out[GS_EI_ADDRESS_MAX];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_code(gsi_ei_address(&(gs_ei_setup){.map = map, .map_arg = &wrong[i]}, &peer, false, out), codes[i]);
        assert_true(*gs_error_detail(codes[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_map_it_is_the_transport_with_ip_and_port),
        cmocka_unit_test(unix_takes_a_map),
        cmocka_unit_test(a_transport_with_an_endless_name_is_refused),
        cmocka_unit_test(a_map_says_the_whole_address),
        cmocka_unit_test(a_map_that_fails_or_writes_nonsense_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
