/* packet_line.c: line. */
#include "packet_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const gs_packet_type types[] = {GS_PACKET_LINE};
    gs_bytes input = {data, size};
    gs_decoder d;
    if (fuzz_take_decoder(types, sizeof types / sizeof types[0], &input, &d))
        fuzz_check_stream(&d, input);
    return 0;
}
