/* tailnet_control_http.c: the first byte chooses: an answer of HTTP/1.1 (whole and in pieces: the same), GET /key, a URL, the
 * answer to a register request, Retry-After. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tailnet/control/answer.h"
#include "tailnet/control/http.h"
#include "tailnet/control/server_key.h"
#include "tailnet/control/text.h"
#include "tailnet/control/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 4096 };

static ssize_t read_in_pieces(struct http_answer *a, const uint8_t *p, size_t n, size_t piece)
{
    ssize_t k = 0;
    size_t at = 0;
    gsi_http_init(a, BODY_MAX);
    for (; at < n && k >= 0 && !a->done; at += k > 0 ? (size_t)k : 0)
        k = gsi_http_feed(a, p + at, piece < n - at ? piece : n - at);
    return k < 0 ? k : (ssize_t)at;
}

static void http(const uint8_t *p, size_t n)
{
    static struct http_answer whole, split;
    size_t header_n;
    ssize_t a = read_in_pieces(&whole, p, n, n), b = read_in_pieces(&split, p, n, 3);
    assert(a == b && whole.done == split.done && whole.status == split.status);
    assert(gsi_http_end(&whole) == gsi_http_end(&split));
    assert(whole.body_n == split.body_n && whole.body_n <= BODY_MAX);
    assert(!whole.body_n || (memcmp(whole.body, split.body, whole.body_n) == 0 && whole.body[whole.body_n] == 0));
    const char *value = gsi_http_header(&whole, "upgrade", &header_n);
    assert(!value || (value >= whole.head && value + header_n <= whole.head + whole.head_n));
    gsi_http_fini(&whole);
    gsi_http_fini(&split);
}

static void key(const uint8_t *p, size_t n)
{
    static struct url url;
    if (!url.port && gsi_url_parse("http://h", 8, &url) != 0)
        abort();
    struct server_key *k = gsi_server_key_new(&url, 115);
    if (!k)
        return;
    int e = gsi_server_key_feed(k, p, n);
    if (e == 0)
        e = gsi_server_key_end(k);
    assert(e != 0 && (e == 1) == (gsi_server_key_public(k) != NULL));
    assert(e != 1 || !gsi_is_zero(gsi_server_key_public(k), KEY_LEN));
    gsi_server_key_free(k);
}

static void one_url(const uint8_t *p, size_t n)
{
    struct url u, again;
    char text[4096];
    if (gsi_url_parse((const char *)p, n, &u) != 0)
        return;
    assert(u.port && *u.host && u.path[0] == '/' && !strpbrk(u.authority, "\r\n @/"));
    size_t len = gsi_url_head_request(&u, text, sizeof text);
    const char *line = strchr(text, '\n');
    assert(len && line && memcmp(line + 1, "Host: ", 6) == 0);
    /* what was taken apart is the same put together */
    strcpy(text, u.tls ? "https://" : "http://");
    strcat(text, u.authority);
    strcat(text, u.path);
    assert(gsi_url_parse(text, strlen(text), &again) == 0);
    assert(again.tls == u.tls && again.port == u.port && !strcmp(again.host, u.host) && !strcmp(again.path, u.path)
           && !strcmp(again.authority, u.authority));
    assert(gsi_url_ping(&u, text, strlen(text), &again) == 0);
}

static void answer(const uint8_t *p, size_t n)
{
    static struct register_answer r;
    if (gsi_register_answer_read(p, n, &r) != 0)
        return;
    for (const char *c = r.error; *c; c++)
        assert(*c >= 0x20 && *c < 0x7f);
    for (const char *c = r.auth_url; *c; c++)
        assert(*c > 0x20 && *c < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    uint8_t what = data[0] % 5;
    data++, size--;
    if (what == 0)
        http(data, size);
    if (what == 1)
        key(data, size);
    if (what == 2)
        one_url(data, size);
    if (what == 3)
        answer(data, size);
    if (what == 4) {
        size_t cut = size / 2;
        uint64_t wait = gsi_retry_after_ns((const char *)data, cut, (const char *)data + cut, size - cut);
        assert(wait >= UINT64_C(1000000000) && wait <= UINT64_C(3600000000000));
    }
    return 0;
}
