/* lab.c: the handles of labs, their start and end, and what may be asked of them (gensock/lab.h). */
#include "gensock/lab.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "gensock/tls.h"
#include "tailnet/json/json.h"
#include "tailnet/keys/key.h"
#include "tailnet/lab/certificate.h"
#include "tailnet/lab/serve.h"

/* ---- handles: a slot and how often it was used; the table's mutex guards the slots, a lab that is in use cannot end ---- */

enum { LABS_MAX = 16, STATE_MAX = 4096 };
#define LAB_KIND UINT64_C(0x1ab0000000000000) /* no handle of gensock's looks like it */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t unused;
    struct {
        uint32_t times;
        int users;
        struct lab *lab; /* NULL: free, or ending */
        pid_t pid;       /* whose it is: a child of fork has no lab */
        bool taken;
    } slots[LABS_MAX];
} table = {.mutex = PTHREAD_MUTEX_INITIALIZER, .unused = PTHREAD_COND_INITIALIZER};

static int slot_of(gs_lab lab, uint32_t *times)
{
    *times = (uint32_t)(lab.id >> 8);
    int slot = (int)(lab.id & 0xff);
    return (lab.id & ~UINT64_C(0xffffffffff)) == LAB_KIND && slot < LABS_MAX && *times ? slot : -1;
}

/* Under the table's mutex. */
static int find(gs_lab lab, int *slot)
{
    uint32_t times;
    *slot = slot_of(lab, &times);
    if (*slot < 0 || times > table.slots[*slot].times)
        return GS_EBADARG;
    return times == table.slots[*slot].times && table.slots[*slot].lab ? 0 : GS_ECLOSED;
}

/* The lab, locked; NULL with *e. */
static struct lab *enter(gs_lab lab, int *slot, int *e)
{
    struct lab *l = NULL;
    pthread_mutex_lock(&table.mutex);
    *e = find(lab, slot);
    if (*e == 0) {
        table.slots[*slot].users++;
        l = table.slots[*slot].lab;
    }
    pthread_mutex_unlock(&table.mutex);
    if (l)
        pthread_mutex_lock(&l->mutex);
    return l;
}

static void leave(struct lab *l, int slot)
{
    pthread_mutex_unlock(&l->mutex);
    pthread_mutex_lock(&table.mutex);
    if (--table.slots[slot].users == 0)
        pthread_cond_broadcast(&table.unused);
    pthread_mutex_unlock(&table.mutex);
}

/* Something may be to be sent. A mailbox that is full of posts wakes anyway. */
static void leave_changed(struct lab *l, int slot)
{
    (void)!gs_post(l->mailbox, 0, NULL, 0);
    leave(l, slot);
}

static int reserve(void)
{
    int slot = GS_ESYSLIMIT;
    pthread_mutex_lock(&table.mutex);
    for (int i = LABS_MAX - 1; i >= 0; i--)
        if (!table.slots[i].taken)
            slot = i;
    if (slot >= 0)
        table.slots[slot].taken = true;
    pthread_mutex_unlock(&table.mutex);
    return slot >= 0 ? slot : gs_fail(GS_ESYSLIMIT, "a process has up to %d labs at once", LABS_MAX);
}

static void release(int slot)
{
    pthread_mutex_lock(&table.mutex);
    table.slots[slot].taken = false;
    pthread_mutex_unlock(&table.mutex);
}

/* ---- the state: the keys of control and relay ---- */

struct keys {
    uint8_t control[KEY_LEN], relay[KEY_LEN];
};

static void read_key(struct json *j, uint8_t key[KEY_LEN])
{
    char text[KEY_TEXT_MAX];
    size_t n = gsi_json_string(j, text, sizeof text);
    if (gsi_key_parse(KEY_PRIVATE, text, n, key) != 0 || gsi_is_zero(key, KEY_LEN))
        gsi_json_fail(j, "no private key");
    gsi_wipe(text, sizeof text);
}

static int read_keys(const char *text, size_t n, struct keys *out)
{
    static const char *const names[] = {"control", "relay", NULL};
    struct json j = gsi_json_of(text, n);
    uint64_t seen = 0;
    if (gsi_json_object(&j))
        for (int m; (m = gsi_json_member(&j, names, &seen)) >= 0;)
            read_key(&j, m == 0 ? out->control : out->relay);
    if (seen != 3)
        gsi_json_fail(&j, "a key is missing");
    if (gsi_json_end(&j) == 0)
        return 0;
    return gs_fail(GS_EFORMAT, "the lab's state file is damaged (%s): remove its directory to begin anew", j.error);
}

