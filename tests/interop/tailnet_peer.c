/* tailnet_peer: gensock's side of the interoperability tests on tailnets. It reads commands from stdin, one JSON object a line,
 * runs each in a thread of its own, and answers each with a line: the protocol of tests/interop/tsnet/main.go, with the same
 * words. Public headers only. The end of stdin ends it. */
#include "tailnet_peer.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of nodes and of stdout */
static peer_node nodes[NODES_MAX];

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the node table ---- */

static peer_node *node_named(const char *name)
{
    for (size_t i = 0; name && i < NODES_MAX; i++)
        if (nodes[i].id.id && !strcmp(nodes[i].name, name))
            return &nodes[i];
    return NULL;
}

int find_node(const command *c, answer *a, peer_node *out)
{
    const char *name = command_text(c, "node");
    pthread_mutex_lock(&lock);
    peer_node *n = node_named(name);
    if (n)
        *out = *n;
    pthread_mutex_unlock(&lock);
    return n ? 0 : answer_fail(a, GS_EBADARG, "no node %s runs", name ? name : "(none named)");
}

int keep_door(const char *node, int port, bool udp, gs_stream stream, const gs_socket *sockets)
{
    int e = GS_EBADARG;
    pthread_mutex_lock(&lock);
    peer_node *n = node_named(node);
    for (size_t i = 0; n && e != 0 && i < DOORS_MAX; i++) {
        e = GS_ESYSLIMIT;
        if (!n->doors[i].used) {
            n->doors[i].port = port;
            n->doors[i].udp = udp;
            n->doors[i].used = true;
            n->doors[i].stream = stream;
            for (int k = 0; k < 2; k++)
                n->doors[i].socket[k] = sockets ? sockets[k] : GS_NO_SOCKET;
            e = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    return e;
}

int drop_door(const char *node, int port, bool udp)
{
    int e = GS_EBADARG;
    pthread_mutex_lock(&lock);
    peer_node *n = node_named(node);
    for (size_t i = 0; n && e != 0 && i < DOORS_MAX; i++)
        if (n->doors[i].used && n->doors[i].port == port && n->doors[i].udp == udp) {
            n->doors[i].used = false;
            e = 0;
            if (udp)
                for (int k = 0; k < 2; k++)
                    gs_socket_close(n->doors[i].socket[k]);
            else
                gs_stream_close(n->doors[i].stream);
        }
    pthread_mutex_unlock(&lock);
    return e;
}

/* ---- commands about nodes ---- */

static void put_addresses(answer *a, const gs_tailnet_member *m)
{
    for (size_t i = 0; i < m->n_addresses; i++) {
        char text[GS_ADDR_TEXT_MAX];
        gs_addr_text(&m->addresses[i], text, sizeof text);
        /* without the brackets and the port that an address of a transport has */
        char *begin = text[0] == '[' ? text + 1 : text, *end = text[0] == '[' ? strchr(text, ']') : strrchr(text, ':');
        if (end && (text[0] == '[' || strchr(text, ':') == end))
            *end = '\0';
        put_text(a, gs_addr_family(&m->addresses[i]) == AF_INET ? "ip4" : "ip6", begin);
    }
}

static void put_key_hex(answer *a, const uint8_t key[32])
{
    char hex[9 + 64] = "nodekey:";
    for (int i = 0; i < 32; i++)
        snprintf(hex + 8 + 2 * i, 3, "%02x", key[i]);
    put_text(a, "key", hex);
}

/* up {node}: until it runs and has a home relay: before that nobody could reach it. */
static int bring_up(const command *c, answer *a, gs_tailnet id)
{
    int64_t began = now_ms();
    int e = gs_tailnet_up(id, command_left_ms(c));
    if (e == GS_ELOGIN)
        put_text(a, "url", gs_error_detail(e));
    if (e < 0)
        return e;
    put_int(a, "ms", now_ms() - began);
    for (;;) {
        const gs_tailnet_status_t *s;
        if ((e = gs_tailnet_status(id, &s)) < 0)
            return e;
        bool home = s->self.relay && s->self.relay[0];
        if (home) {
            put_text(a, "fqdn", s->self.name);
            put_text(a, "home", s->self.relay);
            put_key_hex(a, s->self.node_key);
            put_addresses(a, &s->self);
        }
        gs_tailnet_status_free(s);
        if (home)
            return 0;
        if (!command_left_ms(c))
            return answer_fail(a, GS_ETIMEOUT, "it is up but has no home relay");
        usleep(5000);
    }
}

/* node {name, url, key, ca, dir, ephemeral, tags, relay_only, shields_up, nowait, timeout_ms} */
static int run_node(const command *c, answer *a)
{
    const char *name = command_text(c, "name"), *tags[WORDS_MAX];
    char *copy = NULL;
    if (!name || strlen(name) >= sizeof nodes[0].name)
        return answer_fail(a, GS_EBADARG, "a node needs a name");
    gs_tailnet_config config = {.hostname = name, .state_dir = command_text(c, "dir"), .control_url = command_text(c, "url"),
        .auth_key = command_text(c, "key"), .ca_file = command_text(c, "ca"),
        .ephemeral = command_flag(c, "ephemeral") || !command_text(c, "dir"),
        .relay_only = command_flag(c, "relay_only"), .shields_up = command_flag(c, "shields_up"), .tags = tags};
    config.n_tags = command_words(c, "tags", tags, WORDS_MAX, &copy);
    peer_node fresh = {0};
    snprintf(fresh.name, sizeof fresh.name, "%s", name);
    int64_t began = now_ms();
    int e = gs_tailnet_start(&fresh.id, &config);
    free(copy);
    if (e < 0)
        return e;
    if (!command_flag(c, "nowait") && (e = bring_up(c, a, fresh.id)) < 0) {
        snprintf(a->detail, sizeof a->detail, "%s", gs_error_detail(e));
        gs_tailnet_stop(fresh.id, 1000);
        return e;
    }
    put_int(a, "all_ms", now_ms() - began);
    pthread_mutex_lock(&lock);
    peer_node *free_one = NULL;
    for (size_t i = 0; i < NODES_MAX && !free_one; i++)
        if (!nodes[i].id.id)
            free_one = &nodes[i];
    if (free_one && !node_named(name))
        *free_one = fresh;
    else
        e = GS_EBADARG;
    pthread_mutex_unlock(&lock);
    if (e < 0)
        gs_tailnet_stop(fresh.id, 1000);
    return e;
}

static int run_up(const command *c, answer *a)
{
    peer_node n;
    int e = find_node(c, a, &n);
    return e < 0 ? e : bring_up(c, a, n.id);
}

/* stop {node} and logout {node} */
static int run_stop(const command *c, answer *a)
{
    peer_node n;
    int e = find_node(c, a, &n);
    if (e < 0)
        return e;
    e = gs_tailnet_stop(n.id, command_left_ms(c));
    for (size_t i = 0; i < DOORS_MAX; i++)
        if (n.doors[i].used)
            drop_door(n.name, n.doors[i].port, n.doors[i].udp);
    pthread_mutex_lock(&lock);
    peer_node *now = node_named(n.name);
    if (now)
        memset(now, 0, sizeof *now);
    pthread_mutex_unlock(&lock);
    return e;
}

static int run_logout(const command *c, answer *a)
{
    peer_node n;
    int e = find_node(c, a, &n);
    return e < 0 ? e : gs_tailnet_logout(n.id, command_left_ms(c));
}

/* status {node} */
static int run_status(const command *c, answer *a)
{
    static const char *const paths[] = {"none", "relay", "direct"};
    peer_node n;
    const gs_tailnet_status_t *s;
    int e = find_node(c, a, &n);
    if (e < 0 || (e = gs_tailnet_status(n.id, &s)) < 0)
        return e;
    put_text(a, "state", gs_tailnet_state_name(s->state));
    put_text(a, "now", gs_error_name(s->error));
    put_text(a, "why", s->detail);
    put_text(a, "url", s->login_url);
    put_text(a, "fqdn", s->self.name);
    put_text(a, "home", s->self.relay);
    put_addresses(a, &s->self);
    put_int(a, "endpoints", (int64_t)s->n_endpoints);
    put_key(a, "peers");
    for (size_t i = 0; i < s->n_peers; i++) {
        const gs_tailnet_member *p = &s->peers[i];
        fputs(i ? "," : "{", a->f);
        print_json_text(a->f, p->name);
        fprintf(a->f, ":{\"path\":\"%s\",\"online\":%s,\"expired\":%s,\"tx\":%llu,\"rx\":%llu,\"user\":", paths[p->path],
            p->online ? "true" : "false", p->expired ? "true" : "false", (unsigned long long)p->sent,
            (unsigned long long)p->received);
        print_json_text(a->f, p->user);
        fputs(",\"tags\":[", a->f);
        for (size_t k = 0; k < p->n_tags; k++) {
            fputs(k ? "," : "", a->f);
            print_json_text(a->f, p->tags[k]);
        }
        fputs("]}", a->f);
    }
    fputs(s->n_peers ? "}" : "{}", a->f);
    gs_tailnet_status_free(s);
    return 0;
}

void print_peer(FILE *f, const gs_peer *p)
{
    fputs("\"node\":", f);
    print_json_text(f, p->node);
    fputs(",\"user\":", f);
    print_json_text(f, p->user);
    fputs(",\"display\":", f);
    print_json_text(f, p->display_name);
    fputs(",\"key\":\"nodekey:", f);
    for (int i = 0; i < 32; i++)
        fprintf(f, "%02x", p->node_key[i]);
    fputs("\",\"tags\":[", f);
    for (size_t i = 0; i < p->n_tags; i++) {
        fputs(i ? "," : "", f);
        print_json_text(f, p->tags[i]);
    }
    fputs("],\"caps\":[", f);
    for (size_t i = 0; i < p->n_caps; i++) {
        fputs(i ? "," : "", f);
        print_json_text(f, p->caps[i]);
    }
    fprintf(f, "],\"kind\":%d", (int)p->kind);
}

/* whois {node, addr} */
static int run_whois(const command *c, answer *a)
{
    peer_node n;
    gs_addr addr;
    const gs_peer *p;
    const char *text = command_text(c, "addr");
    int e = find_node(c, a, &n);
    if (e < 0 || (e = gs_addr_ip(&addr, text ? text : "", 0)) < 0 || (e = gs_tailnet_whois(n.id, &addr, &p)) < 0)
        return e;
    fputs(",", a->f);
    print_peer(a->f, p);
    gs_peer_free(p);
    return 0;
}

/* ping {node, to, want}: with `want` until the path is that one. */
static int run_ping(const command *c, answer *a)
{
    peer_node n;
    const char *to = command_text(c, "to"), *want = command_text(c, "want"), *path = "";
    int e = find_node(c, a, &n), tries = 0;
    if (e < 0 || !to)
        return e < 0 ? e : GS_EBADARG;
    gs_tailnet_pong pong;
    do {
        int left = command_left_ms(c);
        e = gs_tailnet_ping(n.id, to, left < 3000 ? left : 3000, &pong);
        path = e < 0 ? "" : pong.path == GS_PATH_DIRECT ? "direct" : pong.path == GS_PATH_RELAY ? "relay" : "none";
        tries++;
        if (e == 0 && (!want || !strcmp(want, path)))
            break;
        usleep(50000);
    } while (want && command_left_ms(c) > 0 && (e == 0 || e == GS_ETIMEOUT || e == GS_ENXDOMAIN || e == -EHOSTUNREACH));
    if (e < 0)
        return e;
    if (want && strcmp(want, path))
        return answer_fail(a, GS_ETIMEOUT, "%s reaches %s by %s, never by %s", n.name, to, path, want);
    put_text(a, "path", path);
    put_text(a, "relay", pong.relay);
    put_real(a, "ms", (double)pong.rtt_ns / 1e6);
    put_int(a, "tries", tries);
    return 0;
}

/* usage {}: what this process has used. private_kb: written pages of its own; clean pages of programs and libraries are the page
 * cache, and whether they count as private depends on who else has the same library open. */
static int run_usage(const command *c, answer *a)
{
    (void)c;
    struct rusage u;
    char line[256];
    long kb, private_kb = 0, rss = 0;
    getrusage(RUSAGE_SELF, &u);
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "Private_Dirty: %ld", &kb) == 1)
            private_kb = kb;
        if (sscanf(line, "Rss: %ld", &kb) == 1)
            rss = kb;
    }
    if (f)
        fclose(f);
    int64_t seconds = u.ru_utime.tv_sec + u.ru_stime.tv_sec, micros = u.ru_utime.tv_usec + u.ru_stime.tv_usec;
    put_real(a, "cpu_s", (double)seconds + (double)micros / 1e6);
    put_int(a, "rss_kb", rss);
    put_int(a, "private_kb", private_kb);
    return 0;
}

