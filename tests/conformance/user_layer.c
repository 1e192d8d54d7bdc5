/* The suite over a layer that the test registers, with a handshake of its own. runner: tsan */
#include "conformance/suite/suite.h"

CONFORMANCE_MAIN_WITH(xor_register, {"xor+tcp", "xor+tcp://127.0.0.1:0"}, {"xor+mem", "xor+mem://x%u?seed=3"})
