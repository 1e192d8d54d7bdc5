/* transport.h: the internal half of gensock/transport.h: gs_io, the stack that an address names, and the options that belong
 * to kernel sockets. The stream layer calls slots; transports never include one another.
 */
#ifndef GSI_TRANSPORT_H
#define GSI_TRANSPORT_H

#include <stdatomic.h>

#include "gensock/transport.h"

/* What a transport works through. Lives as long as ctx, but for GS_T_KERNEL bases only during the call. */
struct gs_io {
    const char *scheme; /* of the transport that is called with it: the registry's */
    const char *netns; /* network namespace that sockets are made in; NULL: the host's */
    const struct gs_transport *lower; /* for layers: the bytes below */
    void *lower_ctx;
    void (*ready)(struct gs_io *io, bool readable, bool writable); /* the stream's; NULL while none listens */
    uint8_t *early; /* a layer's: bytes that were received before it was put on: gs_io_readv gives them first; gsi_free */
    size_t early_at, early_n;
    _Atomic int readable, writable; /* set by gs_transport_ready, cleared by the stream before it tries */
};

enum { GSI_LAYERS_MAX = 4 };

/* "tls+unix:///s": layer[0] = tls, base = unix, rest = "/s". "tls://h:1" is "tls+tcp://h:1". */
struct gsi_stack {
    const struct gs_transport *base;
    const struct gs_transport *layer[GSI_LAYERS_MAX]; /* [0] is the outermost */
    int layers;
    const char *rest; /* into the text */
};

/* GS_EFORMAT, GS_ENOSCHEME with details. */
GS_MUST_USE int gsi_stack_parse(const char *address, struct gsi_stack *out);

/* A table whose NULL slots are filled by defaults, so that callers never test one (sendfile, flush and upgrade stay NULL). Called at
 * registration; tcp, unix and mem are registered before the first look-up. */

/* ---- options: src/transport/options.c ---- */

enum gsi_opt_type { GSI_INT, GSI_BOOL, GSI_STRING, GSI_ACTIVE, GSI_PACKET, GSI_LINGER, GSI_ADDR, GSI_RAW, GSI_BIN, GSI_DEBUG,
    GSI_PTR, GSI_TIMEOUT, GSI_SEND_MODE, GSI_FAMILY, GSI_MODE, GSI_DELIVER };
/* Who acts on it: the stream itself, whoever opens it, the kernel's socket, nobody (kept and given back). */
enum gsi_opt_class { GSI_STREAM_OPT, GSI_OPEN_OPT, GSI_KERNEL_OPT, GSI_VOID_OPT };
/* Where it may stand. */
enum { GSI_ON_LISTEN = 1, GSI_ON_CONNECT = 2, GSI_ON_SET = 4, GSI_ON_GET = 8 };

struct gsi_opt_row {
    int name;
    const char *erlang;
    enum gsi_opt_type type;
    enum gsi_opt_class class;
    unsigned where;
    int64_t min, max;
    int level, number; /* GSI_KERNEL_OPT */
    const char *initial, *note; /* the manual's: default, and meaning or reason */
};

/* NULL for no option of the library's. */
const struct gsi_opt_row *gsi_opt_row(int name);

/* Checks a whole list for a place (one GSI_ON_ bit). 0, or -EINVAL with a detail that names option and value. */
GS_MUST_USE int gsi_opts_check(const gs_opt *opts, unsigned where);

/* The last option of a name in a list, or NULL. */
const gs_opt *gsi_opts_find(const gs_opt *opts, int name);

/* A deep copy of first and then second (either may be NULL), one block: gsi_free. NULL: no memory. */
gs_opt *gsi_opts_join(const gs_opt *first, const gs_opt *second);

/* The process-wide defaults (gs_set_default_opts) joined with opts; gsi_free. NULL: no memory. */
gs_opt *gsi_opts_with_defaults(gs_defaults which, const gs_opt *opts);

/* A kernel option on a descriptor. -ENOTSUP: the family has it not. */
GS_MUST_USE int gsi_kernel_setopt(int fd, const gs_opt *o);
GS_MUST_USE int gsi_kernel_getopt(int fd, gs_opt *o);
/* All kernel options of a list, in order. */
GS_MUST_USE int gsi_kernel_apply(int fd, const gs_opt *opts);

/* The local address that ip, ifaddr and port say, field by field in order. 1: *out is set; 0: none said; -EINVAL. */
GS_MUST_USE int gsi_opts_local(const gs_opt *opts, int family, gs_addr *out);

#endif
