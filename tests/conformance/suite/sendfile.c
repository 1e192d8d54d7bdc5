/* sendfile.c: files: offsets, lengths, ends. */
#include "suite.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEED = 5, SIZE = 300 * 1000 };

/* A file of SIZE pattern bytes, unlinked already. */
static int make_file(void)
{
    const char *path = temp_path("file");
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint8_t *p = malloc(SIZE);
    assert_true(fd >= 0 && p);
    unlink(path);
    pattern_fill(p, SIZE, SEED, 0);
    assert_int_equal(write(fd, p, SIZE), SIZE);
    free(p);
    return fd;
}

static void expect_part(gs_stream s, uint64_t offset, size_t n)
{
    uint8_t *p = malloc(n);
    assert_non_null(p);
    ssize_t k = gs_stream_recv(s, p, n, n, WAIT_MS);
    size_t right = k > 0 ? pattern_check(p, (size_t)k, SEED, offset) : 0;
    free(p);
    assert_code(k, (long)n);
    assert_int_equal(right, n);
}

static void run_sendfile(struct task *t)
{
    t->result = (long)gs_stream_sendfile(t->stream, (int)t->ref, (off_t)t->seed, t->n);
}

static struct task *sending(struct world *w, int fd, uint64_t offset, size_t n)
{
    struct task *t = task_new(w, run_sendfile);
    t->stream = w->a;
    t->ref = (uint64_t)fd;
    t->seed = offset;
    t->n = n;
    task_go(t);
    return t;
}

static void a_file_goes_by_offset_and_length(struct world *w)
{
    static const struct {
        uint64_t offset;
        size_t n, expect;
    } part[] = {{0, 0, SIZE}, {0, 10, 10}, {12345, 100000, 100000}, {SIZE - 7, 0, 7}, {SIZE, 0, 0}, {SIZE - 7, 7, 7}};
    int fd = make_file();
    for (unsigned owned = 0; owned < 2; owned++) {
        open_pair(w, owned ? A_OWNED : NOBODY, NULL, NULL);
        for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
            struct task *t = sending(w, fd, part[i].offset, part[i].n);
            if (part[i].expect)
                expect_part(w->b, part[i].offset, part[i].expect);
            assert_code(task_result(t), (long)part[i].expect);
        }
        close_all(w);
    }
    close(fd);
}

static void a_short_file_is_eof_and_sends_nothing(struct world *w)
{
    int fd = make_file();
    open_pair(w, NOBODY, NULL, NULL);
    int64_t long_one = gs_stream_sendfile(w->a, fd, 10, SIZE), behind = gs_stream_sendfile(w->a, fd, SIZE + 1, 1);
    close(fd);
    assert_code(long_one, GS_EEOF);
    assert_code(behind, GS_EEOF);
    send_text(w->a, "first");
    recv_text(w->b, "first");
}

static void a_file_keeps_its_place_among_sends(struct world *w)
{
    int fd = make_file();
    open_pair(w, A_OWNED, GS_OPTS(GS_INT(PACKET, GS_PACKET_1)), NULL);
    send_text(w->a, "before");
    struct task *t = sending(w, fd, 0, 0);
    recv_text(w->b, "\6before");
    expect_part(w->b, 0, SIZE); /* unframed */
    assert_code(task_result(t), SIZE);
    send_text(w->a, "after");
    recv_text(w->b, "\5after");
    close(fd);
}

static void sendfile_times_out(struct world *w)
{
    int fd = make_file();
    open_pair(w, NOBODY, GS_OPTS(GS_INT(SEND_TIMEOUT, 10)), NULL);
    int64_t e = 0;
    for (int i = 0; i < 2000 && e >= 0; i++)
        e = gs_stream_sendfile(w->a, fd, 0, 0);
    close(fd);
    assert_code(e, GS_ETIMEOUT);
}

static void sendfile_from_a_pipe_is_refused(struct world *w)
{
    int ends[2];
    open_pair(w, NOBODY, NULL, NULL);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "piped", 5), 5);
    close(ends[1]);
    int64_t e = gs_stream_sendfile(w->a, ends[0], 0, 0);
    close(ends[0]);
    assert_code(e, -ESPIPE); /* it has no offsets */
}

static void careless_sendfile_is_refused(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    int fd = make_file();
    int64_t bad[] = {gs_stream_sendfile(w->a, -1, 0, 0), gs_stream_sendfile(w->a, fd, -1, 0),
                     gs_stream_sendfile(GS_NO_STREAM, fd, 0, 0)};
    close(fd);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_code(bad[i], GS_EBADARG);
    assert_code(gs_stream_sendfile(w->a, fd, 0, 0), -EBADF);
}

CASES(sendfile) = {
    CASE(a_file_goes_by_offset_and_length),
    CASE(a_short_file_is_eof_and_sends_nothing),
    CASE(a_file_keeps_its_place_among_sends),
    CASE(sendfile_times_out),
    CASE(sendfile_from_a_pipe_is_refused),
    CASE(careless_sendfile_is_refused),
    {0},
};
