/* tailnet_noise.c: the first byte chooses who is fed: a client or a server in its handshake, either with the channel open
 * (records are then sealed for it from the input), or the early payload. Whatever comes, what was sealed comes out again and
 * errors are final. */
#include <assert.h>
#include <string.h>

#include "tailnet/noise/noise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t own[KEY_LEN] = {1}, other[KEY_LEN] = {2};

static void fixed_random(void *out, size_t n) { memset(out, 7, n); }

static void feed_all(struct noise *n, const uint8_t *in, size_t len)
{
    uint8_t plain[512];
    ssize_t k = 0;
    for (; len; in += k, len -= (size_t)k) {
        k = gsi_noise_feed(n, in, len);
        if (k < 0) {
            assert(n->state == NOISE_FAILED && gsi_noise_feed(n, in, len) == k && gsi_is_zero(n->receive_key, KEY_LEN));
            return;
        }
        size_t got = 0, more;
        while ((more = gsi_noise_take(n, plain, sizeof plain)) > 0)
            got += more;
        assert((k > 0 || got > 0) && got <= NOISE_PLAIN_MAX);
    }
}

/* As if the handshake had been: the keys are known. */
static void open_with(struct noise *n)
{
    gsi_noise_server(n, own);
    n->state = NOISE_OPEN;
    memset(n->receive_key, 3, KEY_LEN);
    memset(n->send_key, 3, KEY_LEN);
}

static void round_trip(const uint8_t *in, size_t len)
{
    static struct noise a, b;
    uint8_t wire[NOISE_RECORD_MAX], plain[NOISE_PLAIN_MAX];
    open_with(&a);
    open_with(&b);
    for (size_t at = 0; at < len;) {
        ssize_t put = gsi_noise_put(&a, in + at, len - at);
        assert(put > 0);
        size_t n = gsi_noise_output(&a, wire, sizeof wire);
        assert(gsi_noise_feed(&b, wire, n) == (ssize_t)n && gsi_noise_take(&b, plain, sizeof plain) == (size_t)put);
        assert(memcmp(plain, in + at, (size_t)put) == 0);
        at += (size_t)put;
    }
    /* the rest is as it came: hardly ever authentic */
    feed_all(&b, in, len);
}

static void early(const uint8_t *in, size_t len)
{
    static struct early whole, split;
    memset(&whole, 0, sizeof whole);
    memset(&split, 0, sizeof split);
    ssize_t a = gsi_early_feed(&whole, in, len), b = 0;
    for (size_t i = 0; i < len && !split.decided && b >= 0; i++)
        b = gsi_early_feed(&split, in + i, 1);
    assert((a < 0) == (b < 0));
    assert(a < 0 || (whole.n == split.n && whole.present == split.present && whole.decided == split.decided));
    assert(a < 0 || (size_t)a == whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct noise n;
    static uint8_t public[KEY_LEN];
    uint8_t initiation[NOISE_INITIATION_LEN];
    if (gsi_is_zero(public, KEY_LEN)) {
        if (gsi_crypto_init() < 0)
            return 0;
        gsi_random_source = fixed_random;
        gsi_x25519_public(public, other);
    }
    if (!size)
        return 0;
    uint8_t what = data[0] % 5;
    data++, size--;
    if (what == 0 && gsi_noise_client(&n, own, public, 113, initiation) == 0)
        feed_all(&n, data, size);
    if (what == 1) {
        gsi_noise_server(&n, other);
        feed_all(&n, data, size);
    }
    if (what == 2) {
        open_with(&n);
        feed_all(&n, data, size);
    }
    if (what == 3)
        round_trip(data, size);
    if (what == 4)
        early(data, size);
    return 0;
}
