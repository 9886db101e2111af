"""TCP sockets: what goes in comes out, in every way of calling."""
from __future__ import annotations

import array
import errno
import hashlib
import os
import random
import struct
import threading

import pytest

import netstack.socket as ns

from ..waiting import until


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_conversation(connected, host):
    client, conn = connected(host)
    client.sendall(b"Hello, Server!")
    assert conn.recv(1024) == b"Hello, Server!"
    conn.sendall(b"Hello, Client!")
    assert client.recv(1024) == b"Hello, Client!"
    assert client.getpeername() == conn.getsockname()
    assert conn.getpeername() == client.getsockname()
    client.close()
    assert conn.recv(1) == b""


def test_family_type_and_protocol_are_enums(stack):
    with stack.socket() as s:
        assert (s.family, s.type, s.proto) == (ns.AF_INET, ns.SOCK_STREAM, 0)
        assert isinstance(s.family, ns.AddressFamily)
        assert isinstance(s.type, ns.SocketKind)
    with stack.socket(ns.AF_INET6, ns.SOCK_DGRAM | ns.SOCK_NONBLOCK | ns.SOCK_CLOEXEC, ns.IPPROTO_UDP) as s:
        assert (s.family, s.type, s.proto) == (ns.AF_INET6, ns.SOCK_DGRAM, ns.IPPROTO_UDP)
        assert s.gettimeout() == 0.0


def test_a_stream_of_many_sizes(connected, spawn):
    client, conn = connected()
    chance = random.Random(1)
    data = chance.randbytes(300_000)

    def send() -> None:
        at = 0
        while at < len(data):
            at += client.send(data[at:at + chance.choice((1, 7, 100, 1460, 5000, 65536))])
        client.shutdown(ns.SHUT_WR)

    sender = spawn(send)
    got = bytearray()
    sizes = random.Random(2)
    while piece := conn.recv(sizes.choice((1, 10, 536, 4096, 8192, 8193, 100_000))):
        got += piece
    sender.result()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda b: memoryview(bytearray(b)),
                                  lambda b: memoryview(b"xx" + b)[2:], lambda b: array.array("H", b),
                                  lambda b: memoryview(array.array("H", b)).cast("B").cast("H", (4, 4))])
def test_send_takes_any_contiguous_buffer(connected, make):
    client, conn = connected()
    data = bytes(range(32))
    assert client.send(make(data)) == 32
    client.sendall(make(data))
    assert conn.recv(64, ns.MSG_WAITALL) == data * 2


def test_send_of_what_is_not_contiguous(connected):
    client, _ = connected()
    with pytest.raises(BufferError):
        client.send(memoryview(b"abcdef")[::2])
    with pytest.raises(TypeError, match="bytes-like object is required, not 'str'"):
        client.send("text")


def test_empty_sends_and_receives(connected):
    client, conn = connected()
    assert client.send(b"") == 0
    client.sendall(b"")
    client.sendall(bytearray())
    assert conn.recv(0) == b""
    assert conn.recv_into(bytearray()) == 0
    client.sendall(b"x")
    assert conn.recv(5) == b"x"


@pytest.mark.parametrize("make", [bytearray, lambda n: memoryview(bytearray(n)), lambda n: array.array("B", bytes(n))])
def test_recv_into(connected, make):
    client, conn = connected()
    client.sendall(b"0123456789")
    buffer = make(8)
    assert conn.recv_into(buffer, 3) == 3
    assert bytes(buffer)[:4] == b"012\0"
    assert conn.recv_into(memoryview(buffer)[4:]) == 4
    assert bytes(buffer) == b"012\x003456"
    assert conn.recvfrom_into(buffer, flags=ns.MSG_DONTWAIT) == (3, None)
    assert bytes(buffer)[:3] == b"789"


def test_peek_and_waitall(connected, spawn):
    client, conn = connected()
    client.sendall(b"ab")
    assert conn.recv(10, ns.MSG_PEEK) == b"ab"
    assert conn.recv(1, ns.MSG_PEEK) == b"a"
    rest = spawn(lambda: conn.recv(6, ns.MSG_WAITALL))
    client.sendall(b"cd")
    client.sendall(b"ef")
    assert rest.result() == b"abcdef"
    rest = spawn(lambda: conn.recv(6, ns.MSG_WAITALL))
    client.sendall(b"x")
    client.shutdown(ns.SHUT_WR)
    assert rest.result() == b"x"


def test_half_close(connected):
    client, conn = connected()
    client.sendall(b"question")
    client.shutdown(ns.SHUT_WR)
    assert conn.recv(100) == b"question"
    assert conn.recv(100) == b""
    with pytest.raises(BrokenPipeError):
        client.send(b"more")
    conn.sendall(b"answer")
    conn.close()
    assert client.recv(100) == b"answer"
    assert client.recv(100) == b""


def test_shutdown_of_reading(connected):
    client, _ = connected()
    client.shutdown(ns.SHUT_RD)
    assert client.recv(1) == b""


