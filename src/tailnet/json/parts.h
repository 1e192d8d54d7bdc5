/* parts.h: what read.c and value.c share of the reader. */
#ifndef GSI_TAILNET_JSON_PARTS_H
#define GSI_TAILNET_JSON_PARTS_H

#include "tailnet/json/json.h"

/* A number's parts, borrowed from the message. */
struct json_number {
    bool negative, exponent_negative;
    bool plain; /* neither fraction nor exponent */
    const uint8_t *whole, *fraction, *exponent;
    size_t whole_n, fraction_n, exponent_n;
};

static inline bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* True, or fails with why. */
bool gsi_json_expect(struct json *j, enum json_kind kind, const char *why);
bool gsi_json_literal(struct json *j, const char *word);
/* The length of the escape at p, which stands on its backslash, and what it means; 0: it is none. */
size_t gsi_json_escape(const uint8_t *p, size_t n, uint32_t *code);
/* The length of the character at p, a byte >= 0x80; 0: not UTF-8. */
size_t gsi_json_utf8(const uint8_t *p, size_t n);
/* j->at stands on the first byte. */
bool gsi_json_scan_string(struct json *j, struct json_text *out);
bool gsi_json_scan_number(struct json *j, struct json_number *out);

#endif
