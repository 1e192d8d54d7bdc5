/* option_table.h: one row for each option, the single source of their names, types, ranges, defaults and meanings: options.c
 * and option_text.c make their table from it, docs/genoptions the manual's docs/options.md, the tests their lists.
 *
 *     GSI_OPTION(NAME, erlang name, type, class, where, least, most, level, number, default, meaning or reason)
 *
 * where: L listen, C connect, S setopts, G getopts. least and most: of integers; of strings the length. level and number: what
 * setsockopt(2) is asked, for options of class KERNEL that are one int.
 * GSI_NOT_AN_OPTION(erlang name, what takes its place): of gen_tcp and inet:setopts/2, for those who look for them here.
 */

/* Of the stream itself. */
GSI_OPTION(ACTIVE, "active", ACTIVE, STREAM, L | C | S | G, -32768, 32767, 0, 0, "true with an owner, else false",
           "false: gs_stream_recv reads. true: everything received comes as messages. once: one message, then false. N: adds N "
           "to the count of messages still to come; at 0 the stream is passive and a passive message says so. On a listener: "
           "what its connections start with")
GSI_OPTION(ACCEPT, "accept", ACTIVE, STREAM, L | S | G, 1, 32767, 0, 0, "false",
           "ours: a listener with an owner delivers accept messages: all (true), one (once) or N. false: gs_stream_accept takes "
           "the connections")
GSI_OPTION(PACKET, "packet", PACKET, STREAM, L | C | S | G, 0, 14, 0, 0, "raw",
           "framing: raw or 0, 1, 2, 4, asn1, sunrm, cdr, fcgi, tpkt, line, http, httph, http_bin, httph_bin. ssl_tls is "
           "gs_decode's only")
GSI_OPTION(PACKET_SIZE, "packet_size", INT, STREAM, L | C | S | G, 0, UINT32_MAX, 0, 0, "0",
           "a longer packet is malformed and ends the stream; 0: no limit")
GSI_OPTION(LINE_DELIMITER, "line_delimiter", INT, STREAM, L | C | S | G, 0, 255, 0, 0, "10", "the byte that ends a line of {packet,line}")
GSI_OPTION(HEADER, "header", INT, STREAM, L | C | S | G, 0, INT32_MAX, 0, 0, "0",
           "so many bytes in front of a packet come in gs_packet.header instead of .data")
GSI_OPTION(BUFFER, "buffer", INT, STREAM, L | C | S | G, 0, INT32_MAX, 0, 0, "1460",
           "the longest line delivered in one piece, and the longest of an http header; recbuf raises it to its own value")
GSI_OPTION(DELAY_SEND, "delay_send", BOOL, STREAM, L | C | S | G, 0, 1, 0, 0, "false",
           "what is sent waits until the owner's mailbox does, so that many sends are one write")
GSI_OPTION(SEND_MODE, "send_mode", SEND_MODE, STREAM, L | C | S | G, 0, 1, 0, 0, "queued with an owner, else direct",
           "queued is what Erlang's inet backend does, direct what its socket backend does")
GSI_OPTION(SEND_TIMEOUT, "send_timeout", TIMEOUT, STREAM, L | C | S | G, 0, INT32_MAX, 0, 0, "infinity",
           "how long a send waits in ms, infinity, or nowait: then eagain, and a drained message follows")
GSI_OPTION(SEND_TIMEOUT_CLOSE, "send_timeout_close", BOOL, STREAM, L | C | S | G, 0, 1, 0, 0, "false", "a send that timed out closes the stream")
GSI_OPTION(HANDSHAKE_TIMEOUT, "handshake_timeout", TIMEOUT, STREAM, L | C | S | G, 0, INT32_MAX, 0, 0, "10000",
           "ours: how long the handshakes of layers (tls) may take in all, in ms or infinity, besides a caller's "
           "own timeout; set on a listener for its connections")
GSI_OPTION(HIGH_WATERMARK, "high_watermark", INT, STREAM, L | C | S | G, 0, INT32_MAX, 0, 0, "8192",
           "queued bytes from which on a send waits")
GSI_OPTION(LOW_WATERMARK, "low_watermark", INT, STREAM, L | C | S | G, 0, INT32_MAX, 0, 0, "4096",
           "queued bytes below which a waiting send goes on; at most high_watermark")
GSI_OPTION(EXIT_ON_CLOSE, "exit_on_close", BOOL, STREAM, L | C | S | G, 0, 1, 0, 0, "true",
           "the peer's end of sending closes the stream; false: it can still be sent to")
