"""Every call that can block, each on a socket where it does: of a stack, and of Linux where Linux has the call.

`CALLS[name](net, life)` makes a `Scene` with `net`, a netstack.Stack or the real socket module.
"""
from __future__ import annotations

import errno
import platform
import select
import socket as real
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from netstack import tls
from netstack.messages import Messages
from netstack.sockbase import Base

from ..waiting import LIMIT, is_asleep, is_blocked

HOST = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)         # SO_LINGER: close with a reset
LINGERS = struct.pack("ii", 1, 1)       # ... wait for a second at most
LINGERS_LONG = struct.pack("ii", 1, 60)
QUIET = 0.05                            # s in which no room comes: then there is none
SOME = 1 << 20                          # bytes: more than the small buffers here take
SOCKETS = select.POLLIN | select.POLLRDHUP
FUTEX = {"x86_64": "202", "aarch64": "98"}.get(platform.machine())      # system call


@dataclass
class Scene:
    """A call that blocks, and who is concerned."""

    sock: Any                           # whose call it is
    call: Callable[[], Any]
    peer: Any = None                    # the other end; of `connect` the listener
    touch: Callable[[], Any] | None = None      # what must be said before it is noticed that the peer is gone
    timed: bool = False                 # the call has a timeout of its own, which is short


def pair(net: Any, life: ExitStack) -> tuple[Any, Any]:
    """Two ends of a connection, with small buffers."""
    server = net.create_server((HOST, 0))
    with server:
        server.setsockopt(real.SOL_SOCKET, real.SO_RCVBUF, 4096)
        client = life.enter_context(net.socket())
        client.setsockopt(real.SOL_SOCKET, real.SO_SNDBUF, 4096)
        client.connect(server.getsockname())
        return client, life.enter_context(server.accept()[0])


def fill(sock: Any) -> None:
    """Send until nothing more goes in."""
    sock.setblocking(False)
    while True:
        for size in (4096, 1):
            with suppress(BlockingIOError):
                while True:
                    sock.send(bytes(size))
        if not select.select([], [sock], [], QUIET)[1]:
            sock.setblocking(True)
            return


def reading(call: Callable[[Any], Any], net: Any, life: ExitStack) -> Scene:
    a, b = pair(net, life)
    return Scene(a, partial(call, a), b)


def writing(call: Callable[[Any], Any], net: Any, life: ExitStack) -> Scene:
    a, b = pair(net, life)
    fill(a)
    return Scene(a, partial(call, a), b)


def again(send: Callable[[], int]) -> None:
    """Send on and on: a call that is ended in the middle says how much it had taken, and the next one why."""
    while True:
        send()


def read_view(s: Any) -> bytes:
    with s.recv_view() as view:
        return bytes(view)


def write_view(s: Any) -> None:
    while True:
        with s.send_view(1):
            pass


def read_file(s: Any) -> bytes:
    with s.makefile("rb") as file:
        data: bytes = file.read(1)
        return data


def send_file(s: Any) -> int:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(SOME))
        return int(s.sendfile(file))


def accept(net: Any, life: ExitStack) -> Scene:
    server = life.enter_context(net.create_server((HOST, 0)))
    return Scene(server, server.accept)


def connect(net: Any, life: ExitStack) -> Scene:
    """The listener's queue is full, and our SYN gets no answer."""
    server = life.enter_context(net.create_server((HOST, 0), backlog=0))
    for _ in range(4):
        other = life.enter_context(net.socket())
        other.setblocking(False)
        other.connect_ex(server.getsockname())
    assert (getattr(net, "select", None) or select.select)([server], [], [], LIMIT)[0]
    sock = life.enter_context(net.socket())
    return Scene(sock, partial(sock.connect, server.getsockname()), server)


def close(net: Any, life: ExitStack) -> Scene:
    """SO_LINGER, and what was sent is not acknowledged."""
    a, b = pair(net, life)
    a.setsockopt(real.SOL_SOCKET, real.SO_LINGER, LINGERS)
    fill(a)
    return Scene(a, a.close, b, timed=True)


def datagrams(call: Callable[[Any], Any], net: Any, life: ExitStack) -> Scene:
    a, b = (life.enter_context(net.socket(real.AF_INET, real.SOCK_DGRAM)) for _ in range(2))
    b.bind((HOST, 0))
    a.connect(b.getsockname())
    return Scene(a, partial(call, a), b, touch=partial(a.send, b"is anybody there?"))


def many(s: Any) -> int:
    return int(s.recvmmsg(Messages(2, 100)))


def watching(wait: Callable[[Any, float | None], Any], net: Any, life: ExitStack) -> Scene:
    """select and its relatives."""
    a, b = pair(net, life)
    scene = Scene(a, lambda: wait(a, 0.1 if scene.timed else None), b)
    a.fileno()
    return scene


def by_poll(sock: Any, timeout: float | None) -> list[Any]:
    poller = select.poll()
    poller.register(sock, SOCKETS)
    return poller.poll(None if timeout is None else timeout * 1000)


def by_epoll(sock: Any, timeout: float | None) -> list[Any]:
    with select.epoll() as poller:
        poller.register(sock, SOCKETS)
        return poller.poll(timeout)


