/* arena.c: memory that is freed as a whole, and what every parser of the map reads: lists, texts, keys, prefixes,
 * capabilities. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdalign.h>
#include <stddef.h>

#include "tailnet/netmap/parts.h"

struct chunk {
    struct chunk *older;
    size_t used, cap;
    alignas(max_align_t) uint8_t bytes[];
};

enum { CHUNK_LEAST = 512, CHUNK_MOST = 1 << 18 };

void *gsi_arena_take(struct arena *a, size_t n)
{
    struct chunk *c = a->chunks;
    n = n > SIZE_MAX / 2 ? n : (n + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (!c || n > c->cap - c->used) {
        size_t cap = c ? 2 * c->cap : CHUNK_LEAST;
        cap = cap > CHUNK_MOST ? CHUNK_MOST : cap;
        cap = n > cap ? n : cap;
        if (cap > a->max || a->bytes > a->max - cap) {
            a->bytes = a->max + 1;
            return NULL;
        }
        c = OPENSSL_malloc(sizeof *c + cap);
        if (!c)
            return NULL;
        *c = (struct chunk){.older = a->chunks, .cap = cap};
        a->chunks = c;
        a->bytes += cap;
    }
    void *p = c->bytes + c->used;
    c->used += n;
    memset(p, 0, n);
    return p;
}

static void free_from(struct chunk *c)
{
    for (struct chunk *older; c; c = older) {
        older = c->older;
        OPENSSL_free(c);
    }
}

void gsi_arena_free(struct arena *a)
{
    free_from(a->chunks);
    a->chunks = NULL;
    a->bytes = 0;
}

void gsi_arena_reset(struct arena *a)
{
    if (!a->chunks)
        return;
    free_from(a->chunks->older);
    a->chunks->older = NULL;
    a->chunks->used = 0;
    a->bytes = a->chunks->cap;
}

/* ---- reading ---- */

void *gsi_parse_list(struct parse *p, size_t n, size_t size)
{
    void *list;
    if (!n || p->j.error || p->code)
        return NULL;
    list = n > SIZE_MAX / 2 / size ? NULL : gsi_arena_take(p->arena, n * size);
    if (list)
        return list;
    if (p->arena->bytes > p->arena->max || n > SIZE_MAX / 2 / size)
        gsi_json_fail(&p->j, "an entry of the map is too long");
    else {
        p->code = -ENOMEM;
        gsi_json_fail(&p->j, "no memory");
    }
    return NULL;
}

size_t gsi_parse_count(const struct parse *p)
{
    struct json look = p->j;
    struct json_text key;
    bool object = look.depth && (look.objects >> (look.depth - 1) & 1);
    size_t n = 0;
    while (object ? gsi_json_key(&look, &key) : gsi_json_item(&look))
        n++;
    return n;
}

const char *gsi_parse_key_text(struct parse *p, const struct json_text *t)
{
    if (!t->n)
        return "";
    if (t->has_nul || t->n > 6 * MAP_TEXT_MAX) {
        gsi_json_fail(&p->j, t->has_nul ? "a NUL in a text" : "a text that is too long");
        return "";
    }
    char *copy = gsi_parse_list(p, t->n + 1, 1);
    if (!copy)
        return "";
    if (gsi_json_text_copy(t, copy) > MAP_TEXT_MAX)
        gsi_json_fail(&p->j, "a text that is too long");
    return copy;
}

const char *gsi_parse_text(struct parse *p)
{
    struct json_text t = gsi_json_text(&p->j);
    return gsi_parse_key_text(p, &t);
}

const char *const *gsi_parse_texts(struct parse *p, uint32_t *n)
{
    *n = 0;
    if (!gsi_json_array(&p->j))
        return NULL;
    const char **list = gsi_parse_list(p, gsi_parse_count(p), sizeof *list);
    while (gsi_json_item(&p->j)) {
        const char *text = gsi_parse_text(p);
        if (*text && list)
            list[(*n)++] = text;
    }
    return list;
}

const char *gsi_parse_raw(struct parse *p)
{
    (void)gsi_json_kind(&p->j);
    const uint8_t *from = p->j.at;
    if (gsi_json_null(&p->j))
        return NULL;
    gsi_json_skip(&p->j);
    if (p->j.error)
        return NULL;
    size_t n = (size_t)(p->j.at - from);
    char *copy = gsi_parse_list(p, n + 1, 1);
    if (copy)
        memcpy(copy, from, n);
    return copy;
}

static bool has_cap(const struct map_cap *caps, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(caps[i].name, name) == 0)
            return true;
    return false;
}

const struct map_cap *gsi_parse_caps(struct parse *p, uint32_t *n, bool of_names, const struct map_cap *have)
{
    if (of_names ? !gsi_json_array(&p->j) : !gsi_json_object(&p->j))
        return have;
    size_t more = gsi_parse_count(p);
    if (more + *n > MAP_NAMED_MAX) {
        gsi_json_fail(&p->j, "too many capabilities");
        return NULL;
    }
    struct map_cap *list = gsi_parse_list(p, more + *n, sizeof *list);
    if (list && *n)
        memcpy(list, have, *n * sizeof *list);
    uint32_t before = *n;
    struct json_text key;
    while (of_names ? gsi_json_item(&p->j) : gsi_json_key(&p->j, &key)) {
        struct map_cap cap = {.name = of_names ? gsi_parse_text(p) : gsi_parse_key_text(p, &key)};
        cap.values = of_names ? NULL : gsi_parse_raw(p);
        if (list && *cap.name && !has_cap(list, before, cap.name))
            list[(*n)++] = cap;
    }
    return list;
}

void gsi_parse_public(struct parse *p, enum key_kind kind, uint8_t out[KEY_LEN])
{
    char scratch[2 * KEY_TEXT_MAX];
    struct json_text t = gsi_json_view(&p->j, scratch, sizeof scratch);
    memset(out, 0, KEY_LEN);
    if (t.n && gsi_key_parse(kind, t.p, t.n, out) < 0) {
        memset(out, 0, KEY_LEN);
        gsi_json_fail(&p->j, "not a public key of the kind expected");
    }
}

const struct prefix *gsi_parse_prefixes(struct parse *p, uint32_t *n)
{
    char scratch[ENDPOINT_TEXT];
    *n = 0;
    if (!gsi_json_array(&p->j))
        return NULL;
    size_t room = gsi_parse_count(p);
    if (room > MAP_PREFIXES_MAX)
        gsi_json_fail(&p->j, "too many prefixes");
    struct prefix *list = gsi_parse_list(p, room, sizeof *list);
    while (gsi_json_item(&p->j)) {
        struct json_text t = gsi_json_view(&p->j, scratch, sizeof scratch);
        /* one that is none admits nothing: it is left out */
        if (list && t.n && gsi_prefix_parse(t.p, t.n, &list[*n]) == 0)
            ++*n;
    }
    return list;
}
