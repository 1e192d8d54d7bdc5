/* server_key.c: one request, one answer, one key in it. */
#include "tailnet/control/server_key.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "tailnet/control/http.h"
#include "tailnet/control/text.h"
#include "tailnet/json/json.h"

enum { BODY_MAX = 64 * 1024, REQUEST_MAX = URL_HOST_MAX + 128 };

struct server_key {
    uint16_t version;
    bool known;
    uint8_t public[KEY_LEN];
    size_t out_at, out_n;
    char out[REQUEST_MAX];
    struct http_answer answer;
};

struct server_key *gsi_server_key_new(const struct url *control, uint16_t version)
{
    struct server_key *k = OPENSSL_zalloc(sizeof *k);
    if (!k)
        return NULL;
    k->version = version;
    gsi_http_init(&k->answer, BODY_MAX);
    int n = snprintf(k->out, sizeof k->out, "GET /key?v=%u HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", version,
                     control->authority);
    k->out_n = (size_t)n;
    return k;
}

void gsi_server_key_free(struct server_key *k)
{
    if (k)
        gsi_http_fini(&k->answer);
    OPENSSL_free(k);
}

size_t gsi_server_key_output(struct server_key *k, void *out, size_t cap)
{
    size_t n = k->out_n - k->out_at;
    n = n < cap ? n : cap;
    if (n)
        memcpy(out, k->out + k->out_at, n);
    k->out_at += n;
    return n;
}

static int read_key(struct server_key *k)
{
    static const char *const members[] = {"publicKey", NULL};
    char text[TEXT_KEY_MAX] = "";
    uint64_t seen = 0;
    struct json j = gsi_json_of(k->answer.body, k->answer.body_n);
    if (gsi_json_object(&j))
        while (gsi_json_member(&j, members, &seen) >= 0)
            gsi_json_string(&j, text, sizeof text);
    if (gsi_json_end(&j) < 0)
        return gs_fail(GS_EINVALID, "the answer to /key is not a control server's");
    if (!gsi_text_get_key(k->public, "mkey:", text) || gsi_is_zero(k->public, KEY_LEN))
        return gs_fail(GS_EINVALID, "the control server has no key for ts2021");
    k->known = true;
    return 1;
}

static int judge(struct server_key *k)
{
    char words[WORDS_MAX + 1];
    if (k->known)
        return 1;
    if (k->answer.status != 200) {
        gsi_text_words(words, sizeof words, k->answer.body, k->answer.body_n);
        return gs_fail(-EPROTO, "the control server answers /key with status %d: \"%s\"", k->answer.status, words);
    }
    if (!k->answer.body_n)
        return gs_fail(GS_EINVALID, "the control server's answer to /key is empty: it does not serve capability version %u",
                       k->version);
    return read_key(k);
}

int gsi_server_key_feed(struct server_key *k, const void *in, size_t n)
{
    ssize_t taken = gsi_http_feed(&k->answer, in, n);
    return taken < 0 ? (int)taken : k->answer.done ? judge(k) : 0;
}

int gsi_server_key_end(struct server_key *k)
{
    int e = gsi_http_end(&k->answer);
    return e ? e : judge(k);
}

const uint8_t *gsi_server_key_public(const struct server_key *k) { return k->known ? k->public : NULL; }
