/* The suite over a tailnet, as nobody: with a /dev/net/tun of mode 0666 in a mount namespace of its own, and no rights at all.
 * runner: exact, timeout 600 */
#include "conformance/tailnet_ends.h"
#include "unit/tailnet_nobody.h"

static void prepare(void)
{
    static gs_opt listening[2], connecting[2];
    if (geteuid() == 0)
        become_nobody(true);
    tailnet_prepare("tailnet", listening, connecting);
}

CONFORMANCE_MAIN_WITH(prepare, {"tailnet", listen_at})
