"""Ancillary data, flags and the error queue: the same calls on the kernel's sockets and on ours, on loopback."""
from __future__ import annotations

import select
import socket as real
import struct
import time
from contextlib import ExitStack

import pytest

import netstack
from netstack import ancillary as names
from netstack import entry, sockdata

from ..waiting import until
from .beside import ask, same

IP, IP6, SOCKET, UDP = real.IPPROTO_IP, real.IPPROTO_IPV6, real.SOL_SOCKET, real.IPPROTO_UDP
LOCALHOST = {real.AF_INET: "127.0.0.1", real.AF_INET6: "::1"}
MSG_ERRQUEUE, MSG_MORE = 0x2000, 0x8000
LOTS = 2000
HOST4 = bytes([127, 0, 0, 1])
HOST6 = bytes(15) + b"\1"


def pair(life, make, family=real.AF_INET, host=None):
    """Two datagram sockets: from, to."""
    sender, receiver = (life.enter_context(make(family, real.SOCK_DGRAM)) for _ in range(2))
    sender.bind((host or LOCALHOST[family], 0))
    receiver.bind((host or LOCALHOST[family], 0))
    receiver.settimeout(10)
    return sender, receiver


# ---- what recvmsg tells

@pytest.mark.parametrize("room", [0, 15, 16, 17, 20, 24, 40, 64, LOTS])
@pytest.mark.parametrize("when", ["before", "after"])
def test_told_of_ipv4(both, room, when):
    """Every field of the header, in Linux's order, cut to the room; asked for before the datagram comes, or after."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            sender.setsockopt(IP, real.IP_TTL, 77)
            sender.setsockopt(IP, real.IP_TOS, 0x28)
            options = (names.IP_PKTINFO, names.IP_RECVTTL, names.IP_RECVTOS)[when == "after":]  # (Linux keeps no more)
            if when == "after":
                sender.sendto(b"text", receiver.getsockname())
            for option in options:
                receiver.setsockopt(IP, option, 1)
            if when == "before":
                sender.sendto(b"text", receiver.getsockname())
            data, told, flags, who = receiver.recvmsg(100, room)
            return data, told, flags, who == sender.getsockname()
    found = same(both, look)
    if room == LOTS and when == "before":
        assert found[1] == [(IP, names.IP_PKTINFO, struct.pack("i", 1) + 2 * HOST4),
                            (IP, names.IP_TTL, struct.pack("i", 77)), (IP, names.IP_TOS, b"\x28")]


@pytest.mark.parametrize("room", [0, 20, 36, 40, 60, LOTS])
def test_told_of_ipv6(both, room):
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make, real.AF_INET6)
            sender.setsockopt(IP6, real.IPV6_UNICAST_HOPS, 77)
            sender.setsockopt(IP6, real.IPV6_TCLASS, 0x28)
            for option in (names.IPV6_RECVPKTINFO, names.IPV6_RECVHOPLIMIT, names.IPV6_RECVTCLASS):
                receiver.setsockopt(IP6, option, 1)
            sender.sendto(b"text", receiver.getsockname())
            return receiver.recvmsg(100, room)[:3]
    same(both, look)


def test_told_of_ipv4_on_a_socket_of_ipv6(both):
    """IPV6_RECVPKTINFO tells the mapped address; of the rest what level IP was asked for."""
    def look(make):
        with ExitStack() as life:
            receiver = life.enter_context(make(real.AF_INET6, real.SOCK_DGRAM))
            receiver.settimeout(10)
            receiver.bind(("::", 0))
            sender = life.enter_context(make(real.AF_INET, real.SOCK_DGRAM))
            for option in (names.IPV6_RECVPKTINFO, names.IPV6_RECVHOPLIMIT, names.IPV6_RECVTCLASS):
                receiver.setsockopt(IP6, option, 1)
            for option in (names.IP_PKTINFO, names.IP_RECVTTL):
                receiver.setsockopt(IP, option, 1)
            sender.sendto(b"text", ("127.0.0.1", receiver.getsockname()[1]))
            return receiver.recvmsg(100, LOTS)[:3]
    same(both, look)


@pytest.mark.parametrize("family", [real.AF_INET, real.AF_INET6])
def test_where_it_was_sent_to(both, family):
    """IP_RECVORIGDSTADDR has the port, too."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make, family)
            level, option = (IP, names.IP_RECVORIGDSTADDR) if family == real.AF_INET else (
                IP6, names.IPV6_RECVORIGDSTADDR)
            receiver.setsockopt(level, option, 1)
            sender.sendto(b"text", receiver.getsockname())
            _, [(where, what, address)], _, _ = receiver.recvmsg(100, LOTS)
            return where, what, len(address), address[2:4] == struct.pack(">H", receiver.getsockname()[1]), address[4:]
    same(both, look)


