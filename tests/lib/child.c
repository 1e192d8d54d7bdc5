/* child.c: programs run by tests (support.h). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

extern char **environ;

struct child child_start(const char *const argv[])
{
    struct child c = {.pid = -1};
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        fail_msg("pipe: %s", strerror(errno));
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, p[1], 1);
    posix_spawn_file_actions_adddup2(&files, p[1], 2);
    posix_spawnattr_t how;
    posix_spawnattr_init(&how);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP);
    int e = posix_spawnp(&c.pid, argv[0], &files, &how, (char *const *)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    close(p[1]);
    c.out = p[0];
    if (e) {
        close(p[0]);
        fail_msg("%s: %s", argv[0], strerror(e));
    }
    return c;
}

bool child_expect(struct child *c, const char *word, int ms, char *out, size_t cap)
{
    uint64_t end = real_ms() + (uint64_t)ms;
    size_t n = 0;
    char byte, line[512];
    size_t in_line = 0;
    while (real_ms() < end) {
        struct pollfd p = {.fd = c->out, .events = POLLIN};
        if (poll(&p, 1, (int)(end - real_ms())) <= 0)
            continue;
        if (read(c->out, &byte, 1) != 1) {
            out[n] = '\0';
            return !word;
        }
        if (n + 1 < cap)
            out[n++] = byte;
        out[n] = '\0';
        if (in_line + 1 < sizeof line)
            line[in_line++] = byte;
        line[in_line] = '\0';
        if (byte == '\n' && word && strstr(line, word))
            return true;
        in_line = byte == '\n' ? 0 : in_line;
    }
    return false;
}

int child_wait(struct child *c, int ms)
{
    uint64_t end = real_ms() + (uint64_t)ms;
    int status;
    for (;;) {
        pid_t r = waitpid(c->pid, &status, WNOHANG);
        if (r == c->pid)
            break;
        if (r < 0 && errno != EINTR)
            return -1;
        if (real_ms() >= end)
            return -1;
        pause_1ms();
    }
    close(c->out);
    *c = (struct child){.pid = -1, .out = -1};
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void child_stop(struct child *c)
{
    if (c->pid < 0)
        return;
    kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(c->out);
    *c = (struct child){.pid = -1, .out = -1};
}
