"""A congestion control of one's own, compiled; docs/congestion.md explains it."""
from __future__ import annotations

from contextlib import suppress

import netstack
from netstack.drivers import Impaired, Wire
from netstack.machine import MS, compiled
from netstack.tcp.algorithms import register
from netstack.tcp.congestion import Congestion


@compiled
def on_ack(c: Congestion, now: int) -> None:
    """Grow until the queue costs more than 5 ms; then go back to what the path holds without one."""
    if c.srtt - c.min_rtt < 5 * MS:
        if c.limited:
            c.cwnd += c.acked if c.cwnd < c.ssthresh else c.mss * c.acked // c.cwnd
    elif c.una > c.words[0]:                        # once a round trip
        c.cwnd = max(c.cwnd * c.min_rtt // c.srtt, 4 * c.mss)
        c.ssthresh = c.cwnd
        c.words[0] = c.next

@compiled
def on_loss(c: Congestion, now: int) -> None:
    """As Reno."""
    c.ssthresh = max(c.flight // 2, 2 * c.mss)

register("patient", on_ack=on_ack, on_loss=on_loss)


if __name__ == "__main__":
    clock = netstack.VirtualClock()
    a, b = Wire.pair()
    with netstack.Stack(clock) as left, netstack.Stack(clock) as right:
        left.attach(Impaired(a, rate="20mbit", delay="10ms", queue=2000), ip="192.0.2.1/24", dad=False)
        right.attach(Impaired(b, delay="10ms"), ip="192.0.2.2/24", dad=False)
        left.settings["net.ipv4.tcp_congestion_control"] = "patient"
        with right.create_server(("192.0.2.2", 80)) as server, left.create_connection(("192.0.2.2", 80)) as client:
            client.setblocking(False)
            with server.accept()[0] as conn:
                got = 0
                while got < 200_000:
                    with suppress(BlockingIOError):
                        client.send(bytes(min(50_000, 200_000 - got)))
                    got += len(conn.recv(1 << 20))
                print("200,000 bytes have come")
