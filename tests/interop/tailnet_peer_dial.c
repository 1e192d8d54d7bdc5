/* The diallers of tailnet_peer and their checks; tests/interop/tsnet/talk.go has the same, and says what each does. */
#include "tailnet_peer.h"
#include "tailnet_peer_bytes.h"
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { TOLD_MAX = 16, PINGS = 4000, WARM = 200, PINGS_MAX = 20000, RESEND_MS = 500 };

hash *hash_new(void)
{
    hash *h = EVP_MD_CTX_new();
    if (!h || EVP_DigestInit_ex(h, EVP_sha256(), NULL) != 1)
        abort();
    return h;
}

void hash_add(hash *h, const void *p, size_t n)
{
    if (EVP_DigestUpdate(h, p, n) != 1)
        abort();
}

void hash_end(hash *h, char text[SUM_TEXT])
{
    uint8_t sum[32];
    if (EVP_DigestFinal_ex(h, sum, NULL) != 1)
        abort();
    for (int i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", sum[i]);
    EVP_MD_CTX_free(h);
}

uint64_t random_seed(void)
{
    uint64_t x;
    if (getrandom(&x, sizeof x, 0) != sizeof x)
        abort();
    return x | 1;
}

void random_fill(uint64_t *state, void *p, size_t n)
{
    uint8_t *out = p;
    for (size_t i = 0; i < n; i += 8) { /* xorshift64 */
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        memcpy(out + i, state, n - i < 8 ? n - i : 8);
    }
}

void reverse(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        uint8_t x = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = x;
    }
}

/* ---- one connection ---- */

typedef struct {
    gs_stream s;
    const command *c;
    int64_t bytes; /* to send; afterwards what was sent */
    int pause_ms, ms;
    int e;
    char sum[SUM_TEXT];
} sender;

/* Sends `bytes` random bytes, or for `ms` a block of that many every pause_ms; then ends its direction. */
static void *run_sender(void *arg)
{
    sender *v = arg;
    char *block = malloc(BLOCK);
    uint64_t seed = random_seed();
    hash *h = hash_new();
    int64_t sent = 0, end = now_ms() + v->ms;
    while (block && v->e == 0 && (v->ms ? now_ms() < end : sent < v->bytes)) {
        size_t n = v->ms ? (size_t)v->bytes : v->bytes - sent < BLOCK ? (size_t)(v->bytes - sent) : BLOCK;
        random_fill(&seed, block, n);
        hash_add(h, block, n);
        if ((v->e = gs_stream_send(v->s, block, n)) == 0)
            sent += (int64_t)n;
        if (v->ms)
            usleep((useconds_t)v->pause_ms * 1000);
    }
    hash_end(h, v->sum);
    free(block);
    v->bytes = sent;
    if (v->e == 0)
        v->e = gs_stream_shutdown(v->s, GS_SHUT_WRITE);
    return NULL;
}

static int compare(answer *a, const sender *v, int64_t bytes, const char *sum)
{
    put_int(a, "bytes", bytes);
    put_text(a, "sha256", sum);
    if (bytes != v->bytes || strcmp(sum, v->sum))
        return answer_fail(a, MISMATCH, "sent %lld bytes %s, got %lld bytes %s", (long long)v->bytes, v->sum,
            (long long)bytes, sum);
    return 0;
}

static int echo_and_check(gs_stream s, const command *c, answer *a, bool flow)
{
    int64_t block = command_number(c, "bytes", 1000), got = 0, gap = 0, last = now_ms();
    sender v = {.s = s, .c = c, .bytes = flow && block > BLOCK ? BLOCK : block,
        .ms = flow ? (int)command_number(c, "ms", 1000) : 0,
        .pause_ms = (int)command_number(c, "pause_ms", 1)};
    pthread_t t;
    char sum[SUM_TEXT], *buf = malloc(BLOCK);
    if (!buf || pthread_create(&t, NULL, run_sender, &v) != 0)
        abort();
    hash *h = hash_new();
    ssize_t n;
    while ((n = gs_stream_recv(s, buf, BLOCK, 0, command_left_ms(c))) > 0) {
        int64_t now = now_ms();
        gap = now - last > gap ? now - last : gap;
        last = now;
        hash_add(h, buf, (size_t)n);
        got += n;
    }
    hash_end(h, sum);
    free(buf);
    if (n != GS_ECLOSED)
        gs_stream_close(s);
    pthread_join(t, NULL);
    if (flow)
        put_int(a, "gap_ms", gap);
    if (v.e < 0 || n != GS_ECLOSED)
        return answer_fail(a, n != GS_ECLOSED ? (int)n : v.e, "sent %lld bytes, %lld came back; sending: %s, receiving: %s",
            (long long)v.bytes, (long long)got, gs_error_name(v.e), gs_error_name((int)n));
    return compare(a, &v, got, sum);
}

