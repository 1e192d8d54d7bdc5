/* text.h: texts that the files of this folder share. */
#ifndef GSI_TAILNET_CONTROL_TEXT_H
#define GSI_TAILNET_CONTROL_TEXT_H

#include "tailnet/crypto/crypto.h"

enum { TEXT_KEY_MAX = 80, WORDS_MAX = 200 };
#define TEXT_BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* "nodekey:" and 64 digits. */
void gsi_text_put_key(char out[TEXT_KEY_MAX], const char *prefix, const uint8_t key[KEY_LEN]);
GS_MUST_USE bool gsi_text_get_key(uint8_t key[KEY_LEN], const char *prefix, const char *text);
/* Up to cap - 1 bytes of a server's text, for a person: what is not printable ASCII becomes a dot, space at the end goes. */
void gsi_text_words(char *out, size_t cap, const void *text, size_t n);

/* RFC 4648 4, with padding and a 0: TEXT_BASE64_LEN(n) + 1 bytes. */
void gsi_text_base64(char *out, const uint8_t *p, size_t n);

#endif
