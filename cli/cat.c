/* cat.c: `gensock cat ADDRESS`: standard input to the peer, the peer to standard output.
 *
 * A mailbox inside a poll loop: one thread waits for standard input and for the stream at once. When the stream's queue is
 * full standard input is left alone until it is drained; at its end the stream is closed for writing, and the peer's end is
 * waited for. When the peer ends first, it may still listen: what standard input has is sent, as long as it comes without a
 * pause.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { READ_SIZE = 64 * 1024, LINE_LIMIT = 64 * 1024 * 1024, TURN = 64, PAUSE_MS = 500 };

struct cat {
    struct cli_args a;
    gs_mailbox mb;
    gs_stream s;
    gs_opt active[2];
    bool hex, listen, verbose;
    bool by_lines;                /* a line of standard input is a packet */
    enum { PAUSES, STAYS, LEAVES } then; /* when the peer ends first: see above; or exit_on_close says what */
    char *in;                     /* input not sent yet: in[at..n) */
    size_t at, n, cap;
    bool in_ended, full, shut, peer_ended, broken;
    int code;
};

/* ---- out: what the peer sent ---- */

static void put_hex(gs_bytes b)
{
    for (size_t i = 0; i < b.n; i++)
        printf("%02x", b.p[i]);
}

static void put_bytes(gs_bytes b)
{
    if (b.n)
        fwrite(b.p, 1, b.n, stdout);
}

static void put_json(const gs_packet *p)
{
    static const char *const kinds[] = {[GS_PK_HTTP_REQUEST] = "http_request", [GS_PK_HTTP_RESPONSE] = "http_response",
                                        [GS_PK_HTTP_HEADER] = "http_header",   [GS_PK_HTTP_EOH] = "http_eoh",
                                        [GS_PK_HTTP_ERROR] = "http_error",     [GS_PK_SSL_TLS] = NULL};
    putchar('{');
    if (kinds[p->kind])
        printf("\"kind\":\"%s\",", kinds[p->kind]);
    if (p->header.n) {
        fputs("\"header\":\"", stdout);
        put_hex(p->header);
        fputs("\",", stdout);
    }
    if (cli_is_utf8(p->data.p, p->data.n)) {
        fputs("\"text\":", stdout);
        cli_json_text(stdout, p->data.p, p->data.n);
    } else {
        fputs("\"hex\":\"", stdout);
        put_hex(p->data);
        putchar('"');
    }
    puts("}");
}

static void put_packet(const struct cat *c, const gs_packet *p)
{
    if (c->a.json) {
        put_json(p);
        return;
    }
    if (c->hex) {
        put_hex(p->header);
        put_hex(p->data);
    } else {
        put_bytes(p->header);
        put_bytes(p->data);
    }
    if (c->by_lines)
        putchar('\n');
}

/* ---- in: what to send ---- */

static int nibble(char d)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF", *at = d ? strchr(digits, d) : NULL;
    return at ? (int)((at - digits) % 16) : -1;
}

/* In place; the length in bytes, or -1. */
static ssize_t parse_hex(char *text, size_t n)
{
    if (n % 2)
        return -1;
    for (size_t i = 0; i < n; i += 2) {
        int high = nibble(text[i]), low = nibble(text[i + 1]);
        if (high < 0 || low < 0)
            return -1;
        text[i / 2] = (char)(high << 4 | low);
    }
    return (ssize_t)(n / 2);
}

/* What of the input can be sent at once: a line, all there is, or nothing yet. *skip: the line's end behind it. */
static bool next_piece(const struct cat *c, size_t *n, size_t *skip)
{
    size_t left = c->n - c->at;
    *n = left;
    *skip = 0;
    if (!c->by_lines || left == 0)
        return left > 0;
    const char *end = memchr(c->in + c->at, '\n', left);
    if (!end)
        return c->in_ended;
    *n = (size_t)(end - (c->in + c->at));
    *skip = 1;
    return true;
}

/* The first cause is told; a connection that fails may say so twice, here and there. */
static void failed(struct cat *c, const char *what, int error)
{
    if (c->code == CLI_OK)
        c->code = cli_fail(&c->a, what, error);
}

static void send_failed(struct cat *c, int error)
{
    failed(c, "sending", error);
    c->in_ended = c->shut = true; /* what the peer sent before it left is still to come */
    c->at = c->n = 0;
}

