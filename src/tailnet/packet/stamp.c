/* stamp.c: an index in the header of a SYN, which the kernel gives back with TCP_SAVED_SYN (packet.h). */
#include "tailnet/bytes/bytes.h"
#include "tailnet/packet/packet.h"

enum { V4_IDENTIFICATION_AT = 4, V4_CHECKSUM_AT = 10, V4_PROTOCOL_AT = 9, TCP_LEAST = 20 };

int gsi_packet_stamp(uint8_t *in, const struct packet *p, uint32_t index)
{
    if (!gsi_packet_is_syn(p) || p->first_fragment || index > (p->version == 4 ? PACKET_STAMP_MAX_V4 : PACKET_STAMP_MAX_V6))
        return GS_EINVALID;
    if (p->version == 6) {
        struct writer label = writer_of(in, 4);
        uint32_t class = (uint32_t)in[1] & 0xf0;
        write_u32(&label, (uint32_t)in[0] << 24 | class << 16 | index);
        return 0;
    }
    struct reader id = reader_of(in + V4_IDENTIFICATION_AT, 2), checksum = reader_of(in + V4_CHECKSUM_AT, 2);
    struct writer new_id = writer_of(in + V4_IDENTIFICATION_AT, 2), new_checksum = writer_of(in + V4_CHECKSUM_AT, 2);
    write_u16(&new_checksum, gsi_checksum_update(read_u16(&checksum), read_u16(&id), (uint16_t)index));
    write_u16(&new_id, (uint16_t)index);
    return 0;
}

int gsi_packet_stamp_read(const uint8_t *saved, size_t n, uint32_t *index)
{
    if (n >= PACKET_V6_HEADER + TCP_LEAST && saved[0] >> 4 == 6) {
        struct reader r = reader_of(saved, 4);
        *index = read_u32(&r) & PACKET_STAMP_MAX_V6;
        return 0;
    }
    if (n >= PACKET_V4_HEADER + TCP_LEAST && saved[0] >> 4 == 4 && saved[V4_PROTOCOL_AT] == PROTOCOL_TCP) {
        struct reader r = reader_of(saved + V4_IDENTIFICATION_AT, 2);
        *index = read_u16(&r);
        return 0;
    }
    return GS_EINVALID;
}
