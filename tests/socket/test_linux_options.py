"""Every option of TCP in every state, asked of the kernel's sockets and of ours: defaults, refusals, what is read back.

The sockets are on 127.0.0.1 on both sides; sysctls that this machine has set otherwise than a new kernel are read.
"""
from __future__ import annotations

import errno
import select
import socket as real
import struct
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import netstack
import netstack.socket as ns
from netstack import sockopt, tcpinfo

NUMBERS = (-1 << 31, -5, -1, 0, 1, 2, 3, 7, 59, 60, 61, 87, 88, 120, 127, 128, 255, 256, 536, 999, 1000, 1152, 1153,
           2000, 32767, 32768, 65535, 120_000, 120_001, 1 << 20, (1 << 31) - 1)
LINGERS = tuple(struct.pack("ii", *pair) for pair in ((0, 0), (1, 0), (1, 5), (2, 7), (1, 1 << 20)))
OPTIONS = {
    "TCP_NODELAY": 1, "TCP_MAXSEG": 2, "TCP_CORK": 3, "TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6,
    "TCP_SYNCNT": 7, "TCP_LINGER2": 8, "TCP_DEFER_ACCEPT": 9, "TCP_WINDOW_CLAMP": 10, "TCP_QUICKACK": 12,
    "TCP_USER_TIMEOUT": 18, "TCP_FASTOPEN": 23, "TCP_NOTSENT_LOWAT": 25, "TCP_FASTOPEN_CONNECT": 30,
    "TCP_FASTOPEN_NO_COOKIE": 34, "TCP_RTO_MAX_MS": 44,
    "SO_REUSEADDR": 2, "SO_SNDBUF": 7, "SO_RCVBUF": 8, "SO_KEEPALIVE": 9, "SO_OOBINLINE": 10, "SO_LINGER": 13,
    "SO_RCVLOWAT": 18, "SO_MAX_PACING_RATE": 47,
}
STATES = ("closed", "listening", "client", "server")
# What differs (docs/sockets.md): of a connection the segment can be made smaller later, too.
ELSEWHERE = {("TCP_MAXSEG", "client"), ("TCP_MAXSEG", "server")}
# What grows by itself with the connection, counted on Linux with its bookkeeping.
GROWING = {("SO_SNDBUF", "client"), ("SO_SNDBUF", "server")}
SAME_NAMES = ("net.core.rmem_max", "net.core.wmem_max", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
              "net.ipv4.tcp_fastopen", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_syn_retries", "net.core.somaxconn",
              "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_notsent_lowat")


def of_the_kernel():
    """The kernel's settings, as far as both have them."""
    found = {}
    for name in SAME_NAMES:
        words = Path("/proc/sys", *name.split(".")).read_text().split()
        found[name] = int(words[0]) if len(words) == 1 else tuple(map(int, words))
    return found


@pytest.fixture
def both():
    """What makes a socket: of the kernel, of the stack."""
    with netstack.Stack(settings=of_the_kernel()) as stack:
        yield real.socket, stack.socket


def in_state(life, make, state):
    sock = life.enter_context(make())
    if state == "closed":
        return sock
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    if state == "listening":
        return sock
    client = life.enter_context(make())
    client.connect(sock.getsockname())
    server = life.enter_context(sock.accept()[0])
    return client if state == "client" else server


