/* options.c: the kernel's options under Erlang's names: one row each. A row whose number is ABSENT is an option that
 * other systems have: known, and not supported. sctp's structs, and a few rare ones, are bytes as the kernel's headers
 * lay them out. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "socket/socket.h"

#include <linux/sctp.h> /* needs sys/socket.h and stdint.h before it */

enum { ABSENT = -1, OTP = -2 };
enum { FLOWINFO = 11 }; /* IPV6_FLOWINFO: linux/in6.h has it, but contradicts netinet/in.h */

#define BOTH GSI_CAN_BOTH
#define GET GSI_CAN_GET
#define SET GSI_CAN_SET
#define ROW(name, form, can, level, number) {name, GSI_FORM_##form, can, level, number}

const struct gsi_sockopt gsi_sockopts[] = {
    ROW("otp:debug", NONE, BOTH, OTP, 0),
    ROW("otp:iow", NONE, BOTH, OTP, 0),
    ROW("otp:controlling_process", NONE, BOTH, OTP, 0),
    ROW("otp:rcvbuf", NONE, BOTH, OTP, 0),
    ROW("otp:rcvctrlbuf", NONE, BOTH, OTP, 0),
    ROW("otp:sndctrlbuf", NONE, BOTH, OTP, 0),
    ROW("otp:meta", NONE, BOTH, OTP, 0),
    ROW("otp:fd", NONE, GET, OTP, 0),
    ROW("otp:use_registry", NONE, GET, OTP, 0),

    ROW("socket:acceptconn", BOOL, GET, SOL_SOCKET, SO_ACCEPTCONN),
    ROW("socket:acceptfilter", NONE, BOTH, SOL_SOCKET, ABSENT),
    ROW("socket:bindtodevice", TEXT, BOTH, SOL_SOCKET, SO_BINDTODEVICE),
    ROW("socket:broadcast", BOOL, BOTH, SOL_SOCKET, SO_BROADCAST),
    ROW("socket:bsp_state", NONE, BOTH, SOL_SOCKET, ABSENT),
    ROW("socket:busy_poll", INT, BOTH, SOL_SOCKET, SO_BUSY_POLL),
    ROW("socket:debug", BOOL, BOTH, SOL_SOCKET, SO_DEBUG),
    ROW("socket:domain", INT, GET, SOL_SOCKET, SO_DOMAIN),
    ROW("socket:dontroute", BOOL, BOTH, SOL_SOCKET, SO_DONTROUTE),
    ROW("socket:error", INT, GET, SOL_SOCKET, SO_ERROR),
    ROW("socket:exclusiveaddruse", NONE, BOTH, SOL_SOCKET, ABSENT),
    ROW("socket:keepalive", BOOL, BOTH, SOL_SOCKET, SO_KEEPALIVE),
    ROW("socket:linger", LINGER, BOTH, SOL_SOCKET, SO_LINGER),
    ROW("socket:mark", INT, BOTH, SOL_SOCKET, SO_MARK),
    ROW("socket:maxdg", NONE, BOTH, SOL_SOCKET, ABSENT),
    ROW("socket:max_msg_size", NONE, BOTH, SOL_SOCKET, ABSENT),
    ROW("socket:oobinline", BOOL, BOTH, SOL_SOCKET, SO_OOBINLINE),
    ROW("socket:passcred", BOOL, BOTH, SOL_SOCKET, SO_PASSCRED),
    ROW("socket:peek_off", INT, BOTH, SOL_SOCKET, SO_PEEK_OFF),
    ROW("socket:peercred", CRED, GET, SOL_SOCKET, SO_PEERCRED),
    ROW("socket:peersec", BYTES, GET, SOL_SOCKET, SO_PEERSEC),
    ROW("socket:priority", INT, BOTH, SOL_SOCKET, SO_PRIORITY),
    ROW("socket:protocol", INT, GET, SOL_SOCKET, SO_PROTOCOL),
    ROW("socket:rcvbuf", INT, BOTH, SOL_SOCKET, SO_RCVBUF),
    ROW("socket:rcvbufforce", INT, SET, SOL_SOCKET, SO_RCVBUFFORCE),
    ROW("socket:rcvlowat", INT, BOTH, SOL_SOCKET, SO_RCVLOWAT),
    ROW("socket:rcvtimeo", TIMEVAL, BOTH, SOL_SOCKET, SO_RCVTIMEO),
    ROW("socket:reuseaddr", BOOL, BOTH, SOL_SOCKET, SO_REUSEADDR),
    ROW("socket:reuseport", BOOL, BOTH, SOL_SOCKET, SO_REUSEPORT),
    ROW("socket:rxq_ovfl", BOOL, BOTH, SOL_SOCKET, SO_RXQ_OVFL),
    ROW("socket:setfib", NONE, BOTH, SOL_SOCKET, ABSENT),
    ROW("socket:sndbuf", INT, BOTH, SOL_SOCKET, SO_SNDBUF),
    ROW("socket:sndbufforce", INT, SET, SOL_SOCKET, SO_SNDBUFFORCE),
    ROW("socket:sndlowat", INT, GET, SOL_SOCKET, SO_SNDLOWAT),
    ROW("socket:sndtimeo", TIMEVAL, BOTH, SOL_SOCKET, SO_SNDTIMEO),
    ROW("socket:timestamp", BOOL, BOTH, SOL_SOCKET, SO_TIMESTAMP),
    ROW("socket:type", INT, GET, SOL_SOCKET, SO_TYPE),
    ROW("socket:use_ifs", NONE, BOTH, SOL_SOCKET, ABSENT),

    ROW("ip:add_membership", MREQ, SET, IPPROTO_IP, IP_ADD_MEMBERSHIP),
    ROW("ip:add_source_membership", MREQ_SOURCE, SET, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP),
    ROW("ip:block_source", MREQ_SOURCE, SET, IPPROTO_IP, IP_BLOCK_SOURCE),
    ROW("ip:dontfrag", NONE, BOTH, IPPROTO_IP, ABSENT),
    ROW("ip:drop_membership", MREQ, SET, IPPROTO_IP, IP_DROP_MEMBERSHIP),
    ROW("ip:drop_source_membership", MREQ_SOURCE, SET, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP),
    ROW("ip:freebind", BOOL, BOTH, IPPROTO_IP, IP_FREEBIND),
    ROW("ip:hdrincl", BOOL, BOTH, IPPROTO_IP, IP_HDRINCL),
    ROW("ip:minttl", INT, BOTH, IPPROTO_IP, IP_MINTTL),
    ROW("ip:msfilter", BYTES, BOTH, IPPROTO_IP, IP_MSFILTER),
    ROW("ip:mtu", INT, GET, IPPROTO_IP, IP_MTU),
    ROW("ip:mtu_discover", INT, BOTH, IPPROTO_IP, IP_MTU_DISCOVER),
    ROW("ip:multicast_all", BOOL, BOTH, IPPROTO_IP, IP_MULTICAST_ALL),
    ROW("ip:multicast_if", IN_ADDR, BOTH, IPPROTO_IP, IP_MULTICAST_IF),
    ROW("ip:multicast_loop", BOOL, BOTH, IPPROTO_IP, IP_MULTICAST_LOOP),
    ROW("ip:multicast_ttl", INT, BOTH, IPPROTO_IP, IP_MULTICAST_TTL),
    ROW("ip:nodefrag", BOOL, BOTH, IPPROTO_IP, IP_NODEFRAG),
    ROW("ip:options", BYTES, BOTH, IPPROTO_IP, IP_OPTIONS),
    ROW("ip:pktinfo", BOOL, BOTH, IPPROTO_IP, IP_PKTINFO),
    ROW("ip:recvdstaddr", NONE, BOTH, IPPROTO_IP, ABSENT),
    ROW("ip:recverr", BOOL, BOTH, IPPROTO_IP, IP_RECVERR),
    ROW("ip:recvif", NONE, BOTH, IPPROTO_IP, ABSENT),
    ROW("ip:recvopts", BOOL, BOTH, IPPROTO_IP, IP_RECVOPTS),
    ROW("ip:recvorigdstaddr", BOOL, BOTH, IPPROTO_IP, IP_RECVORIGDSTADDR),
    ROW("ip:recvtos", BOOL, BOTH, IPPROTO_IP, IP_RECVTOS),
    ROW("ip:recvttl", BOOL, BOTH, IPPROTO_IP, IP_RECVTTL),
    ROW("ip:retopts", BOOL, BOTH, IPPROTO_IP, IP_RETOPTS),
    ROW("ip:router_alert", INT, BOTH, IPPROTO_IP, IP_ROUTER_ALERT),
    ROW("ip:sendsrcaddr", NONE, BOTH, IPPROTO_IP, ABSENT),
    ROW("ip:tos", INT, BOTH, IPPROTO_IP, IP_TOS),
    ROW("ip:transparent", BOOL, BOTH, IPPROTO_IP, IP_TRANSPARENT),
    ROW("ip:ttl", INT, BOTH, IPPROTO_IP, IP_TTL),
    ROW("ip:unblock_source", MREQ_SOURCE, SET, IPPROTO_IP, IP_UNBLOCK_SOURCE),

    ROW("ipv6:add_membership", MREQ6, SET, IPPROTO_IPV6, IPV6_JOIN_GROUP),
    ROW("ipv6:addrform", INT, BOTH, IPPROTO_IPV6, IPV6_ADDRFORM),
    ROW("ipv6:authhdr", BOOL, BOTH, IPPROTO_IPV6, IPV6_AUTHHDR),
    ROW("ipv6:auth_level", NONE, BOTH, IPPROTO_IPV6, ABSENT),
    ROW("ipv6:checksum", INT, BOTH, IPPROTO_IPV6, IPV6_CHECKSUM),
    ROW("ipv6:drop_membership", MREQ6, SET, IPPROTO_IPV6, IPV6_LEAVE_GROUP),
    ROW("ipv6:dstopts", BOOL, BOTH, IPPROTO_IPV6, IPV6_RECVDSTOPTS),
    ROW("ipv6:esp_network_level", NONE, BOTH, IPPROTO_IPV6, ABSENT),
    ROW("ipv6:esp_trans_level", NONE, BOTH, IPPROTO_IPV6, ABSENT),
    ROW("ipv6:faith", NONE, BOTH, IPPROTO_IPV6, ABSENT),
    ROW("ipv6:flowinfo", BOOL, BOTH, IPPROTO_IPV6, FLOWINFO),
    ROW("ipv6:hopopts", BOOL, BOTH, IPPROTO_IPV6, IPV6_RECVHOPOPTS),
    ROW("ipv6:ipcomp_level", NONE, BOTH, IPPROTO_IPV6, ABSENT),
    ROW("ipv6:join_group", MREQ6, SET, IPPROTO_IPV6, IPV6_JOIN_GROUP),
    ROW("ipv6:leave_group", MREQ6, SET, IPPROTO_IPV6, IPV6_LEAVE_GROUP),
    ROW("ipv6:mtu", INT, BOTH, IPPROTO_IPV6, IPV6_MTU),
    ROW("ipv6:mtu_discover", INT, BOTH, IPPROTO_IPV6, IPV6_MTU_DISCOVER),
    ROW("ipv6:multicast_hops", INT, BOTH, IPPROTO_IPV6, IPV6_MULTICAST_HOPS),
    ROW("ipv6:multicast_if", INT, BOTH, IPPROTO_IPV6, IPV6_MULTICAST_IF),
    ROW("ipv6:multicast_loop", BOOL, BOTH, IPPROTO_IPV6, IPV6_MULTICAST_LOOP),
    ROW("ipv6:pktoptions", BYTES, GET, IPPROTO_IPV6, IPV6_2292PKTOPTIONS),
    ROW("ipv6:portrange", NONE, BOTH, IPPROTO_IPV6, ABSENT),
    ROW("ipv6:recverr", BOOL, BOTH, IPPROTO_IPV6, IPV6_RECVERR),
    ROW("ipv6:recvhoplimit", BOOL, BOTH, IPPROTO_IPV6, IPV6_RECVHOPLIMIT),
    ROW("ipv6:recvpktinfo", BOOL, BOTH, IPPROTO_IPV6, IPV6_RECVPKTINFO),
    ROW("ipv6:recvtclass", BOOL, BOTH, IPPROTO_IPV6, IPV6_RECVTCLASS),
    ROW("ipv6:router_alert", INT, BOTH, IPPROTO_IPV6, IPV6_ROUTER_ALERT),
    ROW("ipv6:rthdr", BOOL, BOTH, IPPROTO_IPV6, IPV6_RECVRTHDR),
    ROW("ipv6:tclass", INT, BOTH, IPPROTO_IPV6, IPV6_TCLASS),
    ROW("ipv6:unicast_hops", INT, BOTH, IPPROTO_IPV6, IPV6_UNICAST_HOPS),
    ROW("ipv6:use_min_mtu", NONE, BOTH, IPPROTO_IPV6, ABSENT),
    ROW("ipv6:v6only", BOOL, BOTH, IPPROTO_IPV6, IPV6_V6ONLY),

    ROW("tcp:congestion", TEXT, BOTH, IPPROTO_TCP, TCP_CONGESTION),
    ROW("tcp:cork", BOOL, BOTH, IPPROTO_TCP, TCP_CORK),
    ROW("tcp:defer_accept", INT, BOTH, IPPROTO_TCP, TCP_DEFER_ACCEPT),
    ROW("tcp:info", BYTES, GET, IPPROTO_TCP, TCP_INFO),
    ROW("tcp:keepcnt", INT, BOTH, IPPROTO_TCP, TCP_KEEPCNT),
    ROW("tcp:keepidle", INT, BOTH, IPPROTO_TCP, TCP_KEEPIDLE),
    ROW("tcp:keepintvl", INT, BOTH, IPPROTO_TCP, TCP_KEEPINTVL),
    ROW("tcp:linger2", INT, BOTH, IPPROTO_TCP, TCP_LINGER2),
    ROW("tcp:maxseg", INT, BOTH, IPPROTO_TCP, TCP_MAXSEG),
    ROW("tcp:md5sig", BYTES, SET, IPPROTO_TCP, TCP_MD5SIG),
    ROW("tcp:nodelay", BOOL, BOTH, IPPROTO_TCP, TCP_NODELAY),
    ROW("tcp:noopt", NONE, BOTH, IPPROTO_TCP, ABSENT),
    ROW("tcp:nopush", NONE, BOTH, IPPROTO_TCP, ABSENT),
    ROW("tcp:quickack", BOOL, BOTH, IPPROTO_TCP, TCP_QUICKACK),
    ROW("tcp:save_syn", BOOL, BOTH, IPPROTO_TCP, TCP_SAVE_SYN),
    ROW("tcp:saved_syn", BYTES, GET, IPPROTO_TCP, TCP_SAVED_SYN),
    ROW("tcp:syncnt", INT, BOTH, IPPROTO_TCP, TCP_SYNCNT),
    ROW("tcp:user_timeout", INT, BOTH, IPPROTO_TCP, TCP_USER_TIMEOUT),

    ROW("udp:cork", BOOL, BOTH, IPPROTO_UDP, UDP_CORK),
    ROW("udp:encap", INT, SET, IPPROTO_UDP, UDP_ENCAP),

    ROW("sctp:adaption_layer", BYTES, BOTH, IPPROTO_SCTP, SCTP_ADAPTATION_LAYER),
    ROW("sctp:associnfo", BYTES, BOTH, IPPROTO_SCTP, SCTP_ASSOCINFO),
    ROW("sctp:auth_active_key", BYTES, BOTH, IPPROTO_SCTP, SCTP_AUTH_ACTIVE_KEY),
    ROW("sctp:auth_chunk", BYTES, SET, IPPROTO_SCTP, SCTP_AUTH_CHUNK),
    ROW("sctp:auth_delete_key", BYTES, SET, IPPROTO_SCTP, SCTP_AUTH_DELETE_KEY),
    ROW("sctp:auth_key", BYTES, SET, IPPROTO_SCTP, SCTP_AUTH_KEY),
    ROW("sctp:autoclose", INT, BOTH, IPPROTO_SCTP, SCTP_AUTOCLOSE),
    ROW("sctp:context", BYTES, BOTH, IPPROTO_SCTP, SCTP_CONTEXT),
    ROW("sctp:default_send_params", BYTES, BOTH, IPPROTO_SCTP, SCTP_DEFAULT_SEND_PARAM),
    ROW("sctp:delayed_ack_time", BYTES, BOTH, IPPROTO_SCTP, SCTP_DELAYED_SACK),
    ROW("sctp:disable_fragments", BOOL, BOTH, IPPROTO_SCTP, SCTP_DISABLE_FRAGMENTS),
    ROW("sctp:events", BYTES, BOTH, IPPROTO_SCTP, SCTP_EVENTS),
    ROW("sctp:explicit_eor", NONE, BOTH, IPPROTO_SCTP, ABSENT),
    ROW("sctp:fragment_interleave", INT, BOTH, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE),
    ROW("sctp:get_peer_addr_info", BYTES, GET, IPPROTO_SCTP, SCTP_GET_PEER_ADDR_INFO),
    ROW("sctp:hmac_ident", BYTES, BOTH, IPPROTO_SCTP, SCTP_HMAC_IDENT),
    ROW("sctp:initmsg", BYTES, BOTH, IPPROTO_SCTP, SCTP_INITMSG),
    ROW("sctp:i_want_mapped_v4_addr", BOOL, BOTH, IPPROTO_SCTP, SCTP_I_WANT_MAPPED_V4_ADDR),
    ROW("sctp:local_auth_chunks", BYTES, GET, IPPROTO_SCTP, SCTP_LOCAL_AUTH_CHUNKS),
    ROW("sctp:maxburst", BYTES, BOTH, IPPROTO_SCTP, SCTP_MAX_BURST),
    ROW("sctp:maxseg", BYTES, BOTH, IPPROTO_SCTP, SCTP_MAXSEG),
    ROW("sctp:nodelay", BOOL, BOTH, IPPROTO_SCTP, SCTP_NODELAY),
    ROW("sctp:partial_delivery_point", INT, BOTH, IPPROTO_SCTP, SCTP_PARTIAL_DELIVERY_POINT),
    ROW("sctp:peer_addr_params", BYTES, BOTH, IPPROTO_SCTP, SCTP_PEER_ADDR_PARAMS),
    ROW("sctp:peer_auth_chunks", BYTES, GET, IPPROTO_SCTP, SCTP_PEER_AUTH_CHUNKS),
    ROW("sctp:primary_addr", BYTES, BOTH, IPPROTO_SCTP, SCTP_PRIMARY_ADDR),
    ROW("sctp:reset_streams", BYTES, SET, IPPROTO_SCTP, SCTP_RESET_STREAMS),
    ROW("sctp:rtoinfo", BYTES, BOTH, IPPROTO_SCTP, SCTP_RTOINFO),
    ROW("sctp:set_peer_primary_addr", BYTES, SET, IPPROTO_SCTP, SCTP_SET_PEER_PRIMARY_ADDR),
    ROW("sctp:status", BYTES, GET, IPPROTO_SCTP, SCTP_STATUS),
    ROW("sctp:use_ext_recvinfo", NONE, BOTH, IPPROTO_SCTP, ABSENT),
};
const size_t gsi_sockopts_n = sizeof gsi_sockopts / sizeof gsi_sockopts[0];