static int use_exchange(gs_stream s, const command *c, answer *a) { return echo_and_check(s, c, a, false); }
static int use_flow(gs_stream s, const command *c, answer *a) { return echo_and_check(s, c, a, true); }

/* One line, without its end. Its length, or an error. */
static ssize_t read_line(gs_stream s, const command *c, char *line, size_t cap)
{
    size_t n = 0;
    while (n < cap - 1) {
        ssize_t got = gs_stream_recv(s, line + n, cap - 1 - n, 0, command_left_ms(c));
        if (got < 0)
            return got;
        n += (size_t)got;
        char *end = memchr(line, '\n', n);
        if (end) {
            *end = '\0';
            return end - line;
        }
    }
    return -EMSGSIZE;
}

static int use_answer(gs_stream s, const command *c, answer *a)
{
    sender v = {.s = s, .c = c, .bytes = command_number(c, "bytes", 1000)};
    char line[256], sum[SUM_TEXT];
    long long bytes;
    run_sender(&v);
    ssize_t n = v.e < 0 ? v.e : read_line(s, c, line, sizeof line);
    if (n < 0)
        return (int)n;
    if (sscanf(line, "{\"bytes\":%lld,\"sha256\":\"%64[0-9a-f]\"}", &bytes, sum) != 2)
        return answer_fail(a, MISMATCH, "told: %s", line);
    return compare(a, &v, bytes, sum);
}

static int use_frames(gs_stream s, const command *c, answer *a)
{
    static const size_t sizes[] = {0, 1, 3, 4, 1239, 1240, 1241, 4096, 65535, 70000};
    int64_t n = command_number(c, "n", 1);
    uint64_t seed = random_seed();
    uint8_t *out = malloc(FRAME_MAX), *in = malloc(FRAME_MAX);
    if (!out || !in)
        abort();
    int e = 0;
    for (int64_t i = 0; i < n && e == 0; i++) {
        size_t size = sizes[i % 10];
        random_fill(&seed, out, size);
        ssize_t got = 0;
        if ((e = gs_stream_send(s, out, size)) < 0 || (got = gs_stream_recv(s, in, FRAME_MAX, 0, command_left_ms(c))) < 0)
            e = e < 0 ? e : (int)got;
        reverse(in, got > 0 ? (size_t)got : 0);
        if (e == 0 && ((size_t)got != size || memcmp(in, out, size)))
            e = answer_fail(a, MISMATCH, "frame %lld of %zu bytes came back as %zd", (long long)i, size, got);
    }
    if (e == 0 && (e = gs_stream_shutdown(s, GS_SHUT_WRITE)) == 0) {
        ssize_t more = gs_stream_recv(s, in, FRAME_MAX, 0, command_left_ms(c));
        if (more != GS_ECLOSED)
            e = answer_fail(a, MISMATCH, "after the last frame: %zd", more);
    }
    free(out);
    free(in);
    put_int(a, "n", n);
    return e;
}

static int use_who(gs_stream s, const command *c, answer *a)
{
    char line[8192];
    ssize_t n = read_line(s, c, line, sizeof line);
    if (n < 0)
        return (int)n;
    if (line[0] != '{' || line[n - 1] != '}')
        return answer_fail(a, MISMATCH, "told: %s", line);
    line[n - 1] = '\0';
    fprintf(a->f, ",%s", line + 1);
    return 0;
}

