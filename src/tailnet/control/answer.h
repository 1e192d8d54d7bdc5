/* answer.h: what a control server answers to a register request, and how long it asks to wait (tailnet-protocol.md 3). */
#ifndef GSI_TAILNET_CONTROL_ANSWER_H
#define GSI_TAILNET_CONTROL_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"

enum { LOGIN_URL_MAX = 2048, ANSWER_TEXT_MAX = 512 };

struct register_answer {
    bool node_key_expired, machine_authorized, wants_signature;
    char error[ANSWER_TEXT_MAX];    /* printable */
    char auth_url[LOGIN_URL_MAX];   /* http or https, printable; "" for none */
    char login_name[ANSWER_TEXT_MAX];
};

/* 0; GS_EINVALID. */
GS_MUST_USE int gsi_register_answer_read(const void *json, size_t n, struct register_answer *out);
/* The wait that Retry-After asks for: seconds, or a date, which counts from the answer's own Date. Without one that is above 0
 * and at most an hour: 5 to 10 s, random. Texts without NUL at the end may be NULL with 0 bytes. */
uint64_t gsi_retry_after_ns(const char *retry_after, size_t n, const char *date, size_t date_n);

#endif
