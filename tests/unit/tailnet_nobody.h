/* tailnet_nobody.h: the running test program once more, as nobody, with a /dev/net/tun of mode 0666 in a mount namespace of
 * its own. */
#ifndef TAILNET_NOBODY_H
#define TAILNET_NOBODY_H

#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "support.h"

/* Both are passed over by AUTO's second way; AddressSanitizer bears it when asked for, ThreadSanitizer takes that clone for a
 * fork. */
#if defined __SANITIZE_ADDRESS__
#define STACK_SANITIZED 1
#elif defined __SANITIZE_THREAD__
#define STACK_SANITIZED 1
#define STACK_TSAN 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define STACK_SANITIZED 1
#define STACK_TSAN 1
#elif __has_feature(address_sanitizer)
#define STACK_SANITIZED 1
#endif
#endif

enum { NOBODY = 65534, SETUP_FAILED = 99 };

static inline void needs(int result, const char *what)
{
    if (result >= 0)
        return;
    perror(what);
    _exit(SETUP_FAILED);
}

/* An empty /dev/net that only this process sees; with a device in it when asked for. */
static inline void own_dev_net(bool device)
{
    needs(unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)");
    needs(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount private");
    needs(mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=0755"), "mount /dev/net");
    if (device) {
        needs(mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)), "mknod");
        needs(chmod("/dev/net/tun", 0666), "chmod");
    }
}

static inline void drop_rights(void)
{
    needs(setgroups(0, NULL), "setgroups");
    needs(setresgid(NOBODY, NOBODY, NOBODY), "setresgid");
    needs(setresuid(NOBODY, NOBODY, NOBODY), "setresuid");
    needs(prctl(PR_SET_DUMPABLE, 1), "PR_SET_DUMPABLE"); /* the leak checker looks at its own process */
}

static inline void become_nobody(bool device)
{
    if (device)
        own_dev_net(true);
    drop_rights();
}

static inline struct child start_self(const char *role, const char *argument)
{
    return child_start((const char *const[]){"/proc/self/exe", role, argument, NULL});
}

static inline void all_of_it_works_as_nobody(void **state)
{
    static char out[16384];
    (void)state;
    if (geteuid() != 0)
        skip_because("this is not root already");
    struct child c = start_self("nobody", NULL);
    (void)child_expect(&c, NULL, 200000, out, sizeof out);
    int code = child_wait(&c, 10000);
    child_stop(&c);
    if (code != 0)
        fail_msg("as nobody, exit code %d:\n%s", code, out);
    int facts = 0;
    for (const char *line = out; line; line = strchr(line, '\n')) { /* cmocka's own form, or TAP */
        line += *line == '\n';
        facts += strncmp(line, "[       OK ]", 12) == 0 || strncmp(line, "ok ", 3) == 0;
    }
    assert_true(facts > 0);
    print_message("# as nobody %d facts hold\n", facts);
}

#endif
