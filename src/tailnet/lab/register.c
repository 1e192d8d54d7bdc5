/* register.c: who may join, and what a node says about itself later (tailnet-protocol.md 3 and 4.1).
 *
 * A machine has one node. It is let in by the right auth key, by a login that the lab's owner approved, or because it is here
 * already: with its current key, or with a new one while the old has not expired. A wrong auth key is never helped by the rest.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tailnet/lab/inside.h"

/* ---- logins ---- */

struct login *gsi_lab_login_of(struct coordination *s, const char *url)
{
    static const char path[] = "/register/";
    size_t n = strlen(s->url), path_n = sizeof path - 1;
    if (strncmp(url, s->url, n) != 0 || strncmp(url + n, path, path_n) != 0 || strlen(url + n + path_n) != TOKEN_LEN)
        return NULL;
    for (struct login *l = s->logins; l < s->logins + LOGINS_MAX; l++)
        if (*l->token && gsi_equal(l->token, url + n + path_n, TOKEN_LEN))
            return l;
    return NULL;
}

/* The one for this machine and key, or a new one; NULL: too many wait. */
static struct login *login_for(struct coordination *s, const uint8_t machine[KEY_LEN], const uint8_t key[KEY_LEN])
{
    struct login *unused = NULL;
    uint8_t random[TOKEN_LEN / 2];
    for (struct login *l = s->logins; l < s->logins + LOGINS_MAX; l++) {
        if (*l->token && gsi_equal(l->machine, machine, KEY_LEN) && gsi_equal(l->key, key, KEY_LEN))
            return l;
        if (!*l->token && !unused)
            unused = l;
    }
    if (!unused)
        return NULL;
    gsi_random(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(unused->token + 2 * i, 3, "%02x", random[i]);
    memcpy(unused->machine, machine, KEY_LEN);
    memcpy(unused->key, key, KEY_LEN);
    unused->user = -1;
    unused->until = s->now + LOGIN_S * LAB_SECOND;
    unused->waits = NULL;
    gsi_lab_wake(s, unused->until);
    return unused;
}

int gsi_coordination_approve(struct coordination *s, const char *url, const char *login, uint64_t now)
{
    struct login *l = url ? gsi_lab_login_of(s, url) : NULL;
    s->now = now;
    if (!l)
        return gs_fail(GS_EINVALID, "no login waits at this URL: it is of another lab, done, or older than %d minutes",
                       LOGIN_S / 60);
    int user = login ? gsi_lab_account(s, login) : ACCOUNT_OWNER;
    if (user < 0 || user == ACCOUNT_TAGGED)
        return user == -ENOBUFS ? user : gs_fail(GS_EINVALID, "a login name is 1 to %d bytes of UTF-8, and not tagged-devices",
                                                 COORDINATION_LOGIN_MAX);
    l->user = user;
    struct exchange *x = l->waits;
    if (!x)
        return 0;
    x->login = NULL;
    l->waits = NULL;
    return gsi_lab_register(x);
}

/* ---- joining ---- */

static bool is_tag(const char *tag)
{
    if (strncmp(tag, "tag:", 4) != 0 || !tag[4])
        return false;
    for (tag += 4; *tag; tag++)
        if (!(*tag >= 'a' && *tag <= 'z') && !(*tag >= 'A' && *tag <= 'Z') && !(*tag >= '0' && *tag <= '9') && *tag != '-')
            return false;
    return true;
}

static const char *bad_tag(const struct asked *a)
{
    for (int i = 0; i < a->tags_n; i++)
        if (!is_tag(a->tags[i]))
            return "requested tags are invalid: a tag is tag: and letters, digits and hyphens";
    return NULL;
}

struct verdict {
    const char *error, *auth_url;
    struct member *member;
    bool key_expired, waits;
};

static void take_os(struct coordination *s, struct member *m, const char *os)
{
    if (strcmp(m->os, os) == 0)
        return;
    memcpy(m->os, os, sizeof m->os);
    gsi_lab_changed(s, m, CHANGED_WHOLE);
}

/* It is let in: as a new node, or as the one that this machine has been. */
static void admit(struct coordination *s, const uint8_t machine[KEY_LEN], int user, struct verdict *out)
{
    const struct asked *a = &s->asked;
    struct member *m = gsi_lab_by_machine(s, machine);
    bool is_new = !m;
    if (is_new && !(m = gsi_lab_member_new(s))) {
        out->error = "this lab has as many nodes as it may";
        return;
    }
    if (is_new) {
        memcpy(m->machine, machine, KEY_LEN);
        m->authorized = !s->approval;
        m->created_s = m->last_seen_s = gsi_lab_wall(s);
        m->gone_at = s->now;
        m->ephemeral = a->ephemeral;
        if (m->ephemeral)
            gsi_lab_wake(s, s->now + s->ephemeral_ns);
    }
    if (is_new || !gsi_equal(m->key, a->key, KEY_LEN)) {
        memcpy(m->key, a->key, KEY_LEN);
        m->expired = false;
        m->expiry_s = s->key_life_ns ? gsi_lab_wall(s) + (int64_t)(s->key_life_ns / LAB_SECOND) : 0;
        if (m->expiry_s)
            gsi_lab_wake(s, s->now + s->key_life_ns);
    }
    if (user >= 0 || is_new) { /* else it is here with what it was given */
        m->user = a->tags_n ? ACCOUNT_TAGGED : user;
        memcpy(m->tags, a->tags, sizeof m->tags);
        m->tags_n = a->tags_n;
    }
    m->version = (uint16_t)a->version;
    memcpy(m->os, a->os, sizeof m->os);
    gsi_lab_member_rename(s, m, a->hostname);
    gsi_lab_changed(s, m, CHANGED_WHOLE);
    out->member = m;
}

static int wait_for_login(struct exchange *x, struct login *l, struct verdict *out)
{
    if (!l) {
        out->error = "too many logins wait";
        return 0;
    }
    if (l->waits) { /* one waits for a login; the newer */
        struct exchange *before = l->waits;
        before->login = NULL;
        l->waits = NULL;
        int e = gsi_lab_answer(before, 409, "text/plain", "another request waits\n", 22);
        if (e)
            return e;
    }
    l->waits = x;
    x->login = l;
    out->waits = true;
    return 0;
}

static bool is_right(const struct coordination *s, const char *auth_key)
{
    size_t n = s->auth_key ? strlen(s->auth_key) : 0;
    return !s->auth_key || (strlen(auth_key) == n && gsi_equal(s->auth_key, auth_key, n));
}

static void log_out(struct coordination *s, struct member *m)
{
    if (m && m->ephemeral)
        gsi_lab_member_remove(s, m);
    else if (m && !m->expired)
        gsi_lab_member_expire(s, m);
}

/* 0 and a verdict; -ENOMEM. */
static int decide(struct exchange *x, struct verdict *out)
{
    struct coordination *s = x->conn->co;
    const struct asked *a = &s->asked;
    const uint8_t *machine = x->conn->noise.peer;
    struct member *m = gsi_lab_by_machine(s, machine), *holder = gsi_lab_by_key(s, a->key);
    if (holder && holder != m) {
        out->error = "node exists with a different machine key";
        return 0;
    }
    if ((a->expiry.s || a->expiry.ns) && a->expiry.s < gsi_lab_wall(s)) {
        log_out(s, holder);
        out->key_expired = true;
        return 0;
    }
    if ((out->error = bad_tag(a)) != NULL)
        return 0;
    if (*a->auth_key && !is_right(s, a->auth_key)) {
        out->error = "invalid auth key";
        return 0;
    }
    if (holder && holder->expired) {
        out->key_expired = true;
        return 0;
    }
    bool rotates = m && !m->expired && gsi_equal(m->key, a->old_key, KEY_LEN);
    if (*a->auth_key || holder || rotates) {
        admit(s, machine, *a->auth_key ? ACCOUNT_OWNER : -1, out);
        return 0;
    }
    struct login *l = login_for(s, machine, a->key);
    if (l && l->user >= 0) {
        int user = l->user;
        gsi_wipe(l, sizeof *l);
        admit(s, machine, user, out);
        return 0;
    }
    if (l && *a->followup && gsi_lab_login_of(s, a->followup) == l)
        return wait_for_login(x, l, out);
    if (!l)
        out->error = "too many logins wait";
    else
        out->auth_url = l->token;
    return 0;
}

static ssize_t write_verdict(const struct coordination *s, const struct verdict *v, void *out, size_t cap)
{
    const struct account *u = &s->accounts[v->member ? v->member->user : ACCOUNT_OWNER];
    char url[URL_MAX + 64] = "";
    if (v->auth_url)
        snprintf(url, sizeof url, "%s/register/%s", s->url, v->auth_url);
    struct json_out o = gsi_json_out_of(out, cap);
    gsi_json_put_object(&o, NULL);
    if (v->member) {
        gsi_json_put_object(&o, "User");
        gsi_json_put_int(&o, "ID", u->id);
        gsi_json_put_string(&o, "DisplayName", u->display);
        gsi_json_put_close(&o);
        gsi_json_put_object(&o, "Login");
        gsi_json_put_int(&o, "ID", u->id);
        gsi_json_put_string(&o, "Provider", "lab");
        gsi_json_put_string(&o, "LoginName", u->login);
        gsi_json_put_string(&o, "DisplayName", u->display);
        gsi_json_put_close(&o);
    }
    gsi_json_put_bool(&o, "NodeKeyExpired", v->key_expired);
    gsi_json_put_bool(&o, "MachineAuthorized", v->member ? v->member->authorized : v->key_expired);
    gsi_json_put_string(&o, "AuthURL", url);
    gsi_json_put_string(&o, "Error", v->error ? v->error : "");
    gsi_json_put_close(&o);
    return gsi_json_out_end(&o);
}

/* Reads the body into co->asked; false: it is answered, or e says why not. */
static bool read_asked(struct exchange *x, int *e)
{
    struct coordination *s = x->conn->co;
    const char *why;
    char text[128];
    int bad = gsi_lab_read(&s->asked, x->body, x->body_n, &why);
    if (bad)
        snprintf(text, sizeof text, "%s\n", why);
    else if (s->asked.version < COORDINATION_VERSION_MIN || s->asked.version > UINT16_MAX)
        snprintf(text, sizeof text, "unsupported client version: %lld\n", (long long)s->asked.version);
    else
        return true;
    *e = gsi_lab_answer(x, 400, "text/plain", text, strlen(text));
    return false;
}

int gsi_lab_register(struct exchange *x)
{
    struct verdict v = {NULL};
    uint8_t body[ANSWER_ROOM];
    struct coordination *s = x->conn->co;
    int e = 0;
    if (!read_asked(x, &e))
        return e;
    if (!s->asked.has_host)
        e = gsi_lab_answer(x, 400, "text/plain", "Hostinfo is missing\n", 20);
    else if ((e = decide(x, &v)) == 0 && !v.waits) {
        ssize_t n = write_verdict(s, &v, body, sizeof body);
        e = n < 0 ? (int)n : gsi_lab_answer(x, 200, "application/json", body, (size_t)n);
    }
    gsi_wipe(&s->asked, sizeof s->asked);
    return e;
}

/* ---- /machine/map ---- */

static bool same_endpoints(const struct member *m, const struct asked *a)
{
    if (m->endpoints_n != a->endpoints_n)
        return false;
    for (int i = 0; i < m->endpoints_n; i++)
        if (!gsi_endpoint_equal(&m->endpoints[i], &a->endpoints[i]))
            return false;
    return true;
}

static void update(struct coordination *s, struct member *m)
{
    const struct asked *a = &s->asked;
    if (m->version != a->version) {
        m->version = (uint16_t)a->version;
        gsi_lab_changed(s, m, CHANGED_WHOLE);
    }
    if (!gsi_is_zero(a->disco, KEY_LEN) && !gsi_equal(m->disco, a->disco, KEY_LEN)) {
        memcpy(m->disco, a->disco, KEY_LEN);
        gsi_lab_changed(s, m, CHANGED_DISCO);
    }
    if (!same_endpoints(m, a)) {
        memcpy(m->endpoints, a->endpoints, sizeof m->endpoints);
        m->endpoints_n = a->endpoints_n;
        gsi_lab_changed(s, m, CHANGED_ENDPOINTS);
    }
    if (!a->has_host)
        return;
    take_os(s, m, a->os);
    gsi_lab_member_rename(s, m, a->hostname);
    if (a->preferred_derp != m->home_derp) {
        m->home_derp = a->preferred_derp;
        gsi_lab_changed(s, m, m->home_derp ? CHANGED_DERP : CHANGED_WHOLE); /* a patch cannot say none */
    }
}

static int start_stream(struct exchange *x, struct member *m)
{
    struct coordination *s = x->conn->co;
    const struct asked *a = &s->asked;
    x->member = m;
    x->compress = a->compress;
    x->once = !a->stream;
    if (!x->once) {
        struct exchange *before = m->map;
        if (before) { /* a node has one */
            gsi_lab_forget(before);
            gsi_lab_resume(before);
        }
        m->map = x;
        if (!m->online) {
            m->online = true;
            gsi_lab_changed(s, m, CHANGED_ONLINE);
        }
        if (a->keep_alive) {
            x->keep_alive = s->now + KEEP_ALIVE_S * LAB_SECOND;
            gsi_lab_wake(s, x->keep_alive);
        }
    }
    return gsi_lab_answer_stream(x);
}

int gsi_lab_map(struct exchange *x)
{
    struct coordination *s = x->conn->co;
    int e = 0;
    if (!read_asked(x, &e))
        return e;
    struct member *m = gsi_lab_by_key(s, s->asked.key);
    if (!m || !gsi_equal(m->machine, x->conn->noise.peer, KEY_LEN))
        return gsi_lab_answer(x, 404, "text/plain", "node not found\n", 15);
    if (s->asked.stream)
        return start_stream(x, m); /* it tells us nothing: tailcfg since version 68 */
    update(s, m);
    return s->asked.omit_peers ? gsi_lab_answer(x, 200, NULL, NULL, 0) : start_stream(x, m);
}

void gsi_lab_forget(struct exchange *x)
{
    struct coordination *s = x->conn->co;
    struct member *m = x->member;
    x->member = NULL;
    x->keep_alive = UINT64_MAX;
    if (m && m->map == x) {
        m->map = NULL;
        m->gone_at = s->now;
        gsi_lab_wake(s, s->now + OFFLINE_S * LAB_SECOND);
        if (m->ephemeral)
            gsi_lab_wake(s, s->now + s->ephemeral_ns);
    }
    if (x->login) {
        x->login->waits = NULL;
        gsi_lab_wake(s, x->login->until);
        x->login = NULL;
    }
}
