/* store.c: store.h. Everything is looked up from the directory's descriptor, and no symbolic link is followed: who may write to a
 * directory above must not get at a node's keys by a link. */
#include "tailnet/store/store.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { DIRECTORY_MODE = 0700, FILE_MODE = 0600, OTHERS = 0077, PID_TEXT = 16 };

#define STATE "state"
#define FRESH "state.new"
#define LOCK "lock"

static int real_openat(int at, const char *path, int flags, mode_t mode) { return openat(at, path, flags, mode); }

struct store_calls gsi_store_calls = {
    .mkdir = mkdir, .openat = real_openat, .fstat = fstat, .flock = flock, .read = read, .write = write, .ftruncate = ftruncate,
    .fsync = fsync, .renameat = renameat, .unlinkat = unlinkat, .close = close,
};
#define sys gsi_store_calls

struct store {
    int dir, lock;
    bool rooted; /* the directory's own name is on disk */
    char path[]; /* for details */
};

static const char *reason(int error) { return gs_error_text(error); }

static int fail(int error, const struct store *s, const char *name, const char *what)
{
    return gs_fail(error, "%s/%s: %s: %s", s->path, name, what, reason(error));
}

/* A descriptor, or -errno. */
static int open_in(int dir, const char *name, int flags)
{
    int fd;
    do
        fd = sys.openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/* Ours alone? */
static int check_private(const struct store *s, int fd, const char *name, mode_t type)
{
    struct stat st;
    if (sys.fstat(fd, &st) < 0)
        return fail(-errno, s, name, "cannot be looked at");
    if ((st.st_mode & S_IFMT) != type)
        return gs_fail(type == S_IFDIR ? -ENOTDIR : -EPERM, "%s/%s: is no %s", s->path, name,
                       type == S_IFDIR ? "directory" : "plain file");
    if (st.st_uid != geteuid())
        return gs_fail(-EPERM, "%s/%s: belongs to user %u, not to this one (%u): use a state directory of your own", s->path,
                       name, (unsigned)st.st_uid, (unsigned)geteuid());
    if (st.st_mode & OTHERS)
        return gs_fail(-EPERM, "%s/%s: others may get at the keys in it (mode %o): chmod %o it, and think of the keys as known",
                       s->path, name, (unsigned)(st.st_mode & 07777), type == S_IFDIR ? DIRECTORY_MODE : FILE_MODE);
    return 0;
}

/* ---- opening ---- */

static int open_directory(struct store *s)
{
    bool made = sys.mkdir(s->path, DIRECTORY_MODE) == 0;
    if (!made && errno != EEXIST)
        return gs_fail(-errno, "%s: the state directory cannot be made: %s", s->path, reason(-errno));
    int fd = open_in(AT_FDCWD, s->path, O_RDONLY | O_DIRECTORY);
    if (fd == -ENOTDIR || fd == -ELOOP)
        return gs_fail(-ENOTDIR, "%s: the state directory must be a directory, and no symbolic link", s->path);
    if (fd < 0)
        return gs_fail(fd, "%s: the state directory cannot be opened: %s", s->path, reason(fd));
    s->dir = fd;
    return check_private(s, fd, "", S_IFDIR);
}

static int is_locked(const struct store *s, int fd)
{
    char pid[PID_TEXT + 1];
    ssize_t n = sys.read(fd, pid, PID_TEXT);
    pid[n > 0 ? n : 0] = 0;
    pid[strspn(pid, "0123456789")] = 0;
    return gs_fail(-EBUSY, "%s: %sprocess%s%s has this state open: end it, or use another state directory", s->path,
                   *pid ? "" : "another ", *pid ? " " : "", pid);
}

static int take_lock(struct store *s)
{
    char pid[PID_TEXT];
    int fd = open_in(s->dir, LOCK, O_RDWR | O_CREAT);
    if (fd < 0)
        return fail(fd, s, LOCK, "cannot be opened");
    s->lock = fd;
    int e = check_private(s, fd, LOCK, S_IFREG);
    if (e < 0)
        return e;
    while (sys.flock(fd, LOCK_EX | LOCK_NB) < 0)
        if (errno != EINTR)
            return errno == EWOULDBLOCK ? is_locked(s, fd) : fail(-errno, s, LOCK, "cannot be locked");
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (sys.ftruncate(fd, 0) == 0) /* the number is a help to people, no more */
        (void)!sys.write(fd, pid, (size_t)n);
    return 0;
}

int gsi_store_open(struct store **out, const char *directory)
{
    size_t n = strlen(directory);
    while (n > 1 && directory[n - 1] == '/') /* with a slash behind it a link would be followed */
        n--;
    struct store *s = n ? OPENSSL_zalloc(sizeof *s + n + 1) : NULL;
    if (!n)
        return gs_fail(-EINVAL, "the state directory has no name");
    if (!s)
        return -ENOMEM;
    memcpy(s->path, directory, n);
    s->dir = s->lock = -1;
    int e = open_directory(s);
    if (e == 0)
        e = take_lock(s);
    if (e < 0)
        gsi_store_close(s);
    else
        *out = s;
    return e;
}

void gsi_store_close(struct store *s)
{
    if (!s)
        return;
    if (s->lock >= 0)
        sys.close(s->lock);
    if (s->dir >= 0)
        sys.close(s->dir);
    OPENSSL_free(s);
}

/* ---- the file ---- */

static int read_whole(const struct store *s, int fd, char *out, size_t cap)
{
    size_t n = 0;
    char beyond;
    for (;;) {
        ssize_t k = n < cap ? sys.read(fd, out + n, cap - n) : sys.read(fd, &beyond, 1);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return fail(-errno, s, STATE, "cannot be read");
        if (k == 0)
            return n ? (int)n
                     : gs_fail(-EBADMSG, "%s/" STATE ": is empty: restore it from a copy, or remove it to join as a new machine",
                               s->path);
        if (n == cap)
            return gs_fail(-EFBIG, "%s/" STATE ": is longer than any state of this version: update gensock if a newer one wrote "
                                   "it, or restore it from a copy", s->path);
        n += (size_t)k;
    }
}

int gsi_store_read(struct store *s, char *out, size_t cap)
{
    int fd = open_in(s->dir, STATE, O_RDONLY | O_NONBLOCK);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return fd == -ELOOP ? gs_fail(-EPERM, "%s/" STATE ": is a symbolic link: put the file itself there", s->path)
                            : fail(fd, s, STATE, "cannot be opened");
    int e = check_private(s, fd, STATE, S_IFREG);
    if (e == 0)
        e = read_whole(s, fd, out, cap);
    sys.close(fd);
    if (e < 0)
        OPENSSL_cleanse(out, cap);
    return e;
}

static int write_whole(int fd, const char *bytes, size_t n)
{
    while (n) {
        ssize_t k = sys.write(fd, bytes, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? -errno : -EIO;
        bytes += k;
        n -= (size_t)k;
    }
    return sys.fsync(fd) < 0 ? -errno : 0;
}

/* Beside the old one, and on disk. */
static int write_fresh(struct store *s, const char *bytes, size_t n)
{
    (void)sys.unlinkat(s->dir, FRESH, 0); /* of one who was killed while writing */
    int fd = open_in(s->dir, FRESH, O_WRONLY | O_CREAT | O_EXCL);
    if (fd < 0)
        return fd;
    int e = write_whole(fd, bytes, n);
    if (sys.close(fd) < 0 && e == 0)
        e = -errno;
    return e;
}

/* Once is enough, but at the first write and not where the directory is made: who made it may have been killed before this. */
static int sync_parent(struct store *s)
{
    if (s->rooted)
        return 0;
    int fd = open_in(s->dir, "..", O_RDONLY | O_DIRECTORY);
    if (fd == -EACCES) /* passable, but not for us to read: nothing can be done from here */
        return 0;
    if (fd < 0)
        return fd;
    int e = sys.fsync(fd) < 0 ? -errno : 0;
    sys.close(fd);
    if (e == -EINVAL || e == -EROFS) /* a read-only file system under a mounted directory */
        e = 0;
    s->rooted = e == 0;
    return e;
}

int gsi_store_write(struct store *s, const char *bytes, size_t n)
{
    if (!n)
        return gs_fail(-EINVAL, "an empty state");
    int e = write_fresh(s, bytes, n);
    if (e == 0 && sys.renameat(s->dir, FRESH, s->dir, STATE) < 0)
        e = -errno;
    if (e < 0) {
        (void)sys.unlinkat(s->dir, FRESH, 0);
        return fail(e, s, STATE, "cannot be written, and is as it was");
    }
    e = sys.fsync(s->dir) < 0 ? -errno : sync_parent(s);
    return e < 0 ? fail(e, s, STATE, "is written, but perhaps not yet on disk") : 0;
}