const struct gsi_sockopt *gsi_sockopt_find(const char *name)
{
    for (size_t i = 0; i < gsi_sockopts_n; i++)
        if (!strcmp(gsi_sockopts[i].name, name))
            return &gsi_sockopts[i];
    return NULL;
}

/* The row, when it may be got or set; else *e. */
static const struct gsi_sockopt *row_for(const char *name, int can, int *e)
{
    const struct gsi_sockopt *o = gsi_sockopt_find(name);
    char quoted[GSI_QUOTE_MAX];
    if (!o)
        *e = gsi_fail(GS_EINVALID, "no option is named %s; gs_supports(\"options\", …) lists them",
                      gsi_quote(quoted, sizeof quoted, name));
    else if (o->number == ABSENT)
        *e = gsi_fail(-ENOPROTOOPT, "%s is an option of other systems", name);
    else if (!(o->can & can))
        *e = gsi_fail(-ENOPROTOOPT, "%s can only be %s", name, can == SET ? "read" : "set");
    else
        return o;
    return NULL;
}

static int set_kernel(int fd, const struct gsi_sockopt *o, const gs_value *v)
{
    uint8_t bytes[GSI_VALUE_MAX];
    const void *p = bytes;
    int n;
    if (v->kind != gsi_value_kind(o->form))
        return gsi_fail(-EINVAL, "%s takes a value of another kind", o->name);
    if (o->form == GSI_FORM_BYTES) {
        if ((!v->v.bytes.p && v->v.bytes.n) || v->v.bytes.n > INT16_MAX)
            return -EINVAL;
        p = v->v.bytes.p;
        n = (int)v->v.bytes.n;
    } else
        n = gsi_value_encode(o->form, v, bytes);
    if (n < 0)
        return gsi_fail(n, "%s does not take this value", o->name);
    return gsi_sys.setsockopt(fd, o->level, o->number, p, (socklen_t)n) < 0 ? gsi_errno() : 0;
}