static int use_reset(gs_stream s, const command *c, answer *a)
{
    char buf[100];
    int e = gs_stream_send(s, "ab", 2);
    ssize_t n = e < 0 ? e : gs_stream_recv(s, buf, sizeof buf, 0, command_left_ms(c));
    return n < 0 ? (int)n : answer_fail(a, MISMATCH, "%zd bytes came from who should have reset", n);
}

static int use_connect(gs_stream s, const command *c, answer *a)
{
    (void)s, (void)c, (void)a;
    return 0;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* bulk: `bytes` to a listener of mode bench, which counts them. */
static int use_bulk(gs_stream s, const command *c, answer *a)
{
    int64_t size = command_number(c, "bytes", 1000), left = size;
    char line[64], *block = malloc(BLOCK);
    uint64_t seed = random_seed();
    if (!block)
        abort();
    random_fill(&seed, block, BLOCK);
    block[0] = 'b';
    int e = 0;
    double began = seconds();
    for (; left > 0 && e == 0; left -= BLOCK)
        e = gs_stream_send(s, block, left < BLOCK ? (size_t)left : BLOCK);
    free(block);
    if (e == 0)
        e = gs_stream_shutdown(s, GS_SHUT_WRITE);
    ssize_t n = e < 0 ? e : read_line(s, c, line, sizeof line);
    if (n < 0)
        return (int)n;
    put_real(a, "gbit_s", (double)size * 8 / 1e9 / (seconds() - began));
    return strtoll(line, NULL, 10) == size - 1 ? 0 : answer_fail(a, MISMATCH, "%s bytes came of %lld", line, (long long)size - 1);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void sleep_until(double when)
{
    struct timespec t = {.tv_sec = (time_t)when, .tv_nsec = (long)((when - (double)(time_t)when) * 1e9)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* pingpong: 64 bytes there and back, again and again, as fast as they come; or for `ms`, one each millisecond. */
static int use_pingpong(gs_stream s, const command *c, answer *a)
{
    static double took[PINGS_MAX];
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER; /* of took */
    char msg[64] = "x", back[64];
    int64_t ms = command_number(c, "ms", 0);
    int e = gs_stream_send(s, "p", 1), n = 0;
    double due = seconds(), end = due + (double)ms / 1000;
    pthread_mutex_lock(&one);
    for (int i = 0; e == 0 && n < PINGS_MAX && (ms ? due < end : i < PINGS + WARM); i++) {
        if (ms)
            sleep_until(due += 0.001);
        double began = seconds();
        ssize_t got = 0;
        if ((e = gs_stream_send(s, msg, 64)) == 0 && (got = gs_stream_recv(s, back, 64, 64, command_left_ms(c))) != 64)
            e = got < 0 ? (int)got : MISMATCH;
        double now = seconds();
        if (i >= WARM)
            took[n++] = now - began;
        if (now - due > 0.001)
            due = now; /* what was late is not made good */
    }
    if (e == 0 && n == 0)
        e = answer_fail(a, GS_EBADARG, "%lld ms are too few", (long long)ms);
    if (e == 0) {
        qsort(took, (size_t)n, sizeof *took, by_size);
        put_real(a, "p50_us", took[n / 2] * 1e6);
        put_real(a, "p99_us", took[n * 99 / 100] * 1e6);
        put_real(a, "max_us", took[n - 1] * 1e6);
    }
    pthread_mutex_unlock(&one);
    return e;
}

/* One of idle: used for one byte, then kept as long as the process lives. */
static int use_idle(gs_stream s, const command *c, answer *a)
{
    char b = 'i';
    (void)a;
    int e = gs_stream_send(s, &b, 1);
    ssize_t n = e < 0 ? e : gs_stream_recv(s, &b, 1, 1, command_left_ms(c));
    return n < 0 ? (int)n : 0;
}

typedef int use_fn(gs_stream s, const command *c, answer *a);
static const struct {
    const char *mode;
    use_fn *use;
} uses[] = {{"exchange", use_exchange}, {"answer", use_answer}, {"frames", use_frames}, {"flow", use_flow}, {"who", use_who},
    {"rst", use_reset}, {"connect", use_connect}, {"bulk", use_bulk}, {"pingpong", use_pingpong}};

static int dial_once(const command *c, answer *a, gs_tailnet id, use_fn *use)
{
    char address[256];
    const char *to = command_text(c, "to");
    double began = seconds();
    gs_stream s;
    snprintf(address, sizeof address, "tailnet://%s", to ? to : "");
    gs_opt opts[] = {{.name = GS_OPT_TAILNET_NODE, .v.i = (int64_t)id.id},
        GS_INT(PACKET, use == use_frames ? GS_PACKET_4 : GS_PACKET_RAW), GS_INT(EXIT_ON_CLOSE, false),
        GS_INT(SHOW_ECONNRESET, true), GS_INT(NODELAY, true), GS_INT(SEND_TIMEOUT, command_left_ms(c)), {.name = GS_OPT_END}};
    int e = gs_stream_connect(&s, address, opts, GS_NO_MAILBOX, command_left_ms(c));
    if (e < 0)
        return e;
    put_real(a, "connect_ms", (seconds() - began) * 1000);
    e = use(s, c, a);
    if (use != use_idle || e < 0)
        gs_stream_close(s);
    put_real(a, "ms", (seconds() - began) * 1000);
    return e;
}

/* ---- many connections ---- */

static int dial_idle(const command *c, gs_tailnet id)
{
    int e = 0;
    for (int64_t i = command_number(c, "n", 1); i > 0 && e == 0; i--) {
        answer a = {.f = fopen("/dev/null", "we")}; /* what each took */
        if (!a.f)
            return -errno;
        e = dial_once(c, &a, id, use_idle);
        fclose(a.f);
    }
    return e;
}

typedef struct {
    const command *c;
    gs_tailnet id;
    pthread_mutex_t lock;
    int64_t next, n;
    struct {
        char name[128];
        int64_t count;
    } told[TOLD_MAX];
    int64_t failed;
    char failure[600];
} many;

static void count(many *m, const char *text)
{
    const char *at = strstr(text, "\"node\":\"");
    char name[128] = "(nobody)";
    if (at)
        sscanf(at + 8, "%127[^\"]", name);
    for (int i = 0; i < TOLD_MAX; i++)
        if (!m->told[i].count || !strcmp(m->told[i].name, name)) {
            memcpy(m->told[i].name, name, sizeof name);
            m->told[i].count++;
            return;
        }
}

static void *run_many(void *arg)
{
    many *m = arg;
    for (;;) {
        pthread_mutex_lock(&m->lock);
        bool mine = m->next < m->n && command_left_ms(m->c) > 0;
        m->next += mine;
        pthread_mutex_unlock(&m->lock);
        if (!mine)
            return NULL;
        answer a = {0};
        a.f = open_memstream(&a.text, &a.n);
        if (!a.f)
            abort();
        int e = dial_once(m->c, &a, m->id, use_who);
        fclose(a.f);
        pthread_mutex_lock(&m->lock);
        if (e == 0)
            count(m, a.text);
        else if (m->failed++ == 0)
            snprintf(m->failure, sizeof m->failure, "%s %s", gs_error_name(e), a.detail[0] ? a.detail : gs_error_detail(e));
        pthread_mutex_unlock(&m->lock);
        free(a.text);
    }
}

static int dial_many(const command *c, answer *a, gs_tailnet id)
{
    many m = {.c = c, .id = id, .lock = PTHREAD_MUTEX_INITIALIZER, .n = command_number(c, "n", 1)};
    pthread_t threads[64];
    int64_t parallel = command_number(c, "parallel", 1);
    size_t k = 0;
    while (k < 64 && (int64_t)k < parallel && pthread_create(&threads[k], NULL, run_many, &m) == 0)
        k++;
    for (size_t i = 0; i < k; i++)
        pthread_join(threads[i], NULL);
    put_key(a, "told");
    fputc('{', a->f);
    for (int i = 0; i < TOLD_MAX && m.told[i].count; i++) {
        fputs(i ? "," : "", a->f);
        print_json_text(a->f, m.told[i].name);
        fprintf(a->f, ":%lld", (long long)m.told[i].count);
    }
    fputc('}', a->f);
    if (m.failed)
        return answer_fail(a, OTHER, "%lld failed, the first: %s", (long long)m.failed, m.failure);
    return m.next < m.n ? GS_ETIMEOUT : 0;
}

/* dial {node, to, mode, bytes, ms, pause_ms, n, parallel} */
int peer_dial(const command *c, answer *a)
{
    peer_node n;
    const char *mode = command_text(c, "mode");
    int e = find_node(c, a, &n);
    if (e < 0)
        return e;
    if (mode && !strcmp(mode, "many"))
        return dial_many(c, a, n.id);
    if (mode && !strcmp(mode, "idle"))
        return dial_idle(c, n.id);
    for (size_t i = 0; mode && i < sizeof uses / sizeof *uses; i++)
        if (!strcmp(uses[i].mode, mode))
            return dial_once(c, a, n.id, uses[i].use);
    return answer_fail(a, GS_EBADARG, "no mode %s", mode ? mode : "");
}

/* ---- datagrams ---- */

static int resolve(const command *c, answer *a, gs_tailnet id, gs_addr *out)
{
    const char *to = command_text(c, "to"), *colon = to ? strrchr(to, ':') : NULL;
    char name[256];
    if (!colon)
        return answer_fail(a, GS_EBADARG, "to is name:port");
    if (*to == '[')
        return gs_addr_parse(out, to);
    snprintf(name, sizeof name, "%.*s", (int)(colon - to), to);
    int n = gs_tailnet_resolve(id, name, out, 1);
    return n < 0 ? n : gs_addr_set_port(out, (uint16_t)atoi(colon + 1));
}

/* Sends one until it comes back. late: one that was sent twice may come twice. 0, or an error. */
static int there_and_back(gs_socket s, const command *c, answer *a, const uint8_t *body, size_t size, int64_t *sent, bool *late)
{
    static const size_t room = 65536;
    uint8_t *back = malloc(room);
    int e = GS_ETIMEOUT;
    while (back && e == GS_ETIMEOUT && command_left_ms(c) > 0) {
        ssize_t n = gs_socket_send(s, body, size, 0, GS_MS(1000));
        if (n < 0) {
            e = (int)n;
            break;
        }
        ++*sent;
        for (int64_t end = now_ms() + RESEND_MS; e == GS_ETIMEOUT && now_ms() < end;) {
            n = gs_socket_recv(s, back, room, 0, GS_MS(RESEND_MS));
            if (n == GS_ETIMEOUT)
                break;
            if (n < 0)
                e = (int)n;
            else if ((size_t)n == size && !memcmp(back, body, size))
                e = 0;
            else if (!*late)
                e = answer_fail(a, MISMATCH, "a datagram of %zu bytes came back as %zd", size, n);
        }
        *late |= e == GS_ETIMEOUT;
    }
    free(back);
    return e;
}

/* udp {node, to, sizes} */
int peer_udp(const command *c, answer *a)
{
    peer_node n;
    gs_addr to;
    gs_socket s;
    int64_t sizes[64], sent = 0;
    int e = find_node(c, a, &n);
    if (e < 0 || (e = resolve(c, a, n.id, &to)) < 0 || (e = gs_tailnet_socket(n.id, gs_addr_family(&to), SOCK_DGRAM, 0, &s)) < 0)
        return e;
    size_t k = command_numbers(c, "sizes", sizes, 64), i = 0;
    uint64_t seed = random_seed();
    uint8_t *body = malloc(65536);
    bool late = false;
    e = body ? gs_socket_connect(s, &to, GS_MS(1000)) : -ENOMEM;
    for (; e == 0 && i < k; i++) {
        size_t size = (size_t)(sizes[i] < 65536 ? sizes[i] : 65535);
        random_fill(&seed, body, size);
        if ((e = there_and_back(s, c, a, body, size, &sent, &late)) < 0)
            break;
    }
    free(body);
    gs_socket_close(s);
    put_int(a, "came", (int64_t)i);
    put_int(a, "sent", sent);
    return e;
}
