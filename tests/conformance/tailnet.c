/* The suite over a tailnet. runner: tsan, timeout 600 */
#include "conformance/tailnet_ends.h"

static void prepare(void)
{
    static gs_opt listening[2], connecting[2];
    tailnet_prepare("tailnet", listening, connecting);
}

CONFORMANCE_MAIN_WITH(prepare, {"tailnet", listen_at})
