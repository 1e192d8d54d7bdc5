/* 11_starttls: a connection that begins in the clear and is upgraded to TLS when both sides agree, as mail and LDAP do. What the
 * client sent behind its STARTTLS line goes to TLS, never to the program: nobody can slip commands in.
 *
 *     11_starttls server.pem server.key ca.pem
 */
#include <gensock/stream.h>
#include <gensock/tls.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 10000 };

/* The next line without its end; false: another one came, or none. */
static bool expect(gs_stream s, const char *who, const char *wanted)
{
    char line[128];
    ssize_t n = gs_stream_recv(s, line, sizeof line, 0, WAIT_MS);
    if (n <= 0 || line[n - 1] != '\n') {
        printf("%s: %s\n", who, gs_error_text((int)n));
        return false;
    }
    line[n - 1] = '\0';
    printf("%s: %s: %s\n", who, gs_stream_secure(s) ? "secure" : "in the clear", line);
    return !strcmp(line, wanted);
}

static bool say(gs_stream s, const char *line) { return gs_stream_send(s, line, strlen(line)) == 0; }

static bool upgrade(gs_stream s, const char *who, bool server, const gs_opt *opts)
{
    int e = gs_stream_upgrade(s, "tls", server, opts, WAIT_MS);
    if (e < 0)
        printf("%s: no TLS: %s\n", who, gs_error_detail(e));
    return e == 0;
}

struct client {
    char address[64];
    const char *ca;
};

static void *run_client(void *arg)
{
    const struct client *c = arg;
    gs_stream s;
    if (gs_stream_connect(&s, c->address, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE)), GS_NO_MAILBOX, WAIT_MS) < 0)
        return NULL;
    /* whom to verify has to be said: the address was a plain one */
    const gs_opt *opts = GS_OPTS(GS_STR(TLS_SERVER_NAME, "localhost"), GS_STR(TLS_CA_FILE, c->ca));
    bool ok = say(s, "STARTTLS\n") && expect(s, "client", "GO AHEAD") && upgrade(s, "client", false, opts) &&
              say(s, "PASSWORD secret\n") && expect(s, "client", "WELCOME");
    gs_stream_close(s);
    return ok ? arg : NULL;
}

int main(int argc, char **argv)
{
    gs_stream listener, s;
    pthread_t thread;
    if (argc != 4 || gs_tls_register() < 0 ||
        gs_stream_listen(&listener, "tcp://127.0.0.1:0", GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE)), GS_NO_MAILBOX) < 0)
        return 2;
    struct client c = {.ca = argv[3]};
    snprintf(c.address, sizeof c.address, "tcp://127.0.0.1:%d", gs_stream_port(listener));
    if (pthread_create(&thread, NULL, run_client, &c) != 0 || gs_stream_accept(listener, &s, GS_NO_MAILBOX, WAIT_MS, NULL) < 0)
        return 1;
    const gs_opt *opts = GS_OPTS(GS_STR(TLS_CERT_FILE, argv[1]), GS_STR(TLS_KEY_FILE, argv[2]));
    bool ok = expect(s, "server", "STARTTLS") && say(s, "GO AHEAD\n") && upgrade(s, "server", true, opts) &&
              expect(s, "server", "PASSWORD secret") && say(s, "WELCOME\n");
    void *client_ok;
    pthread_join(thread, &client_ok);
    gs_stream_close(s);
    gs_stream_close(listener);
    return ok && client_ok ? 0 : 1;
}
