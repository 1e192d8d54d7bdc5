/* tailnet_libc_dns.h: libc's own parser of DNS messages, of libresolv, with which nothing else is linked. */
#ifndef TAILNET_LIBC_DNS_H
#define TAILNET_LIBC_DNS_H

#include <arpa/nameser.h>
#include <dlfcn.h>
#include <string.h>

#include "support.h"

static int (*libc_initparse)(const unsigned char *, int, ns_msg *);
static int (*libc_parserr)(ns_msg *, ns_sect, int, ns_rr *);

static inline void libc_dns_open(void)
{
    void *resolv = dlopen("libresolv.so.2", RTLD_NOW);
    assert_non_null(resolv);
    void *initparse = dlsym(resolv, "ns_initparse"), *parserr = dlsym(resolv, "ns_parserr");
    assert_true(initparse && parserr);
    memcpy(&libc_initparse, &initparse, sizeof initparse);
    memcpy(&libc_parserr, &parserr, sizeof parserr);
}

#endif