static int write_keys(struct store *store, const struct keys *keys)
{
    char out[STATE_MAX], text[KEY_TEXT_MAX];
    struct json_out o = gsi_json_out_of(out, sizeof out);
    gsi_json_put_object(&o, NULL);
    gsi_json_put_string(&o, "control", gsi_key_text(KEY_PRIVATE, keys->control, text));
    gsi_json_put_string(&o, "relay", gsi_key_text(KEY_PRIVATE, keys->relay, text));
    gsi_json_put_close(&o);
    ssize_t n = gsi_json_out_end(&o);
    int e = n < 0 ? (int)n : gsi_store_write(store, out, (size_t)n);
    gsi_wipe(out, sizeof out);
    gsi_wipe(text, sizeof text);
    return e;
}

static int load_keys(struct store *store, struct keys *keys)
{
    char text[STATE_MAX];
    int n = gsi_store_read(store, text, sizeof text);
    int e = n < 0 ? n : n > 0 ? read_keys(text, (size_t)n, keys) : 0;
    gsi_wipe(text, sizeof text);
    if (n != 0 || e)
        return e;
    gsi_x25519_private(keys->control);
    gsi_x25519_private(keys->relay);
    return write_keys(store, keys);
}

/* ---- starting ---- */

static int check(struct lab *l, const gs_lab_config *c)
{
    gs_addr at;
    const char *address = c->address ? c->address : "127.0.0.1";
    if (!c->directory || !*c->directory || strlen(c->directory) >= sizeof l->directory - 16)
        return gs_fail(GS_EINVALID, "a lab needs a directory");
    if (strlen(address) >= sizeof l->address || strchr(address, '%') || gs_addr_ip(&at, address, 0) != 0
        || strspn(address, "0.:") == strlen(address))
        return gs_fail(GS_EINVALID, "a lab listens at one IP address of this machine, without a scope; \"%.60s\" is none",
                       address);
    if (c->key_life_s < 0 || c->ephemeral_s < 0 || c->nodes_max < 0)
        return gs_fail(GS_EINVALID, "a lab's times and number of nodes are 0 or more");
    snprintf(l->address, sizeof l->address, "%s", address);
    snprintf(l->host, sizeof l->host, at.sa.ss_family == AF_INET6 ? "[%s]" : "%s", address);
    snprintf(l->directory, sizeof l->directory, "%s", c->directory);
    l->control_port = c->control_port;
    l->relay_port = c->relay_port;
    l->stun_port = c->stun_port;
    return 0;
}

static int make_directory(struct lab *l)
{
    char state[PATH_MAX + 8], real[PATH_MAX];
    if (mkdir(l->directory, 0700) != 0 && errno != EEXIST)
        return gs_fail(-errno, "the lab cannot make its directory %s", l->directory);
    if (!realpath(l->directory, real) || strlen(real) >= sizeof l->directory - 16)
        return gs_fail(errno ? -errno : -ENAMETOOLONG, "the lab cannot use its directory %s", l->directory);
    memcpy(l->directory, real, strlen(real) + 1);
    snprintf(state, sizeof state, "%s/state", l->directory);
    return gsi_store_open(&l->store, state);
}

static uint64_t wall_offset(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec - gsi_lab_now();
}

static int make_servers(struct lab *l, const gs_lab_config *c, const struct keys *keys)
{
    struct coordination_config config = {
        .control_private = keys->control, .url = "http://lab" /* until its port is known */, .domain = c->domain,
        .login = c->login, .display = c->display, .auth_key = c->auth_key, .filter = c->filter, .approval = c->approve_nodes,
        .key_life_ns = (uint64_t)c->key_life_s * 1000000000u, .ephemeral_ns = (uint64_t)c->ephemeral_s * 1000000000u,
        .wall_ns = wall_offset(), .nodes_max = c->nodes_max, .connections_max = LAB_LINKS_MAX - LAB_RELAY_MAX,
    };
    int e = gsi_coordination_new(&l->control, &config);
    if (e == 0 && !(l->relay = gsi_relay_new(keys->relay, LAB_RELAY_MAX)))
        e = -ENOMEM;
    return e;
}

