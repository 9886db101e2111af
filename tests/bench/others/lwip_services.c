/* The bench's services on lwIP, as Debian packages it (liblwip-dev), by its raw API.
 *
 * usage: lwip_services TAP ADDRESS GATEWAY
 *
 * Echo (7), discard (9) and chargen (19), over TCP and UDP (RFC 862, 863, 864), on a TAP that exists
 * already.  One thread: it waits for frames and for lwIP's timers.  Prints READY when it serves.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>

#include "lwip/init.h"
#include "lwip/etharp.h"
#include "lwip/netif.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"
#include "netif/ethernet.h"

#define ECHO 7
#define DISCARD 9
#define CHARGEN 19

#define FRAME 1514          /* bytes of the largest frame, MTU 1500 */
#define BATCH 64            /* frames between two looks at the timers */
#define LINE 74             /* bytes of a line of RFC 864's pattern */
#define PERIOD (95 * LINE)  /* after which it begins again */
#define TEXT (4 * PERIOD)   /* a tcp_write takes less than 65536 */

static int tap;
static char text[TEXT + PERIOD];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- one TCP connection ------------------------------------------------------------------------- */

struct conn {
    struct pbuf *held;      /* echo: received, and not yet written back */
    u32_t at;               /* chargen: where in the pattern the next byte is */
    int port;
    int ended;              /* the peer has nothing more to say */
};

static err_t finish(struct conn *c, struct tcp_pcb *pcb)
{
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_poll(pcb, NULL, 0);
    tcp_err(pcb, NULL);
    if (c->held != NULL)
        pbuf_free(c->held);
    free(c);
    if (tcp_close(pcb) == ERR_OK)
        return ERR_OK;
    tcp_abort(pcb);
    return ERR_ABRT;
}

/* Write back what is held, as far as there is room: the window opens only for what was written. */
static void echo(struct conn *c, struct tcp_pcb *pcb)
{
    while (c->held != NULL) {
        struct pbuf *p = c->held;
        u16_t n = p->len;
        if (n > tcp_sndbuf(pcb))
            break;
        if (tcp_write(pcb, p->payload, n, TCP_WRITE_FLAG_COPY) != ERR_OK)
            break;
        c->held = p->next;
        if (c->held != NULL)
            pbuf_ref(c->held);
        pbuf_free(p);
        tcp_recved(pcb, n);
    }
    tcp_output(pcb);
}

static void generate(struct conn *c, struct tcp_pcb *pcb)
{
    for (;;) {
        u32_t n = LWIP_MIN(tcp_sndbuf(pcb), TEXT);
        if (n == 0 || tcp_write(pcb, text + c->at, (u16_t)n, TCP_WRITE_FLAG_COPY) != ERR_OK)
            break;
        c->at = (c->at + n) % PERIOD;
    }
    tcp_output(pcb);
}

static err_t go_on(struct conn *c, struct tcp_pcb *pcb)
{
    if (c->port == ECHO)
        echo(c, pcb);
    if (c->ended && c->held == NULL)
        return finish(c, pcb);
    if (c->port == CHARGEN)
        generate(c, pcb);
    return ERR_OK;
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct conn *c = arg;
    (void)err;
    if (p == NULL) {
        c->ended = 1;
    } else if (c->port == ECHO) {
        if (c->held == NULL)
            c->held = p;
        else
            pbuf_cat(c->held, p);
    } else {
        tcp_recved(pcb, p->tot_len);
        pbuf_free(p);
    }
    return go_on(c, pcb);
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t n)
{
    (void)n;
    return go_on(arg, pcb);
}

static err_t on_poll(void *arg, struct tcp_pcb *pcb)
{
    return go_on(arg, pcb);
}

static void on_error(void *arg, err_t err)
{
    struct conn *c = arg;
    (void)err;
    if (c->held != NULL)
        pbuf_free(c->held);
    free(c);
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct conn *c;
    if (err != ERR_OK || pcb == NULL)
        return ERR_VAL;
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_MEM;
    c->port = (int)(intptr_t)arg;
    tcp_nagle_disable(pcb);
    tcp_arg(pcb, c);
    tcp_recv(pcb, on_recv);
    tcp_sent(pcb, on_sent);
    tcp_poll(pcb, on_poll, 2);
    tcp_err(pcb, on_error);
    if (c->port == CHARGEN)
        generate(c, pcb);
    return ERR_OK;
}

