/* One question to a real epmd, for tests/interop/epmd_erlang; ADDRESS "-" is the standard one.
 *
 *   lookup ADDRESS NAME                        prints NAME PORT TYPE PROTOCOL HIGHEST LOWEST EXTRA
 *   names ADDRESS                              prints NAME PORT for each, and last their number
 *   register ADDRESS NAME PORT TYPE EXTRA      prints "creation N"; stays until its input ends, or "gone" when epmd goes
 *   publish NAME PORT                          the same by ei's own ei_publish, for comparison
 * An error is one line: error, its name and detail; exit code 1.
 */
#include <arpa/inet.h>
#include <gensock/ei.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_MS = 20000, NAMES = 200 };

static int failed(int e)
{
    printf("error %s %s\n", gs_error_name(e), gs_error_detail(e));
    return 1;
}

static int lookup(const char *epmd, const char *alive)
{
    static gs_epmd_node n;
    int e = gs_epmd_lookup(epmd, NULL, alive, &n, TIMEOUT_MS);
    if (e < 0)
        return failed(e);
    printf("%s %d %d %d %d %d %.*s\n", n.name, n.port, n.type, n.protocol, n.highest, n.lowest, n.extra_len,
           (const char *)n.extra);
    return 0;
}

static int names(const char *epmd)
{
    static gs_epmd_node n[NAMES];
    ssize_t all = gs_epmd_names(epmd, NULL, n, NAMES, TIMEOUT_MS);
    if (all < 0)
        return failed((int)all);
    for (ssize_t i = 0; i < all && i < NAMES; i++)
        printf("%s %d\n", n[i].name, n[i].port);
    printf("%zd\n", all);
    return 0;
}

/* Until the input ends, which is looked at each 20 ms. */
static void stay(gs_stream s)
{
    struct timeval at_once = {0};
    fd_set in;
    char c;
    int e = GS_ETIMEOUT;
    do {
        e = (int)gs_stream_recv(s, &c, 1, 0, 20);
        FD_ZERO(&in);
        FD_SET(0, &in);
    } while (e == GS_ETIMEOUT && select(1, &in, NULL, NULL, &at_once) == 0);
    if (e != GS_ETIMEOUT)
        printf("gone %s\n", gs_error_name(e));
}

static int register_node(const char *epmd, char **v)
{
    static gs_epmd_node n;
    gs_stream s;
    uint32_t creation;
    snprintf(n.name, sizeof n.name, "%s", v[0]);
    n.port = (uint16_t)atoi(v[1]);
    n.type = (uint8_t)atoi(v[2]);
    n.extra_len = (uint16_t)strlen(v[3]);
    memcpy(n.extra, v[3], n.extra_len);
    int e = gs_epmd_register(epmd, NULL, &n, &s, &creation, TIMEOUT_MS);
    if (e < 0)
        return failed(e);
    printf("creation %u\n", creation);
    stay(s);
    gs_stream_close(s);
    return 0;
}

static int publish(const char *alive, int port)
{
    ei_cnode ec;
    struct in_addr at = {htonl(INADDR_LOOPBACK)};
    char name[300], c;
    snprintf(name, sizeof name, "%s@host", alive);
    if (ei_init() < 0 || ei_connect_xinit(&ec, "host", alive, name, &at, "cookie", 1) < 0 || ei_publish(&ec, port) < 0) {
        printf("error ei %d\n", erl_errno);
        return 1;
    }
    printf("published\n");
    return read(0, &c, 1) > 0;
}

int main(int n, char **v)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *epmd = n > 2 && strcmp(v[2], "-") != 0 ? v[2] : NULL;
    if (n == 4 && !strcmp(v[1], "lookup"))
        return lookup(epmd, v[3]);
    if (n == 3 && !strcmp(v[1], "names"))
        return names(epmd);
    if (n == 7 && !strcmp(v[1], "register"))
        return register_node(epmd, v + 3);
    if (n == 4 && !strcmp(v[1], "publish"))
        return publish(v[2], atoi(v[3]));
    fprintf(stderr, "see the top of tests/interop/ei_epmd.c\n");
    return 2;
}