def ask(call, *arguments):
    """A result, or the name of an errno."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]


def answers(make, name, state):
    """The default, and then for each value what setting it says and what is read afterwards."""
    level = real.IPPROTO_TCP if name.startswith("TCP_") else real.SOL_SOCKET
    number, buflen = OPTIONS[name], (8,) if name == "SO_LINGER" else ()
    with ExitStack() as life:
        sock = in_state(life, make, state)
        found = {"default": ask(sock.getsockopt, level, number, *buflen)}
        for value in LINGERS if buflen else NUMBERS:
            found[value] = ask(sock.setsockopt, level, number, value), ask(sock.getsockopt, level, number, *buflen)
        if name == "SO_LINGER":
            sock.setsockopt(level, number, struct.pack("ii", 0, 0))     # or else close waits
        return found


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", OPTIONS)
def test_as_linux(both, name, state):
    if (name, state) in ELSEWHERE:
        pytest.skip("of the path")
    there, here = (answers(make, name, state) for make in both)
    if (name, state) in GROWING:
        del there["default"]
    if name == "SO_MAX_PACING_RATE":
        del there[0]                                            # no limit there as here, where that reads as none, -1
    if name == "TCP_RTO_MAX_MS":
        for value in [v for v in NUMBERS if v % 20]:            # it is kept in the kernel's ticks, rounded up
            there[value], here[value] = there[value][0], here[value][0]
    assert {value: (there[value], here[value]) for value in there if here[value] != there[value]} == {}


def end_to_end(make, *, server_options=()):
    """Two ends of a connection."""
    life = ExitStack()
    listener = in_state(life, make, "listening")
    for option in server_options:
        listener.setsockopt(*option)
    client = life.enter_context(make())
    client.connect(listener.getsockname())
    return life, listener, client


def test_info_outside_of_a_connection(both):
    """tcp_get_info: a listener's `unacked` and `sacked` are its accept queue and how long that may be."""
    def look(make):
        with ExitStack() as life:
            closed = in_state(life, make, "closed")
            listener = life.enter_context(make())
            listener.bind(("127.0.0.1", 0))
            listener.listen(5)
            client = life.enter_context(make())
            client.connect(listener.getsockname())
            assert select.select([listener], [], [], 60)[0]     # the last ACK of the handshake has come
            found = []
            for sock in (closed, listener):
                got = tcpinfo.unpack(sock.getsockopt(real.IPPROTO_TCP, tcpinfo.TCP_INFO, 104))
                found.append([got[k] for k in ("state", "ca_state", "retransmits", "unacked", "sacked", "options",
                                               "backoff", "lost")])
            return found
    there, here = map(look, both)
    assert here == there


@pytest.mark.parametrize("n", [1, 4, 8, 50, 104, 160])
def test_info_is_cut_to_the_room(both, n):
    def look(make):
        with ExitStack() as life:
            return len(in_state(life, make, "client").getsockopt(real.IPPROTO_TCP, tcpinfo.TCP_INFO, n))
    there, here = map(look, both)
    assert here == there


