/* blake2s.h: what crypto.c and blake2s.c share. */
#ifndef GSI_TAILNET_BLAKE2S_H
#define GSI_TAILNET_BLAKE2S_H

#include "gensock/error.h"

/* Fetches OpenSSL's implementations once: a look-up by name for each handshake message costs more than the hash. -ENOMEM. */
GS_MUST_USE int gsi_blake2s_init(void);

#endif
