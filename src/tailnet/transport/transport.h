/* transport.h: tailnet://, the transport over a node's private network. */
#ifndef GSI_TAILNET_TRANSPORT_H
#define GSI_TAILNET_TRANSPORT_H

#include <gensock/transport.h>

/* Makes it known; again is no error. 0, -ENOMEM, -EEXIST: somebody else's transport has the name. */
GS_MUST_USE int gsi_tailnet_register(void);

#endif
