"""Every call in every state, on the kernel's sockets and on ours: the same result or the same errno; the first
difference is shown.

The sockets do not block, but where a state is reached.  A result counts by its type where two systems may differ in
its value (a port, how much fits into a buffer).
"""
from __future__ import annotations

import errno
import select
import socket as real
import struct
from contextlib import ExitStack

import pytest

import netstack
import netstack.socket

V4, V6 = real.AF_INET, real.AF_INET6
HERE = {V4: "127.0.0.1", V6: "::1"}
NOT_OURS = {V4: "192.0.2.77", V6: "2001:db8::77"}
KINDS = {
    "TCP": (V4, real.SOCK_STREAM, 0), "TCP over IPv6": (V6, real.SOCK_STREAM, 0),
    "UDP": (V4, real.SOCK_DGRAM, 0), "UDP over IPv6": (V6, real.SOCK_DGRAM, 0),
    "raw": (V4, real.SOCK_RAW, 253), "raw over IPv6": (V6, real.SOCK_RAW, 253),
}
STREAM_STATES = ("new", "bound", "listening", "connected", "accepted", "shut for reading", "shut for writing", "shut",
                 "left by the peer", "reset", "closed", "with text")
STATES = ("new", "bound", "connected", "shut for reading", "shut for writing", "shut", "closed", "with text")


@pytest.fixture
def both():
    """What makes a socket: of the kernel, of the stack."""
    with netstack.Stack() as stack:
        yield real.socket, stack.socket


def _peer(life, make, kind):
    """A socket that others can send to, or connect to."""
    family, type, protocol = kind
    other = life.enter_context(make(family, type, protocol))
    other.bind((HERE[family], 0))
    if type == real.SOCK_STREAM:
        other.listen()
    return other


def _ready(sock, events=select.POLLIN):
    watch = select.poll()
    watch.register(sock, events)
    assert watch.poll(10_000)


def in_state(life, make, kind, state):
    """A socket in a state."""
    family, type, protocol = kind
    sock = life.enter_context(make(family, type, protocol))
    if state == "closed":
        sock.close()
        return sock
    if state == "bound":
        sock.bind((HERE[family], 0))
    elif state == "listening":
        sock.bind((HERE[family], 0))
        sock.listen()
    elif state != "new":
        other = _peer(life, make, kind)
        sock.connect(other.getsockname())
        if type == real.SOCK_STREAM:
            conn = life.enter_context(other.accept()[0])
            if state == "accepted":
                sock, conn = conn, sock
            if state == "with text":
                conn.sendall(b"some text")
            if state in ("left by the peer", "reset"):
                if state == "reset":
                    conn.setsockopt(real.SOL_SOCKET, real.SO_LINGER, struct.pack("ii", 1, 0))
                conn.close()
        elif state == "with text":
            other.connect(sock.getsockname())
            other.send(b"some text")
        if state in ("with text", "left by the peer", "reset"):
            _ready(sock)
        how = {"shut for reading": 0, "shut for writing": 1, "shut": 2}.get(state)
        if how is not None:
            sock.shutdown(how)
    sock.setblocking(False)
    return sock


def _one_more(sock):
    return bytearray(20)


