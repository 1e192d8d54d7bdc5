/* named.c: lists whose entries are set and deleted by name: the parts of the filter, and the messages for the user. */
#include <errno.h>
#include <openssl/crypto.h>

#include "tailnet/netmap/parts.h"

void gsi_named_free(struct named *n)
{
    if (!n)
        return;
    gsi_arena_free(&n->arena);
    OPENSSL_free(n);
}

/* From now on the parser keeps in it. */
struct named *gsi_named_new(struct parse *p, const struct json_text *name)
{
    struct named *n = OPENSSL_zalloc(sizeof *n);
    if (!n) {
        p->code = -ENOMEM;
        gsi_json_fail(&p->j, "no memory");
        return NULL;
    }
    n->arena.max = MAP_RULES_BYTES;
    p->arena = &n->arena;
    n->name = gsi_parse_key_text(p, name);
    return n;
}

bool gsi_named_parse(struct parse *p, struct named_ops *out, bool (*read)(struct parse *, struct named *))
{
    struct json_text key;
    if (!gsi_json_object(&p->j))
        return !p->j.error;
    size_t room = gsi_parse_count(p);
    if (room > MAP_NAMED_MAX)
        return gsi_json_fail(&p->j, "too many names");
    out->given = true;
    out->set.of = OPENSSL_zalloc((room + 1) * sizeof *out->set.of);
    if (!out->set.of) {
        p->code = -ENOMEM;
        return gsi_json_fail(&p->j, "no memory");
    }
    while (gsi_json_key(&p->j, &key)) {
        bool null = gsi_json_null(&p->j);
        if (gsi_json_text_is(&key, "*")) {
            out->clear |= null;
            continue; /* the name of no entry */
        }
        struct named *n = gsi_named_new(p, &key);
        if (!n)
            return false;
        out->set.of[out->set.n++] = n;
        n->removed = null;
        if (!null && !read(p, n))
            return false;
    }
    return !p->j.error;
}


/* Where name is, or is to stand. */
static size_t find(const struct named_list *l, const char *name, bool *found)
{
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(l->of[middle]->name, name);
        if (!order) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

static void set(struct named_list *l, struct named *n)
{
    bool found;
    size_t at = find(l, n->name, &found);
    if (found && n->removed)
        memmove(l->of + at, l->of + at + 1, (--l->n - at) * sizeof *l->of);
    else if (found)
        l->of[at] = n;
    else if (!n->removed) {
        memmove(l->of + at + 1, l->of + at, (l->n++ - at) * sizeof *l->of);
        l->of[at] = n;
    }
}

int gsi_named_merge(const struct named_list *have, bool from_empty, struct named *first, const struct named_ops *ops,
                    struct named_list *out)
{
    struct named_list l = {.of = OPENSSL_zalloc((have->n + ops->set.n + 1) * sizeof *l.of)};
    if (!l.of)
        return -ENOMEM;
    for (size_t i = 0; i < have->n; i++) {
        have->of[i]->taken = false;
        if (!from_empty)
            l.of[l.n++] = have->of[i];
    }
    if (first)
        set(&l, first);
    if (ops->clear)
        l.n = 0;
    for (size_t i = 0; i < ops->set.n; i++)
        set(&l, ops->set.of[i]);
    for (size_t i = 0; i < l.n; i++)
        l.of[i]->taken = true;
    *out = l;
    return l.n > MAP_NAMED_MAX ? GS_EINVALID : 0;
}

void gsi_named_list_free(struct named_list *l, bool also_taken)
{
    for (size_t i = 0; i < l->n; i++)
        if (also_taken || !l->of[i]->taken)
            gsi_named_free(l->of[i]);
    OPENSSL_free(l->of);
    *l = (struct named_list){0};
}
