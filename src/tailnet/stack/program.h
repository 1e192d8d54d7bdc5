/* program.h: the programs that run inside a private namespace. Not for other folders; namespace.h is (gsi_namespace_spawn).
 *
 * Each program has three processes, which share this process's memory as after fork, copied where it is written:
 *
 *     host ── front ─┬─ program    exec; a member of the namespaces
 *                    └─ init       pid 1 of a pid namespace of theirs
 *
 * The front is what the caller sees: it hands signals on, stops and ends as the program does. With init goes whatever the
 * program has left running. The front dies with the thread that made it, "gs-tailnet-run", and so with this process, however that
 * ends; init dies with the front; the program with init: the kernel's doing, none of it takes a step of ours.
 */
#ifndef GSI_TAILNET_PROGRAM_H
#define GSI_TAILNET_PROGRAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tailnet/stack/namespace.h"

/* ---- program.c: in the host ---- */

struct programs;
/* NULL: no memory. */
struct programs *gsi_programs_new(void);
/* Ends all of them and waits until they are gone. In a child of fork, frees memory only. */
void gsi_programs_free(struct programs *p);
/* user: the user namespace that net belongs to, mapped; -1: this process's own. */
GS_MUST_USE int gsi_programs_spawn(struct programs *p, int user, int net, const struct namespace_program *program, pid_t *out);

/* ---- inside.c: the child ---- */

enum step {
    STEP_USER = 1,
    STEP_NET,
    STEP_NAMESPACES, /* of mounts and pids */
    STEP_MOUNTS,
    STEP_SCRATCH,
    STEP_VIEW,
    STEP_INIT,
    STEP_FORK,
    STEP_EXEC,
};

struct failure {
    int32_t step, view, error;
};

struct view {
    const char *path, *text; /* text NULL: an empty directory */
    size_t text_n;
    char name[4]; /* "0" */
};

struct plan {
    pid_t host;
    int user, net;
    int report; /* where a failure goes; closed by the program's exec */
    const char *path;
    char *const *argv, *const *envp;
    size_t views_n;
    struct view views[NAMESPACE_VIEWS];
};

enum { END_WORD = 0x67734e44 }; /* sigqueue's value with the SIGTERM that means the front, not the program */

/* All signals are blocked. Does not return. */
void gsi_plan_run(const struct plan *p);

#endif
