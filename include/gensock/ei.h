/* gensock/ei.h: Erlang's ei over any transport of gensock; library gensock-ei.
 *
 * Threads: every call, any thread.
 */
#ifndef GENSOCK_EI_H
#define GENSOCK_EI_H

#include <ei.h>
#include <gensock/stream.h>
#include <netinet/in.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { GS_EI_ADDRESS_MAX = 512 }; /* bytes of an address with its end */

/* The next socket that ei opens in this thread is for this gensock address, whatever ei is told. NULL: as ei is told again. 0;
 * GS_EFORMAT: empty or too long; then nothing has changed. */
GS_API GS_MUST_USE int gs_ei_next(const char *address);

/* Why the last callback of this thread failed, as a gensock code (gs_error_detail tells more): ei itself keeps little but EIO and
 * ETIMEDOUT. 0: none has failed since gs_ei_next was called. */
GS_API int gs_ei_error(void);

#ifdef __cplusplus
}
#endif
#endif