@pytest.mark.parametrize("option", [names.SO_TIMESTAMP, names.SO_TIMESTAMPNS])
def test_time_of_arrival(both, option):
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            receiver.setsockopt(SOCKET, option, 1)
            before = time.time_ns()
            sender.sendto(b"text", receiver.getsockname())
            receiver.recvmsg(1, 0, real.MSG_PEEK)
            after = time.time_ns()
            _, [(level, kind, stamp)], _, _ = receiver.recvmsg(100, LOTS)
            seconds, part = struct.unpack("qq", stamp)
            came = seconds * 10**9 + part * (1000 if option == names.SO_TIMESTAMP else 1)
            others = [receiver.getsockopt(SOCKET, o) for o in (names.SO_TIMESTAMP, names.SO_TIMESTAMPNS)]
            return level, kind, before - 10**9 <= came <= after + 10**9, others
    assert same(both, look)[2]


def streams(life, make, option=None):
    """Two ends of a connection; the first one, and its listener, want to be told."""
    with make(real.AF_INET) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        if option is not None:
            listener.setsockopt(SOCKET, option, 1)
        client = life.enter_context(make(real.AF_INET))
        client.connect(listener.getsockname())
        return life.enter_context(listener.accept()[0]), client


STAMPS = [names.SO_TIMESTAMP, names.SO_TIMESTAMPNS]


@pytest.fixture
def stamping():
    """The kernel notes when segments come a moment after the first socket has asked, as long as one asks."""
    with ExitStack() as life:
        conn, client = streams(life, real.socket, names.SO_TIMESTAMP)
        until(lambda: client.send(b"x") and conn.recvmsg(1, LOTS)[1])
        yield


@pytest.mark.parametrize("option", STAMPS)
def test_time_of_text(both, stamping, option):
    def look(make):
        def came(got):
            """How much, and whether what is told of it is when it came."""
            data, told, flags, _ = got
            found = []
            for level, kind, value in told:
                if len(value) != 16:
                    found.append((level, kind, len(value)))
                    continue
                seconds, part = struct.unpack("qq", value)
                at = seconds * 10**9 + part * (1000 if kind == names.SO_TIMESTAMP else 1)
                found.append((level, kind, before - 10**9 <= at <= time.time_ns() + 10**9))
            return data, found, flags

        with ExitStack() as life:
            conn, client = streams(life, make, option)
            asked = [conn.getsockopt(SOCKET, o) for o in STAMPS]
            before = time.time_ns()
            client.sendall(b"early, and more")
            found = [came(conn.recvmsg(3, LOTS, real.MSG_PEEK)), came(conn.recvmsg(3, LOTS)),
                     came(conn.recvmsg(3, LOTS)), came(conn.recvmsg(2, 20)), came(conn.recvmsg(2, 0)), conn.recv(2)]
            conn.setsockopt(real.IPPROTO_TCP, sockdata.TCP_CM_INQ, 1)
            found.append(came(conn.recvmsg(100, LOTS)))
            client.sendall(b"x")
            conn.setsockopt(SOCKET, STAMPS[1 - STAMPS.index(option)], 1)
            before = time.time_ns()
            client.sendall(b"two")
            conn.recv(1)
            found += [came(conn.recvmsg_into([bytearray(1), bytearray(1)], LOTS)),
                      came(conn.recvmsg(1, LOTS, real.MSG_WAITALL))]
            conn.setsockopt(SOCKET, option, 0)
            client.sendall(b"none")
            found.append(came(conn.recvmsg(4, LOTS, real.MSG_WAITALL)))
            conn.setsockopt(SOCKET, option, 1)
            client.sendall(b"last")
            client.shutdown(real.SHUT_WR)
            found += [came(conn.recvmsg(4, LOTS, real.MSG_WAITALL)), came(conn.recvmsg(4, LOTS))]
            return asked, found
    assert same(both, look)[1][0] == (b"ear", [(SOCKET, option, True)], 0)


