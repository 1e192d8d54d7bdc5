/* A node's state on disk: whole or not at all, ours alone, in one process's hands; every refusal names the path and the cure. */
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"
#include "tailnet/store/store.h"

enum { CAP = 4096 };

static struct store_calls real;

static void path_in(char *out, size_t cap, const char *dir, const char *name) { snprintf(out, cap, "%s/%s", dir, name); }

/* A directory that is not there yet. */
static const char *fresh_directory(void)
{
    static char path[300];
    static int count;
    char name[40];
    snprintf(name, sizeof name, "store%d-%d", (int)getpid(), count++);
    snprintf(path, sizeof path, "%s", temp_path(name));
    return path;
}

static struct store *open_store(const char *dir)
{
    struct store *s;
    assert_ok(gsi_store_open(&s, dir));
    return s;
}

static void assert_reads(struct store *s, const char *wanted)
{
    char got[CAP];
    int n = (int)assert_ok(gsi_store_read(s, got, sizeof got));
    assert_int_equal(n, strlen(wanted));
    assert_memory_equal(got, wanted, (size_t)n);
}

static void put_file(const char *dir, const char *name, const char *bytes, mode_t mode)
{
    char path[400];
    path_in(path, sizeof path, dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(bytes, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void what_is_written_is_there_after_a_restart(void **state)
{
    (void)state;
    const char *dir = fresh_directory();
    char got[CAP], path[400];
    struct stat st;
    struct store *s = open_store(dir);
    assert_int_equal(gsi_store_read(s, got, sizeof got), 0); /* none yet */
    assert_ok(gsi_store_write(s, "first", 5));
    assert_reads(s, "first");
    assert_ok(gsi_store_write(s, "second, longer", 14));
    gsi_store_close(s);
    s = open_store(dir);
    assert_reads(s, "second, longer");
    assert_ok(gsi_store_write(s, "3", 1));
    assert_reads(s, "3");
    assert_code(gsi_store_write(s, "", 0), -EINVAL);
    gsi_store_close(s);
    assert_true(stat(dir, &st) == 0 && (st.st_mode & 07777) == 0700);
    path_in(path, sizeof path, dir, "state");
    assert_true(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
    path_in(path, sizeof path, dir, "state.new");
    assert_true(stat(path, &st) < 0 && errno == ENOENT);
    gsi_store_close(NULL);
}

static void assert_refused(const char *dir, int code, const char *says)
{
    struct store *s;
    assert_code(gsi_store_open(&s, dir), code);
    assert_non_null(strstr(gs_error_detail(code), says));
    if (*dir)
        assert_non_null(strstr(gs_error_detail(code), dir));
}

static void a_directory_that_is_not_ours_alone_is_refused(void **state)
{
    (void)state;
    char path[400];
    const char *dir = fresh_directory();
    assert_refused("", -EINVAL, "no name");
    path_in(path, sizeof path, dir, "deeper");
    assert_refused(path, -ENOENT, "cannot be made");
    assert_int_equal(mkdir(dir, 0755), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_refused(dir, -EPERM, "chmod 700");
    assert_int_equal(chmod(dir, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(dir, 12345, 12345), 0);
        assert_refused(dir, -EPERM, "belongs to user 12345");
        assert_int_equal(chown(dir, 0, 0), 0);
    }
    path_in(path, sizeof path, dir, "link");
    assert_int_equal(symlink(dir, path), 0);
    assert_refused(path, -ENOTDIR, "symbolic link");
    strcat(path, "//"); /* a slash behind it would follow the link */
    struct store *s;
    assert_code(gsi_store_open(&s, path), -ENOTDIR);
    put_file(dir, "file", "x", 0600);
    path_in(path, sizeof path, dir, "file");
    assert_refused(path, -ENOTDIR, "must be a directory");
}

static void assert_unread(struct store *s, int code, const char *says)
{
    char got[CAP];
    assert_code(gsi_store_read(s, got, sizeof got), code);
    assert_non_null(strstr(gs_error_detail(code), says));
    assert_non_null(strstr(gs_error_detail(code), "/state"));
}

static void a_file_that_is_not_ours_alone_is_not_read(void **state)
{
    (void)state;
    const char *dir = fresh_directory();
    char path[400], other[400], much[CAP + 2];
    struct store *s = open_store(dir);
    path_in(path, sizeof path, dir, "state");
    put_file(dir, "state", "secret", 0640);
    assert_unread(s, -EPERM, "chmod 600");
    put_file(dir, "state", "", 0600);
    assert_unread(s, -EBADMSG, "empty");
    memset(much, 'm', sizeof much);
    much[CAP + 1] = 0;
    put_file(dir, "state", much, 0600);
    assert_unread(s, -EFBIG, "longer");
    char got[CAP];
    assert_code(gsi_store_read(s, got, sizeof got), -EFBIG);
    assert_null(memchr(got, 'm', sizeof got)); /* half a secret is of no use to anybody */
    put_file(dir, "state", much + 1, 0600);
    assert_reads(s, much + 1);
    assert_int_equal(unlink(path), 0);
    put_file(dir, "elsewhere", "secret", 0600);
    path_in(other, sizeof other, dir, "elsewhere");
    assert_int_equal(symlink(other, path), 0);
    assert_unread(s, -EPERM, "symbolic link");
    assert_ok(gsi_store_write(s, "mine", 4)); /* takes the link's place */
    assert_reads(s, "mine");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_unread(s, -EPERM, "no plain file");
    gsi_store_close(s);
}

/* The child's exit code is the call's, made positive. */
static int open_in_child(const char *dir, uid_t uid)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct store *s;
        if (uid && (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0))
            _exit(200);
        int e = gsi_store_open(&s, dir);
        _exit(e < 0 && -e < 200 ? -e : e < 0 ? 201 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

static void two_processes_never_have_one_state(void **state)
{
    (void)state;
    const char *dir = fresh_directory();
    struct store *s = open_store(dir), *again;
    char pid[32];
    snprintf(pid, sizeof pid, "process %d has", (int)getpid());
    assert_int_equal(open_in_child(dir, 0), EBUSY);
    assert_code(gsi_store_open(&again, dir), -EBUSY); /* nor one twice */
    assert_non_null(strstr(gs_error_detail(-EBUSY), pid));
    gsi_store_close(s);
    assert_int_equal(open_in_child(dir, 0), 0); /* who ends lets go */
    if (geteuid() == 0)
        assert_int_equal(open_in_child(dir, 65534), EACCES);
    gsi_store_close(open_store(dir));
}

/* What a node without root does all its life. */
static void nobody_has_a_state_too(void **state)
{
    (void)state;
    enum { NOBODY = 65534 };
    const char *dir = fresh_directory();
    bool root = geteuid() == 0; /* else whoever we are is nobody enough */
    assert_int_equal(mkdir(dir, 0700), 0);
    if (root)
        assert_int_equal(chown(dir, NOBODY, NOBODY), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct store *s;
        char got[CAP];
        /* by its name from within: the directories above may be root's alone */
        if (chdir(dir) < 0 || (root && (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)))
            _exit(200);
        bool ok = gsi_store_open(&s, "mine/") == 0 && gsi_store_read(s, got, sizeof got) == 0 &&
                  gsi_store_write(s, "one", 3) == 0 && gsi_store_write(s, "two", 3) == 0;
        if (!ok)
            _exit(201);
        gsi_store_close(s);
        ok = gsi_store_open(&s, "./mine") == 0 && gsi_store_read(s, got, sizeof got) == 3 && memcmp(got, "two", 3) == 0;
        _exit(ok ? 0 : 202);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
    char path[400];
    path_in(path, sizeof path, dir, "mine");
    if (root)
        assert_refused(path, -EPERM, "belongs to user 65534");
}

/* ---- the directory's own name ---- */

static ino_t watched;
static int synced;

static int counting_fsync(int fd)
{
    struct stat st;
    synced += fstat(fd, &st) == 0 && st.st_ino == watched;
    return real.fsync(fd);
}

/* A directory that the parent forgets after a power cut takes the keys with it. */
static void the_directory_s_name_is_on_disk_before_a_write_answers(void **state)
{
    (void)state;
    char inside[400];
    struct stat st;
    const char *parent = fresh_directory();
    assert_int_equal(mkdir(parent, 0700), 0);
    assert_true(stat(parent, &st) == 0);
    watched = st.st_ino;
    path_in(inside, sizeof inside, parent, "inner");
    gsi_store_calls.fsync = counting_fsync;
    for (int i = 0; i < 2; i++) { /* the first may have been killed just after it made the directory */
        struct store *s = open_store(inside);
        synced = 0;
        assert_ok(gsi_store_write(s, "text", 4));
        assert_int_equal(synced, 1);
        assert_ok(gsi_store_write(s, "text", 4)); /* once is enough */
        assert_int_equal(synced, 1);
        gsi_store_close(s);
    }
    gsi_store_calls = real;
}

/* ---- a failing disk ---- */

static int calls, fail_at, fail_with;
static bool dies;

static bool fails(void)
{
    if (++calls != fail_at)
        return false;
    if (dies)
        _exit(77);
    errno = fail_with;
    return true;
}

static int bad_mkdir(const char *path, mode_t mode) { return fails() ? -1 : real.mkdir(path, mode); }
static int bad_openat(int at, const char *path, int flags, mode_t mode)
{
    return fails() ? -1 : real.openat(at, path, flags, mode);
}
static int bad_fstat(int fd, struct stat *out) { return fails() ? -1 : real.fstat(fd, out); }
static int bad_flock(int fd, int operation) { return fails() ? -1 : real.flock(fd, operation); }
static ssize_t bad_read(int fd, void *to, size_t n) { return fails() ? -1 : real.read(fd, to, n); }
static ssize_t bad_write(int fd, const void *from, size_t n) { return fails() ? -1 : real.write(fd, from, n > 3 ? 3 : n); }
static int bad_ftruncate(int fd, off_t n) { return fails() ? -1 : real.ftruncate(fd, n); }
static int bad_fsync(int fd) { return fails() ? -1 : real.fsync(fd); }
static int bad_renameat(int at, const char *from, int to_at, const char *to)
{
    return fails() ? -1 : real.renameat(at, from, to_at, to);
}
static int bad_unlinkat(int at, const char *path, int flags) { return fails() ? -1 : real.unlinkat(at, path, flags); }
static int bad_close(int fd) /* a failing close has closed */
{
    int r = real.close(fd);
    return fails() ? -1 : r;
}

static void break_disk(int at, int with, bool die)
{
    gsi_store_calls = (struct store_calls){bad_mkdir,     bad_openat, bad_fstat,    bad_flock,    bad_read, bad_write,
                                           bad_ftruncate, bad_fsync,  bad_renameat, bad_unlinkat, bad_close};
    calls = 0;
    fail_at = at;
    fail_with = with;
    dies = die;
}

/* A life with a write; the code of what failed. */
static int live(const char *dir, const char *text)
{
    struct store *s;
    char got[CAP];
    int e = gsi_store_open(&s, dir);
    if (e < 0)
        return e;
    e = gsi_store_read(s, got, sizeof got);
    if (e >= 0)
        e = gsi_store_write(s, text, strlen(text));
    gsi_store_close(s);
    return e;
}

static void assert_old_or_new(const char *dir, bool must_be_new)
{
    char got[CAP];
    gsi_store_calls = real;
    struct store *s = open_store(dir);
    int n = (int)assert_ok(gsi_store_read(s, got, sizeof got));
    bool old = n == 7 && memcmp(got, "the old", 7) == 0, new = n == 13 && memcmp(got, "the brand-new", 13) == 0;
    assert_true(new || (old && !must_be_new));
    assert_ok(gsi_store_write(s, "the old", 7)); /* and it works on */
    gsi_store_close(s);
}

static void each_failing_call_leaves_the_old_or_the_new_file(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EIO, EROFS, EINTR, EDQUOT};
    const char *dir = fresh_directory();
    assert_ok(live(dir, "the old"));
    break_disk(0, 0, false);
    assert_ok(live(dir, "the brand-new"));
    int all = calls, told = 0;
    assert_true(all > 15);
    assert_old_or_new(dir, true);
    for (size_t k = 0; k < sizeof errors / sizeof *errors; k++)
        for (int n = 1; n <= all; n++) {
            break_disk(n, errors[k], false);
            int e = live(dir, "the brand-new");
            assert_true(calls >= n);
            told += e < 0;
            if (e < 0 && e != -EINTR)
                assert_non_null(strstr(gs_error_detail(e), dir));
            assert_old_or_new(dir, e == 0);
        }
    assert_true(told > all);
}

static void a_death_at_each_call_leaves_the_old_or_the_new_file(void **state)
{
    (void)state;
    const char *dir = fresh_directory();
    assert_ok(live(dir, "the old"));
    int deaths = 0;
    for (int n = 1, status = 77 << 8; WEXITSTATUS(status) == 77; n++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            break_disk(n, 0, true);
            _exit(live(dir, "the brand-new") == 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 0);
        deaths += WEXITSTATUS(status) == 77;
        assert_old_or_new(dir, WEXITSTATUS(status) == 0);
    }
    assert_true(deaths > 15);
}

static int init(void **state)
{
    (void)state;
    real = gsi_store_calls;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_there_after_a_restart),
        cmocka_unit_test(a_directory_that_is_not_ours_alone_is_refused),
        cmocka_unit_test(a_file_that_is_not_ours_alone_is_not_read),
        cmocka_unit_test(two_processes_never_have_one_state),
        cmocka_unit_test(nobody_has_a_state_too),
        cmocka_unit_test(the_directory_s_name_is_on_disk_before_a_write_answers),
        cmocka_unit_test(each_failing_call_leaves_the_old_or_the_new_file),
        cmocka_unit_test(a_death_at_each_call_leaves_the_old_or_the_new_file),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
