/* How the rig's node and its connections come to be: with stock ei, or with gensock's callbacks. */
#include "cnode.h"
#include "base/seam.h"
#include "ei/seam.h"
#include "flusher.h"
#include <arpa/inet.h>
#include <errno.h>
#include <gensock/ei.h>
#include <gensock/stream.h>
#include <gensock/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef CNODE_TAILNET
#include <gensock/tailnet.h>
#endif

enum { OPTS_MAX = 16, ALIVES_MAX = 8 };

ei_cnode node;
static bool stock;
static gs_opt connect_opts[OPTS_MAX], listen_opts[OPTS_MAX];
static const char *map_prefix;

static int map(const struct sockaddr_in *in, bool listens, char *address, size_t cap, void *arg)
{
    (void)listens;
    int n = snprintf(address, cap, "%s:%u", (const char *)arg, ntohs(in->sin_port));
    return n > 0 && (size_t)n < cap ? 0 : -ENAMETOOLONG;
}

static gs_ei_setup setup = {.connect_opts = connect_opts, .listen_opts = listen_opts};

void fail_with(struct command *c, const char *what, int result)
{
    int ours = stock ? 0 : gs_ei_error();
    const char *name = strerrorname_np(erl_errno);
    c->failed = true;
    const char *code = ours ? gs_error_name(ours) : "-", *detail = ours ? gs_error_detail(ours) : "";
    answer(c, "%s %d %s %s %s", what, result, name ? name : "0", code, detail);
}

/* What the bridge asks of the kernel and of malloc by itself goes through the core's seam: faults of GS_FAULT reach it, and the census
 * counts its blocks. */
static ssize_t seam_recv(int fd, void *p, size_t n, int flags) { return gsi_sys.recv(fd, p, n, flags); }
static ssize_t seam_sendmsg(int fd, const struct msghdr *m, int flags) { return gsi_sys.sendmsg(fd, m, flags); }
static void *seam_malloc(size_t n) { return gsi_alloc(n); }
static void seam_free(void *p) { gsi_free(p); }

static void join_seams(void)
{
    gsi_ei_sys.malloc = seam_malloc;
    gsi_ei_sys.free = seam_free;
    gsi_ei_sys.recv = seam_recv;
    gsi_ei_sys.sendmsg = seam_sendmsg;
}

/* ---- the node ---- */

static bool option_parse(const char *name, const char *value, gs_opt *out)
{
    static const struct {
        const char *name;
        int option;
    } files[] = {{"cert", GS_OPT_TLS_CERT_FILE}, {"key", GS_OPT_TLS_KEY_FILE}, {"ca", GS_OPT_TLS_CA_FILE},
                 {"name", GS_OPT_TLS_SERVER_NAME}},
      numbers[] = {{"verify", GS_OPT_TLS_VERIFY}, {"min", GS_OPT_TLS_MIN_VERSION}, {"max", GS_OPT_TLS_MAX_VERSION},
                   {"resume", GS_OPT_TLS_RESUME}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (!strcmp(files[i].name, name)) {
            *out = (gs_opt){.name = files[i].option, .v.s = value};
            return true;
        }
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (!strcmp(numbers[i].name, name)) {
            *out = (gs_opt){.name = numbers[i].option, .v.i = strtol(value, NULL, 0)};
            return true;
        }
    }
    return gs_opt_parse(name, value, out) == 0;
}

static bool options_add(gs_opt *list, const char *name, const char *value)
{
    int n = 0;
    while (list[n].name != GS_OPT_END)
        n++;
    return n < OPTS_MAX - 1 && option_parse(name, value, &list[n]);
}

#ifdef CNODE_TAILNET
static gs_tailnet_config tailnet = {.ephemeral = true};
static gs_tailnet member;

static bool tailnet_set(const char *name, const char *value)
{
    const char **to = !strcmp(name, "url")    ? &tailnet.control_url
                      : !strcmp(name, "key")  ? &tailnet.auth_key
                      : !strcmp(name, "ca")   ? &tailnet.ca_file
                      : !strcmp(name, "host") ? &tailnet.hostname
                                              : NULL;
    if (to)
        *to = value;
    return to;
}