def by_selector(net: Any, life: ExitStack) -> Scene:
    a, b = pair(net, life)
    selector = life.enter_context(net.selector())
    selector.register(a, 1)
    scene = Scene(a, lambda: selector.select(0.1 if scene.timed else None), b)
    return scene


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's, which trust each other."""
    import trustme

    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("server.example").configure_cert(server)
    client = ssl.create_default_context()
    ca.configure_trust(client)
    return client, server


def secure(context: ssl.SSLContext, sock: Any, **arguments: Any) -> Any:
    if isinstance(sock, Base):
        return tls.wrap(sock, context, **arguments)     # type: ignore[arg-type]
    return context.wrap_socket(sock, **arguments)


def handshake(net: Any, life: ExitStack) -> Scene:
    a, b = pair(net, life)
    context, _ = contexts()
    a = life.enter_context(secure(context, a, server_hostname="server.example", do_handshake_on_connect=False))
    return Scene(a, a.do_handshake, b)


def under_tls(call: Callable[[Any], Any], net: Any, life: ExitStack) -> Scene:
    a, b = pair(net, life)
    for_client, for_server = contexts()
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(secure(for_server, b, server_side=True)))
    thread.start()
    a = life.enter_context(secure(for_client, a, server_hostname="server.example"))
    thread.join()
    b = life.enter_context(made[0])
    b.write(b"x")
    a.read(1)                   # and the session tickets before it
    return Scene(a, partial(call, a), b)


def names(net: Any, life: ExitStack) -> Scene:
    """The name server does not answer."""
    silent = life.enter_context(net.socket(real.AF_INET, real.SOCK_DGRAM))
    silent.bind((HOST, 0))
    net.resolver.config.serve([silent.getsockname()])
    return Scene(silent, lambda: net.getaddrinfo("a.example", 80), silent)


READS: dict[str, Callable[[Any], Any]] = {
    "recv": lambda s: s.recv(1),
    "recv MSG_WAITALL": lambda s: s.recv(100, real.MSG_WAITALL),
    "recv MSG_PEEK": lambda s: s.recv(1, real.MSG_PEEK),
    "recv_into": lambda s: s.recv_into(bytearray(1)),
    "recvfrom": lambda s: s.recvfrom(1),
    "recvfrom_into": lambda s: s.recvfrom_into(bytearray(1)),
    "recvmsg": lambda s: s.recvmsg(1),
    "recvmsg_into": lambda s: s.recvmsg_into([bytearray(1)]),
    "makefile": read_file,
    "recv_view": read_view,
}
WRITES: dict[str, Callable[[Any], Any]] = {
    "send": lambda s: again(lambda: s.send(bytes(SOME))),
    "sendall": lambda s: s.sendall(bytes(SOME)),
    "sendmsg": lambda s: again(lambda: s.sendmsg([bytes(SOME)])),
    "sendfile": send_file,
    "send_view": write_view,
}
DATAGRAMS: dict[str, Callable[[Any], Any]] = {
    "UDP recv": READS["recv"],
    "UDP recv_into": READS["recv_into"],
    "UDP recvfrom": READS["recvfrom"],
    "UDP recvmsg": READS["recvmsg"],
    "recvmmsg": many,
}
CALLS: dict[str, Callable[[Any, ExitStack], Scene]] = {
    "accept": accept,
    "connect": connect,
    **{name: partial(reading, call) for name, call in READS.items()},
    **{name: partial(writing, call) for name, call in WRITES.items()},
    "close": close,
    **{name: partial(datagrams, call) for name, call in DATAGRAMS.items()},
    "select": partial(watching, lambda s, t: select.select([s], [], [], t)[0]),
    "poll": partial(watching, by_poll),
    "epoll": partial(watching, by_epoll),
    "Stack.selector": by_selector,
    "TLS handshake": handshake,
    "TLS read": partial(under_tls, lambda s: s.read(1)),
    "TLS write": partial(under_tls, lambda s: again(lambda: s.write(bytes(SOME)))),
    "getaddrinfo": names,
}
OURS = {"recv_view", "send_view", "recvmmsg", "Stack.selector", "getaddrinfo"}      # calls that Linux does not have


def outcome(call: Callable[[], Any]) -> str:
    """What becomes of a call, in a word."""
    try:
        result = call()
    except ssl.SSLError as error:
        return type(error).__name__
    except real.gaierror as error:
        return next(name for name in dir(real) if name.startswith("EAI_") and getattr(real, name) == error.errno)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    if isinstance(result, tuple):
        result = result[0]
    if result is None:
        return "returns"
    if result in (b"", 0):
        return "end"
    return "nothing" if result == [] else "ready" if isinstance(result, list) else repr(result)


def sleeps(scene: Scene, thread: int) -> bool:
    """Whether the thread is in its call, waiting."""
    if isinstance(scene.sock, Base) and any(
            is_blocked(s) for s in scene.sock._stack._live_sockets() if s._handle):     # a resolver's is its own
        return True
    return _in_the_kernel(thread)


def _in_the_kernel(thread: int) -> bool:
    """... of the kernel, and not for a lock, such as the interpreter's."""
    try:
        if not is_asleep(thread):
            return False
    except FileNotFoundError:
        return False                    # it has ended
    try:
        number = Path(f"/proc/self/task/{thread}/syscall").read_text().split()[0]
    except OSError:
        return True                     # not every kernel tells
    return number not in (FUTEX, "running")
