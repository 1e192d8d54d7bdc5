/* packet_length.c: raw, 1, 2, 4. */
#include "packet_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const gs_packet_type types[] = {GS_PACKET_RAW, GS_PACKET_1, GS_PACKET_2, GS_PACKET_4};
    gs_bytes input = {data, size};
    gs_decoder d;
    if (fuzz_take_decoder(types, sizeof types / sizeof types[0], &input, &d))
        fuzz_check_stream(&d, input);
    return 0;
}
