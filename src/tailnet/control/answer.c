/* answer.c: the answer to a register request, and Retry-After. */
#include "tailnet/control/answer.h"

#include <string.h>

#include "tailnet/control/backoff.h"
#include "tailnet/control/text.h"
#include "tailnet/control/url.h"
#include "tailnet/json/json.h"
#include "tailnet/json/time.h"

#define SECOND UINT64_C(1000000000)

enum { HOUR_S = 3600, RETRY_LEAST_S = 5, RETRY_MOST_S = 10, DAY_S = 86400 };

/* What is read of another object is one of its members. */
static void read_name(struct json *j, const char *const *members, char *out, size_t cap)
{
    char text[ANSWER_TEXT_MAX];
    uint64_t seen = 0;
    if (gsi_json_object(j))
        while (gsi_json_member(j, members, &seen) >= 0) {
            size_t n = gsi_json_string(j, text, sizeof text);
            gsi_text_words(out, cap, text, n);
        }
}

int gsi_register_answer_read(const void *json, size_t n, struct register_answer *out)
{
    enum { ERROR, URL, EXPIRED, AUTHORIZED, SIGNATURE, LOGIN };
    static const char *const members[] = {"Error", "AuthURL", "NodeKeyExpired", "MachineAuthorized", "NodeKeySignature", "Login",
                                          NULL};
    static const char *const login[] = {"LoginName", NULL};
    char text[ANSWER_TEXT_MAX];
    uint64_t seen = 0;
    struct json j = gsi_json_of(json, n);
    memset(out, 0, sizeof *out);
    if (gsi_json_object(&j))
        for (int m; (m = gsi_json_member(&j, members, &seen)) >= 0;) {
            if (m == ERROR)
                gsi_text_words(out->error, sizeof out->error, text, gsi_json_string(&j, text, sizeof text));
            else if (m == URL)
                gsi_json_string(&j, out->auth_url, sizeof out->auth_url);
            else if (m == EXPIRED)
                out->node_key_expired = gsi_json_bool(&j);
            else if (m == AUTHORIZED)
                out->machine_authorized = gsi_json_bool(&j);
            else if (m == SIGNATURE)
                out->wants_signature = gsi_json_text(&j).n > 0;
            else if (m == LOGIN)
                read_name(&j, login, out->login_name, sizeof out->login_name);
        }
    if (gsi_json_end(&j) < 0)
        return gs_fail(GS_EINVALID, "the answer to a register request is malformed: %s at byte %zu", j.error, j.error_at);
    struct url url;
    if (*out->auth_url && gsi_url_parse(out->auth_url, strlen(out->auth_url), &url) < 0)
        return gs_fail(GS_EINVALID, "the control server's login URL is none");
    return 0;
}

/* ---- Retry-After ---- */

static bool read_digits(const char *p, size_t n, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < n; i++) { /* 9 digits are more than any wait that is kept to */
        if (p[i] < '0' || p[i] > '9' || i == 9)
            return false;
        *out = *out * 10 + (p[i] - '0');
    }
    return n > 0;
}

/* RFC 9110 5.6.7, the form that is to be generated: "Sun, 06 Nov 1994 08:49:37 GMT". Unix time. */
static bool read_date(const char *p, size_t n, int64_t *out)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t day, year, h, m, s, month = 1;
    if (n != 29 || memcmp(p + 3, ", ", 2) != 0 || memcmp(p + 25, " GMT", 4) != 0)
        return false;
    while (month <= 12 && memcmp(months + 3 * (month - 1), p + 8, 3) != 0)
        month++;
    if (month > 12 || !read_digits(p + 5, 2, &day) || !read_digits(p + 12, 4, &year) || !read_digits(p + 17, 2, &h)
        || !read_digits(p + 20, 2, &m) || !read_digits(p + 23, 2, &s)
        || day < 1 || day > 31 || year < 1 || h > 23 || m > 59 || s > 60)
        return false;
    *out = gsi_json_days(year, month, day) * DAY_S + h * 3600 + m * 60 + s;
    return true;
}

uint64_t gsi_retry_after_ns(const char *retry_after, size_t n, const char *date, size_t date_n)
{
    int64_t wait, until, from;
    if (!read_digits(retry_after, n, &wait))
        wait = read_date(retry_after, n, &until) && read_date(date, date_n, &from) ? until - from : 0;
    if (wait <= 0 || wait > HOUR_S)
        return gsi_backoff_between(RETRY_LEAST_S * SECOND, RETRY_MOST_S * SECOND);
    return (uint64_t)wait * SECOND;
}
