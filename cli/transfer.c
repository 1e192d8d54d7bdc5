/* transfer.c: what the two ends of a file transfer have in common. */
#include "transfer.h"

#include <string.h>

void transfer_defaults(struct cli_args *a)
{
    cli_default(a, (gs_opt)GS_INT(REUSEADDR, true));
    cli_default(a, (gs_opt)GS_INT(PACKET, GS_PACKET_4));
    cli_default(a, (gs_opt)GS_INT(PACKET_SIZE, TRANSFER_PACKET));
}

int transfer_complete(struct cli_args *a)
{
    static const int fixed[] = {GS_OPT_PACKET, GS_OPT_PACKET_SIZE, GS_OPT_HEADER, GS_OPT_ACTIVE};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        const gs_opt *o = cli_opt(a, fixed[i]);
        if (o && o >= a->opts + a->n_defaults)
            return cli_say(a, CLI_USAGE, "--%s: a transfer sets this itself", gs_opt_name_text(fixed[i]));
    }
    cli_fallback(a, (gs_opt)GS_INT(SEND_TIMEOUT, a->timeout_ms));
    return -1;
}

ssize_t transfer_take(const struct cli_args *a, gs_stream s, uint8_t *buf)
{
    ssize_t n = gs_stream_recv(s, buf, TRANSFER_PACKET, 0, a->timeout_ms);
    if (n > 0)
        return n;
    if (n == 0)
        return -1 - cli_say(a, CLI_PROTOCOL, "the peer sent an empty packet: it is no gensock %s",
                            *a->command == 's' ? "recv" : "send");
    return -1 - cli_fail(a, "receiving", (int)n);
}

void transfer_put64(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

uint64_t transfer_get64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

void transfer_report(const struct cli_args *a, const char *verb, const char *file, uint64_t size,
                     const uint8_t digest[SHA256_LEN], double seconds)
{
    char text[2 * SHA256_LEN + 1];
    double rate = seconds > 0 ? (double)size / seconds : 0;
    sha256_text(digest, text);
    if (!a->json) {
        printf("%s %s: %llu bytes in %.2f s, %.1f MB/s, sha256 %s\n", verb, file, (unsigned long long)size, seconds,
               rate / 1e6, text);
        return;
    }
    fputs("{\"file\":", stdout);
    cli_json_text(stdout, file, strlen(file));
    printf(",\"bytes\":%llu,\"seconds\":%.3f,\"bytes_per_second\":%.0f,\"sha256\":\"%s\"}\n", (unsigned long long)size,
           seconds, rate, text);
}
