/* store.h: a node's state on disk: one small secret file in a directory of its own, replaced as a whole.
 *
 *     directory/        0700, ours; made if it is missing
 *     directory/state   0600; a new one is written beside it, synced, and renamed over it
 *     directory/lock    held while the store is open: two processes with one node key would take each other's packets
 *
 * The bytes are keys/state.h's business. Calls block on the disk. One thread at a time.
 */
#ifndef GSI_TAILNET_STORE_H
#define GSI_TAILNET_STORE_H

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "gensock/error.h"

struct store;

/* Each error has a detail with the path and the cure: -EBUSY: another process has it (which); -EPERM: not ours, or others may
 * read it; -ENOTDIR; -ENOENT: the directory's parent is missing; -ENOMEM and other codes of the kernel's. */
GS_MUST_USE int gsi_store_open(struct store **out, const char *directory);
/* Releases the lock, unless a child that was forked meanwhile still has the descriptor: it ends or closes it. NULL is nothing. */
void gsi_store_close(struct store *s);

/* The bytes read, at most cap, which the caller wipes; 0: there is no file yet. -EPERM: a file that is not ours, that others may
 * read, or that is no plain file; -EBADMSG: it is empty; -EFBIG: it is longer than cap. On an error out is wiped. */
GS_MUST_USE int gsi_store_read(struct store *s, char *out, size_t cap);
/* 0: it is on disk, whatever happens next. An error: the file is as it was (after a failed sync of the directory it may be the
 * new one). */
GS_MUST_USE int gsi_store_write(struct store *s, const char *bytes, size_t n);

/* The calls of the kernel, for tests to fail. */
struct store_calls {
    int (*mkdir)(const char *path, mode_t mode);
    int (*openat)(int at, const char *path, int flags, mode_t mode);
    int (*fstat)(int fd, struct stat *out);
    int (*flock)(int fd, int operation);
    ssize_t (*read)(int fd, void *to, size_t n);
    ssize_t (*write)(int fd, const void *from, size_t n);
    int (*ftruncate)(int fd, off_t n);
    int (*fsync)(int fd);
    int (*renameat)(int at, const char *from, int to_at, const char *to);
    int (*unlinkat)(int at, const char *path, int flags);
    int (*close)(int fd);
};
extern struct store_calls gsi_store_calls;

#endif
