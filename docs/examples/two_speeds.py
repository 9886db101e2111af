"""Segments a second through two stacks on a link in memory: run it with and without NETSTACK_JIT=0."""
import time

import netstack
from netstack.drivers import Wire

left, right = Wire.pair()
clock = netstack.VirtualClock(seed=1)
data = bytes(100_000)
with netstack.Stack(clock=clock) as a, netstack.Stack(clock=clock) as b:
    a.attach(left, ip="192.0.2.1/24")
    b.attach(right, ip="192.0.2.2/24")
    with a.create_server(("", 9)) as server, b.create_connection(("192.0.2.1", 9)) as client:
        conn, _ = server.accept()
        with conn:
            started = time.perf_counter()
            for _ in range(40):
                client.sendall(data)
                got = 0
                while got < len(data):
                    got += len(conn.recv(len(data)))
            seconds = time.perf_counter() - started
    segments = a.stats()["tcp.in_segs"] + b.stats()["tcp.in_segs"]
print(f"{segments} segments, {segments / seconds:,.0f}/s")
