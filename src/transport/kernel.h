/* kernel.h: what the transports over kernel sockets share: ctx is the descriptor itself, so that a connection allocates nothing.
 * The slots of tcp.c and unix.c that are alike, and the steps of their listen and connect.
 */
#ifndef GSI_KERNEL_H
#define GSI_KERNEL_H

#include "transport/option_text.h"
#include "transport/transport.h"

/* Never NULL. */
static inline void *gsi_kernel_ctx(int fd) { return (void *)((intptr_t)fd + 1); }
static inline int gsi_kernel_fd(const void *ctx) { return (int)((intptr_t)ctx - 1); }

/* ---- slots ---- */

ssize_t gsi_kernel_readv(void *ctx, const struct iovec *iov, int n);
ssize_t gsi_kernel_writev(void *ctx, const struct iovec *iov, int n);
ssize_t gsi_kernel_sendfile(void *ctx, int in, off_t at, size_t n);
int gsi_kernel_shutdown(void *ctx, gs_how how);
void gsi_kernel_close(void *ctx, bool reset);
int gsi_kernel_poll(void *ctx, size_t *buffered);
int gsi_kernel_set(void *ctx, const gs_opt *o);
int gsi_kernel_get(void *ctx, gs_opt *o);
int gsi_kernel_name(void *ctx, bool peer, gs_addr *out);

/* ---- steps ---- */

/* A foreign descriptor becomes one of ours: non-blocking, close-on-exec, and no SO_LINGER, with which close(2) blocks. It stays
 * the caller's on failure. *domain (may be NULL): its family. -EINVAL: not a stream socket, with a detail. */
GS_MUST_USE int gsi_kernel_adopt(int fd, int *domain);

/* A socket of a family to open a stream with, the list's kernel options applied: a new one of io's network, or the list's `fd`,
 * which is taken, also on failure (*given says which it was). family: AF_UNSPEC when `fd` decides. The descriptor, or an error;
 * *domain is its family. */
GS_MUST_USE int gsi_kernel_open(gs_io *io, int family, const gs_opt *opts, bool *given, int *domain);

/* Before gsi_kernel_open: closes the list's `fd`, which is taken also on failure. Answers error. */
int gsi_kernel_refuse(const gs_opt *opts, int error);

/* A fresh connection, or the accept(2) error, -EAGAIN included. */
GS_MUST_USE int gsi_kernel_accept(void *listener);
/* Gives one int option of a listener to its connection, where the kernel does not. */
void gsi_kernel_inherit(int listener, int fd, int level, int number);

GS_MUST_USE int gsi_kernel_bind(int fd, const gs_addr *local);
GS_MUST_USE int gsi_kernel_listen(int fd, const gs_opt *opts);
/* 0, -EINPROGRESS, or the error. */
GS_MUST_USE int gsi_kernel_connect(int fd, const gs_addr *to);
/* Has a local address. A port, or of AF_UNIX a name. */
bool gsi_kernel_is_bound(int fd);
bool gsi_kernel_is_connected(int fd);

/* As gsi_opts_local, starting from *local, whose family the options must have: 1: changed; 0: none said; -EINVAL. */
GS_MUST_USE int gsi_opts_local_over(const gs_opt *opts, gs_addr *local);

#endif
