/* read.c: the bodies of register and map requests (tailnet-protocol.md 3 and 4.1). */
#include <string.h>

#include "tailnet/keys/key.h"
#include "tailnet/lab/inside.h"

static void read_key(struct json *j, enum key_kind kind, uint8_t key[KEY_LEN])
{
    char text[KEY_TEXT_MAX];
    size_t n = gsi_json_string(j, text, sizeof text);
    if (n && gsi_key_parse(kind, text, n, key) != 0)
        gsi_json_fail(j, "a key that is none");
}

static void read_auth(struct json *j, struct asked *a)
{
    static const char *const names[] = {"AuthKey", NULL};
    uint64_t seen = 0;
    if (gsi_json_object(j))
        while (gsi_json_member(j, names, &seen) >= 0)
            (void)gsi_json_string(j, a->auth_key, sizeof a->auth_key);
}

static void read_tags(struct json *j, struct asked *a)
{
    if (!gsi_json_array(j))
        return;
    while (gsi_json_item(j)) {
        if (a->tags_n == COORDINATION_TAGS_MAX) {
            gsi_json_fail(j, "too many tags");
            return;
        }
        if (gsi_json_string(j, a->tags[a->tags_n], sizeof a->tags[0]))
            a->tags_n++;
    }
}

static void read_net_info(struct json *j, struct asked *a)
{
    static const char *const names[] = {"PreferredDERP", NULL};
    uint64_t seen = 0;
    if (gsi_json_object(j))
        while (gsi_json_member(j, names, &seen) >= 0)
            a->preferred_derp = (int)gsi_json_int(j, 0, INT32_MAX);
}

static void read_os(struct json *j, struct asked *a)
{
    char scratch[256];
    struct json_text t = gsi_json_view(j, scratch, sizeof scratch);
    size_t n = t.n < sizeof a->os ? t.n : 0; /* nothing depends on it */
    if (n)
        memcpy(a->os, t.p, n);
    a->os[n] = 0;
}

static void read_hostinfo(struct json *j, struct asked *a)
{
    enum { HOSTNAME, OS, TAGS, NET_INFO };
    static const char *const names[] = {"Hostname", "OS", "RequestTags", "NetInfo", NULL};
    uint64_t seen = 0;
    if (!gsi_json_object(j))
        return;
    a->has_host = true;
    for (int m; (m = gsi_json_member(j, names, &seen)) >= 0;)
        if (m == HOSTNAME)
            (void)gsi_json_string(j, a->hostname, sizeof a->hostname);
        else if (m == OS)
            read_os(j, a);
        else if (m == TAGS)
            read_tags(j, a);
        else if (m == NET_INFO)
            read_net_info(j, a);
}

/* Those that a peer could use; what else is there is not its business. */
static void read_endpoints(struct json *j, struct asked *a)
{
    char text[ENDPOINT_TEXT * 2];
    if (!gsi_json_array(j))
        return;
    a->has_endpoints = true;
    while (gsi_json_item(j)) {
        size_t n = gsi_json_string(j, text, sizeof text);
        struct endpoint *e = &a->endpoints[a->endpoints_n];
        if (a->endpoints_n < ENDPOINTS_MAX && gsi_endpoint_parse(text, n, e) == 0 && e->port)
            a->endpoints_n++;
    }
}

static void read_compress(struct json *j, struct asked *a)
{
    char text[16];
    size_t n = gsi_json_string(j, text, sizeof text);
    if (n && strcmp(text, "zstd") != 0)
        gsi_json_fail(j, "a compression that is not served");
    a->compress = n > 0;
}

int gsi_lab_read(struct asked *a, const void *json, size_t n, const char **why)
{
    enum { VERSION, NODE_KEY, OLD_NODE_KEY, DISCO_KEY, AUTH, FOLLOWUP, EXPIRY, EPHEMERAL, HOSTINFO, STREAM, OMIT_PEERS,
           KEEP_ALIVE, COMPRESS, ENDPOINTS };
    static const char *const names[] = {"Version", "NodeKey", "OldNodeKey", "DiscoKey", "Auth", "Followup", "Expiry", "Ephemeral",
                                        "Hostinfo", "Stream", "OmitPeers", "KeepAlive", "Compress", "Endpoints", NULL};
    struct json j = gsi_json_of(json, n);
    uint64_t seen = 0;
    gsi_wipe(a, sizeof *a);
    if (gsi_json_object(&j))
        for (int m; (m = gsi_json_member(&j, names, &seen)) >= 0;)
            switch (m) {
            case VERSION: a->version = gsi_json_int(&j, 0, INT32_MAX); break;
            case NODE_KEY: read_key(&j, KEY_NODE, a->key); break;
            case OLD_NODE_KEY: read_key(&j, KEY_NODE, a->old_key); break;
            case DISCO_KEY: read_key(&j, KEY_DISCO, a->disco); break;
            case AUTH: read_auth(&j, a); break;
            case FOLLOWUP: (void)gsi_json_string(&j, a->followup, sizeof a->followup); break;
            case EXPIRY: a->expiry = gsi_json_time(&j); break;
            case EPHEMERAL: a->ephemeral = gsi_json_bool(&j); break;
            case HOSTINFO: read_hostinfo(&j, a); break;
            case STREAM: a->stream = gsi_json_bool(&j); break;
            case OMIT_PEERS: a->omit_peers = gsi_json_bool(&j); break;
            case KEEP_ALIVE: a->keep_alive = gsi_json_bool(&j); break;
            case COMPRESS: read_compress(&j, a); break;
            default: read_endpoints(&j, a); break;
            }
    int e = gsi_json_end(&j);
    *why = e == 0 ? "" : j.error ? j.error : "no JSON";
    if (e == 0 && gsi_is_zero(a->key, KEY_LEN)) {
        *why = "NodeKey is missing";
        e = GS_EINVALID;
    }
    return e;
}
