/* wire.h: what the files of this folder share. */
#ifndef GSI_TAILNET_NOISE_WIRE_H
#define GSI_TAILNET_NOISE_WIRE_H

#include "tailnet/noise/noise.h"

enum message_type { INITIATION = 1, RESPONSE = 2, REFUSAL = 3, RECORD = 4 };

/* Final: keys are wiped, e is kept and answered. */
int gsi_noise_fail(struct noise *n, int e);
/* The body behind the header, whose length was checked. */
GS_MUST_USE int gsi_noise_read_initiation(struct noise *n, const uint8_t *body);
GS_MUST_USE int gsi_noise_read_response(struct noise *n, const uint8_t *body);

#endif