static int tailnet_open(void)
{
    if (!tailnet.hostname)
        return 0;
    int e = gs_tailnet_start(&member, &tailnet);
    return e ? e : gs_tailnet_up(member, PATIENCE_MS);
}

void node_close(void)
{
    if (tailnet.hostname)
        gs_tailnet_stop(member, PATIENCE_MS);
}
#else
static bool tailnet_set(const char *name, const char *value) { return (void)name, (void)value, false; }
static int tailnet_open(void) { return 0; }
void node_close(void) {}
#endif

static bool argument(char *arg)
{
    char *value = strchr(arg, '=');
    if (!value)
        return false;
    *value++ = 0;
    if (!strcmp(arg, "map")) {
        map_prefix = value;
        return true;
    }
    if (!strncmp(arg, "tailnet.", 8))
        return tailnet_set(arg + 8, value);
    if (!strncmp(arg, "listen.", 7))
        return options_add(listen_opts, arg + 7, value);
    if (!strncmp(arg, "connect.", 8))
        return options_add(connect_opts, arg + 8, value);
    return options_add(connect_opts, arg, value) && options_add(listen_opts, arg, value);
}

bool node_open(int argc, char **argv)
{
    char alive[256];
    int size, e = 0;
    if (argc < 3 || sscanf(argv[1], "%255[^@]", alive) != 1 || !strchr(argv[1], '@')) {
        fprintf(stderr, "cnode TRANSPORT ALIVE@HOST COOKIE [NAME=VALUE…]\n");
        return false;
    }
    const char *host = strchr(argv[1], '@') + 1;
    struct in_addr none = {0};
    stock = !strcmp(argv[0], "stock");
    for (int i = 3; i < argc; i++) {
        if (!argument(argv[i])) {
            fprintf(stderr, "cnode: %s is no option\n", argv[i]);
            return false;
        }
    }
    if (stock)
        return ei_connect_xinit(&node, host, alive, argv[1], &none, argv[2], 0) == 0;
    setup.transport = argv[0];
    if (map_prefix) {
        setup.map = map;
        setup.map_arg = (void *)(uintptr_t)map_prefix;
    }
    if ((e = gs_tls_register()) < 0 || (e = tailnet_open()) < 0) {
        fprintf(stderr, "cnode: %s: %s\n", gs_error_name(e), gs_error_detail(e));
        return false;
    }
    join_seams();
    flusher_is_there();
    ei_socket_callbacks *table = gs_ei_callbacks(&size);
    return ei_connect_xinit_ussi(&node, host, alive, argv[1], &none, argv[2], 0, table, size, &setup) == 0;
}

/* ---- its sockets ---- */

static void opened(struct command *c, const char *what, int fd)
{
    if (fd < 0)
        fail_with(c, what, fd);
    else
        answer(c, "%d", fd);
}

/* tcp://A.B.C.D:PORT, all that stock ei can say. */
static bool plain_address(const char *address, struct in_addr *ip, int *port)
{
    char host[64];
    return sscanf(address, "tcp://%63[^:]:%d", host, port) == 2 && inet_pton(AF_INET, host, ip) == 1;
}

void open_listen(struct command *c)
{
    struct in_addr ip = {.s_addr = htonl(INADDR_LOOPBACK)};
    int port = (int)number(c, 1), fd;
    if (!strcmp(text(c, 0), "ei")) { /* ei's own function, by the map of the setup */
        fd = ei_xlisten(&node, &ip, &port, 8);
    } else if (stock) {
        fd = plain_address(text(c, 0), &ip, &port) ? ei_xlisten(&node, &ip, &port, 8) : -1;
    } else if ((fd = gs_ei_listen(&node, text(c, 0), 8)) >= 0) {
        gs_stream s = GS_NO_STREAM;
        if (gs_ei_stream(fd, &s) == 0)
            port = gs_stream_port(s);
    }
    opened(c, "listen", fd);
    if (fd >= 0)
        answer(c, "%d %d", fd, port > 0 ? port : 0);
}

