/* report.c: what the commands say: one line for each error, exit codes, JSON strings. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "cli.h"

enum { LINE_MOST = 8192 };

int cli_exit_of(int error)
{
    switch (error) {
    case -ECONNREFUSED:
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -EHOSTDOWN:
    case -ENETDOWN:
    case GS_ECONTROL:
        return CLI_REFUSED;
    case GS_ETIMEOUT:
    case -ETIMEDOUT:
        return CLI_TIMEOUT;
    case GS_EFORMAT:
    case GS_ENOSCHEME:
    case GS_ENXDOMAIN:
    case -EAGAIN: /* a look-up: the name server has failed for now */
    case -EADDRNOTAVAIL:
    case -EADDRINUSE:
    case -EAFNOSUPPORT:
    case -ENAMETOOLONG:
    case -ENODEV:
    case -ENOENT:
    case -ENOTDIR:
    case -ENOTSOCK:
    case -EPROTOTYPE:
        return CLI_ADDRESS;
    case -EACCES:
    case -EPERM:
    case GS_EFILTERED:
        return CLI_PERMISSION;
    case GS_ECLOSED:
    case GS_ETRUNCATED:
    case -ECONNRESET:
    case -ECONNABORTED:
    case -EPIPE:
    case -ENOTCONN:
        return CLI_CLOSED;
    case GS_EBADARG:
    case -EINVAL:
    case -ENOTSUP:
        return CLI_USAGE;
    case -EMSGSIZE:
    case GS_EINVALID:
        return CLI_PROTOCOL;
    case GS_EALERT:
        return CLI_TLS;
    case GS_ELOGIN:
    case GS_EAPPROVAL:
    case GS_EAUTHKEY:
    case GS_EKEYEXPIRED:
    case GS_ELOCKED:
    case GS_ECLOCK:
        return CLI_TAILNET;
    default:
        return error < 0 ? CLI_FAILURE : CLI_OK;
    }
}

void cli_put_plain(FILE *to, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        bool c1 = c == 0xc2 && i + 1 < n && (unsigned char)p[i + 1] < 0xa0; /* U+0080 … U+009F */
        fputc(c < 0x20 || c == 0x7f || c1 ? '?' : c, to);
        i += c1;
    }
}

int cli_say(const struct cli_args *a, int exit_code, const char *format, ...)
{
    char text[LINE_MOST];
    va_list args;
    if (cli_signals_came())
        return exit_code;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    flockfile(stderr);
    fprintf(stderr, "gensock %s: ", a->command);
    cli_put_plain(stderr, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    fputc('\n', stderr);
    funlockfile(stderr);
    return exit_code;
}

int cli_fail(const struct cli_args *a, const char *what, int error)
{
    const char *detail = gs_error_detail(error), *cure = cli_tls_cure(error, detail);
    if (!cure)
        cure = cli_tailnet_cure(error);
    int code = cli_tls_is_file_error(error, detail) ? CLI_FILE : cli_exit_of(error);
    return cli_say(a, code, "%s: %s (%s)%s%s", what, *detail ? detail : gs_error_text(error), gs_error_name(error),
                   cure ? ": " : "", cure ? cure : "");
}

int cli_finish_stdout(const struct cli_args *a, int code)
{
    bool arrived = fflush(stdout) == 0 && !ferror(stdout);
    if (arrived || code != CLI_OK)
        return code;
    return cli_say(a, CLI_FILE, "cannot write standard output: %s", strerror(errno));
}

/* The length of the UTF-8 character at the front of p[0..n), 0 when there is none (RFC 3629 §4). */
static size_t utf8_char(const unsigned char *p, size_t n)
{
    unsigned char c = p[0], low = 0x80, high = 0xbf;
    size_t len = c < 0x80 ? 1 : c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    if (c == 0xe0)
        low = 0xa0;
    else if (c == 0xed)
        high = 0x9f;
    else if (c == 0xf0)
        low = 0x90;
    else if (c == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < len; i++, low = 0x80, high = 0xbf)
        if (p[i] < low || p[i] > high)
            return 0;
    return len;
}

bool cli_is_utf8(const void *p, size_t n)
{
    const unsigned char *at = p;
    while (n > 0) {
        size_t len = utf8_char(at, n);
        if (len == 0)
            return false;
        at += len;
        n -= len;
    }
    return true;
}

void cli_json_text(FILE *to, const void *p, size_t n)
{
    const unsigned char *at = p;
    fputc('"', to);
    while (n > 0) {
        size_t len = utf8_char(at, n);
        if (len == 0)
            fputs("\xef\xbf\xbd", to);
        else if (*at == '"' || *at == '\\')
            fprintf(to, "\\%c", *at);
        else if (*at < 0x20)
            fprintf(to, "\\u%04x", *at);
        else
            fwrite(at, 1, len, to);
        at += len ? len : 1;
        n -= len ? len : 1;
    }
    fputc('"', to);
}
