/* The suite over transports that are made of ei's tables with FULL_IMPL: a whole one, and one that ends behind its last
 * needed slot, so that it has no descriptor to wait for. */
#include "conformance/conformance.h"
#include "conformance/ei_turn.h"
#include "ei_tables.h"

static void register_tables(void)
{
    ei_socket_callbacks full = tables_full();
    turn("ei-full", &full, sizeof full, NULL);
    turn("ei-short", &full, TABLES_SHORT, NULL);
    start_watching("ei-full://127.0.0.1:0");
}

CONFORMANCE_MAIN_WITH(register_tables, {"ei-full", "ei-full://127.0.0.1:0"}, {"ei-short", "ei-short://127.0.0.1:0"})
