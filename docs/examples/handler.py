"""A counter over TCP as a handler: each line is answered by its number; docs/handlers.md explains it."""
from __future__ import annotations

import netstack
from netstack.drivers import Wire
from netstack.handlers import Exchange, compiled, consume, find, has_room, send_decimal, send_text


@compiled
def count(x: Exchange) -> None:
    """Answer every whole line that has come with a number, and a newline from the text."""
    start = 0
    at = find(x, 10, start)                     # 10: newline
    while at >= 0 and has_room(x, 20):          # if there is none, it is called again when there is
        x.a += 1                                # eight numbers, a to h, belong to this connection
        send_decimal(x, x.a)
        send_text(x, 0, x.text_length)
        start = at + 1
        at = find(x, 10, start)
    consume(x, start)                           # half a line stays, and comes again with the rest


if __name__ == "__main__":
    clock = netstack.VirtualClock()
    a, b = Wire.pair()
    with netstack.Stack(clock) as left, netstack.Stack(clock) as right:
        left.attach(a, ip="192.0.2.1/24", dad=False)
        right.attach(b, ip="192.0.2.2/24", dad=False)
        with right.create_server(("192.0.2.2", 80)) as server:
            server.set_handler(count, text=b"\n")
            with left.create_connection(("192.0.2.2", 80)) as client:
                for part in (b"one\ntwo\nthr", b"ee\n"):
                    client.sendall(part)
                    print(client.recv(100))
            clock.advance(1)
            print(right.handlers()["count"]["bytes_in"], "bytes,", right.handlers()["count"]["calls"], "calls")