static void send_input(struct cat *c)
{
    size_t n, skip;
    while (!c->full && !c->shut && next_piece(c, &n, &skip)) {
        char *p = c->in + c->at;
        gs_bytes piece = {(uint8_t *)p, n};
        char *decoded = NULL;
        if (c->hex) { /* in a copy: a full queue sends the line again */
            decoded = malloc(n + 1);
            ssize_t len = decoded ? parse_hex(memcpy(decoded, p, n), n) : -1;
            if (len < 0) {
                free(decoded);
                c->code = cli_say(&c->a, CLI_USAGE, "a line of standard input is not hexadecimal");
                c->broken = true;
                return;
            }
            piece = (gs_bytes){(uint8_t *)decoded, (size_t)len};
        }
        int e = gs_stream_send(c->s, piece.p, piece.n);
        free(decoded);
        if (e >= 0)
            c->at += n + skip;
        else if (e == -EAGAIN)
            c->full = true;
        else
            send_failed(c, e);
    }
    if (c->in_ended && !c->shut && c->at == c->n) {
        int e = gs_stream_shutdown(c->s, GS_SHUT_WRITE);
        c->shut = true;
        if (e < 0 && e != GS_ECLOSED && e != -ENOTCONN)
            send_failed(c, e);
    }
}

static bool make_room(struct cat *c)
{
    if (c->at) {
        memmove(c->in, c->in + c->at, c->n - c->at);
        c->n -= c->at;
        c->at = 0;
    }
    if (c->cap - c->n >= READ_SIZE)
        return true;
    size_t cap = c->cap ? c->cap * 2 : 2 * READ_SIZE;
    char *in = cap <= LINE_LIMIT ? realloc(c->in, cap) : NULL;
    if (!in)
        return false;
    c->in = in;
    c->cap = cap;
    return true;
}

static void read_input(struct cat *c)
{
    if (!make_room(c)) {
        c->code = cli_say(&c->a, CLI_FILE, "a line of standard input is longer than %d bytes", LINE_LIMIT / 2);
        c->broken = true;
        return;
    }
    ssize_t n = read(STDIN_FILENO, c->in + c->n, READ_SIZE);
    if (n < 0 && errno != EINTR && errno != EAGAIN) {
        c->code = cli_say(&c->a, CLI_FILE, "cannot read standard input: %s", strerror(errno));
        c->in_ended = true;
    } else if (n == 0) {
        c->in_ended = true;
    } else if (n > 0) {
        c->n += (size_t)n;
    }
    send_input(c);
}

/* ---- the loop ---- */

static void on_message(struct cat *c, const gs_msg *m)
{
    switch (m->kind) {
    case GS_MSG_DATA:
        put_packet(c, &m->packet);
        if (c->active[0].v.i == GS_ACTIVE_ONCE)
            (void)!gs_stream_setopts(c->s, c->active); /* closed meanwhile: that message follows */
        break;
    case GS_MSG_PASSIVE:
        (void)!gs_stream_setopts(c->s, c->active);
        break;
    case GS_MSG_DRAINED:
        c->full = false;
        send_input(c);
        break;
    case GS_MSG_ERROR:
        failed(c, "the connection", m->error);
        break;
    case GS_MSG_CLOSED:
        c->peer_ended = true;
        if (c->full && c->then == LEAVES)
            c->code = cli_say(&c->a, CLI_CLOSED, "the peer left before it had everything");
        break;
    default:
        break;
    }
}

static int receive_some(struct cat *c)
{
    gs_msg m;
    int e = 0;
    for (int i = 0; i < TURN && (e = gs_receive(c->mb, &m, 0)) == 0 && !c->peer_ended; i++)
        on_message(c, &m);
    if (fflush(stdout) != 0)
        return cli_say(&c->a, CLI_FILE, "cannot write standard output: %s", strerror(errno));
    return e == 0 || e == GS_ETIMEOUT ? CLI_OK : cli_fail(&c->a, "receiving", e);
}

/* The peer has ended, and all that shall be sent is. */
static bool is_done(const struct cat *c) { return c->broken || (c->peer_ended && (c->shut || c->then == LEAVES)); }

/* How long poll may wait; what its end means is in pause_is_over. */
static int patience(const struct cat *c)
{
    if (c->peer_ended && !c->full)
        return c->then == STAYS ? -1 : PAUSE_MS;
    return c->in_ended || c->peer_ended ? c->a.timeout_ms : -1;
}

static int pause_is_over(struct cat *c)
{
    if (!c->peer_ended || c->full)
        return cli_say(&c->a, CLI_TIMEOUT, "the peer is silent since %d ms", c->a.timeout_ms);
    c->in_ended = true;
    send_input(c);
    return CLI_OK;
}