def test_time_of_urgent_data(both, stamping):
    def look(make):
        with ExitStack() as life:
            conn, client = streams(life, make, names.SO_TIMESTAMP)
            client.sendall(b"a")
            client.send(b"!", real.MSG_OOB)
            poller = select.poll()
            poller.register(conn, select.POLLPRI)
            assert poller.poll(60_000)
            return (conn.recvmsg(1, LOTS, real.MSG_OOB)[:3], [len(m[2]) for m in conn.recvmsg(9, LOTS)[1]])
    assert same(both, look) == ((b"!", [], real.MSG_OOB), [16])


def told_at(got):
    (_, kind, value), = got[1]
    assert kind == names.SO_TIMESTAMPNS
    seconds, ns = struct.unpack("qq", value)
    return seconds * 10**9 + ns


def test_each_byte_has_its_time(clock):
    """What one call gives came when its last byte did."""
    with netstack.Stack(clock) as stack, ExitStack() as life:
        conn, client = streams(life, stack.socket, names.SO_TIMESTAMPNS)
        times = []
        for _ in range(3):
            stack.advance(1)
            times.append(stack._now())
            client.sendall(b"abc")
        assert [told_at(conn.recvmsg(n, LOTS)) for n in (1, 2, 4, 2)] == [times[0], times[0], times[2], times[2]]
        stack.advance(1)
        client.sendall(b"d")
        conn.disconnect()
        with stack.create_server(("127.0.0.1", 0)) as server:
            stack.advance(1)
            conn.connect(server.getsockname())
            life.enter_context(server.accept()[0]).sendall(b"e")
            assert told_at(conn.recvmsg(9, LOTS)) == stack._now()


def test_what_came_before_anybody_asked(stack):
    """Nobody knows when (on Linux only if no socket of the host asks)."""
    before = stack._tcp.rares.live
    with ExitStack() as life:
        conn, client = streams(life, stack.socket)
        client.sendall(b"before")
        assert conn.recv(6, real.MSG_PEEK | real.MSG_WAITALL) == b"before"
        conn.setsockopt(SOCKET, names.SO_TIMESTAMP, 1)
        assert conn.recvmsg(6, LOTS)[1] == []
        client.sendall(b"after")
        assert len(conn.recvmsg(5, LOTS, real.MSG_WAITALL)[1]) == 1
        assert stack._tcp.rares.live == before + 1
        client.close()
        assert conn.recvmsg(5, LOTS)[:2] == (b"", [])
    until(lambda: stack._tcp.rares.live == before)