/* ---- datagrams ---------------------------------------------------------------------------------- */

static void on_datagram(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr, u16_t port)
{
    int service = (int)(intptr_t)arg;
    if (service == ECHO) {
        udp_sendto(pcb, p, addr, port);
    } else if (service == CHARGEN) {
        struct pbuf *q = pbuf_alloc(PBUF_TRANSPORT, (u16_t)(rand() % 513), PBUF_RAM);
        if (q != NULL) {
            pbuf_take(q, text, q->tot_len);
            udp_sendto(pcb, q, addr, port);
            pbuf_free(q);
        }
    }
    pbuf_free(p);
}

static void serve(int port)
{
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_V4);
    struct udp_pcb *udp = udp_new_ip_type(IPADDR_TYPE_V4);
    if (pcb == NULL || udp == NULL || tcp_bind(pcb, IP4_ADDR_ANY, (u16_t)port) != ERR_OK
            || udp_bind(udp, IP4_ADDR_ANY, (u16_t)port) != ERR_OK || (pcb = tcp_listen(pcb)) == NULL) {
        fprintf(stderr, "cannot serve port %d\n", port);
        exit(1);
    }
    tcp_arg(pcb, (void *)(intptr_t)port);
    tcp_accept(pcb, on_accept);
    udp_recv(udp, on_datagram, (void *)(intptr_t)port);
}

/* ---- the TAP ------------------------------------------------------------------------------------ */

static err_t transmit(struct netif *netif, struct pbuf *p)
{
    struct iovec parts[16];
    int n = 0;
    (void)netif;
    for (; p != NULL && n < 16; p = p->next) {
        parts[n].iov_base = p->payload;
        parts[n].iov_len = p->len;
        n++;
    }
    return writev(tap, parts, n) < 0 ? ERR_IF : ERR_OK;
}

static err_t on_netif(struct netif *netif)
{
    static const unsigned char mac[] = {0x02, 'l', 'w', 'i', 'p', 0x01};
    netif->name[0] = 't';
    netif->name[1] = 'p';
    netif->output = etharp_output;
    netif->linkoutput = transmit;
    netif->mtu = 1500;
    netif->hwaddr_len = sizeof mac;
    memcpy(netif->hwaddr, mac, sizeof mac);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

/* One frame to lwIP; 0 when there is none. */
static int receive(struct netif *netif)
{
    ssize_t n;
    struct pbuf *p = pbuf_alloc(PBUF_RAW, FRAME, PBUF_RAM);
    if (p == NULL)
        return 0;
    n = read(tap, p->payload, FRAME);
    if (n <= 0) {
        pbuf_free(p);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            die("read");
        return 0;
    }
    pbuf_realloc(p, (u16_t)n);
    if (netif->input(p, netif) != ERR_OK)
        pbuf_free(p);
    return 1;
}

static void open_tap(const char *name)
{
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request) < 0)
        die(name);
}

int main(int argc, char **argv)
{
    struct netif netif;
    ip4_addr_t address, mask, gateway;
    struct pollfd wait;
    size_t i;

    if (argc != 4 || !ip4addr_aton(argv[2], &address) || !ip4addr_aton(argv[3], &gateway)) {
        fprintf(stderr, "usage: %s TAP ADDRESS GATEWAY\n", argv[0]);
        return 2;
    }
    for (i = 0; i < sizeof text; i++) {
        size_t line = i / LINE % 95, column = i % LINE;
        text[i] = column < LINE - 2 ? (char)(0x20 + (line + column) % 95) : column == LINE - 2 ? '\r' : '\n';
    }
    open_tap(argv[1]);
    lwip_init();
    IP4_ADDR(&mask, 255, 255, 255, 0);
    if (netif_add(&netif, &address, &mask, &gateway, NULL, on_netif, ethernet_input) == NULL)
        return 1;
    netif_set_default(&netif);
    netif_set_up(&netif);
    serve(ECHO);
    serve(DISCARD);
    serve(CHARGEN);
    puts("READY");
    fflush(stdout);
    wait.fd = tap;
    wait.events = POLLIN;
    for (;;) {
        uint32_t sleep = sys_timeouts_sleeptime();
        if (poll(&wait, 1, sleep > 1000 ? 1000 : (int)sleep) < 0 && errno != EINTR)
            die("poll");
        for (i = 0; i < BATCH && receive(&netif); i++)
            ;
        sys_check_timeouts();
    }
}
