"""One segment from stack to stack, on a virtual clock: the program of docs/follow-one-packet.md."""
import netstack
from netstack.drivers import Wire

left, right = Wire.pair()
clock = netstack.VirtualClock(seed=1)       # the same sequence numbers in every run
with netstack.Stack(clock=clock) as a, netstack.Stack(clock=clock) as b:
    a.attach(left, ip="192.0.2.1/24")
    b.attach(right, ip="192.0.2.2/24")
    with a.create_server(("", 7)) as server, b.create_connection(("192.0.2.1", 7)) as client:
        conn, peer = server.accept()
        with conn:
            client.sendall(b"hello")        # in the wire now: nobody has run a turn of stack a
            breakpoint()                    # noqa: T100  - a program for the debugger
            print(conn.recv(1024))          # runs the turn that takes it in
            conn.sendall(b"HELLO")
            print(client.recv(1024))
            clock.advance(1)