def test_drops_are_told(both):
    """SO_RXQ_OVFL: nothing while nothing was lost, then the count when this one came."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            receiver.setsockopt(SOCKET, names.SO_RXQ_OVFL, 1)
            receiver.setsockopt(SOCKET, real.SO_RCVBUF, 1)
            receiver.settimeout(0)
            for _ in range(40):
                sender.sendto(bytes(1000), receiver.getsockname())
            first = receiver.recvmsg(10, LOTS)[1]
            got = 1
            while ask(receiver.recv, 10) != "EAGAIN":
                got += 1
            sender.sendto(b"later", receiver.getsockname())
            [(level, kind, lost)] = receiver.recvmsg(10, LOTS)[1]
            return first, level, kind, struct.unpack("I", lost)[0] == 40 - got
    assert same(both, look)[3]


def test_nothing_is_told_unasked(both):
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            sender.sendto(b"text", receiver.getsockname())
            return receiver.recvmsg(2, LOTS)[:3]
    assert same(both, look) == (b"te", [], real.MSG_TRUNC)


# ---- what sendmsg may say

INT = struct.Struct("i").pack
SAID = [
    *([(IP, real.IP_TTL, value)] for value in (*map(INT, (1, 33, 255, 0, 256, -1)), b"\1", b"", bytes(8))),
    *([(IP, real.IP_TOS, value)] for value in (INT(8), INT(255), INT(256), INT(-1), b"\x10", b"", b"\1\2")),
    [(IP, real.IP_TTL, INT(9)), (IP, real.IP_TOS, b"\4")],
    [(IP, real.IP_TTL, INT(9)), (IP, real.IP_TTL, INT(10))],
    *([(IP, names.IP_PKTINFO, struct.pack("i4s4s", *parts))] for parts in (
        (0, bytes(4), bytes(4)), (1, bytes(4), bytes(4)), (0, b"\x7f\0\0\5", bytes(4)), (1, b"\x7f\0\0\5", HOST4),
        (0, b"\xc6\x33\x64\1", bytes(4)), (99, bytes(4), bytes(4)))),
    [(IP, names.IP_PKTINFO, bytes(11))], [(IP, 99, INT(1))],
    [(IP6, names.IPV6_HOPLIMIT, INT(5))], [(SOCKET, 1, INT(5))], [(SOCKET, 99, INT(5))], [(77, 1, b"x")],
    [(UDP, 99, b"\1\0")],
]
SAID6 = [
    *([(IP6, names.IPV6_HOPLIMIT, INT(value))] for value in (-1, 1, 33, 255, 256, -2)),
    *([(IP6, names.IPV6_TCLASS, INT(value))] for value in (-1, 0, 1, 255, 256, -2)),
    *([(IP6, kind, b"\1")] for kind in (names.IPV6_HOPLIMIT, names.IPV6_TCLASS, names.IPV6_DONTFRAG)),
    *([(IP6, names.IPV6_DONTFRAG, INT(value))] for value in (0, 1, 2, -1)),
    *([(IP6, names.IPV6_PKTINFO, address + struct.pack("I", index))] for address, index in (
        (bytes(16), 0), (bytes(16), 1), (HOST6, 0), (HOST6, 1), (bytes(16), 99), (bytes(15) + b"\2", 0),
        (b"\xfe\x80" + bytes(13) + b"\1", 0))),
    [(IP6, names.IPV6_PKTINFO, bytes(19))], [(IP6, 99, INT(1))], [(IP, real.IP_TTL, INT(5))],
    [(IP6, names.IPV6_HOPLIMIT, INT(9)), (IP6, names.IPV6_TCLASS, INT(4))],
]


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("said", SAID, ids=repr)
def test_said_with_ipv4(both, said, connected):
    """Result or error, and what the receiver sees of it."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make, host="0.0.0.0" if not connected else None)
            for option in (names.IP_PKTINFO, names.IP_RECVTTL, names.IP_RECVTOS):
                receiver.setsockopt(IP, option, 1)
            where = ("127.0.0.1", receiver.getsockname()[1])
            if connected:
                sender.connect(where)
            sent = ask(sender.sendmsg, [b"a", b"bc"], said, 0, *([] if connected else [where]))
            sender.sendto(b"the end", where)
            data, told, _, who = receiver.recvmsg(100, LOTS)
            return sent, data, told, who[0]
    same(both, look)


@pytest.mark.parametrize("said", SAID6, ids=repr)
def test_said_with_ipv6(both, said):
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make, real.AF_INET6)
            for option in (names.IPV6_RECVPKTINFO, names.IPV6_RECVHOPLIMIT, names.IPV6_RECVTCLASS):
                receiver.setsockopt(IP6, option, 1)
            sent = ask(sender.sendmsg, [b"a", b"bc"], said, 0, receiver.getsockname())
            sender.sendto(b"the end", receiver.getsockname())
            data, told, _, who = receiver.recvmsg(100, LOTS)
            return sent, data, told, who[0]
    same(both, look)


@pytest.mark.parametrize("said", [[(SOCKET, 1, INT(5))], [(SOCKET, 99, INT(5))], [(IP, real.IP_TTL, b"")],
                                  [(77, 1, b"x")]], ids=repr)