static int listen_all(struct lab *l)
{
    bool v6 = *l->host == '[';
    int e = gsi_lab_certificates(l->directory, l->address);
    if (e == 1) { /* who used others of this name; a file of somebody else's that is bad is not our business */
        (void)!gs_tls_reload();
        e = 0;
    }
    for (gs_lab_part part = GS_LAB_CONTROL; e == 0 && part <= GS_LAB_STUN; part++)
        e = gsi_lab_listen(l, part);
    if (e)
        return e;
    struct coordination_region region = {
        .id = LAB_REGION, .code = "lab", .name = "Lab", .host = l->address, .ipv4 = v6 ? "none" : l->address,
        .ipv6 = v6 ? l->address : "none", .derp_port = l->relay_port, .stun_port = l->stun_port,
    };
    snprintf(l->url, sizeof l->url, "http://%s:%u", l->host, l->control_port);
    e = gsi_coordination_set_url(l->control, l->url);
    return e ? e : gsi_coordination_set_regions(l->control, &region, 1);
}

/* No signal of the program's is handled in the thread. */
static int start_thread(struct lab *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&l->thread, NULL, gsi_lab_thread, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (e)
        return gs_fail(GS_ESYSLIMIT, "no thread for the lab");
    pthread_setname_np(l->thread, "gs-lab");
    return 0;
}

static void end(struct lab *l)
{
    if (l->control && l->relay) {
        gsi_lab_hang_up(l, GS_LAB_CONTROL);
        gsi_lab_hang_up(l, GS_LAB_RELAY);
    }
    gs_socket_close(l->stun);
    gs_mailbox_free(l->mailbox);
    gsi_coordination_free(l->control);
    gsi_relay_free(l->relay);
    gsi_store_close(l->store);
    pthread_mutex_destroy(&l->mutex);
    OPENSSL_clear_free(l, sizeof *l);
}

static int begin(struct lab *l, const gs_lab_config *config)
{
    struct keys keys;
    int e = check(l, config);
    if (e == 0)
        e = gsi_crypto_init();
    if (e == 0)
        e = gs_tls_register();
    if (e == 0)
        e = make_directory(l);
    if (e == 0)
        e = load_keys(l->store, &keys);
    if (e == 0)
        e = make_servers(l, config, &keys);
    gsi_wipe(&keys, sizeof keys);
    if (e == 0)
        e = gs_mailbox_new(&l->mailbox);
    if (e == 0)
        e = listen_all(l);
    return e ? e : start_thread(l);
}

static void stop_all(void);

int gs_lab_start(gs_lab *out, const gs_lab_config *config)
{
    if (!out || !config)
        return GS_EBADARG;
    int slot = reserve();
    struct lab *l = slot < 0 ? NULL : OPENSSL_zalloc(sizeof *l);
    if (!l) {
        if (slot >= 0)
            release(slot);
        return slot < 0 ? slot : -ENOMEM;
    }
    pthread_mutex_init(&l->mutex, NULL);
    l->relay_wake = UINT64_MAX;
    int e = begin(l, config);
    if (e) {
        end(l);
        release(slot);
        return e;
    }
    pthread_mutex_lock(&table.mutex);
    uint32_t times = ++table.slots[slot].times;
    table.slots[slot].lab = l;
    table.slots[slot].pid = getpid();
    pthread_mutex_unlock(&table.mutex);
    out->id = LAB_KIND | (uint64_t)times << 8 | (uint64_t)slot;
    (void)atexit(stop_all); /* each time: handlers run in reverse order, and transports may have come since */
    return 0;
}

int gs_lab_stop(gs_lab lab)
{
    int slot;
    pthread_mutex_lock(&table.mutex);
    int e = find(lab, &slot);
    if (e) {
        pthread_mutex_unlock(&table.mutex);
        return e;
    }
    struct lab *l = table.slots[slot].lab;
    table.slots[slot].lab = NULL; /* who comes now finds it closed */
    while (table.slots[slot].users)
        pthread_cond_wait(&table.unused, &table.mutex);
    pthread_mutex_unlock(&table.mutex);
    pthread_mutex_lock(&l->mutex);
    l->stopping = true;
    pthread_mutex_unlock(&l->mutex);
    gs_mailbox_free(l->mailbox); /* wakes it, also where there is no memory for a post */
    pthread_join(l->thread, NULL);
    end(l);
    release(slot);
    return 0;
}

/* At exit, before what they stand on ends. */
static void stop_all(void)
{
    for (int i = 0; i < LABS_MAX; i++) {
        pthread_mutex_lock(&table.mutex);
        gs_lab lab = {table.slots[i].lab && table.slots[i].pid == getpid()
                          ? LAB_KIND | (uint64_t)table.slots[i].times << 8 | (uint64_t)i
                          : 0};
        pthread_mutex_unlock(&table.mutex);
        if (lab.id)
            gs_lab_stop(lab);
    }
}

