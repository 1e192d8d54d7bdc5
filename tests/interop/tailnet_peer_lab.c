/* The lab in tailnet_peer: gensock's own control server, relay and STUN, which Tailscale's nodes join. One in a process. */
#include "tailnet_peer.h"
#include <gensock/lab.h>
#include <string.h>

static gs_lab lab;

/* lab {dir, key}: starts it. */
int peer_lab(const command *c, answer *a)
{
    char url[128], ca[512];
    gs_lab_config config = {.directory = command_text(c, "dir"), .auth_key = command_text(c, "key"), .domain = "rig.test"};
    int e = gs_lab_start(&lab, &config);
    if (e < 0 || (e = gs_lab_control_url(lab, url, sizeof url)) < 0 || (e = gs_lab_ca_file(lab, ca, sizeof ca)) < 0)
        return e;
    put_text(a, "control", url);
    put_text(a, "ca", ca);
    put_int(a, "stun_port", gs_lab_port(lab, GS_LAB_STUN));
    return 0;
}

/* The node of that name: its place, or GS_ENXDOMAIN. */
static int find(const char *name, gs_lab_node_info *out)
{
    for (int i = 0; name && gs_lab_node(lab, i, out) == 0; i++)
        if (!strcmp(out->name, name))
            return i;
    return GS_ENXDOMAIN;
}

/* lab_nodes {}: their names and states. */
int peer_lab_nodes(const command *c, answer *a)
{
    gs_lab_node_info n;
    (void)c;
    put_key(a, "nodes");
    fputc('{', a->f);
    for (int i = 0; gs_lab_node(lab, i, &n) == 0; i++) {
        fputs(i ? "," : "", a->f);
        print_json_text(a->f, n.name);
        fprintf(a->f, ":{\"online\":%s,\"reachable\":%s,\"ip4\":\"%s\"}", n.online ? "true" : "false",
            n.reachable ? "true" : "false", n.ipv4);
    }
    fputc('}', a->f);
    return 0;
}

/* lab_remove {name} */
int peer_lab_remove(const command *c, answer *a)
{
    gs_lab_node_info n;
    (void)a;
    int e = find(command_text(c, "name"), &n);
    return e < 0 ? e : gs_lab_remove(lab, n.id);
}

/* lab_restart {part: control | relay} */
int peer_lab_restart(const command *c, answer *a)
{
    const char *part = command_text(c, "part");
    (void)a;
    return gs_lab_restart(lab, part && !strcmp(part, "relay") ? GS_LAB_RELAY : GS_LAB_CONTROL);
}
