/* The suite over Unix sockets: a path and an abstract name. runner: tsan */
#include "conformance/conformance.h"

CONFORMANCE_MAIN({"unix", "unix://%t/s%u"}, {"abstract", "unix://@%t/%u"})
