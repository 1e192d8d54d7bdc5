/* The suite over transports that are made of ei's tables without FULL_IMPL: with all slots, and with nothing in the
 * optional ones. */
#include "conformance/conformance.h"
#include "conformance/ei_turn.h"
#include "ei_tables.h"

static void register_tables(void)
{
    ei_socket_callbacks plain = tables_plain(), bare = tables_bare();
    turn("ei-plain", &plain, sizeof plain, NULL);
    turn("ei-bare", &bare, sizeof bare, NULL);
}

CONFORMANCE_MAIN_WITH(register_tables, {"ei-plain", "ei-plain://127.0.0.1:0"}, {"ei-bare", "ei-bare://127.0.0.1:0"})