def test_reset_is_seen(connected, stack):
    client, conn = connected()
    conn.setsockopt(ns.SOL_SOCKET, ns.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    conn.close()
    until(lambda: client.getsockopt(ns.SOL_SOCKET, ns.SO_TYPE))
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_unread_data_makes_close_a_reset(connected):
    client, conn = connected()
    client.sendall(b"nobody reads this")
    conn.recv(1)
    conn.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_accept_gives_the_peer(stack):
    with stack.create_server(("127.0.0.1", 0)) as server, stack.socket() as client:
        client.bind(("127.0.0.9", 0))
        client.connect(server.getsockname())
        conn, peer = server.accept()
        with conn:
            assert peer == client.getsockname()
            assert peer[0] == "127.0.0.9"
            assert conn.family == ns.AF_INET
            assert conn.gettimeout() is None


def test_backlog_holds_connections(stack):
    with stack.create_server(("127.0.0.1", 0), backlog=8) as server:
        clients = [stack.create_connection(server.getsockname()) for _ in range(8)]
        for i, client in enumerate(clients):
            client.sendall(bytes([i]))
        seen = set()
        for _ in clients:
            conn, _ = server.accept()
            with conn:
                seen.add(conn.recv(1)[0])
        assert seen == set(range(8))
        for client in clients:
            client.close()


def test_dual_stack_server(stack):
    with stack.create_server(("", 0), family=ns.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        for host, seen in (("127.0.0.1", "::ffff:127.0.0.1"), ("::1", "::1")):
            with stack.create_connection((host, port)) as client:
                conn, peer = server.accept()
                conn.close()
                assert peer[0] == seen
                assert len(peer) == 4
                assert client.getpeername()[:2] == (host, port)


def test_v6only_server_refuses_ipv4(stack):
    with stack.create_server(("", 0), family=ns.AF_INET6) as server, pytest.raises(ConnectionRefusedError):
        stack.create_connection(("127.0.0.1", server.getsockname()[1]))


def test_v4_mapped_connect(stack):
    with stack.create_server(("127.0.0.1", 0)) as server, stack.socket(ns.AF_INET6) as client:
        client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        assert client.getpeername()[0] == "::ffff:127.0.0.1"
        assert client.getsockname()[0] == "::ffff:127.0.0.1"


def test_tcp_inq_tells_what_is_left(connected, stack):
    client, conn = connected()
    conn.setsockopt(ns.IPPROTO_TCP, ns.TCP_INQ, 1)
    assert conn.getsockopt(ns.IPPROTO_TCP, ns.TCP_INQ) == 1
    client.send(b"0123456789")
    left = [(ns.IPPROTO_TCP, ns.TCP_INQ, struct.pack("i", 6))]
    assert conn.recvmsg(4, 64) == (b"0123", left, 0, None)
    assert conn.recvmsg(2, 4) == (b"45", [], ns.MSG_CTRUNC, None)
    client.shutdown(ns.SHUT_WR)
    until(lambda: conn.info()["state"] == 8)
    assert conn.recvmsg(4, 64)[1] == [(ns.IPPROTO_TCP, ns.TCP_INQ, struct.pack("i", 1))]
    with pytest.raises(OSError) as caught:
        conn.setsockopt(ns.IPPROTO_TCP, ns.TCP_INQ, 2)
    assert caught.value.errno == errno.EINVAL


def test_sendmsg_and_recvmsg(connected):
    client, conn = connected()
    assert client.sendmsg([b"ab", bytearray(b"cd"), memoryview(b"ef")]) == 6
    assert conn.recvmsg(4) == (b"abcd", [], 0, None)
    one, two = bytearray(1), bytearray(5)
    assert conn.recvmsg_into([one, two])[0] == 2
    assert (bytes(one), bytes(two[:1])) == (b"e", b"f")
    assert client.sendmsg([b"x"], [(ns.SOL_SOCKET, ns.SCM_RIGHTS, b"\0\0\0\0")]) == 1      # ignored, as on Linux
    with pytest.raises(OSError) as caught:
        client.sendmsg([b"x"], [(ns.SOL_SOCKET, 99, b"\0\0\0\0")])
    assert caught.value.errno == errno.EINVAL


def test_sendfile(connected, spawn, tmp_path):
    client, conn = connected()
    data = os.urandom(400_000)
    (tmp_path / "file").write_bytes(data)
    with open(tmp_path / "file", "rb") as file:
        sent = spawn(lambda: client.sendfile(file, offset=10, count=300_000))
        assert conn.recv(300_000, ns.MSG_WAITALL) == data[10:300_010]
        assert sent.result() == 300_000
        assert file.tell() == 300_010
    with open(tmp_path / "file", encoding="latin-1") as text, pytest.raises(ValueError):
        client.sendfile(text)


def test_two_readers_get_every_byte_once(connected):
    client, conn = connected()
    got: list[bytes] = []

    def read() -> None:
        while piece := conn.recv(1000):
            got.append(piece)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for i in range(256):
        client.sendall(bytes([i]) * 100)
    client.shutdown(ns.SHUT_WR)
    for reader in readers:
        reader.join(20)
    assert sorted(b"".join(got)) == sorted(bytes(range(256)) * 100)


def test_dup_shares_the_connection(connected):
    client, conn = connected()
    twin = client.dup()
    assert twin.getsockname() == client.getsockname()
    assert twin.fileno() not in (-1, client.fileno())
    client.close()
    twin.sendall(b"still there")
    assert conn.recv(100) == b"still there"
    twin.close()
    assert conn.recv(1) == b""
    with pytest.raises(OSError):
        twin.dup()


def test_fromfd(connected):
    client, conn = connected()
    with ns.fromfd(client.fileno(), ns.AF_INET, ns.SOCK_STREAM) as twin:
        assert isinstance(twin, ns.socket)
        twin.sendall(b"x")
    assert conn.recv(1) == b"x"
    client.sendall(b"y")
    assert conn.recv(1) == b"y"
