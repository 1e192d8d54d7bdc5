/* registry.h: the transports that the library brings along. */
#ifndef GSI_REGISTRY_H
#define GSI_REGISTRY_H

#include "gensock/transport.h"

extern const struct gs_transport gsi_tcp, gsi_unix, gsi_mem;

#endif
