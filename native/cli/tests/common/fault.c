/*
 * A bad disk and a bad clock for one program, by LD_PRELOAD (Linux, glibc):
 *
 *   FAULT_PROGRAM   the name of the program; others that it starts have a good disk
 *   FAULT_WRITE     the number of a write to a file, from 1 on and over all threads: that one fails …
 *   FAULT_ERRNO     … with this error
 *   FAULT_FOREVER   and so do all that follow, as on a full disk
 *   FAULT_SHORT     every write and read of a file does a part of what it was asked for, or is interrupted
 *   FAULT_CLOCK     offsets in seconds with commas between, which the clock has in turns
 *   FAULT_STRUCK    a file that is made when a write has failed
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long writes, calls, looks;

static const char *setting(const char *name)
{
    const char *program = getenv("FAULT_PROGRAM");
    if (!program || strcmp(program, program_invocation_short_name) != 0)
        return NULL;
    return getenv(name);
}

static int is_file(int fd)
{
    struct stat stat;
    int before = errno, is;
    /* Where a test keeps what is said, is another disk. */
    if (fd <= STDERR_FILENO)
        return 0;
    is = fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode);
    errno = before;
    return is;
}

/* Whether this write fails. */
static int fails(int fd)
{
    const char *number = setting("FAULT_WRITE"), *error, *struck;
    long nth, now;
    if (!number || !is_file(fd))
        return 0;
    nth = atol(number);
    now = ++writes;
    if (now < nth || (now > nth && !setting("FAULT_FOREVER")))
        return 0;
    if ((struck = setting("FAULT_STRUCK"))) {
        int marker = open(struck, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (marker >= 0)
            close(marker);
    }
    error = setting("FAULT_ERRNO");
    errno = error ? atoi(error) : EIO;
    return 1;
}

/* How much of it is done: less than was asked for; nothing where it is interrupted. */
static size_t some(int fd, size_t count)
{
    if (count < 2 || !setting("FAULT_SHORT") || !is_file(fd))
        return count;
    switch (++calls % 4) {
    case 0:
        return 0;
    case 1:
        return 1 + count / 3;
    case 2:
        return count - 1;
    default:
        return count;
    }
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define CUT(fd, count)                    \
    do {                                  \
        size_t asked = (count);           \
        (count) = some((fd), asked);      \
        if (asked && !(count)) {          \
            errno = EINTR;                \
            return -1;                    \
        }                                 \
    } while (0)

ssize_t write(int fd, const void *from, size_t count)
{
    if (fails(fd))
        return -1;
    CUT(fd, count);
    return REAL(write)(fd, from, count);
}

ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at)
{
    if (fails(fd))
        return -1;
    CUT(fd, count);
    return REAL(pwrite64)(fd, from, count, at);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    if (count > 0 && is_file(fd) && (setting("FAULT_SHORT") || setting("FAULT_WRITE")))
        return write(fd, pieces[0].iov_base, pieces[0].iov_len);
    return REAL(writev)(fd, pieces, count);
}

ssize_t read(int fd, void *into, size_t count)
{
    CUT(fd, count);
    return REAL(read)(fd, into, count);
}

ssize_t pread64(int fd, void *into, size_t count, off64_t at)
{
    CUT(fd, count);
    return REAL(pread64)(fd, into, count, at);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = REAL(clock_gettime)(clock, now);
    const char *offsets = clock == CLOCK_REALTIME ? setting("FAULT_CLOCK") : NULL;
    if (result == 0 && offsets) {
        long count = 1, turn;
        const char *at;
        for (at = offsets; *at; at++)
            count += *at == ',';
        turn = looks++ % count;
        for (at = offsets; turn > 0; at++)
            turn -= *at == ',';
        now->tv_sec += atoll(at);
    }
    return result;
}
