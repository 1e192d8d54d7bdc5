/* netcheck: any map, any answers at any time. It never hangs, and its home is of the map. */
#include <stdlib.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/crypto/crypto.h"
#include "tailnet/stun/netcheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

enum { STEPS_MAX = 64, KEPT = 16 };

static uint64_t random_state;
static void some_random(void *out, size_t n)
{
    for (uint8_t *p = out; n--; p++)
        *p = (uint8_t)((random_state = random_state * 6364136223846793005u + 1442695040888963407u) >> 56);
}

struct run {
    struct netcheck *nc;
    struct reader r;
    uint64_t now;
    uint32_t ids[8];
    size_t n;
    uint8_t txids[KEPT][STUN_TXID_LEN]; /* asked last, a ring */
    size_t asked;
};

static struct endpoint some_endpoint(uint8_t last)
{
    uint8_t v4[4] = {203, 0, 113, last};
    return (struct endpoint){gsi_ip_of_v4(v4), (uint16_t)(last & 7)};
}

static void set_map(struct run *run)
{
    struct netcheck_region regions[8] = {{0}};
    size_t n = read_u8(&run->r) % 9;
    for (size_t i = 0; i < n; i++) {
        uint8_t flags = read_u8(&run->r);
        regions[i] = (struct netcheck_region){.id = flags & 15, .avoid = flags & 16, .no_home = flags & 32, .score = flags >> 6, .n = 1};
        regions[i].nodes[0].v4 = regions[i].nodes[0].v6 = some_endpoint(read_u8(&run->r));
    }
    if (gsi_netcheck_regions(run->nc, regions, n, run->now) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        run->ids[i] = regions[i].id;
    run->n = n;
}

static void settle(struct run *run)
{
    struct netcheck_packet packet;
    struct netcheck_report report;
    int rounds = 0;
    do {
        gsi_netcheck_tick(run->nc, run->now);
        while (gsi_netcheck_output(run->nc, &packet))
            if (gsi_stun_request_parse(packet.bytes, sizeof packet.bytes, run->txids[run->asked++ % KEPT]) < 0)
                abort();
        while (gsi_netcheck_next(run->nc, &report) != NETCHECK_NOTHING) {
            bool known = report.home == 0;
            for (size_t i = 0; i < run->n; i++)
                known |= run->ids[i] == report.home;
            if (!known || report.n > run->n)
                abort();
        }
        if (++rounds > 4)
            abort();
    } while (gsi_netcheck_deadline(run->nc) <= run->now);
}

static void step(struct run *run)
{
    uint8_t act = read_u8(&run->r), what = read_u8(&run->r), response[STUN_RESPONSE_MAX];
    struct endpoint seen = some_endpoint(what);
    uint64_t deadline = gsi_netcheck_deadline(run->nc);
    switch (act % 9) {
    case 0:
        set_map(run);
        break;
    case 1:
        run->now += (uint64_t)what * what * 10000000;
        break;
    case 2:
        run->now = deadline != UINT64_MAX && deadline > run->now ? deadline : run->now;
        break;
    case 3:
        gsi_netcheck_start(run->nc, what & 1, run->now);
        break;
    case 4:
        gsi_netcheck_active(run->nc, what & 1, run->now);
        gsi_netcheck_control(run->nc, what & 2);
        break;
    case 5:
        gsi_netcheck_heard(run->nc, what & 15, run->now);
        break;
    case 6:
        gsi_netcheck_latency(run->nc, what & 15, (uint64_t)what * 1000000);
        break;
    case 7:
        (void)!gsi_netcheck_feed(run->nc, response, gsi_stun_response(response, run->txids[(act / 9) % KEPT], &seen), run->now);
        break;
    default:
        (void)!gsi_netcheck_feed(run->nc, run->r.p, run->r.n, run->now);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    gsi_random_source = some_random;
    random_state = 1;
    struct run run = {.r = reader_of(in, n), .now = 1000000000, .nc = gsi_netcheck_new(true, n & 1)};
    if (!run.nc)
        return 0;
    for (int i = 0; run.r.ok && i < STEPS_MAX; i++) {
        step(&run);
        settle(&run);
    }
    gsi_netcheck_free(run.nc);
    return 0;
}