static int get_kernel(int fd, const struct gsi_sockopt *o, gs_value *v)
{
    uint8_t bytes[256] = {0};
    void *p = bytes;
    socklen_t n = sizeof bytes;
    bool own = o->form == GSI_FORM_BYTES;
    if (own) {
        if (v->kind != GS_VALUE_BYTES || (!v->v.bytes.p && v->v.bytes.n) || v->v.bytes.n > INT16_MAX)
            return gsi_fail(-EINVAL, "%s fills the caller's bytes: set kind, v.bytes.p and v.bytes.n", o->name);
        p = v->v.bytes.p;
        n = (socklen_t)v->v.bytes.n;
    } else if (o->form == GSI_FORM_INT || o->form == GSI_FORM_BOOL)
        n = sizeof(int); /* some answer a single byte to other sizes */
    if (gsi_sys.getsockopt(fd, o->level, o->number, p, &n) < 0)
        return gsi_errno();
    if (own) {
        v->v.bytes.n = n;
        return 0;
    }
    return gsi_value_decode(o->form, bytes, n, v);
}

int gs_socket_setopt(gs_socket h, const char *option, const gs_value *value)
{
    struct gsi_socket *s;
    int e = 0;
    if (!option || !value)
        return GS_EBADARG;
    int locked = gsi_socket_lock(h, &s);
    if (locked < 0)
        return locked;
    const struct gsi_sockopt *o = row_for(option, SET, &e);
    if (o)
        e = o->level == OTP ? gsi_otp_set(s, o->name, value) : set_kernel(s->fd, o, value);
    gsi_socket_unlock(s);
    return e;
}

