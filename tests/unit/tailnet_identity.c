/* The table of identities by its own: whose an index is, and when another may have it. */
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"
#include "tailnet/node/parts.h"

#define LONG_AGO (200 * SECOND)

static struct node *node;

static int begin(void **state)
{
    (void)state;
    node = calloc(1, sizeof *node);
    pthread_mutex_init(&node->lock, NULL);
    node->diag = -1;
    return 0;
}

static int end(void **state)
{
    (void)state;
    gsi_identities_free(node);
    pthread_mutex_destroy(&node->lock);
    free(node);
    return 0;
}

/* Keys are numbers here. */
static uint32_t add(uint32_t number, uint64_t now)
{
    uint8_t key[KEY_LEN] = {0};
    memcpy(key, &number, sizeof number);
    memcpy(key + 8, &number, sizeof number);
    return gsi_identity_new(node, key, now);
}

static void fill(void)
{
    for (uint32_t i = 1; i < IDENTITIES_MAX; i++)
        assert_int_equal(add(i, 0), i);
}

static void an_index_is_used_again_in_the_order_of_deaths_and_only_after_a_rest(void **state)
{
    (void)state;
    fill();
    assert_int_equal(add(1000000, LONG_AGO), 0); /* all live */
    gsi_identity_end(node, 700, SECOND);
    gsi_identity_end(node, 3, 2 * SECOND);
    gsi_identity_end(node, 65000, 3 * SECOND);
    assert_int_equal(add(1000000, 4 * SECOND), 0);
    assert_int_equal(add(1000000, LONG_AGO), 700);
    assert_int_equal(add(1000001, LONG_AGO), 3);
    gsi_identity_end(node, 700, LONG_AGO);
    assert_int_equal(add(1000002, LONG_AGO), 65000);
    assert_int_equal(add(1000003, LONG_AGO), 0); /* 700 has died again */
    assert_int_equal(add(1000003, 2 * LONG_AGO), 700);
    assert_int_equal(add(1000004, 2 * LONG_AGO), 0);
}

static void no_index_is_used_again_while_a_connection_is_being_accepted(void **state)
{
    (void)state;
    fill();
    gsi_identity_end(node, 9, 0);
    gsi_accept_begin(node);
    assert_int_equal(add(1000000, LONG_AGO), 0);
    gsi_accept_begin(node);
    gsi_accept_end(node);
    assert_int_equal(add(1000000, LONG_AGO), 0);
    gsi_accept_end(node);
    assert_int_equal(add(1000000, LONG_AGO), 9);
}

/* As the transport does it: reset between gsi_conn_begin and connect(2), which would go on. */
static void a_connection_that_was_reset_before_it_began_stays_so(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0), copy;
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    struct conn c = {.node = node, .fd = fd, .connecting = true, .refused = GS_EFILTERED};
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    copy = dup(fd);
    gsi_conn_moved(&c, copy);
    assert_int_equal(getpeername(fd, (struct sockaddr *)&at, &len), -1);
    assert_code(gsi_conn_established(&c), GS_EFILTERED);
    c = (struct conn){.node = node, .fd = fd, .connecting = true};
    gsi_conn_moved(&c, copy);
    assert_code(gsi_conn_established(&c), 0);
    close(copy);
    close(fd);
    close(listener);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(an_index_is_used_again_in_the_order_of_deaths_and_only_after_a_rest, begin, end),
    cmocka_unit_test_setup_teardown(no_index_is_used_again_while_a_connection_is_being_accepted, begin, end),
    cmocka_unit_test_setup_teardown(a_connection_that_was_reset_before_it_began_stays_so, begin, end),
};

int main(void) { return cmocka_run_group_tests(tests, NULL, NULL); }