# Each call: a name, and what to do with (socket, its family, a socket of the same kind to talk to).
CALLS = {
    "accept": lambda s, f, o: s.accept(),
    "bind": lambda s, f, o: s.bind((HERE[f], 0)),
    "bind to what is not ours": lambda s, f, o: s.bind((NOT_OURS[f], 0)),
    "bind to the other family": lambda s, f, o: s.bind((HERE[V4 if f == V6 else V6], 0)),
    "bind to what is taken": lambda s, f, o: s.bind(o.getsockname()),
    "connect": lambda s, f, o: s.connect(o.getsockname()),
    "connect to nobody": lambda s, f, o: s.connect((HERE[f], 1)),
    "connect to port 0": lambda s, f, o: s.connect((HERE[f], 0)),
    "connect without a route": lambda s, f, o: s.connect((NOT_OURS[f], 9)),
    "listen": lambda s, f, o: s.listen(),
    "listen with a negative backlog": lambda s, f, o: s.listen(-1),
    "getpeername": lambda s, f, o: s.getpeername(),
    "getsockname": lambda s, f, o: s.getsockname()[0],
    "shutdown for reading": lambda s, f, o: s.shutdown(0),
    "shutdown for writing": lambda s, f, o: s.shutdown(1),
    "shutdown": lambda s, f, o: s.shutdown(2),
    "send": lambda s, f, o: s.send(b"x"),
    "send nothing": lambda s, f, o: s.send(b""),
    "send out of band": lambda s, f, o: s.send(b"x", real.MSG_OOB),
    "send too much": lambda s, f, o: s.send(bytes(70_000)) > 0,
    "sendall": lambda s, f, o: s.sendall(b"x"),
    "sendto": lambda s, f, o: s.sendto(b"x", o.getsockname()),
    "sendto port 0": lambda s, f, o: s.sendto(b"x", (HERE[f], 0)),
    "sendto without a route": lambda s, f, o: s.sendto(b"x", (NOT_OURS[f], 9)),
    "sendmsg": lambda s, f, o: s.sendmsg([b"x", b"y"]),
    "sendmsg with a wrong message": lambda s, f, o: s.sendmsg([b"x"], [(1, 99, b"1234")], 0, o.getsockname()),
    "recv": lambda s, f, o: s.recv(4)[:1] if s.type != real.SOCK_RAW else len(s.recv(4)),
    "recv nothing": lambda s, f, o: s.recv(0),
    "peek": lambda s, f, o: len(s.recv(4, real.MSG_PEEK)),
    "recv out of band": lambda s, f, o: len(s.recv(4, real.MSG_OOB)),
    "recv of the error queue": lambda s, f, o: s.recv(4, 0x2000),
    "recv_into": lambda s, f, o: s.recv_into(_one_more(s)),
    "recvfrom": lambda s, f, o: len(s.recvfrom(4)[0]),
    "recvmsg": lambda s, f, o: s.recvmsg(4, 100)[1:3],
    "SO_ERROR": lambda s, f, o: s.getsockopt(real.SOL_SOCKET, real.SO_ERROR),
    "SO_ACCEPTCONN": lambda s, f, o: s.getsockopt(real.SOL_SOCKET, real.SO_ACCEPTCONN),
    "an option that is none": lambda s, f, o: s.setsockopt(real.SOL_SOCKET, 9999, 1),
    "an option of TCP": lambda s, f, o: s.setsockopt(real.IPPROTO_TCP, real.TCP_NODELAY, 1),
    "an option of TCP read": lambda s, f, o: s.getsockopt(real.IPPROTO_TCP, real.TCP_NODELAY),
    "IPV6_V6ONLY": lambda s, f, o: s.setsockopt(real.IPPROTO_IPV6, real.IPV6_V6ONLY, 1),
    "an option that is too short": lambda s, f, o: s.setsockopt(real.SOL_SOCKET, real.SO_RCVBUF, b"12"),
    "join no group": lambda s, f, o: s.setsockopt(real.IPPROTO_IP, real.IP_ADD_MEMBERSHIP, bytes(8)),
    "readiness": lambda s, f, o: None if s.fileno() < 0 else bool(select.select([s], [], [], 0)[0]),
}
CASES = [(kind, state) for kind in KINDS for state in (STREAM_STATES if kind.startswith("TCP") else STATES)
         if not (kind.startswith("raw") and state == "with text")]
# What differs (docs/sockets.md): state, or all; call, or those that begin so.
DIFFERS = (
    ("new", "connect to port 0"), ("bound", "connect to port 0"),       # refused at once
    ("reset", "bind"), ("reset", "IPV6_V6ONLY"),                        # a port that connect has taken is kept
    ("reset", "connect"),                                               # says what has happened first
    ("shut for reading", "recv"), ("shut for reading", "peek"),         # of datagrams: the end also if it need not wait
    ("shut", "recv"), ("shut", "peek"),
)


def differs(state, name):
    """Whether a call is one of those."""
    return any(state == where and name.startswith(call) for where, call in DIFFERS)


def outcome(make, kind, state, call):
    """What a call gives, or the name of its errno."""
    with ExitStack() as life:
        sock = in_state(life, make, kind, state)
        other = _peer(life, make, kind)
        try:
            got = call(sock, kind[0], other)
        except OSError as error:
            return errno.errorcode.get(error.errno, repr(error))
        if isinstance(got, tuple) and got and isinstance(got[0], (real.socket, netstack.socket.socket)):
            return "a connection"
        return got if not isinstance(got, tuple) or not isinstance(got[0], str) else got[0]


@pytest.mark.parametrize(("kind", "state"), CASES)
def test_as_linux(both, kind, state):
    for name, call in CALLS.items():
        if differs(state, name):
            continue
        there, here = (outcome(make, KINDS[kind], state, call) for make in both)
        assert here == there, f"{name}: Linux says {there!r}, we say {here!r}"
