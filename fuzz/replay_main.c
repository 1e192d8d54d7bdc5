/* replay_main.c: runs a fuzz target over saved inputs, where the compiler has no libFuzzer.
 *
 *     fuzz_packet_http fuzz/corpus/packet_http crash-1234
 *
 * Files and folders (not below them) are given as arguments; those that start with '-' are libFuzzer's and ignored. Exit 0
 * when all ran, 1 when one could not be read or there was none: a replay of nothing proves nothing.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long replayed, failed;

static void fail(const char *path)
{
    perror(path);
    failed++;
}

static void replay_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1); /* exact, so that ASan sees a read beyond */
    if (!f || !data || fread(data, 1, size, f) != size) {
        fail(path);
    } else {
        LLVMFuzzerTestOneInput(data, size);
        replayed++;
    }
    free(data);
    if (f)
        fclose(f);
}

static void replay_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir) {
        fail(folder);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        char path[4096];
        struct stat st;
        if (snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= (int)sizeof path || stat(path, &st) < 0)
            fail(path);
        else if (S_ISREG(st.st_mode))
            replay_file(path, (size_t)st.st_size);
    }
    closedir(dir);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (argv[i][0] == '-')
            continue;
        if (stat(argv[i], &st) < 0)
            fail(argv[i]);
        else if (S_ISDIR(st.st_mode))
            replay_folder(argv[i]);
        else
            replay_file(argv[i], (size_t)st.st_size);
    }
    printf("%lu inputs replayed, %lu failed\n", replayed, failed);
    return replayed && !failed ? 0 : 1;
}