static int wait_once(struct cat *c, int mailbox_fd)
{
    bool reads = !c->in_ended && !c->full;
    struct pollfd wait[] = {{.fd = mailbox_fd, .events = POLLIN}, {.fd = reads ? STDIN_FILENO : -1, .events = POLLIN}};
    int n = poll(wait, 2, patience(c)), code = CLI_OK;
    if (n == 0)
        return pause_is_over(c);
    if (n < 0)
        return errno == EINTR ? CLI_OK : cli_say(&c->a, CLI_FAILURE, "poll: %s", strerror(errno));
    if (wait[0].revents)
        code = receive_some(c);
    if (code == CLI_OK && wait[1].revents)
        read_input(c);
    return code;
}

static int loop(struct cat *c)
{
    int fd = gs_mailbox_fd(c->mb), code = CLI_OK;
    if (fd < 0)
        return cli_fail(&c->a, "waiting", fd);
    while (code == CLI_OK && !is_done(c))
        code = wait_once(c, fd);
    if (code != CLI_OK || c->code != CLI_OK || c->then == LEAVES)
        return code != CLI_OK ? code : c->code;
    int e = gs_stream_flush(c->s, c->a.timeout_ms);
    return e < 0 ? cli_fail(&c->a, "sending", e) : CLI_OK;
}

static void close_stream(void *arg) { gs_stream_close(*(gs_stream *)arg); }

static const char usage[] =
    "ADDRESS [--listen] [--hex] [-v] [--timeout MS] [--json] [--OPTION VALUE …]\n"
    "Standard input goes to the peer, what the peer sends to standard output. The end of standard input closes the stream for\n"
    "writing; the command ends when the peer ends.\n"
    "When the peer ends first, standard input is still sent until it pauses for 500 ms; with --exit_on_close false to its\n"
    "end, with true not at all.\n"
    "  --listen       waits for one connection at ADDRESS, and first prints where\n"
    "  --hex          lines of hexadecimal digits, each a packet, in both directions\n"
    "  -v, --verbose  tells on stderr what TLS agreed on: version, cipher, ALPN, who was verified, whether it was resumed; on a\n"
    "                 tailnet who the peer is, and the path\n"
    "  --timeout MS   for connecting; and how long the peer may be silent after the end of standard input\n"
    "  --json         each packet that arrives is a line {\"text\":…}, or {\"hex\":…} when it is not UTF-8\n"
    "With --packet 1, 2 or 4 each line of standard input is a packet, without its newline, and each packet that arrives is\n"
    "printed as a line. With the other types standard input is sent as it is (they add no header), and packets are printed as\n"
    "they came.\n";

static void init(struct cat *c)
{
    const gs_opt *packet = cli_opt(&c->a, GS_OPT_PACKET), *exit_on_close = cli_opt(&c->a, GS_OPT_EXIT_ON_CLOSE);
    int64_t type = packet ? packet->v.i : GS_PACKET_RAW;
    c->by_lines = c->hex || type == GS_PACKET_1 || type == GS_PACKET_2 || type == GS_PACKET_4;
    if (exit_on_close >= c->a.opts + c->a.n_defaults)
        c->then = exit_on_close->v.i ? LEAVES : STAYS;
    c->active[0] = *cli_opt(&c->a, GS_OPT_ACTIVE);
}

int cli_cat(int argc, char **argv)
{
    struct cat c = {.a = {.command = "cat", .usage = usage, .n_args = 1}};
    const struct cli_flag flags[] = {{"hex", CLI_FLAG, &c.hex, 0, 0},
                                     {"listen", CLI_FLAG, &c.listen, 0, 0},
                                     {"verbose", CLI_FLAG, &c.verbose, 0, 0},
                                     {NULL, CLI_FLAG, NULL, 0, 0}};
    cli_default(&c.a, (gs_opt)GS_INT(ACTIVE, GS_ACTIVE_TRUE));
    cli_default(&c.a, (gs_opt)GS_INT(EXIT_ON_CLOSE, false));
    int code = cli_parse(&c.a, argc, argv, flags);
    if (code < 0)
        code = cli_check_active(&c.a);
    if (code >= 0)
        return cli_args_fini(&c.a, code);
    cli_nowait_sends(&c.a);
    init(&c);

    int e = gs_mailbox_new(&c.mb);
    if (e < 0)
        return cli_args_fini(&c.a, cli_fail(&c.a, "starting", e));
    code = cli_open(&c.a, c.a.arg[0], c.listen, c.mb, &c.s);
    if (code == CLI_OK && c.verbose && !cli_tailnet_tell(&c.a, "connected", c.s))
        cli_tls_tell(&c.a, c.s);
    if (code == CLI_OK) {
        cli_signals_at_death(close_stream, &c.s);
        code = loop(&c);
        cli_signals_at_death(NULL, NULL);
    }
    code = cli_finish_stdout(&c.a, code);
    gs_mailbox_free(c.mb);
    free(c.in);
    return cli_args_fini(&c.a, code);
}
