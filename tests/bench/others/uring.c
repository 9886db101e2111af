/* What io_uring would save on a TAP: frames written and read one system call each, and 64 with one.
 *
 *     cc -O2 -o uring uring.c && python -m netstack.lab.namespace ./uring       # or: unshare -rn ./uring
 *
 * Frames out are of a protocol that nobody has asked for, so that next to nothing but the call is measured; frames in
 * are broadcast datagrams of 64 bytes, queued before the clock starts.  Nanoseconds a frame, the least of ROUNDS.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, ROUNDS = 2000, FRAME = 1514 };

static void need(long result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* -- the ring: linux/io_uring.h, io_uring(7); no library, so that there is nothing to install */

static struct {
    int fd;
    unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
} ring;

static void open_ring(int file)
{
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    ring.fd = syscall(SYS_io_uring_setup, BATCH, &p);
    need(ring.fd, "io_uring_setup");
    char *rings = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe) + p.sq_off.array + BATCH * 4,
                       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
    ring.sqes = mmap(NULL, BATCH * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                     ring.fd, IORING_OFF_SQES);
    if (rings == MAP_FAILED || ring.sqes == MAP_FAILED)
        need(-1, "mmap");
    ring.sq_tail = (unsigned *)(rings + p.sq_off.tail);
    ring.sq_mask = (unsigned *)(rings + p.sq_off.ring_mask);
    ring.sq_array = (unsigned *)(rings + p.sq_off.array);
    ring.cq_head = (unsigned *)(rings + p.cq_off.head);
    ring.cq_tail = (unsigned *)(rings + p.cq_off.tail);
    ring.cq_mask = (unsigned *)(rings + p.cq_off.ring_mask);
    ring.cqes = (struct io_uring_cqe *)(rings + p.cq_off.cqes);
    need(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, &file, 1), "io_uring_register");
}

static void together(int operation, char *frames, int size)
{
    unsigned tail = *ring.sq_tail;
    for (int i = 0; i < BATCH; i++, tail++) {
        struct io_uring_sqe *s = &ring.sqes[tail & *ring.sq_mask];
        memset(s, 0, sizeof *s);
        s->opcode = operation;
        s->flags = IOSQE_FIXED_FILE;
        s->addr = (unsigned long)(frames + i * FRAME);
        s->len = size;
        ring.sq_array[tail & *ring.sq_mask] = tail & *ring.sq_mask;
    }
    __atomic_store_n(ring.sq_tail, tail, __ATOMIC_RELEASE);
    need(syscall(SYS_io_uring_enter, ring.fd, BATCH, BATCH, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
    unsigned head = *ring.cq_head, end = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
    if (end - head != BATCH)
        fprintf(stderr, "%u of %d completed\n", end - head, BATCH), exit(1);
    for (; head != end; head++)
        if (ring.cqes[head & *ring.cq_mask].res < 14)
            fprintf(stderr, "result %d\n", ring.cqes[head & *ring.cq_mask].res), exit(1);
    __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
}

/* -- the device and what comes from it */

static int open_tap(int *datagrams)
{
    int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    struct ifreq r = {.ifr_name = "uring0"};
    need(tap, "/dev/net/tun");
    r.ifr_flags = IFF_TAP | IFF_NO_PI;
    need(ioctl(tap, TUNSETIFF, &r), "TUNSETIFF");
    *datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;
    a->sin_family = AF_INET;
    inet_pton(AF_INET, "10.9.9.1", &a->sin_addr);
    need(ioctl(*datagrams, SIOCSIFADDR, &r), "SIOCSIFADDR");
    inet_pton(AF_INET, "255.255.255.0", &a->sin_addr);
    need(ioctl(*datagrams, SIOCSIFNETMASK, &r), "SIOCSIFNETMASK");
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    need(ioctl(*datagrams, SIOCSIFFLAGS, &r), "SIOCSIFFLAGS");
    int on = 1;
    need(setsockopt(*datagrams, SOL_SOCKET, SO_BROADCAST, &on, sizeof on), "SO_BROADCAST");
    return tap;
}

static void fill(int datagrams, int tap, char *frame)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    inet_pton(AF_INET, "10.9.9.255", &to.sin_addr);
    while (read(tap, frame, FRAME) > 0)         /* what Linux says by itself */
        ;
    for (int i = 0; i < BATCH; i++)
        need(sendto(datagrams, frame, 64, 0, (struct sockaddr *)&to, sizeof to), "sendto");
}

static void least(long *best, long spent)
{
    if (*best == 0 || spent < *best)
        *best = spent;
}

int main(void)
{
    static char frames[BATCH * FRAME];
    int datagrams, tap = open_tap(&datagrams);
    long best[4] = {0};
    open_ring(tap);
    for (int i = 0; i < BATCH; i++) {
        memset(frames + i * FRAME, 0xFF, 6);
        frames[i * FRAME + 6] = 2;
        frames[i * FRAME + 12] = (char)0x88;
        frames[i * FRAME + 13] = (char)0xB5;    /* IEEE 802 local experimental */
    }
    for (int round = 0; round < ROUNDS; round++) {
        long start = now();
        for (int i = 0; i < BATCH; i++)
            need(write(tap, frames + i * FRAME, 106), "write");
        least(&best[0], now() - start);
        start = now();
        together(IORING_OP_WRITE, frames, 106);
        least(&best[1], now() - start);
    }
    for (int round = 0; round < ROUNDS; round++) {
        fill(datagrams, tap, frames);
        long start = now();
        for (int i = 0; i < BATCH; i++)
            need(read(tap, frames + i * FRAME, FRAME), "read");
        least(&best[2], now() - start);
        fill(datagrams, tap, frames);
        start = now();
        together(IORING_OP_READ, frames, FRAME);
        least(&best[3], now() - start);
    }
    printf("ns a frame    a call each   64 with io_uring\n");
    printf("write         %11ld   %16ld\n", best[0] / BATCH, best[1] / BATCH);
    printf("read          %11ld   %16ld\n", best[2] / BATCH, best[3] / BATCH);
    return 0;
}
