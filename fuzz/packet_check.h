/* packet_check.h: what every packet fuzz target asserts.
 *
 * An input is: type selector, packet_size (2 bytes), line_length (2), line_delimiter, and then the stream. A 16-bit limit
 * 0xffXX means 2^32-1-XX and 0xfeXX means 2^31-1-128+XX, so that the edges of 32 bits are one byte away.
 */
#ifndef FUZZ_PACKET_CHECK_H
#define FUZZ_PACKET_CHECK_H

#include "gensock/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads a decoder (its type one of types[0..n)) off the front of an input; the stream is what is left. False: too short. */
bool fuzz_take_decoder(const gs_packet_type *types, size_t n, gs_bytes *input, gs_decoder *d);

/* Decodes each prefix of the stream, from memory that ends with it, and aborts unless
 * - what is used, and every view, lies inside; `more` is beyond what is there; gsi_frame says the same;
 * - prefixes agree: a packet or an error stays what it is when more bytes follow, and `more` keeps its word;
 * then takes the packets of the stream one after the other. */
void fuzz_check_stream(const gs_decoder *d, gs_bytes stream);

#endif