GSI_OPTION(SHOW_ECONNRESET, "show_econnreset", BOOL, STREAM, L | C | S | G, 0, 1, 0, 0, "false",
           "a reset by the peer is told as econnreset instead of closed")
GSI_OPTION(DEBUG, "debug", DEBUG, STREAM, L | C | S | G, 0, 0, 0, 0, "false",
           "a trace of the stream's calls and messages, line by line to a function; the text true writes it to stderr")
GSI_OPTION(USER, "user", PTR, STREAM, L | C | S | G, 0, 0, 0, 0, "NULL", "ours: the pointer that every message of this stream carries")

/* Where it is opened. */
GSI_OPTION(FAMILY, "family", FAMILY, OPEN, L | C | G, 0, 0, 0, 0, "the address's",
           "Erlang's atoms inet, inet6 and local: which addresses of a name are used")
GSI_OPTION(IP, "ip", ADDR, OPEN, L | C, 0, 0, 0, 0, "any",
           "the local address; replaces the address of an ifaddr before it and keeps its port")
GSI_OPTION(IFADDR, "ifaddr", ADDR, OPEN, L | C, 0, 0, 0, 0, "any",
           "the local address with its port; replaces ip and port given before it")
GSI_OPTION(PORT, "port", INT, OPEN, L | C, 0, UINT16_MAX, 0, 0, "0",
           "the local port; replaces the port of an ifaddr before it, and for listen that of the address")
GSI_OPTION(FD, "fd", INT, OPEN, L | C | G, 0, INT32_MAX, 0, 0, "a new one",
           "this descriptor instead of a new one; taken, also when the call fails. With ip, ifaddr or port it is bound first")
GSI_OPTION(NETNS, "netns", STRING, OPEN, L | C, 1, 4095, 0, 0, "the process's",
           "path of a network namespace that the socket is made in, and names are looked up from")
GSI_OPTION(BIND_TO_DEVICE, "bind_to_device", STRING, KERNEL, L | C | S, 0, 15, SOL_SOCKET, SO_BINDTODEVICE, "none",
           "only through this interface; empty: any. To ask for it: raw with level 1, number 25")
GSI_OPTION(BACKLOG, "backlog", INT, OPEN, L, 0, INT32_MAX, 0, 0, "5", "connections that may wait to be accepted")

/* Of the kernel's socket. */
GSI_OPTION(LINGER, "linger", LINGER, STREAM, L | C | S | G, 0, INT32_MAX, 0, 0, "false,0",
           "{true,N}: after close the unsent goes on for N seconds, in the background; {true,0}: close resets the connection")
GSI_OPTION(NODELAY, "nodelay", BOOL, KERNEL, L | C | S | G, 0, 1, IPPROTO_TCP, TCP_NODELAY, "false",
           "small packets go out at once; of tcp only, as Erlang's socket backend has it")
GSI_OPTION(KEEPALIVE, "keepalive", BOOL, KERNEL, L | C | S | G, 0, 1, SOL_SOCKET, SO_KEEPALIVE, "false",
           "the kernel asks a silent peer whether it is there")
GSI_OPTION(PRIORITY, "priority", INT, KERNEL, L | C | S | G, 0, INT32_MAX, SOL_SOCKET, SO_PRIORITY, "0",
           "of packets in this host's queues; above 6 takes CAP_NET_ADMIN. tos and tclass leave it as it is")
GSI_OPTION(RECBUF, "recbuf", INT, KERNEL, L | C | S | G, 0, INT32_MAX, SOL_SOCKET, SO_RCVBUF, "the kernel's",
           "the kernel's receive buffer; Linux answers twice what was set")
GSI_OPTION(SNDBUF, "sndbuf", INT, KERNEL, L | C | S | G, 0, INT32_MAX, SOL_SOCKET, SO_SNDBUF, "the kernel's",
           "the kernel's send buffer; Linux answers twice what was set")
GSI_OPTION(REUSEADDR, "reuseaddr", BOOL, KERNEL, L | C | S | G, 0, 1, SOL_SOCKET, SO_REUSEADDR, "false",
           "a port may be bound again while connections of its former owner are still in the kernel")
GSI_OPTION(REUSEPORT, "reuseport", BOOL, KERNEL, L | C | S | G, 0, 1, SOL_SOCKET, SO_REUSEPORT, "false",
           "several sockets of one user may be bound to the same port")
GSI_OPTION(REUSEPORT_LB, "reuseport_lb", BOOL, KERNEL, L | C | S | G, 0, 1, SOL_SOCKET, SO_REUSEPORT, "false",
           "several listeners share the connections to a port; on Linux reuseport does that already: the same option")
