/* error.h: the internal half of gensock/error.h: errno to code, and the per-thread detail. */
#ifndef GSI_ERROR_H
#define GSI_ERROR_H

#include "gensock/error.h"

/* Sets the calling thread's detail for `code` (printf form) and returns `code`: `return gsi_fail(-EINVAL, "…")`. */
int gsi_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The code of the errno just set: EMFILE and ENFILE become GS_ESYSLIMIT only where Erlang says so; here always -errno. */
int gsi_errno(void);

#endif
