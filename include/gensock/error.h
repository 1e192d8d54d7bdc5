/* gensock/error.h: what calls answer, and the few types that every other header uses.
 *
 * Every call answers an int (or ssize_t): >= 0 is success, < 0 an error. A POSIX error is -errno, so that `timeout` (ours)
 * and `etimedout` (the kernel's) stay two things, as they are in gen_tcp. The library's own codes lie below -1000; their
 * names are Erlang's atoms.
 *
 *     int e = gs_stream_connect(&s, "tcp://localhost:80", NULL, GS_NO_MAILBOX, 5000);
 *     if (e < 0)
 *         fprintf(stderr, "%s (%s) %s\n", gs_error_text(e), gs_error_name(e), gs_error_detail(e));
 */
#ifndef GENSOCK_ERROR_H
#define GENSOCK_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GS_API __attribute__((visibility("default")))
#define GS_MUST_USE __attribute__((warn_unused_result))

/* code, value, Erlang's atom, text */
#define GS_ERRORS(X)                                                                                                  \
    X(ECLOSED, -1001, "closed", "the handle is closed, by this side or by the peer")                                  \
    X(ETIMEOUT, -1002, "timeout", "the time given to this call is over")                                              \
    X(ESELECT, -1003, "select", "not done yet: a message with this reference will follow")                            \
    X(ENOTOWNER, -1004, "not_owner", "only the owning mailbox, in its own turn, may do this")                         \
    X(EBADARG, -1005, "badarg", "not a handle of this kind, or an argument outside its range")                        \
    X(EINVALID, -1006, "invalid", "no such select handle or reference, or a malformed packet")                        \
    X(ESYSLIMIT, -1007, "system_limit", "a limit of this process is reached (descriptors, handles, threads)")         \
    X(EEOF, -1008, "eof", "the file is shorter than offset + length")                                                 \
    X(ENOTSECURE, -1009, "not_secure", "this transport has no certificate")                                           \
    X(ENOPROTO, -1010, "protocol_not_negotiated", "no application protocol was agreed in the handshake")              \
    X(ENOUPGRADE, -1011, "unsupported_upgrade", "this stream cannot be upgraded to that transport")                   \
    X(EALERT, -1012, "tls_alert", "TLS failed; gs_error_detail names the alert")                                      \
    X(EABORTED, -1013, "aborted", "the wait was ended because its handle closed or was cancelled")                    \
    X(ENXDOMAIN, -1014, "nxdomain", "the name is not known on this network")                                          \
    X(ENOSCHEME, -1015, "unknown_scheme", "no transport of this name is registered")                                  \
    X(EFORMAT, -1016, "bad_address", "the text is not an address")                                                    \
    X(ETRUNCATED, -1017, "truncated", "the connection below ended without close_notify: data may be missing")             \
    X(ELOGIN, -1018, "login", "a person must log in at the URL that gs_error_detail tells")                           \
    X(EAPPROVAL, -1019, "needs_approval", "an admin of the tailnet must approve this machine")                        \
    X(EAUTHKEY, -1020, "auth_key_refused", "the control server refuses this auth key")                                \
    X(EKEYEXPIRED, -1021, "key_expired", "the key has expired: log in again, or use a new one")                       \
    X(ELOCKED, -1022, "tailnet_lock", "the tailnet uses Tailnet Lock, which this library cannot verify")              \
    X(EFILTERED, -1023, "filtered", "the rules of the tailnet forbid this connection")                                \
    X(ECONTROL, -1024, "control_unreachable", "no answer from the tailnet's control server")                          \
    X(ECLOCK, -1025, "clock", "this machine's clock is too far off")

enum gs_error {
#define GS_ERROR_ENUM(code, value, atom, text) GS_##code = (value),
    GS_ERRORS(GS_ERROR_ENUM)
#undef GS_ERROR_ENUM
};

/* The Erlang atom of a code: "closed", "econnrefused"; "ok" for >= 0; "unknown" for what is no code. -ENOTSUP and -EOPNOTSUPP,
 * one number on Linux, are "enotsup" as in Erlang. Static text. */
GS_API const char *gs_error_name(int code);
/* One sentence for a person. Static text. */
GS_API const char *gs_error_text(int code);
/* The code of a name ("closed" -> GS_ECLOSED, "econnrefused" -> -ECONNREFUSED), or 0 when there is none. "eopnotsupp" is known
 * as well. */
GS_API int gs_error_code(const char *name);
/* Cause and cure of the calling thread's last failure, when that failure's code was `code`; else "". Valid until the
 * thread's next failing call. Only calls that open or configure something leave a detail. */
GS_API const char *gs_error_detail(int code);

/* For who extends the library: sets the calling thread's detail for `code` (printf form), returns code: return gs_fail(-EINVAL,
 * "…"). */
GS_API int gs_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A failing accept after which accepting again makes sense (the listener still stands): emfile, enfile, enobufs, enomem,
 * econnaborted, system_limit, and the network errors that accept(2) passes on. */
GS_API bool gs_error_is_transient(int code);

/* Handles are small values. A handle that was issued once and is no longer current answers GS_ECLOSED, one never issued
 * or of another kind GS_EBADARG: from any thread, at any time. The zero handle is none. */
typedef struct { uint64_t id; } gs_mailbox;
typedef struct { uint64_t id; } gs_socket;
typedef struct { uint64_t id; } gs_stream;

#define GS_NO_MAILBOX ((gs_mailbox){0})

/* Borrowed bytes; each use says until when they live. */
typedef struct {
    const uint8_t *p;
    size_t n;
} gs_bytes;

/* timeout_ms of every call that can wait: milliseconds >= 0 (0 tries once), or one of: */
#define GS_INFINITY (-1)
#define GS_NOWAIT (-2) /* do not wait: GS_ESELECT, and a message follows */

/* Gives back memory that a gs_ call handed over (each says so). NULL is allowed. */
GS_API void gs_free(void *p);

/* Replaces malloc, realloc and free for everything the library allocates. Call it before any other gs_ call, from one
 * thread. -EINVAL when a pointer is NULL; -EALREADY when the library has allocated before. */
GS_API GS_MUST_USE int gs_set_allocator(void *(*malloc_fn)(size_t), void *(*realloc_fn)(void *, size_t),
                                        void (*free_fn)(void *));

/* "0.1.0" */
GS_API const char *gs_version(void);

#ifdef __cplusplus
}
#endif
#endif