GSI_OPTION(TOS, "tos", INT, KERNEL, L | C | S | G, 0, 255, IPPROTO_IP, IP_TOS, "0", "type of service of IPv4 packets")
GSI_OPTION(TCLASS, "tclass", INT, KERNEL, L | C | S | G, 0, 255, IPPROTO_IPV6, IPV6_TCLASS, "0", "traffic class of IPv6 packets")
GSI_OPTION(TTL, "ttl", INT, KERNEL, L | C | S | G, 1, 255, IPPROTO_IP, IP_TTL, "64", "time to live of IPv4 packets; IPv6: raw 41,16")
GSI_OPTION(RECVTOS, "recvtos", BOOL, KERNEL, L | C | S | G, 0, 1, IPPROTO_IP, IP_RECVTOS, "false", "pktoptions tells the tos received")
GSI_OPTION(RECVTCLASS, "recvtclass", BOOL, KERNEL, L | C | S | G, 0, 1, IPPROTO_IPV6, IPV6_RECVTCLASS, "false",
           "pktoptions tells the traffic class received")
GSI_OPTION(RECVTTL, "recvttl", BOOL, KERNEL, L | C | S | G, 0, 1, IPPROTO_IP, IP_RECVTTL, "false", "pktoptions tells the ttl received")
GSI_OPTION(PKTOPTIONS, "pktoptions", BIN, KERNEL, G, 0, INT32_MAX, 0, 0, "",
           "IP_PKTOPTIONS or IPV6_2292PKTOPTIONS: native control messages (struct cmsghdr) of what was received; Linux only")
GSI_OPTION(IPV6_V6ONLY, "ipv6_v6only", BOOL, KERNEL, L | C | S | G, 0, 1, IPPROTO_IPV6, IPV6_V6ONLY, "net.ipv6.bindv6only",
           "an inet6 socket takes no IPv4; to be set where it is opened")
GSI_OPTION(DONTROUTE, "dontroute", BOOL, KERNEL, L | C | S | G, 0, 1, SOL_SOCKET, SO_DONTROUTE, "false",
           "only to hosts that are connected directly")
GSI_OPTION(RAW, "raw", RAW, KERNEL, L | C | S | G, 0, INT32_MAX, 0, 0, "",
           "any option by level and number, as bytes; getopts takes the room and its initial value")

/* Accepted, kept and given back, without effect. */
GSI_OPTION(DELIVER, "deliver", DELIVER, VOID, L | C | S | G, 0, 1, 0, 0, "term",
           "no effect: it chooses between two forms of Erlang messages; here there is one")
GSI_OPTION(MODE, "mode", MODE, VOID, L | C | S | G, 0, 1, 0, 0, "list",
           "no effect: Erlang's list and binary; in C data is bytes. list and binary alone are read as well")
GSI_OPTION(EXCLUSIVEADDRUSE, "exclusiveaddruse", BOOL, VOID, L | C | S | G, 0, 1, 0, 0, "false",
           "no effect: it exists on Windows only, as in Erlang")
GSI_OPTION(HIGH_MSGQ_WATERMARK, "high_msgq_watermark", INT, VOID, L | C | S | G, 1, INT32_MAX, 0, 0, "8192",
           "no effect: it bounds the message queue of Erlang's port, which does not exist here; high_watermark bounds what is sent")
GSI_OPTION(LOW_MSGQ_WATERMARK, "low_msgq_watermark", INT, VOID, L | C | S | G, 1, INT32_MAX, 0, 0, "4096",
           "no effect: as high_msgq_watermark")

GSI_NOT_AN_OPTION("tcp_module", "the scheme of the address chooses the transport (gs_transport_register makes one known)")
GSI_NOT_AN_OPTION("inet_backend", "there is one; the option send_mode chooses between the sends of Erlang's two")
GSI_NOT_AN_OPTION("nopush", "raw 6,3 (TCP_CORK); the stream corks its sends by itself")
GSI_NOT_AN_OPTION("broadcast", "of datagrams: gs_socket_setopt")
GSI_NOT_AN_OPTION("read_packets", "of datagrams: gs_socket_recvmsg reads one at a time")
GSI_NOT_AN_OPTION("multicast_if", "of datagrams: gs_socket_setopt")
GSI_NOT_AN_OPTION("multicast_loop", "of datagrams: gs_socket_setopt")
GSI_NOT_AN_OPTION("multicast_ttl", "of datagrams: gs_socket_setopt")
GSI_NOT_AN_OPTION("add_membership", "of datagrams: gs_socket_setopt")
GSI_NOT_AN_OPTION("drop_membership", "of datagrams: gs_socket_setopt")
