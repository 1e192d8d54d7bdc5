/* The relay policy: any maps, homes, packets and reports. A caller that obeys has one connection for each region at most, each
 * of a region that the map has, the home's when it is open or on its way; and time always goes on. */
#include <stdlib.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/crypto/crypto.h"
#include "tailnet/derp/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

enum { STEPS_MAX = 128, IDS = 8, PEERS = 4 };

static uint64_t random_state;
static void some_random(void *out, size_t n)
{
    for (uint8_t *p = out; n--; p++)
        *p = (uint8_t)((random_state = random_state * 6364136223846793005u + 1442695040888963407u) >> 56);
}

struct run {
    struct derp_policy *p;
    struct reader r;
    uint64_t now, wrote[IDS];
    uint32_t home;
    struct policy_heard heard[PEERS];
    struct {
        uint8_t nodes;      /* 0: not in the map */
        bool open, preferred;
        uint64_t attempt;   /* 0: the caller has none */
        uint64_t old;       /* the newest there was */
    } region[IDS]; /* [0] is none */
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void set_map(struct run *run)
{
    struct policy_region regions[IDS];
    size_t n = 0;
    uint8_t which = read_u8(&run->r);
    for (uint32_t id = 1; id < IDS; id++) {
        run->region[id].nodes = which >> id & 1 ? read_u8(&run->r) & 3 : 0;
        if (which >> id & 1)
            regions[n++] = (struct policy_region){id, run->region[id].nodes};
    }
    check(gsi_derp_policy_regions(run->p, regions, n, run->now) == 0);
}

static void obey(struct run *run, const struct policy_order *o)
{
    check(o->region > 0 && o->region < IDS && o->attempt);
    uint64_t *attempt = &run->region[o->region].attempt;
    switch (o->what) {
    case POLICY_CONNECT:
        check(run->region[o->region].nodes && o->attempt > run->region[o->region].old);
        check(o->preferred == (o->region == run->home));
        *attempt = run->region[o->region].old = o->attempt;
        run->region[o->region].open = false;
        run->region[o->region].preferred = o->preferred;
        break;
    case POLICY_CLOSE:
        check(*attempt == o->attempt);
        *attempt = 0;
        run->region[o->region].open = false;
        break;
    case POLICY_PREFER:
        check(*attempt == o->attempt && run->region[o->region].open && run->region[o->region].preferred != o->preferred);
        run->region[o->region].preferred = o->preferred;
        break;
    }
}

static void settle(struct run *run)
{
    struct policy_order o;
    int orders = 0;
    gsi_derp_policy_tick(run->p, run->now);
    while (gsi_derp_policy_next(run->p, &o)) {
        obey(run, &o);
        check(++orders <= 2 * IDS);
    }
    uint64_t deadline = gsi_derp_policy_deadline(run->p);
    check(deadline > run->now);
    for (uint32_t id = 1; id < IDS; id++) {
        bool has = run->region[id].attempt;
        check(!has || run->region[id].nodes);
        check(!has || id == run->home || run->now < run->wrote[id] + POLICY_IDLE_NS);
        check(!has || !run->region[id].open || run->region[id].preferred == (id == run->home));
        check(has || id != run->home || !run->region[id].nodes || deadline <= run->now + 2 * POLICY_PAUSE_MAX_NS);
    }
}

static void route(struct run *run, uint32_t home, const struct policy_heard *heard)
{
    uint32_t id = gsi_derp_policy_route(run->p, home, heard, run->now);
    check(id < IDS && (id ? id == home || id == heard->region : !run->region[home].nodes));
    check(!id || run->region[id].nodes);
    if (id && id != home && run->region[home].nodes)
        check(run->region[id].open && run->region[id].attempt == heard->attempt && !run->region[home].open);
    run->wrote[id] = run->now;
}

static void step(struct run *run)
{
    uint8_t act = read_u8(&run->r), what = read_u8(&run->r);
    uint32_t id = what % IDS;
    struct policy_heard *heard = &run->heard[(what / IDS) % PEERS];
    uint64_t attempt = act & 0x80 ? what : run->region[id].attempt, deadline = gsi_derp_policy_deadline(run->p);
    switch (act % 9) {
    case 0:
        set_map(run);
        break;
    case 1:
        run->wrote[run->home] = run->home == id ? run->wrote[id] : run->now;
        gsi_derp_policy_home(run->p, run->home = id, run->now);
        break;
    case 2:
        route(run, id, heard);
        break;
    case 3:
        gsi_derp_policy_dialed(run->p, attempt, run->now);
        break;
    case 4:
        gsi_derp_policy_connected(run->p, attempt, run->now);
        for (id = 1; attempt && id < IDS; id++)
            run->region[id].open |= run->region[id].attempt == attempt;
        break;
    case 5:
        gsi_derp_policy_failed(run->p, attempt, run->now);
        for (id = 1; attempt && id < IDS; id++)
            if (run->region[id].attempt == attempt)
                run->region[id].attempt = run->region[id].open = 0;
        break;
    case 6:
        gsi_derp_policy_heard(run->p, heard, attempt);
        if (act & 0x40)
            gsi_derp_policy_gone(heard, attempt);
        break;
    case 7:
        run->now += (uint64_t)what * what * 2000000;
        break;
    default:
        run->now = deadline != UINT64_MAX ? deadline : run->now;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    gsi_random_source = some_random;
    random_state = 1;
    struct run run = {.r = reader_of(in, n), .now = 1000000000, .p = gsi_derp_policy_new()};
    if (!run.p)
        return 0;
    for (int i = 0; run.r.ok && i < STEPS_MAX; i++) {
        step(&run);
        settle(&run);
    }
    gsi_derp_policy_free(run.p);
    return 0;
}
