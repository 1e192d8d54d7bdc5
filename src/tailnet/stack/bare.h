/* bare.h: for code that runs in a child made by a raw clone of a process of many threads: nothing of libc works there, nor does
 * what a sanitizer adds. Such functions are BARE and call the kernel by `raw`, whose answer is a result or -errno. Not for
 * other folders. */
#ifndef GSI_TAILNET_BARE_H
#define GSI_TAILNET_BARE_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined __has_attribute
#if __has_attribute(disable_sanitizer_instrumentation)
#define BARE __attribute__((disable_sanitizer_instrumentation, noinline))
#endif
#endif
#ifndef BARE
#define BARE __attribute__((no_sanitize("address", "thread", "undefined"), noinline))
#endif

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define MAYBE_UNUSED __attribute__((unused))

/* SHARED_WORKS: also where the child shares our memory. */
#if defined __x86_64__
#define SHARED_WORKS 1
BARE MAYBE_UNUSED static long raw(long n, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = 0;
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return r;
}
#elif defined __aarch64__
#define SHARED_WORKS 1
BARE MAYBE_UNUSED static long raw(long n, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d,
                  x4 __asm__("x4") = e, x5 __asm__("x5") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
#define SHARED_WORKS 0
MAYBE_UNUSED static long raw(long n, long a, long b, long c, long d, long e)
{
    long r = syscall(n, a, b, c, d, e, 0L);
    return r < 0 ? -errno : r;
}
#endif

#endif
