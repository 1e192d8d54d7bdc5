/* transfer.h: what `gensock send` and `gensock recv` say to each other, in packets of {packet, 4}. The first byte of a packet
 * is its kind:
 *
 *     'H' version size    sender    1 byte, 1; 8 bytes, all ones when the size is not known
 *     'D' bytes           sender    at most TRANSFER_DATA; any number of these
 *     'E' size digest     sender    8 bytes; 32 bytes, SHA-256 of all data
 *     'R' verdict digest  receiver  1 byte; 32 bytes, SHA-256 of what it has; at the end, or early when it cannot go on
 *
 * Integers are big endian. Either side may be the one that listens.
 */
#ifndef GENSOCK_CLI_TRANSFER_H
#define GENSOCK_CLI_TRANSFER_H

#include "cli.h"
#include "sha256.h"

enum {
    TRANSFER_VERSION = 1,
    TRANSFER_DATA = 256 * 1024,
    TRANSFER_PACKET = 1 + TRANSFER_DATA, /* the longest packet */
    TRANSFER_HEAD_LEN = 1 + 1 + 8,
    TRANSFER_END_LEN = 1 + 8 + SHA256_LEN,
    TRANSFER_RESULT_LEN = 1 + 1 + SHA256_LEN,
};

enum transfer_verdict { TRANSFER_GOOD, TRANSFER_DIFFERS, TRANSFER_NOT_WRITTEN };

/* The options that a transfer needs, in front of the user's. */
void transfer_defaults(struct cli_args *a);
/* The user's do not contradict them: -1, or the exit code. --timeout is also that of a send. */
int transfer_complete(struct cli_args *a);

/* One packet of at most TRANSFER_PACKET bytes into buf. Its length; or -1 - exit code, all being said. */
ssize_t transfer_take(const struct cli_args *a, gs_stream s, uint8_t *buf);

void transfer_put64(uint8_t *p, uint64_t v);
uint64_t transfer_get64(const uint8_t *p);

/* The last line on stdout. */
void transfer_report(const struct cli_args *a, const char *verb, const char *file, uint64_t size,
                     const uint8_t digest[SHA256_LEN], double seconds);

#endif
