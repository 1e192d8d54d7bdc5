/* tailnet_ends.h: two nodes of this process, in a lab that is a process of its own. */
#ifndef CONFORMANCE_TAILNET_ENDS_H
#define CONFORMANCE_TAILNET_ENDS_H

#include <errno.h>
#include <gensock/lab.h>
#include <gensock/stream.h>
#include <gensock/tailnet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conformance/conformance.h"
#include "fault.h"
#include "support.h"

static gs_tailnet here, there;
static char listen_at[GS_ADDR_TEXT_MAX + 32];
static pid_t lab_process;

/* Its threads and memory are no part of the suite's census. */
static void run_lab(int tell, const char *directory)
{
    gs_lab lab;
    char line[512] = "", ca[256];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (gs_lab_start(&lab, &(gs_lab_config){.directory = directory}) < 0 || gs_lab_control_url(lab, line, sizeof line) < 0 ||
        gs_lab_ca_file(lab, ca, sizeof ca) < 0)
        _exit(1);
    dprintf(tell, "%s %s\n", line, ca);
    for (;;)
        pause();
}

static gs_tailnet join(const char *name, const char *url, const char *ca)
{
    gs_tailnet n;
    int e = gs_tailnet_start(&n, &(gs_tailnet_config){.hostname = name, .control_url = url, .ca_file = ca, .auth_key = "any", .ephemeral = true});
    if (e == 0)
        e = gs_tailnet_up(n, 20000);
    if (e < 0) {
        fprintf(stderr, "no tailnet: %s: %s\n", gs_error_name(e), gs_error_detail(e));
        abort();
    }
    return n;
}

static void leave(void)
{
    gs_tailnet_stop(here, 1000);
    gs_tailnet_stop(there, 1000);
    kill(lab_process, SIGKILL);
    waitpid(lab_process, NULL, 0);
}

/* Until a stream passes, by a direct path: what comes later is the suite's alone. */
static void meet(const char *at)
{
    gs_stream l, a, b;
    const gs_tailnet_status_t *s;
    char address[GS_ADDR_TEXT_MAX + 16];
    bool direct = false;
    if (gs_stream_listen(&l, at, NULL, GS_NO_MAILBOX) < 0)
        abort();
    snprintf(address, sizeof address, "%.*s:%d", (int)(strlen(at) - 2), at, gs_stream_port(l));
    int e = -EHOSTUNREACH;
    for (int i = 0; i < 200 && e == -EHOSTUNREACH; i++) { /* here has to hear of there first */
        e = gs_stream_connect(&a, address, NULL, GS_NO_MAILBOX, 20000);
        usleep(50000);
    }
    if (e < 0 || gs_stream_accept(l, &b, GS_NO_MAILBOX, 20000, NULL) < 0)
        abort();
    for (int i = 0; i < 200 && !direct; i++) {
        usleep(50000);
        if (gs_stream_send(a, "x", 1) < 0 || gs_stream_recv(b, address, 1, 1, 5000) != 1 || gs_tailnet_status(here, &s) < 0)
            abort();
        for (size_t k = 0; k < s->n_peers; k++)
            direct |= s->peers[k].path == GS_PATH_DIRECT;
        gs_tailnet_status_free(s);
    }
    gs_stream_close(a);
    gs_stream_close(b);
    gs_stream_close(l);
}

/* Two nodes that know each other by a direct path; `here` connects, `there` listens at listen_at. The options name them: room for
 * more is behind. */
static void tailnet_prepare(const char *scheme, gs_opt listening[], gs_opt connecting[])
{
    int tell[2];
    char line[512] = "", *ca;
    gs_addr at;
    char text[GS_ADDR_TEXT_MAX];
    fault_stop(); /* the world stands before anything fails; conformance_run goes on with it */
    if (pipe(tell) < 0 || (lab_process = fork()) < 0)
        abort();
    if (lab_process == 0)
        run_lab(tell[1], temp_dir());
    close(tell[1]);
    if (read(tell[0], line, sizeof line - 1) <= 0 || !(ca = strchr(line, ' ')))
        abort();
    close(tell[0]);
    *ca++ = 0;
    ca[strcspn(ca, "\n")] = 0;
    here = join("here", line, ca);
    there = join("there", line, ca);
    atexit(leave);
    listening[0] = (gs_opt){.name = GS_OPT_TAILNET_NODE, .v.i = (int64_t)there.id};
    connecting[0] = (gs_opt){.name = GS_OPT_TAILNET_NODE, .v.i = (int64_t)here.id};
    conformance_listen = listening;
    conformance_connect = connecting;
    if (gs_set_default_opts(GS_LISTEN_DEFAULTS, listening) < 0 || gs_set_default_opts(GS_CONNECT_DEFAULTS, connecting) < 0 ||
        gs_tailnet_resolve(there, "there", &at, 1) < 1)
        abort();
    gs_addr_text(&at, text, sizeof text);
    snprintf(listen_at, sizeof listen_at, "tailnet://%s", text);
    meet(listen_at);
    snprintf(listen_at, sizeof listen_at, "%s://%s", scheme, text);
}

#endif
