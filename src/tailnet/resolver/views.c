/* views.c: the files that make libc's look-ups go to the resolver, and to nobody of the host's. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tailnet/resolver/resolver.h"

/* How many bytes; 0: none, or more than cap. */
static size_t read_file(const char *path, char *out, size_t cap)
{
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    for (ssize_t n = 1; n > 0 && used < cap; used += n > 0 ? (size_t)n : 0)
        do
            n = read(fd, out + used, cap - used);
        while (n < 0 && errno == EINTR);
    close(fd);
    return used < cap ? used : 0;
}

void gsi_resolver_views(const struct netmap *m, struct resolver_views *out)
{
    char own[DNS_FILE_MAX];
    out->n = 0;
    gsi_dns_resolv_conf(m, RESOLVER_ADDRESS, out->resolv_conf);
    /* One that cannot be taken over is replaced whole: libc's defaults are files for the rest. */
    size_t n = read_file("/etc/nsswitch.conf", own, sizeof own);
    if (!gsi_dns_nsswitch(own, n, out->nsswitch) && !gsi_dns_nsswitch(own, 0, out->nsswitch))
        out->nsswitch[0] = 0;
    out->view[out->n++] = (struct namespace_view){"/etc/resolv.conf", out->resolv_conf};
    out->view[out->n++] = (struct namespace_view){"/etc/nsswitch.conf", out->nsswitch};
    out->view[out->n++] = (struct namespace_view){"/run/nscd", NULL};
    out->view[out->n++] = (struct namespace_view){"/var/run/nscd", NULL};
}