def test_said_on_a_stream(both, said):
    def look(make):
        with ExitStack() as life:
            server = life.enter_context(make())
            server.bind(("127.0.0.1", 0))
            server.listen()
            client = life.enter_context(make())
            client.connect(server.getsockname())
            return ask(client.sendmsg, [b"abc"], said)
    same(both, look)


# ---- flags

@pytest.mark.parametrize("flags", [1 << bit for bit in range(31)], ids=hex)
@pytest.mark.parametrize("kind", [real.SOCK_DGRAM, real.SOCK_STREAM])
def test_every_flag(both, kind, flags):
    """Sending and receiving with each flag there is: results, and what then is left to read."""
    def look(make):
        with ExitStack() as life:
            if kind == real.SOCK_DGRAM:
                client, server = pair(life, make)
                client.connect(server.getsockname())
            else:
                listener = life.enter_context(make())
                listener.bind(("127.0.0.1", 0))
                listener.listen()
                client = life.enter_context(make())
                client.connect(listener.getsockname())
                server = life.enter_context(listener.accept()[0])
            sent = ask(client.send, b"abc", flags)
            client.send(b"def")
            client.close()
            server.settimeout(None)                     # MSG_WAITALL ends with the stream
            everything = select.poll()
            everything.register(server, select.POLLRDHUP if kind == real.SOCK_STREAM else select.POLLIN)
            assert everything.poll(60_000)
            got = ask(server.recvmsg, 2, LOTS, flags)
            server.setblocking(False)
            rest = [ask(server.recv, 10) for _ in range(2)]
            if flags == real.MSG_TRUNC and kind == real.SOCK_STREAM:
                return sent, len(got[0]), got[1:3], rest            # nothing is put there
            return sent, got if isinstance(got, str) else got[:3], rest
    same(both, look)


