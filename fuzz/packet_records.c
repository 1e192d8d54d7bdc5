/* packet_records.c: asn1, sunrm, cdr, fcgi, tpkt. */
#include "packet_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const gs_packet_type types[] = {GS_PACKET_ASN1, GS_PACKET_SUNRM, GS_PACKET_CDR, GS_PACKET_FCGI, GS_PACKET_TPKT};
    gs_bytes input = {data, size};
    gs_decoder d;
    if (fuzz_take_decoder(types, sizeof types / sizeof types[0], &input, &d))
        fuzz_check_stream(&d, input);
    return 0;
}
