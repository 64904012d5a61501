/* Preloaded, it makes the disk's word that a record is safe late in coming, by SLOW_DISK_MS. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int fd) {
    static int (*real)(int);
    const char *ms = getenv("SLOW_DISK_MS");
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (ms) usleep((useconds_t)atoi(ms) * 1000);
    return real(fd);
}