void open_publish(struct command *c)
{
    if (stock) {
        opened(c, "publish", ei_publish(&node, (int)number(c, 0)));
        return;
    }
    gs_epmd_node me = {.port = (uint16_t)number(c, 0), .type = 72, .highest = 6, .lowest = 6};
    (void)snprintf(me.name, sizeof me.name, "%s", ei_thisalivename(&node));
    static gs_stream kept[ALIVES_MAX];
    static int n;
    const char *epmd = *text(c, 1) ? text(c, 1) : NULL;
    uint32_t creation = 0;
    int e = n < ALIVES_MAX ? gs_epmd_register(epmd, NULL, &me, &kept[n], &creation, PATIENCE_MS) : -ENOBUFS;
    if (e < 0) {
        fail_with(c, gs_error_detail(e), e);
        return;
    }
    n++;
    node.creation = node.self.creation = creation;
    answer(c, "%lu", (unsigned long)creation);
}

void open_lookup(struct command *c)
{
    gs_epmd_node found;
    int e = gs_epmd_lookup(strcmp(text(c, 0), "-") ? text(c, 0) : NULL, NULL, text(c, 1), &found, (int)number(c, 2));
    if (e < 0)
        fail_with(c, gs_error_detail(e), e);
    else
        answer(c, "%u %u", found.port, found.type);
}

void open_accept(struct command *c)
{
    ErlConnect con = {0};
    char ip[INET_ADDRSTRLEN];
    int fd = ei_accept_tmo(&node, (int)number(c, 0), &con, (unsigned)number(c, 1));
    if (fd < 0)
        fail_with(c, "accept", fd);
    else
        answer(c, "%d %s %s", fd, con.nodename, inet_ntop(AF_INET, con.ipadr, ip, sizeof ip));
}

void open_connect(struct command *c)
{
    struct in_addr ip;
    int port, fd = -1;
    if (!stock)
        fd = gs_ei_connect(&node, text(c, 0), (int)number(c, 1));
    else if (plain_address(text(c, 0), &ip, &port))
        fd = ei_xconnect_host_port_tmo(&node, &ip, port, (unsigned)number(c, 1));
    opened(c, "connect", fd);
}

void open_named(struct command *c)
{
    const char *how = text(c, 0);
    char *to = c->n > 1 ? c->word[1] : c->word[0];
    unsigned ms = (unsigned)number(c, 2);
    int port = (int)number(c, 3), fd = -1;
    struct in_addr ip = {.s_addr = htonl(INADDR_LOOPBACK)};
    if (!strcmp(how, "connect"))
        fd = ei_connect_tmo(&node, to, ms);
    else if (!strcmp(how, "xconnect"))
        fd = ei_xconnect_tmo(&node, &ip, to, ms);
    else if (!strcmp(how, "host_port"))
        fd = ei_connect_host_port_tmo(&node, to, port, ms);
    else if (!strcmp(how, "xhost_port"))
        fd = ei_xconnect_host_port_tmo(&node, &ip, port, ms);
    opened(c, how, fd);
}

void open_stream(struct command *c)
{
    gs_stream s;
    gs_addr peer;
    gs_stream_info_t info;
    char at[128] = "-";
    int e = gs_ei_stream((int)number(c, 0), &s);
    if (e == 0)
        e = gs_stream_info(s, &info);
    if (e < 0) {
        fail_with(c, "stream", e);
        return;
    }
    if (gs_stream_peername(s, &peer) == 0)
        (void)gs_addr_text(&peer, at, sizeof at);
    answer(c, "%s %s %s", info.transport, at, gs_stream_secure(s) ? "secure" : "plain");
}

void open_close(struct command *c)
{
    int result = ei_close_connection((int)number(c, 0));
    if (result < 0)
        fail_with(c, "close", result);
}
