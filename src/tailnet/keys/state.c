/* state.c: state.h. The reader takes only what the writer writes: each line in its place, one blank between words. */
#include "tailnet/keys/state.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define FIRST_WORDS "gensock tailnet state "

enum { CHECK_TEXT = 2 * HASH_LEN };

void gsi_state_new(struct state *s)
{
    *s = (struct state){0};
    gsi_x25519_private(s->machine);
    gsi_x25519_private(s->node);
}

void gsi_state_rotate(struct state *s)
{
    if (gsi_is_zero(s->old_node, KEY_LEN))
        memcpy(s->old_node, s->node, KEY_LEN);
    gsi_x25519_private(s->node);
}

void gsi_state_rotated(struct state *s) { gsi_wipe(s->old_node, KEY_LEN); }

void gsi_state_wipe(struct state *s) { gsi_wipe(s, sizeof *s); }

/* Printable ASCII without blanks, 1 to `most` bytes. */
static bool is_word(const char *text, size_t n, size_t most)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return n && n <= most;
}

const uint8_t *gsi_state_control(const struct state *s, const char *url)
{
    for (int i = 0; i < s->controls; i++)
        if (strcmp(s->control[i].url, url) == 0)
            return s->control[i].key;
    return NULL;
}

int gsi_state_pin(struct state *s, const char *url, const uint8_t key[KEY_LEN])
{
    size_t n = strlen(url);
    if (!is_word(url, n, STATE_URL_MAX))
        return gs_fail(-EINVAL, "a control URL is at most %d printable characters", STATE_URL_MAX);
    if (gsi_is_zero(key, KEY_LEN))
        return gs_fail(-EINVAL, "the control server's key is zero: it has none, or does not tell it");
    int i = 0;
    while (i < s->controls && strcmp(s->control[i].url, url) != 0)
        i++;
    if (i == STATE_CONTROLS)
        memmove(&s->control[0], &s->control[1], (size_t)--i * sizeof s->control[0]);
    else if (i == s->controls)
        s->controls++;
    memcpy(s->control[i].key, key, KEY_LEN);
    memcpy(s->control[i].url, url, n + 1);
    return 0;
}

int gsi_state_name(struct state *s, const char *node_id)
{
    size_t n = strlen(node_id);
    if (!is_word(node_id, n, STATE_ID_MAX))
        return gs_fail(-EINVAL, "a node's ID is at most %d printable characters", STATE_ID_MAX);
    memcpy(s->node_id, node_id, n + 1);
    return 0;
}

/* ---- writing ---- */

struct text {
    char *p;
    size_t n;
};

static void put(struct text *t, const char *words)
{
    size_t n = strlen(words);
    memcpy(t->p + t->n, words, n);
    t->n += n;
}

static void put_key(struct text *t, const char *word, enum key_kind kind, const uint8_t key[KEY_LEN])
{
    char text[KEY_TEXT_MAX];
    put(t, word);
    put(t, gsi_key_text(kind, key, text));
    gsi_wipe(text, sizeof text);
}

static int check_of(const char *text, size_t n, char out[CHECK_TEXT + 1])
{
    uint8_t hash[HASH_LEN];
    int e = gsi_hash(hash, text, n, NULL, 0);
    if (e == 0)
        sodium_bin2hex(out, CHECK_TEXT + 1, hash, HASH_LEN);
    return e;
}

_Static_assert(STATE_CONTROLS *(STATE_URL_MAX + KEY_TEXT_MAX + 16) + 4 * KEY_TEXT_MAX + STATE_ID_MAX + 256 < STATE_TEXT_MAX,
               "all of it has room");

int gsi_state_write(const struct state *s, char out[STATE_TEXT_MAX])
{
    if (gsi_is_zero(s->machine, KEY_LEN) || gsi_is_zero(s->node, KEY_LEN))
        return gs_fail(-EINVAL, "a state without a machine key or a node key could not be read again");
    struct text t = {out, 0};
    char check[CHECK_TEXT + 1], version[16];
    snprintf(version, sizeof version, "%d\n", STATE_VERSION);
    put(&t, FIRST_WORDS);
    put(&t, version);
    put_key(&t, "machine ", KEY_PRIVATE, s->machine);
    put_key(&t, "\nnode ", KEY_PRIVATE, s->node);
    if (!gsi_is_zero(s->old_node, KEY_LEN))
        put_key(&t, "\nold-node ", KEY_PRIVATE, s->old_node);
    if (*s->node_id) {
        put(&t, "\nnode-id ");
        put(&t, s->node_id);
    }
    for (int i = 0; i < s->controls; i++) {
        put_key(&t, "\ncontrol ", KEY_MACHINE, s->control[i].key);
        put(&t, " ");
        put(&t, s->control[i].url);
    }
    put(&t, "\n");
    int e = check_of(out, t.n, check);
    put(&t, "end ");
    put(&t, e == 0 ? check : "");
    put(&t, "\n");
    return e < 0 ? e : (int)t.n;
}

