/* facts.c: the one table of differences between transports (promise P16). What is not a column here is alike everywhere. */
#include "suite.h"

/* clang-format off */
static const struct facts rows[] = {
    /* scheme     names  port   kernel tcp    layer  secure half_c resets s_close stays  foreign holds    refused       peer */
    {"tcp",       true,  true,  true,  true,  false, false, true,  true,  true,   false, true,   8 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"unix",      true,  false, true,  false, false, false, true,  false, true,   true,  true,   1 << 20, -ECONNREFUSED, GS_PEER_UNIX},
    {"mem",       false, false, false, false, false, false, true,  true,  true,   false, false,  1 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"xor+tcp",   true,  true,  true,  true,  true,  false, true,  true,  true,   false, true,   8 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"xor+unix",  true,  false, true,  false, true,  false, true,  false, true,   true,  true,   1 << 20, -ECONNREFUSED, GS_PEER_UNIX},
    {"xor+mem",   false, false, false, false, true,  false, true,  true,  true,   false, false,  1 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"tls+tcp",   true,  true,  true,  true,  true,  true,  true,  true,  true,   false, true,   8 << 20, -ECONNREFUSED, GS_PEER_TLS},
    {"tls+unix",  true,  false, true,  false, true,  true,  true,  false, true,   true,  true,   1 << 20, -ECONNREFUSED, GS_PEER_TLS},
    {"tls+mem",   false, false, false, false, true,  true,  true,  true,  true,   false, false,  1 << 20, -ECONNREFUSED, GS_PEER_TLS},
    {"tailnet",   true,  true,  true,  true,  false, false, true,  true,  true,   false, true,   8 << 20, -ECONNREFUSED, GS_PEER_TAILNET},
    {"tls+tailnet", true, true,  true,  true,  true,  true,  true,  true,  true,   false, true,   8 << 20, -ECONNREFUSED, GS_PEER_TLS},
    {"ei-plain",  true,  true,  false, false, false, false, false, false, true,   false, true,   8 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"ei-bare",   true,  true,  false, false, false, false, false, false, true,   false, true,   8 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"ei-full",   true,  true,  false, false, false, false, false, false, true,   false, false,  8 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"ei-short",  true,  true,  false, false, false, false, false, false, true,   false, false,  8 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"ei-tcp",    true,  true,  false, false, false, false, false, false, true,   false, false,  8 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"ei-unix",   true,  true,  false, false, false, false, false, false, true,   false, false,  8 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"ei-tls",    true,  true,  false, false, true,  false, false, false, true,   false, false,  8 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
    {"toy",       false, false, false, false, false, false, true,  true,  true,   false, false,  1 << 20, -ECONNREFUSED, GS_PEER_UNKNOWN},
};
/* clang-format on */

const struct facts *facts_of(const char *address)
{
    size_t n = strcspn(address, ":");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strlen(rows[i].scheme) == n && memcmp(rows[i].scheme, address, n) == 0)
            return &rows[i];
    fail_msg("conformance/suite/facts.c has no row for %s", address);
    return NULL;
}