int gs_socket_getopt(gs_socket h, const char *option, gs_value *value)
{
    struct gsi_socket *s;
    int e = 0;
    if (!option || !value)
        return GS_EBADARG;
    int locked = gsi_socket_lock(h, &s);
    if (locked < 0)
        return locked;
    const struct gsi_sockopt *o = row_for(option, GET, &e);
    if (o)
        e = o->level == OTP ? gsi_otp_get(s, o->name, value) : get_kernel(s->fd, o, value);
    gsi_socket_unlock(s);
    return e;
}

int gs_socket_setopt_native(gs_socket h, int level, int number, const void *p, socklen_t n)
{
    struct gsi_socket *s;
    if (!p && n)
        return GS_EBADARG;
    int e = gsi_socket_lock(h, &s);
    if (e < 0)
        return e;
    if (gsi_sys.setsockopt(s->fd, level, number, p, n) < 0)
        e = gsi_errno();
    gsi_socket_unlock(s);
    return e;
}

int gs_socket_getopt_native(gs_socket h, int level, int number, void *p, socklen_t *n)
{
    struct gsi_socket *s;
    if (!n || (!p && *n))
        return GS_EBADARG;
    int e = gsi_socket_lock(h, &s);
    if (e < 0)
        return e;
    if (gsi_sys.getsockopt(s->fd, level, number, p, n) < 0)
        e = gsi_errno();
    gsi_socket_unlock(s);
    return e;
}
