/* Changes of this machine's network are heard of at once, by the watch and by a node. In a network of the test's own. */
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tailnet/link/watch.h"
#include "tailnet/stack/netlink.h"
#include "tailnet_world.h"

enum { LO = 1 };

static bool alone;
static int netlink;

static struct prefix prefix_of(const char *text)
{
    struct prefix p;
    assert_ok(gsi_prefix_parse(text, strlen(text), &p));
    return p;
}

static void set_address(const char *text, bool present)
{
    struct prefix p = prefix_of(text);
    assert_ok(gsi_netlink_address(netlink, LO, &p, present));
}

static void set_route(const char *text, bool present)
{
    struct prefix p = prefix_of(text);
    assert_ok(gsi_netlink_route(netlink, LO, &p, present));
}

static int begin(void **state)
{
    (void)state;
    netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    assert_true(netlink >= 0);
    return alone ? gsi_netlink_up(netlink, LO, 0, 0) : 0;
}

static int end(void **state)
{
    (void)state;
    return close(netlink);
}

static void be_alone(void)
{
    if (!alone)
        skip_because("no network namespace may be made here");
}

/* ---- the watch ---- */

static struct changes hear(int fd)
{
    struct changes c = {0};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, WAIT), 1);
    gsi_watch_read(fd, &c);
    return c;
}

static void addresses_and_default_routes_are_told_apart(void **state)
{
    (void)state;
    be_alone();
    int fd = gsi_watch_open();
    assert_true(fd >= 0);
    struct changes c = {0};
    gsi_watch_read(fd, &c);
    assert_false(c.addresses || c.ways); /* and it does not block */
    for (int present = 1; present >= 0; present--) {
        set_address("10.5.5.5", present);
        c = hear(fd);
        assert_true(c.addresses && !c.ways);
        set_route("10.6.0.0/16", present);
        c = hear(fd);
        assert_false(c.addresses || c.ways);
        set_route("0.0.0.0/0", present);
        c = hear(fd);
        assert_true(!c.addresses && c.ways);
    }
    close(fd);
}

static void more_than_the_kernel_keeps_is_a_change_of_everything(void **state)
{
    (void)state;
    be_alone();
    int fd = gsi_watch_open(), least = 1;
    struct changes c = {0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least), 0);
    for (int i = 0; i < 100; i++)
        set_address("10.5.5.5", i % 2 == 0);
    gsi_watch_read(fd, &c);
    assert_true(c.addresses && c.ways);
    close(fd);
}

static void what_is_cut_or_no_message_is_nothing(void **state)
{
    (void)state;
    struct {
        struct nlmsghdr h;
        struct rtmsg r;
    } m = {.h = {.nlmsg_len = sizeof m, .nlmsg_type = RTM_NEWROUTE}, .r = {.rtm_type = RTN_UNICAST}};
    uint8_t bytes[2 * sizeof m];
    struct changes c = {0};
    for (size_t n = 0; n < sizeof m; n++)
        gsi_watch_parse((const uint8_t *)&m, n, &c);
    assert_false(c.ways);
    gsi_watch_parse((const uint8_t *)&m, sizeof m, &c);
    assert_true(c.ways);
    const uint32_t lengths[] = {0, 1, sizeof m.h - 1, sizeof m + 1, UINT32_MAX, UINT32_MAX - 2};
    c = (struct changes){0};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        m.h.nlmsg_len = lengths[i];
        memcpy(bytes, &m, sizeof m);
        gsi_watch_parse(bytes, sizeof m, &c);
    }
    m.h.nlmsg_len = sizeof m.h; /* without its body */
    gsi_watch_parse((const uint8_t *)&m, sizeof m, &c);
    assert_false(c.addresses || c.ways);
    m.h = (struct nlmsghdr){.nlmsg_len = sizeof m, .nlmsg_type = NLMSG_NOOP};
    memcpy(bytes, &m, sizeof m);
    m.h.nlmsg_type = RTM_DELADDR;
    memcpy(bytes + sizeof m, &m, sizeof m);
    gsi_watch_parse(bytes, sizeof bytes, &c); /* the second one of a datagram */
    assert_true(c.addresses);
}

/* ---- a node ---- */

static bool tells(gs_tailnet n, const char *address)
{
    const gs_tailnet_status_t *s;
    bool found = false;
    assert_ok(gs_tailnet_status(n, &s));
    for (size_t i = 0; i < s->n_endpoints; i++) {
        char text[GS_ADDR_TEXT_MAX];
        gs_addr_text(&s->endpoints[i], text, sizeof text);
        found |= strncmp(text, address, strlen(address)) == 0;
    }
    gs_tailnet_status_free(s);
    return found;
}

/* It looks by itself as well, but not that often. */
static void a_node_tells_new_addresses_at_once(void **state)
{
    (void)state;
    be_alone();
    enum { SOON = 4000 };
    static const char *const addresses[] = {"10.7.7.1", "10.7.7.2", "10.7.7.3"};
    struct world world;
    world_begin(&world, (gs_lab_config){0});
    gs_tailnet n = world_join(&world, "mobile");
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        assert_false(tells(n, addresses[i]));
        set_address(addresses[i], true);
        assert_until(tells(n, addresses[i]), SOON);
    }
    set_address(addresses[0], false);
    assert_until(!tells(n, addresses[0]), SOON);
    gs_tailnet_stop(n, 1000);
    gs_lab_stop(world.lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_and_default_routes_are_told_apart),
        cmocka_unit_test(more_than_the_kernel_keeps_is_a_change_of_everything),
        cmocka_unit_test(what_is_cut_or_no_message_is_nothing),
        cmocka_unit_test(a_node_tells_new_addresses_at_once),
    };
    alone = unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) == 0;
    return cmocka_run_group_tests(tests, begin, end);
}