/* ---- reading ---- */

struct line {
    const char *p, *end;
};

static bool next_line(struct text *rest, struct line *out)
{
    char *newline = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    if (!newline)
        return false;
    *out = (struct line){rest->p, newline};
    rest->n -= (size_t)(newline + 1 - rest->p);
    rest->p = newline + 1;
    return true;
}

/* Takes a word and the blank behind it off the line's front. */
static bool begins(struct line *l, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(l->end - l->p) < n || memcmp(l->p, word, n) != 0)
        return false;
    l->p += n;
    return true;
}

static bool is_key(const struct line *l, enum key_kind kind, uint8_t key[KEY_LEN])
{
    char again[KEY_TEXT_MAX];
    size_t n = (size_t)(l->end - l->p);
    bool ok = gsi_key_parse(kind, l->p, n, key) == 0 && !gsi_is_zero(key, KEY_LEN);
    ok = ok && memcmp(l->p, gsi_key_text(kind, key, again), n) == 0; /* in lower case, as we write */
    gsi_wipe(again, sizeof again);
    return ok;
}

static bool read_control(struct state *s, struct line *l)
{
    const char *blank = memchr(l->p, ' ', (size_t)(l->end - l->p));
    if (!blank || s->controls == STATE_CONTROLS)
        return false;
    struct state_control *c = &s->control[s->controls++];
    size_t n = (size_t)(l->end - blank - 1);
    if (!is_word(blank + 1, n, STATE_URL_MAX) || !is_key(&(struct line){l->p, blank}, KEY_MACHINE, c->key))
        return false;
    memcpy(c->url, blank + 1, n);
    return true;
}

/* The lines between the first and the last. */
static bool read_lines(struct state *s, struct text rest)
{
    struct line l;
    if (!next_line(&rest, &l) || !begins(&l, "machine ") || !is_key(&l, KEY_PRIVATE, s->machine))
        return false;
    if (!next_line(&rest, &l) || !begins(&l, "node ") || !is_key(&l, KEY_PRIVATE, s->node))
        return false;
    bool more = next_line(&rest, &l);
    if (more && begins(&l, "old-node ")) {
        if (!is_key(&l, KEY_PRIVATE, s->old_node))
            return false;
        more = next_line(&rest, &l);
    }
    if (more && begins(&l, "node-id ")) {
        if (!is_word(l.p, (size_t)(l.end - l.p), STATE_ID_MAX))
            return false;
        memcpy(s->node_id, l.p, (size_t)(l.end - l.p));
        more = next_line(&rest, &l);
    }
    for (; more; more = next_line(&rest, &l))
        if (!begins(&l, "control ") || !read_control(s, &l))
            return false;
    return rest.n == 0;
}

static int read_version(struct line *l)
{
    if (l->p < l->end && *l->p == '{')
        return gs_fail(-ENOTSUP,
                       "the state file is another program's (Tailscale's own?): give gensock a state directory of its own");
    if (!begins(l, FIRST_WORDS))
        return -EBADMSG;
    int version = 0;
    for (const char *p = l->p; p < l->end; p++) {
        if (*p < '0' || *p > '9' || version > 1000)
            return -EBADMSG;
        version = version * 10 + (*p - '0');
    }
    if (version > STATE_VERSION)
        return gs_fail(
            -ENOTSUP,
            "the state file is of version %d, written by a newer gensock: update this one, or use another state directory",
            version);
    return l->end - l->p == 1 && version == STATE_VERSION ? 0 : -EBADMSG;
}

static int read_all(struct state *s, const char *text, size_t n)
{
    struct text rest = {(char *)(uintptr_t)text, n};
    struct line l = {text, text + n};
    char check[CHECK_TEXT + 1];
    if (n && *text == '{')
        return read_version(&l);
    if (!next_line(&rest, &l))
        return -EBADMSG;
    int e = read_version(&l); /* before the length: a newer version's may be longer */
    if (e < 0)
        return e;
    size_t last = sizeof "end " - 1 + CHECK_TEXT + 1;
    if (n > STATE_TEXT_MAX || rest.n < last)
        return -EBADMSG;
    rest.n -= last;
    const char *end = rest.p + rest.n;
    e = check_of(text, (size_t)(end - text), check);
    if (e < 0)
        return e;
    if (memcmp(end, "end ", 4) != 0 || memcmp(end + 4, check, CHECK_TEXT) != 0 || end[last - 1] != '\n')
        return -EBADMSG;
    return read_lines(s, rest) ? 0 : -EBADMSG;
}

int gsi_state_read(struct state *s, const char *text, size_t n)
{
    struct state fresh = {0};
    int e = read_all(&fresh, text, n);
    if (e == 0)
        *s = fresh;
    gsi_state_wipe(&fresh);
    if (e == -EBADMSG)
        return gs_fail(e, n ? "the state file is damaged: restore it from a copy, or remove it to join as a new machine"
                            : "the state file is empty: restore it from a copy, or remove it to join as a new machine");
    return e;
}