def test_more_gathers_one_datagram(both):
    """MSG_MORE and UDP_CORK (udp(7))."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            elsewhere = pair(life, make)[1]
            there = receiver.getsockname()
            found = [ask(sender.send, b"nowhere", MSG_MORE), ask(sender.sendto, b"ab", MSG_MORE, there),
                     ask(sender.sendto, b"cd", MSG_MORE, elsewhere.getsockname()), ask(sender.send, b"ef"),
                     receiver.recv(100)]
            sender.connect(there)
            sender.setsockopt(UDP, 1, 1)
            found += [sender.send(b"gh"), sender.sendmsg([b"i", b"j"]), sender.getsockopt(UDP, 1)]
            receiver.setblocking(False)
            found.append(ask(receiver.recv, 100))
            sender.setsockopt(UDP, 1, 0)
            found += [receiver.recv(100), sender.send(b"k"), receiver.recv(10)]
            sender.send(bytes(40_000), MSG_MORE)
            found += [ask(sender.send, bytes(40_000)), sender.send(b"l"), receiver.recv(10)]
            return found
    same(both, look)


# ---- the error queue

def refused(life, make, family, *, connected, recverr=1):
    """A socket that has sent to a port where nobody listens, and that port."""
    sender, other = pair(life, make, family)
    gone = other.getsockname()
    other.close()
    level, option = (IP, names.IP_RECVERR) if family == real.AF_INET else (IP6, names.IPV6_RECVERR)
    sender.setsockopt(level, option, recverr)
    sender.settimeout(10)
    if connected:
        sender.connect(gone)
        sender.send(b"to nobody")
    else:
        sender.sendto(b"to nobody", gone)
    return sender, gone


def events(sock, wanted=select.POLLERR):
    """What poll tells, once it has `wanted`.  (Ours is asked itself: its descriptor shows an error as readable.)"""
    watch = select.poll()
    watch.register(sock, select.POLLIN | select.POLLOUT)
    deadline = time.monotonic() + 10
    while True:
        found = dict(watch.poll(100)).get(sock.fileno(), 0)
        if hasattr(sock, "_world"):
            if wanted == select.POLLERR:
                assert found & select.POLLIN
            found = entry.poll(sock._world, sock._handle)
        if found & wanted or time.monotonic() > deadline:
            return found


@pytest.mark.parametrize(("connected", "peek"), [(False, 0), (True, 0), (False, real.MSG_PEEK)])
@pytest.mark.parametrize("family", [real.AF_INET, real.AF_INET6])
def test_error_queue(both, family, connected, peek):
    def look(make):
        with ExitStack() as life:
            sender, gone = refused(life, make, family, connected=connected)
            found = [bool(events(sender) & select.POLLERR)]
            data, told, answer, where = sender.recvmsg(100, LOTS, MSG_ERRQUEUE | peek)
            found.append((data, told, answer, where == gone))
            found += [sender.getsockopt(SOCKET, real.SO_ERROR), bool(events(sender, select.POLLOUT) & select.POLLERR)]
            sender.setblocking(False)
            return [*found, ask(sender.recvmsg, 100, LOTS, MSG_ERRQUEUE), ask(sender.recv, 1)]
    found = same(both, look)
    assert found[1][0] == b"to nobody"


@pytest.mark.parametrize("room", [(4, LOTS), (100, 0), (100, 20)])
def test_error_queue_where_there_is_little_room(both, room):
    def look(make):
        with ExitStack() as life:
            sender, _ = refused(life, make, real.AF_INET, connected=False)
            events(sender)
            return sender.recvmsg(*room, MSG_ERRQUEUE)[:3]
    same(both, look)


def test_each_error_is_told(both):
    """SO_ERROR is the last one; each dequeued leaves that of the next one."""
    def look(make):
        with ExitStack() as life:
            sender, gone = refused(life, make, real.AF_INET, connected=False)
            events(sender)
            found = [ask(sender.sendto, b"second", gone), ask(sender.sendto, b"third", gone)]
            events(sender)
            found.append(sender.recvmsg(100, LOTS, MSG_ERRQUEUE)[0])
            found += [ask(sender.recv, 10), sender.recvmsg(100, LOTS, MSG_ERRQUEUE)[0]]
            sender.setblocking(False)
            return [*found, ask(sender.recv, 10), ask(sender.recvmsg, 100, LOTS, MSG_ERRQUEUE)]
    same(both, look)


def test_switching_it_off_empties_the_queue(both):
    def look(make):
        with ExitStack() as life:
            sender, _ = refused(life, make, real.AF_INET, connected=False)
            events(sender)
            sender.setsockopt(IP, names.IP_RECVERR, 0)
            sender.setblocking(False)
            return ask(sender.recvmsg, 100, LOTS, MSG_ERRQUEUE), ask(sender.recv, 10)
    same(both, look)


def test_without_it_an_unconnected_socket_hears_nothing(both):
    def look(make):
        with ExitStack() as life:
            sender, _ = refused(life, make, real.AF_INET, connected=False, recverr=0)
            sender.setblocking(False)
            return ask(sender.recv, 1), ask(sender.recvmsg, 1, 100, MSG_ERRQUEUE)
    assert same(both, look) == ("EAGAIN", "EAGAIN")


@pytest.mark.parametrize("connected", [False, True])
def test_too_long_for_the_path(both, connected):
    """A local error: EMSGSIZE with the MTU, nothing of the datagram, no offender; SO_ERROR stays 0."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            receiver.setsockopt(SOCKET, real.SO_RCVBUF, 1 << 20)
            sender.setsockopt(IP, names.IP_RECVERR, 1)
            sender.setsockopt(IP, 10, 2)                        # IP_MTU_DISCOVER, IP_PMTUDISC_DO
            if connected:
                sender.connect(receiver.getsockname())
            mtu = 65535 if make is not real.socket else 65536
            sent = ask(sender.sendto, bytes(65507), receiver.getsockname())
            return sent, mtu > 0
    same(both, look)


def test_error_queue_is_bounded(both):
    def look(make):
        with ExitStack() as life:
            sender, gone = refused(life, make, real.AF_INET, connected=False)
            sender.setblocking(False)
            for _ in range(2000):
                ask(sender.sendto, bytes(500), gone)
            events(sender)
            count = 0
            while not isinstance(ask(sender.recvmsg, 1000, LOTS, MSG_ERRQUEUE), str):
                count += 1
            return 0 < count < 1500
    assert same(both, look)