/* ---- lines ---- */

static const struct {
    const char *name;
    command_fn *fn;
} table[] = {{"node", run_node}, {"up", run_up}, {"stop", run_stop}, {"logout", run_logout}, {"status", run_status},
    {"whois", run_whois}, {"ping", run_ping}, {"usage", run_usage}, {"listen", peer_listen}, {"unlisten", peer_unlisten},
    {"dial", peer_dial}, {"udp", peer_udp},
    {"lab", peer_lab}, {"lab_nodes", peer_lab_nodes}, {"lab_remove", peer_lab_remove}, {"lab_restart", peer_lab_restart}};

static const char *word_of(int e)
{
    switch (e) {
    case MISMATCH: return "mismatch";
    case OTHER: return "other";
    case -ECONNREFUSED: return "refused";
    case -ECONNRESET: return "reset";
    case GS_ETIMEOUT: return "timeout";
    case GS_EAUTHKEY: return "authkey";
    default: return gs_error_name(e);
    }
}

static void *run_command(void *arg)
{
    command *c = arg;
    answer a = {0};
    const char *name = command_text(c, "cmd");
    int e = GS_EBADARG;
    a.f = open_memstream(&a.text, &a.n);
    if (!a.f)
        abort();
    fprintf(a.f, "{\"id\":%lld", (long long)command_number(c, "id", 0));
    size_t i = 0;
    while (i < sizeof table / sizeof *table && (!name || strcmp(table[i].name, name)))
        i++;
    e = i < sizeof table / sizeof *table ? table[i].fn(c, &a) : answer_fail(&a, GS_EBADARG, "no command %s", name ? name : "");
    if (e < 0) {
        put_text(&a, "error", word_of(e));
        const char *why = a.detail[0] ? a.detail : gs_error_detail(e);
        put_text(&a, "detail", why[0] || e <= MISMATCH ? why : gs_error_text(e));
    }
    fprintf(a.f, ",\"ok\":%s}\n", e < 0 ? "false" : "true");
    fclose(a.f);
    pthread_mutex_lock(&lock);
    fwrite(a.text, 1, a.n, stdout);
    fflush(stdout);
    pthread_mutex_unlock(&lock);
    free(a.text);
    free(c->text);
    free(c);
    return NULL;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    puts("{\"ready\":true}");
    fflush(stdout);
    while (getline(&line, &cap, stdin) > 0) {
        command *c = calloc(1, sizeof *c);
        pthread_t thread;
        if (!c || command_parse(c, strdup(line)) < 0 || pthread_create(&thread, &detached, run_command, c) != 0) {
            fprintf(stderr, "tailnet_peer: not a command: %s", line);
            return 1;
        }
    }
    free(line);
    for (size_t i = 0; i < NODES_MAX; i++)
        if (nodes[i].id.id)
            gs_tailnet_stop(nodes[i].id, 1000);
    pthread_attr_destroy(&detached);
    return 0;
}
