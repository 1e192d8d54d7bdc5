/* The suite over gensock's own table for ei, turned back into a transport: over tcp, and over unix, whose addresses ei
 * has no words for. Each case runs through gensock twice. runner: tsan */
#include <stdio.h>

#include "conformance/conformance.h"
#include "conformance/ei_turn.h"

/* The address stands for a name of the abstract namespace, which goes with its listener. */
static int name_of(const struct sockaddr_in *in, bool listens, char *address, size_t cap, void *arg)
{
    (void)listens, (void)arg;
    int n = snprintf(address, cap, "unix://@%s/t%u", temp_dir(), ntohs(in->sin_port));
    return n > 0 && (size_t)n < cap ? 0 : -ENAMETOOLONG;
}

static void turn_back(void)
{
    static gs_ei_setup tcp = {.transport = "tcp"}, local = {.map = name_of};
    int size;
    const ei_socket_callbacks *table = gs_ei_callbacks(&size);
    turn("ei-tcp", table, size, &tcp);
    turn("ei-unix", table, size, &local);
    start_watching("ei-tcp://127.0.0.1:0");
}

CONFORMANCE_MAIN_WITH(turn_back, {"ei-tcp", "ei-tcp://127.0.0.1:0"}, {"ei-unix", "ei-unix://127.0.0.1:%u"})
