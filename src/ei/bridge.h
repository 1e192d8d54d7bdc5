/* bridge.h: what the files of this folder share.
 *
 *   address.c  what gensock address an address of ei's stands for
 *   epmd.c     questions to epmd; epmd_wire.c: how they are written
 *   thread.c   what a thread has told and is told: the next address, the last error
 *
 * They stand on gensock's public headers and on ei.h alone.
 */
#ifndef GSI_EI_BRIDGE_H
#define GSI_EI_BRIDGE_H

#include "gensock/ei.h"

/* address.c */
/* Into out, GS_EI_ADDRESS_MAX bytes. setup may be NULL. 0, or an error with its detail. */
GS_MUST_USE int gsi_ei_address(const gs_ei_setup *setup, const struct sockaddr_in *in, bool listens, char *out);

/* thread.c */
/* Takes the address that gs_ei_next gave, "" where there is none. out: GS_EI_ADDRESS_MAX bytes. */
void gsi_ei_take_next(char *out);
/* Keeps a failing callback's code for gs_ei_error, and answers what ei understands of it: a positive errno. */
int gsi_ei_failed(int code);

#endif