/* ---- asking ---- */

static int copy_text(gs_lab lab, char *buf, size_t cap, bool ca)
{
    int slot, e;
    if (!buf && cap)
        return GS_EBADARG;
    struct lab *l = enter(lab, &slot, &e);
    if (!l)
        return e;
    e = snprintf(buf, cap, "%s%s", ca ? l->directory : l->url, ca ? "/ca.pem" : "");
    leave(l, slot);
    return e;
}

int gs_lab_control_url(gs_lab lab, char *buf, size_t cap) { return copy_text(lab, buf, cap, false); }
int gs_lab_ca_file(gs_lab lab, char *buf, size_t cap) { return copy_text(lab, buf, cap, true); }

int gs_lab_port(gs_lab lab, gs_lab_part part)
{
    int slot, e;
    struct lab *l = enter(lab, &slot, &e);
    if (!l)
        return e;
    e = part == GS_LAB_CONTROL ? l->control_port : part == GS_LAB_RELAY ? l->relay_port : -EINVAL;
    if (part == GS_LAB_STUN)
        e = l->stun_port;
    leave(l, slot);
    return e;
}

int gs_lab_nodes(gs_lab lab)
{
    int slot, e;
    struct lab *l = enter(lab, &slot, &e);
    if (!l)
        return e;
    e = gsi_coordination_count(l->control);
    leave(l, slot);
    return e;
}

int gs_lab_node(gs_lab lab, int i, gs_lab_node_info *out)
{
    int slot, e;
    struct coordination_node n;
    char text[ENDPOINT_TEXT];
    if (!out)
        return GS_EBADARG;
    struct lab *l = enter(lab, &slot, &e);
    if (!l)
        return e;
    bool there = gsi_coordination_node(l->control, i, &n);
    leave(l, slot);
    if (!there)
        return -ENOENT;
    *out = (gs_lab_node_info){.id = n.id, .online = n.online, .reachable = n.home_derp != 0, .ephemeral = n.ephemeral,
                              .authorized = n.authorized, .expired = n.expired};
    memcpy(out->name, n.name, sizeof out->name);
    memcpy(out->login, n.login, sizeof out->login);
    snprintf(out->ipv4, sizeof out->ipv4, "%.15s", gsi_ip_text(&n.v4, text));
    snprintf(out->ipv6, sizeof out->ipv6, "%.45s", gsi_ip_text(&n.v6, text));
    return 0;
}

/* ---- changing ---- */

int gs_lab_approve(gs_lab lab, const char *url, const char *login)
{
    int slot, e;
    if (!url)
        return GS_EBADARG;
    struct lab *l = enter(lab, &slot, &e);
    if (!l)
        return e;
    e = gsi_coordination_approve(l->control, url, login, gsi_lab_now());
    leave_changed(l, slot);
    return e;
}

static int change_node(gs_lab lab, int64_t id, int (*change)(struct coordination *s, int64_t id, uint64_t now))
{
    int slot, e;
    struct lab *l = enter(lab, &slot, &e);
    if (!l)
        return e;
    e = change(l->control, id, gsi_lab_now());
    leave_changed(l, slot);
    return e;
}

int gs_lab_authorize(gs_lab lab, int64_t id) { return change_node(lab, id, gsi_coordination_authorize); }
int gs_lab_remove(gs_lab lab, int64_t id) { return change_node(lab, id, gsi_coordination_remove); }
int gs_lab_expire(gs_lab lab, int64_t id) { return change_node(lab, id, gsi_coordination_expire); }

int gs_lab_set_filter(gs_lab lab, const char *filter)
{
    int slot, e;
    struct lab *l = enter(lab, &slot, &e);
    if (!l)
        return e;
    e = gsi_coordination_set_filter(l->control, filter);
    leave_changed(l, slot);
    return e;
}

int gs_lab_restart(gs_lab lab, gs_lab_part part)
{
    int slot, e;
    struct lab *l = enter(lab, &slot, &e);
    if (!l)
        return e;
    if (part == GS_LAB_CONTROL || part == GS_LAB_RELAY) {
        gsi_lab_hang_up(l, part);
        e = gsi_lab_listen(l, part);
    } else
        e = -EINVAL;
    leave_changed(l, slot);
    return e;
}
