/* recv.c: `gensock recv ADDRESS FILE`: the file appears under its name whole and checked, or not at all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transfer.h"

enum { DRAIN_MS = 2000 };

struct receiving {
    struct cli_args a;
    bool listen;
    int fd;
    gs_stream s;
    uint64_t size, got;
    struct sha256 sum;
    uint8_t digest[SHA256_LEN];
    uint8_t *buf;
    char *temp; /* the partial file beside FILE; NULL when there is none */
};

static int file_error(const struct receiving *t, const char *file)
{
    int e = errno;
    return cli_say(&t->a, e == EACCES || e == EPERM ? CLI_PERMISSION : CLI_FILE, "%s: %s", file, strerror(e));
}

/* Before anybody is asked to send: FILE's folder is there and writable. */
static int check_folder(const struct receiving *t)
{
    const char *file = t->a.arg[1], *slash = strrchr(file, '/');
    char *folder = slash ? strndup(file, (size_t)(slash - file) + 1) : strdup(".");
    if (!folder)
        return cli_say(&t->a, CLI_FAILURE, "no memory");
    int code = access(folder, W_OK | X_OK) == 0 ? CLI_OK : file_error(t, file);
    free(folder);
    return code;
}

/* A hidden file in FILE's folder, so that renaming it is one step. */
static int make_temp(struct receiving *t)
{
    const char *file = t->a.arg[1], *slash = strrchr(file, '/');
    int folder = slash ? (int)(slash - file) + 1 : 0;
    if (asprintf(&t->temp, "%.*s.%s.XXXXXX", folder, file, file + folder) < 0)
        t->temp = NULL;
    t->buf = malloc(TRANSFER_PACKET);
    if (!t->temp || !t->buf)
        return cli_say(&t->a, CLI_FAILURE, "no memory");
    t->fd = mkstemp(t->temp);
    if (t->fd < 0) {
        free(t->temp);
        t->temp = NULL;
        return file_error(t, file);
    }
    return CLI_OK;
}

static int write_all(const struct receiving *t, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(t->fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return file_error(t, t->a.arg[1]);
        p += k;
        n -= (size_t)k;
    }
    return CLI_OK;
}

/* The first packet. */
static int take_head(struct receiving *t)
{
    ssize_t n = transfer_take(&t->a, t->s, t->buf);
    if (n < 0)
        return (int)(-1 - n);
    if (n != TRANSFER_HEAD_LEN || t->buf[0] != 'H' || t->buf[1] != TRANSFER_VERSION)
        return cli_say(&t->a, CLI_PROTOCOL, "the peer is no gensock send of this version");
    t->size = transfer_get64(t->buf + 2);
    return CLI_OK;
}

/* The data and the sender's digest, which stays in the buffer behind its size. */
static int take_data(struct receiving *t, struct cli_progress *p)
{
    for (;;) {
        ssize_t n = transfer_take(&t->a, t->s, t->buf);
        if (n < 0)
            return (int)(-1 - n);
        if (n == TRANSFER_END_LEN && t->buf[0] == 'E')
            return CLI_OK;
        if (t->buf[0] != 'D')
            return cli_say(&t->a, CLI_PROTOCOL, "the peer sent a packet of an unknown kind");
        sha256_feed(&t->sum, t->buf + 1, (size_t)n - 1);
        int code = write_all(t, t->buf + 1, (size_t)n - 1);
        if (code != CLI_OK)
            return code;
        t->got += (uint64_t)n - 1;
        cli_progress_at(p, t->got);
    }
}

static int check(struct receiving *t)
{
    sha256_end(&t->sum, t->digest);
    if (transfer_get64(t->buf + 1) != t->got || memcmp(t->buf + 9, t->digest, SHA256_LEN))
        return cli_say(&t->a, CLI_CHECKSUM, "%s: what arrived has not the SHA-256 of what was sent; it is deleted", t->a.arg[1]);
    return CLI_OK;
}

