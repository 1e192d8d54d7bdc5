/* The suite over TCP, IPv4 and IPv6. runner: tsan */
#include "conformance/conformance.h"

CONFORMANCE_MAIN({"tcp", "tcp://127.0.0.1:0"}, {"tcp6", "tcp://[::1]:0"})
