/* pki.h: certificates for tests, made when they are wanted: nothing that expires is kept in the tree. */
#ifndef TEST_PKI_H
#define TEST_PKI_H

#include <openssl/x509v3.h>
#include <stdbool.h>

/* What a certificate says. What is not given is right: valid from an hour ago for a day, EC P-256, SHA-256, serverAuth and
 * clientAuth, no CA. */
struct pki_spec {
    const char *cn;      /* common name; NULL: none */
    const char *san;     /* subjectAltName as OpenSSL's configuration writes it: "DNS:a.test,IP:127.0.0.1"; NULL: none */
    bool ca;             /* basicConstraints CA, keyCertSign */
    long from_s, days;   /* validity: begins in from_s seconds (0: -3600), lasts days (0: 1; < 0: is over since) */
    /* What goes wrong. Texts are OpenSSL's configuration; NULL: what is right, "": the extension is missing. */
    const char *constraints, *usage, *eku, *names; /* basicConstraints, keyUsage, extendedKeyUsage, nameConstraints (default none) */
    const char *raw_dns;  /* subjectAltName of one DNS name, raw_n bytes of any kind */
    int raw_n;
    const char *digest;   /* "SHA1"; NULL: SHA256 */
    int rsa_bits;         /* 0: an EC key */
    const char *curve;    /* of the EC key; NULL: P-256 */
    bool broken;          /* its signature has a bit flipped */
    bool critical;        /* it has a critical extension that nobody knows */
    bool v1;              /* version 1, without extensions */
    const char *issued_by; /* the name of its issuer is not its issuer's */
};

struct pki_cert {
    X509 *cert;
    EVP_PKEY *key;
};

/* Signed by issuer, NULL: by itself. Fails the test when it cannot be made. */
struct pki_cert pki_make(const struct pki_spec *spec, const struct pki_cert *issuer);
void pki_free(struct pki_cert *c);
/* PEM files in the process's temporary folder; the names live as long as the process. */
const char *pki_cert_file(const char *name, const struct pki_cert *const *chain, int n);
const char *pki_key_file(const char *name, const struct pki_cert *c);

/* A CA and a server's certificate for gensock.test, localhost, 127.0.0.1 and ::1, made once. */
struct pki_files {
    const char *ca, *cert, *key;
};
const struct pki_files *pki_default(void);

#endif
