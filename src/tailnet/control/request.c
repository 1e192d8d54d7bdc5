/* request.c: the bodies of register and map requests. */
#include "tailnet/control/request.h"

#include <stdio.h>

#include "tailnet/control/text.h"
#include "tailnet/json/json.h"

enum { PAST = 123 }; /* Unix time that Go's client sends to log out */

static void put_string(struct json_out *o, const char *key, const char *text)
{
    if (text && *text)
        gsi_json_put_string(o, key, text);
}

static void put_true(struct json_out *o, const char *key, bool b)
{
    if (b)
        gsi_json_put_bool(o, key, true);
}

static void put_known(struct json_out *o, const char *key, enum known k)
{
    if (k != NOT_KNOWN)
        gsi_json_put_bool(o, key, k == KNOWN_YES);
}

static void put_key(struct json_out *o, const char *key, const char *prefix, const uint8_t *bytes)
{
    char text[TEXT_KEY_MAX];
    if (!bytes)
        return;
    gsi_text_put_key(text, prefix, bytes);
    gsi_json_put_string(o, key, text);
}

static void put_list(struct json_out *o, const char *key, const char *const *texts, size_t n)
{
    if (!n)
        return;
    gsi_json_put_array(o, key);
    for (size_t i = 0; i < n; i++)
        gsi_json_put_string(o, NULL, texts[i]);
    gsi_json_put_close(o);
}

static void put_net_info(struct json_out *o, const struct net_info *n)
{
    gsi_json_put_object(o, "NetInfo");
    put_known(o, "MappingVariesByDestIP", n->mapping_varies_by_dest_ip);
    put_known(o, "WorkingIPv6", n->working_ipv6);
    put_known(o, "OSHasIPv6", n->os_has_ipv6);
    put_known(o, "WorkingUDP", n->working_udp);
    put_known(o, "WorkingICMPv4", n->working_icmpv4);
    put_known(o, "UPnP", n->upnp);
    put_known(o, "PMP", n->pmp);
    put_known(o, "PCP", n->pcp);
    if (n->preferred_derp)
        gsi_json_put_int(o, "PreferredDERP", n->preferred_derp);
    put_string(o, "LinkType", n->link_type);
    if (n->latencies_n) {
        gsi_json_put_object(o, "DERPLatency");
        for (size_t i = 0; i < n->latencies_n; i++) {
            char name[24];
            snprintf(name, sizeof name, "%d-v%d", n->latencies[i].region, n->latencies[i].v6 ? 6 : 4);
            gsi_json_put_seconds(o, name, n->latencies[i].ns);
        }
        gsi_json_put_close(o);
    }
    gsi_json_put_close(o);
}

static void put_hostinfo(struct json_out *o, const struct hostinfo *h)
{
    gsi_json_put_object(o, "Hostinfo");
    put_string(o, "IPNVersion", h->ipn_version);
    put_string(o, "BackendLogID", h->backend_log_id);
    put_string(o, "OS", h->os);
    put_string(o, "OSVersion", h->os_version);
    put_string(o, "Package", h->package);
    put_string(o, "App", h->app);
    put_string(o, "Hostname", h->hostname);
    put_list(o, "RoutableIPs", h->routable_ips, h->routable_ips_n);
    put_list(o, "RequestTags", h->request_tags, h->request_tags_n);
    put_true(o, "ShieldsUp", h->shields_up);
    put_true(o, "NoLogsNoSupport", h->no_logs_no_support);
    put_true(o, "Userspace", h->userspace);
    put_true(o, "UserspaceRouter", h->userspace_router);
    if (h->net)
        put_net_info(o, h->net);
    gsi_json_put_close(o);
}

ssize_t gsi_register_body(void *out, size_t cap, uint16_t version, const struct register_request *r, bool logout)
{
    struct json_out o = gsi_json_out_of(out, cap);
    if (!r->node_key || !r->host)
        return gs_fail(GS_EINVALID, "a register request needs the node's key and its Hostinfo");
    gsi_json_put_object(&o, NULL);
    gsi_json_put_int(&o, "Version", version);
    put_key(&o, "NodeKey", "nodekey:", r->node_key);
    put_key(&o, "OldNodeKey", "nodekey:", r->old_node_key);
    if (r->auth_key && *r->auth_key) {
        gsi_json_put_object(&o, "Auth");
        gsi_json_put_string(&o, "AuthKey", r->auth_key);
        gsi_json_put_close(&o);
    }
    put_string(&o, "Followup", r->followup);
    if (logout)
        gsi_json_put_time(&o, "Expiry", (struct json_time){.s = PAST});
    put_true(&o, "Ephemeral", r->ephemeral);
    put_hostinfo(&o, r->host);
    gsi_json_put_close(&o);
    return gsi_json_out_end(&o);
}

static void put_endpoints(struct json_out *o, const struct own_endpoint *e, size_t n)
{
    char text[ENDPOINT_TEXT];
    if (!n)
        return;
    gsi_json_put_array(o, "Endpoints");
    for (size_t i = 0; i < n; i++)
        gsi_json_put_string(o, NULL, gsi_endpoint_text(&e[i].at, text));
    gsi_json_put_close(o);
    gsi_json_put_array(o, "EndpointTypes");
    for (size_t i = 0; i < n; i++)
        gsi_json_put_int(o, NULL, e[i].type);
    gsi_json_put_close(o);
}

ssize_t gsi_map_body(void *out, size_t cap, uint16_t version, const struct map_request *r, bool stream)
{
    struct json_out o = gsi_json_out_of(out, cap);
    if (!r->node_key || !r->disco_key || !r->host)
        return gs_fail(GS_EINVALID,
                       "a map request needs node key, disco key and Hostinfo: servers store what is missing as nothing");
    gsi_json_put_object(&o, NULL);
    gsi_json_put_int(&o, "Version", version);
    if (stream && r->compress)
        gsi_json_put_string(&o, "Compress", "zstd");
    put_true(&o, "KeepAlive", stream);
    put_key(&o, "NodeKey", "nodekey:", r->node_key);
    put_key(&o, "DiscoKey", "discokey:", r->disco_key);
    put_true(&o, "Stream", stream);
    put_true(&o, "OmitPeers", !stream);
    put_hostinfo(&o, r->host);
    put_endpoints(&o, r->endpoints, r->endpoints_n);
    gsi_json_put_close(&o);
    return gsi_json_out_end(&o);
}
