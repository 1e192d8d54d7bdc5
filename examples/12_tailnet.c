/* 12_tailnet: two nodes of a tailnet in one process, on a private one that a lab makes in a folder. The server answers each
 * packet with who sent it: node and user are bound to the connection by its first packet, not looked up by an address afterwards.
 * On a real tailnet leave the lab out, and give the config a state_dir, and an auth_key or the URL of gs_tailnet_up to a person.
 *
 *     12_tailnet folder
 */
#include <gensock/lab.h>
#include <gensock/stream.h>
#include <gensock/tailnet.h>
#include <stdio.h>

static char control[64], ca[4096];

static int join(const char *hostname, gs_tailnet *out)
{
    const gs_tailnet_config config = {
        .hostname = hostname, .control_url = control, .ca_file = ca, .auth_key = "any", .ephemeral = true};
    int e = gs_tailnet_start(out, &config);
    return e == 0 ? gs_tailnet_up(*out, 30000) : e;
}

static int answer(gs_stream s)
{
    const gs_peer *peer;
    char text[256];
    int e = gs_stream_peer(s, &peer);
    if (e < 0)
        return e;
    const char *node = peer->node ? peer->node : "nowhere", *user = peer->user ? peer->user : "nobody";
    int n = snprintf(text, sizeof text, "you are %s of %s", node, user);
    gs_peer_free(peer);
    return gs_stream_send(s, text, (size_t)n);
}

static int talk(gs_tailnet client, gs_tailnet server)
{
    char address[64], text[256];
    gs_stream listener, s, theirs;
    gs_tailnet_pong pong;
    ssize_t n;
    const gs_opt *from = GS_OPTS(GS_INT(TAILNET_NODE, (int64_t)client.id), GS_INT(PACKET, GS_PACKET_4));
    const gs_opt *at = GS_OPTS(GS_INT(TAILNET_NODE, (int64_t)server.id), GS_INT(PACKET, GS_PACKET_4));
    int e = gs_stream_listen(&listener, "tailnet://:0", at, GS_NO_MAILBOX);
    if (e < 0)
        return e;
    snprintf(address, sizeof address, "tailnet://server:%d", gs_stream_port(listener));
    e = gs_stream_connect(&s, address, from, GS_NO_MAILBOX, 30000);
    if (e == 0)
        e = gs_stream_accept(listener, &theirs, GS_NO_MAILBOX, 30000, NULL);
    if (e == 0)
        e = answer(theirs);
    if (e < 0)
        return e;
    n = gs_stream_recv(s, text, sizeof text, 0, 30000);
    printf("client: %.*s\n", n > 0 ? (int)n : 0, text);
    gs_stream_close(theirs);
    gs_stream_close(s);
    if (n < 0 || (e = gs_tailnet_ping(client, "server", 30000, &pong)) < 0)
        return n < 0 ? (int)n : e;
    printf("client: the server is %s\n", pong.path == GS_PATH_DIRECT ? "reached directly" : "behind a relay");
    return 0;
}

int main(int argc, char **argv)
{
    gs_lab lab = GS_NO_LAB;
    gs_tailnet server = GS_NO_TAILNET, client = GS_NO_TAILNET;
    if (argc != 2)
        return 2;
    int e = gs_lab_start(&lab, &(gs_lab_config){.directory = argv[1]});
    if (e == 0)
        e = gs_lab_control_url(lab, control, sizeof control);
    if (e > 0)
        e = gs_lab_ca_file(lab, ca, sizeof ca);
    if (e > 0)
        e = join("server", &server);
    if (e == 0)
        e = join("client", &client);
    if (e == 0)
        e = talk(client, server);
    if (e < 0)
        fprintf(stderr, "%s: %s\n", gs_error_name(e), gs_error_detail(e));
    gs_tailnet_stop(client, 1000);
    gs_tailnet_stop(server, 1000);
    gs_lab_stop(lab);
    return e < 0;
}
