/* The suite over memory, which fragments and delays by a seed. runner: tsan, memory */
#include "conformance/conformance.h"

CONFORMANCE_MAIN({"mem", "mem://c%u"}, {"mem1", "mem://c%u?seed=1"}, {"mem2", "mem://c%u?seed=20261121"})