def test_linger_of_nothing_resets(both):
    def look(make):
        life, listener, client = end_to_end(make)
        with life:
            server = life.enter_context(listener.accept()[0])
            client.setsockopt(real.SOL_SOCKET, real.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return ask(server.recv, 1), ask(server.send, b"x"), server.getsockopt(real.SOL_SOCKET, real.SO_ERROR)
    there, here = map(look, both)
    assert here == there
    assert there[0] == "ECONNRESET"


def test_cork_holds_text(both):
    def once(make):
        life, listener, client = end_to_end(make)
        with life:
            server = life.enter_context(listener.accept()[0])
            client.setsockopt(real.IPPROTO_TCP, ns.TCP_CORK, 1)
            sent = client.send(b"ab"), client.send(b"cd")
            server.setblocking(False)
            before = ask(server.recv, 100)
            client.setsockopt(real.IPPROTO_TCP, ns.TCP_CORK, 0)
            server.settimeout(60)
            return sent, before, server.recv(100) if before == "EAGAIN" else b""

    def look(make):
        for _ in range(5):                          # it is held for 200 ms, within which we may not have come to look
            found = once(make)
            if found[1] == "EAGAIN":
                break
        return found

    there, here = map(look, both)
    assert here == there == ((2, 2), "EAGAIN", b"abcd")


def test_defer_accept_waits_for_text(both):
    def look(make):
        life, listener, client = end_to_end(make, server_options=[(real.IPPROTO_TCP, ns.TCP_DEFER_ACCEPT, 30)])
        with life:
            listener.setblocking(False)
            before = ask(listener.accept)
            client.sendall(b"x")
            listener.settimeout(10)
            server = life.enter_context(listener.accept()[0])
            return before, server.recv(10), client.getsockopt(real.IPPROTO_TCP, ns.TCP_DEFER_ACCEPT)
    there, here = map(look, both)
    assert here == there == ("EAGAIN", b"x", 0)


def test_what_connections_inherit(both):
    """Options of a listener that its connections begin with."""
    values = {"TCP_NODELAY": 1, "TCP_CORK": 1, "TCP_KEEPIDLE": 77, "TCP_KEEPINTVL": 7, "TCP_KEEPCNT": 5,
              "TCP_SYNCNT": 3, "TCP_RTO_MAX_MS": 3000, "TCP_LINGER2": 11, "TCP_DEFER_ACCEPT": 0,
              "TCP_WINDOW_CLAMP": 20_000,
              "TCP_USER_TIMEOUT": 12_345, "TCP_NOTSENT_LOWAT": 999, "SO_REUSEADDR": 1, "SO_KEEPALIVE": 1,
              "SO_OOBINLINE": 1, "SO_RCVLOWAT": 3, "SO_SNDBUF": 30_000, "SO_RCVBUF": 40_000,
              "SO_MAX_PACING_RATE": 5_000_000}

    def look(make):
        levels = {k: real.IPPROTO_TCP if k.startswith("TCP_") else real.SOL_SOCKET for k in values}
        life, listener, _ = end_to_end(make, server_options=[(levels[k], OPTIONS[k], v) for k, v in values.items()])
        with life:
            server = life.enter_context(listener.accept()[0])
            return {k: server.getsockopt(levels[k], OPTIONS[k]) for k in values}
    there, here = map(look, both)
    assert {k: (there[k], here[k]) for k in values if here[k] != there[k]} == {}


def test_notsent_lowat_decides_writability(both):
    """A full window of the peer, and behind it more than TCP_NOTSENT_LOWAT: not writable, though there is room."""
    def look(make):
        life, listener, client = end_to_end(make, server_options=[(real.SOL_SOCKET, real.SO_RCVBUF, 4096)])
        with life:
            server = life.enter_context(listener.accept()[0])
            client.setsockopt(real.IPPROTO_TCP, ns.TCP_NOTSENT_LOWAT, 1)
            client.setblocking(False)
            total = 0
            while len(select.select([], [client], [], 0.05)[1]):
                total += client.send(bytes(2000))
            held = total
            client.setsockopt(real.IPPROTO_TCP, ns.TCP_NOTSENT_LOWAT, 1 << 30)
            deadline = time.monotonic() + 60
            while not select.select([], [client], [], 0.1)[1]:
                assert time.monotonic() < deadline
            while total:
                total -= len(server.recv(65536))
            return held < 40_000
    there, here = map(look, both)
    assert here == there


# ---- socket(7), ip(7), ipv6(7): every other option of the table, on every kind of socket --------------

VALUES = (-1 << 31, -5, -1, 0, 1, 2, 3, 6, 7, 8, 16, 59, 64, 100, 255, 256, 257, 1000, 65535, 1 << 20, (1 << 31) - 1,
          b"", b"\1", b"\0", b"\1\0", b"\1\0\0\0", b"\0\0\0\0", b"\1\0\0\0\0\0\0\0")
STRUCTURED = {(real.SOL_SOCKET, n) for n in (real.SO_LINGER, real.SO_RCVTIMEO, real.SO_SNDTIMEO, real.SO_BINDTODEVICE)}
OTHERWISE = {                               # by what it is that differs
    "who may, and the default": {(real.SOL_SOCKET, sockopt.SO_BUSY_POLL)},
    "two interfaces less": {(real.SOL_SOCKET, sockopt.SO_BINDTOIFINDEX)},
    "see test_as_linux": {(real.SOL_SOCKET, sockopt.SO_MAX_PACING_RATE)},
    "0 cannot be set": {(real.IPPROTO_IPV6, real.IPV6_UNICAST_HOPS)},
}
KINDS = [(real.AF_INET, real.SOCK_STREAM), (real.AF_INET, real.SOCK_DGRAM), (real.AF_INET6, real.SOCK_STREAM),
         (real.AF_INET6, real.SOCK_DGRAM)]
NUMBERED = [key for key in sockopt.OPTIONS if key[0] != real.IPPROTO_TCP and key not in STRUCTURED.union(
    *OTHERWISE.values())]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", NUMBERED)
def test_number(both, option, kind):
    """Defaults, refusals and what is read back, of numbers in and out of range and of too few and too many bytes."""
    level, name = map(int, option)
    if sockopt.OPTIONS[option].form is sockopt.Form.HEADER and kind == (real.AF_INET6, real.SOCK_STREAM):
        pytest.skip("streams have no extension headers")

    def look(make):
        with make(*kind) as sock:
            found = {n: ask(sock.getsockopt, level, name, n) for n in (0, 1, 8)}
            for value in VALUES:
                found["set", value] = ask(sock.setsockopt, level, name, value), ask(sock.getsockopt, level, name)
            return found
    there, here = map(look, both)
    assert {key: (there[key], here[key]) for key in there if here[key] != there[key]} == {}


def test_every_name_of_python_is_in_the_table_or_in_the_document():
    """docs/sockets.md says which are refused, and why."""
    text = (Path(__file__).parents[2] / "docs" / "sockets.md").read_text()
    refused = text[text.index("these are refused"):text.index("## Ancillary data")]
    levels = {"SO_": 1, "IP_": 0, "IPV6_": 41, "TCP_": 6}
    for name in dir(real):
        prefix = next((p for p in levels if name.startswith(p)), None)
        if prefix is None or (prefix == "TCP_" and sys.version_info >= (3, 12)):
            continue
        if name.startswith(("SO_J1939", "SO_VM_", "IP_DEFAULT", "IP_MAX", "IPV6_RTHDR_TYPE")):
            continue
        assert (levels[prefix], getattr(real, name)) in sockopt.OPTIONS or name in refused, name


# ---- UDP_SEGMENT and UDP_GRO (udp(7)) -------------------------------------------------

UDP, UDP_SEGMENT, UDP_GRO = real.IPPROTO_UDP, 103, 104
SEGMENTS = (*NUMBERS, 65536)
SENDS = [(1000, 0), (1000, 999), (1000, 1000), (1000, 1001), (1000, 10_500), (10, 1280), (10, 1281), (1, 128), (1, 129),
         (0, 5000), (65535, 65507), (65535, 65508), (40_000, 65_000), (40_000, 65508)]
TOLD = [struct.pack("H", 700), struct.pack("i", 700), b"\1", b"", struct.pack("H", 0)]


def datagrams(life, make, family=real.AF_INET):
    """Two sockets: from, to."""
    sender, receiver = (life.enter_context(make(family, real.SOCK_DGRAM)) for _ in range(2))
    receiver.bind(("127.0.0.1" if family == real.AF_INET else "::1", 0))
    receiver.settimeout(10)
    return sender, receiver


def arrived(receiver, sender, *, room=70_000, ancillary=100):
    """What has come: (length, ancillary data, flags) of each; a last one says that there is no more."""
    sender.setsockopt(UDP, UDP_SEGMENT, 0)
    sender.sendto(b"the end", receiver.getsockname())
    found = []
    while True:
        data, told, flags, _ = receiver.recvmsg(room, ancillary)
        if data == b"the end":
            return found
        found.append((len(data), told, flags))


@pytest.mark.parametrize("state", ["closed", "bound", "connected"])
@pytest.mark.parametrize("option", [UDP_SEGMENT, UDP_GRO])
def test_udp_options(both, option, state):
    def look(make):
        with ExitStack() as life:
            other, sock = datagrams(life, make)
            if state == "connected":
                sock.connect(("127.0.0.1", 9))
            sock = other if state == "closed" else sock
            found = [ask(sock.getsockopt, UDP, option)]
            for value in SEGMENTS:
                found.append((value, ask(sock.setsockopt, UDP, option, value), ask(sock.getsockopt, UDP, option)))
            found += [ask(sock.setsockopt, UDP, option, b"\1\0"), ask(sock.getsockopt, UDP, option, 2)]
            return [*found, ask(life.enter_context(make()).setsockopt, UDP, option, 1)]
    there, here = map(look, both)
    assert here == there


@pytest.mark.parametrize("family", [real.AF_INET, real.AF_INET6])
@pytest.mark.parametrize("gro", [0, 1])
@pytest.mark.parametrize(("segment", "n"), SENDS)
def test_udp_segment(both, segment, n, gro, family):
    """What is sent in one call, cut; and with UDP_GRO what stays one, and what recvmsg tells of it."""
    if family == real.AF_INET6 and n > 65507:
        pytest.skip("over IPv6 Linux takes 20 bytes more than over IPv4, we do not")

    def look(make):
        with ExitStack() as life:
            sender, receiver = datagrams(life, make, family)
            receiver.setsockopt(UDP, UDP_GRO, gro)
            sender.setsockopt(UDP, UDP_SEGMENT, segment)
            sent = ask(sender.sendto, bytes(i * 7 & 0xFF for i in range(n)), receiver.getsockname())
            return sent, arrived(receiver, sender)
    there, here = map(look, both)
    assert here == there
    assert sum(length for length, _, _ in here[1]) == (n if here[0] == n else 0)


@pytest.mark.parametrize("room", [{"ancillary": 0}, {"ancillary": real.CMSG_LEN(0)}, {"ancillary": real.CMSG_LEN(2)},
                                  {"ancillary": real.CMSG_LEN(4)}, {"room": 1500}, {"room": 0}])
def test_udp_gro_where_there_is_little_room(both, room):
    def look(make):
        with ExitStack() as life:
            sender, receiver = datagrams(life, make)
            receiver.setsockopt(UDP, UDP_GRO, 1)
            sender.setsockopt(UDP, UDP_SEGMENT, 1000)
            sender.sendto(bytes(3500), receiver.getsockname())
            return receiver.recvmsg(room.get("room", 70_000), room.get("ancillary", 100))[1:3]
    there, here = map(look, both)
    assert here == there


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("told", [*([(UDP, UDP_SEGMENT, t)] for t in TOLD), [(UDP, UDP_GRO, TOLD[0])],
                                  [(UDP, UDP_SEGMENT, TOLD[0]), (UDP, UDP_SEGMENT, struct.pack("H", 500))]])
def test_udp_segment_of_one_message(both, told, connected):
    """As ancillary data of sendmsg; it goes before the socket's."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = datagrams(life, make)
            sender.setsockopt(UDP, UDP_SEGMENT, 300)
            where = receiver.getsockname()
            if connected:
                sender.connect(where)
            sent = ask(sender.sendmsg, [bytes(1000), bytes(1000)], told, 0, *([] if connected else [where]))
            return sent, arrived(receiver, sender)
    there, here = map(look, both)
    assert here == there


def test_udp_segment_without_a_peer(both):
    def look(make):
        with ExitStack() as life:
            sender, _ = datagrams(life, make)
            return ask(sender.sendmsg, [b"x"], [(UDP, UDP_SEGMENT, TOLD[0])])
    there, here = map(look, both)
    assert here == there == "EDESTADDRREQ"
