/* send.c: `gensock send FILE ADDRESS`: what is hashed is what is sent, also when the file changes meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transfer.h"

struct sending {
    struct cli_args a;
    bool listen;
    int fd;
    gs_stream s;
    uint64_t size; /* UINT64_MAX: not known, a pipe */
    uint64_t sent;
    struct sha256 sum;
    uint8_t digest[SHA256_LEN];
    uint8_t *buf;
};

static int open_file(struct sending *t)
{
    const char *file = t->a.arg[0];
    struct stat st;
    t->fd = strcmp(file, "-") ? open(file, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
    if (t->fd < 0 || fstat(t->fd, &st) != 0)
        return cli_say(&t->a, errno == EACCES ? CLI_PERMISSION : CLI_FILE, "%s: %s", file, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return cli_say(&t->a, CLI_FILE, "%s: is a folder; send one file, or the output of tar through -", file);
    t->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : UINT64_MAX;
    t->buf = malloc(TRANSFER_PACKET);
    return t->buf ? CLI_OK : cli_say(&t->a, CLI_FAILURE, "no memory");
}

/* Checks the receiver's verdict in buf[0..n). */
static int judge(const struct sending *t, size_t n)
{
    const uint8_t *r = t->buf;
    if (n != TRANSFER_RESULT_LEN || r[0] != 'R')
        return cli_say(&t->a, CLI_PROTOCOL, "the peer's answer is not that of gensock recv");
    if (r[1] == TRANSFER_NOT_WRITTEN)
        return cli_say(&t->a, CLI_FILE, "the receiver could not write the file");
    if (r[1] != TRANSFER_GOOD || memcmp(r + 2, t->digest, SHA256_LEN))
        return cli_say(&t->a, CLI_CHECKSUM, "the receiver has another SHA-256: the file did not arrive as it was sent");
    return CLI_OK;
}

/* An answer before the end means that the receiver cannot go on. */
static int look_for_answer(struct sending *t)
{
    ssize_t n = gs_stream_recv(t->s, t->buf, TRANSFER_PACKET, 0, 0);
    if (n == GS_ETIMEOUT)
        return CLI_OK;
    if (n < 0)
        return cli_fail(&t->a, "sending", (int)n);
    int code = judge(t, (size_t)n);
    return code == CLI_OK ? cli_say(&t->a, CLI_PROTOCOL, "the peer answered before the end") : code;
}

static int send_packet(const struct sending *t, size_t n)
{
    int e = gs_stream_send(t->s, t->buf, n);
    return e < 0 ? cli_fail(&t->a, "sending", e) : CLI_OK;
}

static int send_head(struct sending *t)
{
    t->buf[0] = 'H';
    t->buf[1] = TRANSFER_VERSION;
    transfer_put64(t->buf + 2, t->size);
    return send_packet(t, TRANSFER_HEAD_LEN);
}

static int send_data(struct sending *t, struct cli_progress *p)
{
    for (;;) {
        int code = look_for_answer(t);
        if (code != CLI_OK)
            return code;
        ssize_t n = read(t->fd, t->buf + 1, TRANSFER_DATA);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cli_say(&t->a, CLI_FILE, "%s: %s", t->a.arg[0], strerror(errno));
        if (n == 0)
            return CLI_OK;
        sha256_feed(&t->sum, t->buf + 1, (size_t)n);
        t->buf[0] = 'D';
        code = send_packet(t, 1 + (size_t)n);
        if (code != CLI_OK)
            return code;
        t->sent += (uint64_t)n;
        cli_progress_at(p, t->sent);
    }
}

static int send_end(struct sending *t)
{
    sha256_end(&t->sum, t->digest);
    t->buf[0] = 'E';
    transfer_put64(t->buf + 1, t->sent);
    memcpy(t->buf + 9, t->digest, SHA256_LEN);
    int code = send_packet(t, TRANSFER_END_LEN);
    if (code != CLI_OK)
        return code;
    ssize_t n = transfer_take(&t->a, t->s, t->buf);
    return n < 0 ? (int)(-1 - n) : judge(t, (size_t)n);
}

static int transfer(struct sending *t)
{
    struct cli_progress p;
    cli_progress_start(&p, t->size);
    sha256_init(&t->sum);
    int code = send_head(t);
    if (code == CLI_OK)
        code = send_data(t, &p);
    if (code == CLI_OK)
        code = send_end(t);
    double seconds = cli_progress_end(&p);
    if (code == CLI_OK)
        transfer_report(&t->a, "sent", t->a.arg[0], t->sent, t->digest, seconds);
    return cli_finish_stdout(&t->a, code);
}

static void close_stream(void *arg) { gs_stream_close(*(gs_stream *)arg); }

static const char usage[] =
    "FILE ADDRESS [--listen] [--timeout MS] [--json] [--OPTION VALUE …]\n"
    "Sends FILE (- is standard input) to a `gensock recv` at ADDRESS, and checks by SHA-256 that it arrived.\n"
    "  --listen       waits for the receiver at ADDRESS, and first prints where\n"
    "  --timeout MS   for connecting, and how long the peer may stop reading or answering\n";

int cli_send(int argc, char **argv)
{
    struct sending t = {.a = {.command = "send", .usage = usage, .n_args = 2}, .fd = -1};
    const struct cli_flag flags[] = {{"listen", CLI_FLAG, &t.listen, 0, 0}, {NULL, CLI_FLAG, NULL, 0, 0}};
    transfer_defaults(&t.a);
    int code = cli_parse(&t.a, argc, argv, flags);
    if (code < 0)
        code = transfer_complete(&t.a);
    if (code >= 0)
        return cli_args_fini(&t.a, code);
    code = open_file(&t);
    if (code == CLI_OK)
        code = cli_open(&t.a, t.a.arg[1], t.listen, GS_NO_MAILBOX, &t.s);
    if (code == CLI_OK) {
        cli_signals_at_death(close_stream, &t.s);
        code = transfer(&t);
        cli_signals_at_death(NULL, NULL);
        gs_stream_close(t.s);
    }
    if (t.fd >= 0)
        close(t.fd);
    free(t.buf);
    return cli_args_fini(&t.a, code);
}
