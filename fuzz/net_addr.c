/* net_addr.c: the texts of addresses. What parses is written as printable text, and that parses to the same address; any
 * bytes of a sockaddr have such a text; hosts and ports that come apart go together again. Interfaces are faked, so that no
 * input reaches the kernel: one has a plain name, one has a name that must not be written.
 */
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/seam.h"
#include "net/addr.h"

enum { FAKE_FD = 1000, TEXT_MAX = 2000 };

static const char *const names[] = {"", "eth0", "a]:%?\\", "42", "x\ny"};
enum { NAMES = sizeof names / sizeof *names };

static int fake_socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    return FAKE_FD;
}

static int fake_close(int fd)
{
    assert(fd == FAKE_FD);
    return 0;
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
    struct ifreq *r = arg;
    assert(fd == FAKE_FD);
    for (int i = 1; i < NAMES; i++) {
        if (request == SIOCGIFINDEX && !strcmp(r->ifr_name, names[i])) {
            r->ifr_ifindex = i;
            return 0;
        }
        if (request == SIOCGIFNAME && r->ifr_ifindex == i) {
            strcpy(r->ifr_name, names[i]);
            return 0;
        }
    }
    errno = ENODEV;
    return -1;
}

/* The text of an address is printable, fits, and reads back as the same address. */
static void check_text(const gs_addr *a)
{
    char text[GS_ADDR_TEXT_MAX], again[GS_ADDR_TEXT_MAX], cut[7];
    int n = gs_addr_text(a, text, sizeof text);
    assert(n > 0 && n < (int)sizeof text && strlen(text) == (size_t)n);
    for (int i = 0; i < n; i++)
        assert(text[i] >= 0x20 && text[i] < 0x7f);
    gs_addr b = {0};
    int e = gs_addr_parse(&b, text);
    assert(e == 0 && gs_addr_equal(a, &b));
    assert(gs_addr_text(&b, again, sizeof again) == n && !strcmp(text, again));
    assert(gs_addr_text(a, cut, sizeof cut) == n && !strncmp(cut, text, sizeof cut - 1) && strlen(cut) < sizeof cut);
}

static void check_address(const char *text)
{
    gs_addr a;
    memset(&a, 0x5a, sizeof a);
    gs_addr untouched = a;
    int e = gs_addr_parse(&a, text);
    assert(e == 0 || e == GS_EFORMAT || e == -ENODEV || e == -ENAMETOOLONG);
    if (e == 0)
        check_text(&a);
    else
        assert(!memcmp(&a, &untouched, sizeof a));
    if (gs_addr_ip(&a, text, 7) == 0)
        check_text(&a);
}

static void check_split(const char *text)
{
    char host[GSI_HOST_MAX + 1], again[GSI_HOST_MAX + 1], joined[GSI_HOST_MAX + 16], scheme[GSI_SCHEME_MAX + 1], small[4];
    uint16_t port = 0, port_again = 0;
    const char *rest = text;
    if (gsi_scheme_split(text, scheme, sizeof scheme, &rest) == 0)
        assert(rest > text && rest <= text + strlen(text) && scheme[0] >= 'a' && scheme[0] <= 'z');
    int e = gsi_hostport_split(rest, host, sizeof host, &port);
    assert(e == 0 || e == GS_EFORMAT);
    int f = gsi_hostport_split(rest, small, sizeof small, &port_again);
    assert(f == e || (e == 0 && f == -ENAMETOOLONG && strlen(host) >= sizeof small));
    for (const char *p = host; e == 0 && *p; p++)
        assert(*p > 0x20 && *p < 0x7f);
    if (e == 0) {
        snprintf(joined, sizeof joined, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
        e = gsi_hostport_split(joined, again, sizeof again, &port_again);
        assert(e == 0 && port == port_again && !strcmp(host, again));
    }
}

static void check_bytes(const uint8_t *data, size_t size)
{
    gs_addr a;
    struct sockaddr_storage sa = {0};
    memcpy(&sa, data, size < sizeof sa ? size : sizeof sa);
    if (gs_addr_make(&a, (const struct sockaddr *)&sa, (socklen_t)size) == 0)
        check_text(&a);
    if (gs_addr_local(&a, data, size) == 0)
        check_text(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > TEXT_MAX)
        return 0;
    gsi_sys.socket = fake_socket;
    gsi_sys.close = fake_close;
    gsi_sys.ioctl = fake_ioctl;
    check_bytes(data, size);
    char *text = malloc(size + 1); /* exactly as long as it is: an overrun is seen */
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    check_address(text);
    check_split(text);
    free(text);
    return 0;
}