/* The mode that open(2) would have given it; then its name. */
static int commit(struct receiving *t)
{
    mode_t mask = umask(0);
    umask(mask);
    int fd = t->fd;
    t->fd = -1;
    bool kept = fchmod(fd, 0666 & ~mask) == 0;
    if (close(fd) != 0 || !kept || rename(t->temp, t->a.arg[1]) != 0)
        return file_error(t, t->a.arg[1]);
    free(t->temp);
    t->temp = NULL;
    return CLI_OK;
}

/* Tells the sender, and lets it come to its end: closing on its unread packets would reset the connection and lose the
 * answer. */
static void answer(struct receiving *t, int code)
{
    uint8_t r[TRANSFER_RESULT_LEN] = {'R'};
    r[1] = code == CLI_OK ? TRANSFER_GOOD : code == CLI_CHECKSUM ? TRANSFER_DIFFERS : TRANSFER_NOT_WRITTEN;
    memcpy(r + 2, t->digest, SHA256_LEN);
    if (gs_stream_send(t->s, r, sizeof r) < 0)
        return;
    gs_stream_shutdown(t->s, GS_SHUT_WRITE);
    while (gs_stream_recv(t->s, t->buf, TRANSFER_PACKET, 0, DRAIN_MS) >= 0)
        ;
}

static int transfer(struct receiving *t)
{
    struct cli_progress p;
    sha256_init(&t->sum);
    int code = take_head(t);
    cli_progress_start(&p, t->size);
    if (code == CLI_OK)
        code = take_data(t, &p);
    if (code == CLI_OK)
        code = check(t);
    if (code == CLI_OK)
        code = commit(t);
    double seconds = cli_progress_end(&p);
    if (code == CLI_OK || code == CLI_CHECKSUM || code == CLI_FILE || code == CLI_PERMISSION)
        answer(t, code);
    if (code == CLI_OK)
        transfer_report(&t->a, "received", t->a.arg[1], t->got, t->digest, seconds);
    return cli_finish_stdout(&t->a, code);
}

/* Another thread closes the stream: whatever waits on it ends with `closed`. */
static void interrupt(void *arg) { gs_stream_close(*(gs_stream *)arg); }

static int run(struct receiving *t)
{
    int code = check_folder(t);
    if (code == CLI_OK)
        code = cli_open(&t->a, t->a.arg[0], t->listen, GS_NO_MAILBOX, &t->s);
    if (code != CLI_OK)
        return code;
    cli_signals_hold();
    int e = cli_signals_start(interrupt, &t->s);
    if (e < 0) {
        gs_stream_close(t->s);
        return cli_fail(&t->a, "starting", e);
    }
    code = make_temp(t);
    if (code == CLI_OK)
        code = transfer(t);
    if (t->fd >= 0)
        close(t->fd);
    if (t->temp)
        unlink(t->temp);
    gs_stream_close(t->s);
    int came = cli_signals_stop();
    if (came)
        cli_die_of(came);
    return code;
}

static const char usage[] =
    "ADDRESS FILE [--listen] [--timeout MS] [--json] [--OPTION VALUE …]\n"
    "Receives what a `gensock send` at ADDRESS sends, and writes it to FILE when its SHA-256 is right.\n"
    "  --listen       waits for the sender at ADDRESS, and first prints where\n"
    "  --timeout MS   for connecting, and how long the peer may be silent\n";

int cli_recv(int argc, char **argv)
{
    struct receiving t = {.a = {.command = "recv", .usage = usage, .n_args = 2}, .fd = -1};
    const struct cli_flag flags[] = {{"listen", CLI_FLAG, &t.listen, 0, 0}, {NULL, CLI_FLAG, NULL, 0, 0}};
    transfer_defaults(&t.a);
    int code = cli_parse(&t.a, argc, argv, flags);
    if (code < 0)
        code = transfer_complete(&t.a);
    if (code < 0) {
        code = run(&t);
        free(t.temp);
        free(t.buf);
    }
    return cli_args_fini(&t.a, code);
}
