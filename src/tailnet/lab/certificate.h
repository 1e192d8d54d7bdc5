/* certificate.h: the lab's CA and its relay's certificate, made by OpenSSL and written as PEM files. */
#ifndef GSI_TAILNET_LAB_CERTIFICATE_H
#define GSI_TAILNET_LAB_CERTIFICATE_H

#include "gensock/error.h"

/* ca.pem, relay.pem (the certificate of this IP address) and relay.key (0600) in the directory. 0: they are there, and good for a
 * month at least; 1: they are new, each replaced as a whole, the CA's key forgotten. -ENOMEM; what the kernel answers, with a
 * detail. */
GS_MUST_USE int gsi_lab_certificates(const char *directory, const char *address);

#endif
