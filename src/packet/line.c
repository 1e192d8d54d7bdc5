/* line.c: {packet, line}: up to and with the delimiter, or line_length bytes of a longer line. */
#include <string.h>

#include "packet/packet.h"

/* How far a delimiter matters: beyond packet_size the line is malformed, beyond line_length a piece, whatever follows. */
static size_t window(const gs_decoder *d, size_t n)
{
    size_t limit = d->packet_size ? (size_t)d->packet_size + 1 : d->line_length ? d->line_length : n;
    return n < limit ? n : limit;
}

ssize_t gsi_line_length(const gs_decoder *d, const uint8_t *in, size_t n)
{
    size_t reach = window(d, n);
    const uint8_t *end = memchr(in, d->line_delimiter, reach);
    size_t seen = end ? (size_t)(end - in) + 1 : reach;
    if (d->packet_size && seen > d->packet_size)
        return GS_EINVALID;
    /* An unfinished line of just line_length bytes is a piece already; a finished one of that length has the same bytes. */
    if (d->line_length && seen >= d->line_length)
        return (ssize_t)d->line_length;
    return end ? (ssize_t)seen : 0;
}
