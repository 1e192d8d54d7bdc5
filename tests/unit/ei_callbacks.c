/* ei's table over the transports of the core.
 * runner: tsan, serial */
#include "ei_suite.h"

int main(void)
{
    static const struct row rows[] = {
        {"tcp", "tcp://127.0.0.1:0", "tcp://127.0.0.1:%d", .plain = true, .header = 2, .tells_ip = true},
        {"tcp, IPv6", "tcp://[::1]:0", "tcp://[::1]:%d", .plain = true, .header = 2},
        {"tcp, IPv4 as IPv6 has it", "tcp://[::]:0", "tcp://127.0.0.1:%d", .plain = true, .header = 2, .tells_ip = true},
        {"unix", "unix://%p/s", "unix://%p/s", .plain = true, .header = 2},
        {"mem", "mem://ei", "mem://ei", .header = 2},
    };
    return run_suite(rows, sizeof rows / sizeof rows[0]);
}
