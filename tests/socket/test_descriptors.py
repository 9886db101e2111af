"""Sockets and their descriptors: detach, fromfd, dup, objects that share one, what fcntl shows; audit events."""
from __future__ import annotations

import errno
import fcntl
import os
import socket as real
import sys

import pytest

import netstack.socket as ns
from netstack.description import DETACHED, OURS


def test_detach_and_take_up_again(connected):
    client, conn = connected()
    fd = client.fileno()
    assert client.detach() == fd
    assert client.detach() == client.fileno() == -1
    client.close()
    with pytest.raises(OSError) as caught:
        client.recv(1)
    assert caught.value.errno == errno.EBADF
    conn.sendall(b"for whom?")
    with ns.socket(fileno=fd) as again:
        assert again.fileno() == fd
        assert again.getpeername() == conn.getsockname()
        assert again.recv(100) == b"for whom?"
    assert not DETACHED
    assert conn.recv(1) == b""
    with pytest.raises(OSError):
        os.fstat(fd)


def test_detached_and_closed_by_the_module(connected):
    client, conn = connected()
    fd = client.detach()
    ns.close(fd)
    assert conn.recv(1) == b""
    assert not DETACHED
    with pytest.raises(OSError) as caught:
        ns.close(fd)
    assert caught.value.errno == errno.EBADF


def test_detached_and_closed_by_os_close(connected):
    client, conn = connected()
    fd = client.detach()
    os.close(fd)
    other = os.open("/dev/null", os.O_RDONLY)
    if other != fd:
        os.dup2(other, fd)
        os.close(other)
    with pytest.raises(OSError):
        ns.socket(fileno=fd)                                # the number is somebody else's now
    os.close(fd)
    assert conn.recv(1) == b""                              # ... which was found out, and the socket closed
    assert fd not in OURS


def test_detached_and_the_stack_closed(life):
    import netstack

    with netstack.Stack() as stack:
        fd = stack.socket().detach()
    with pytest.raises(OSError) as caught:
        ns.socket(fileno=fd)
    assert caught.value.errno == errno.ESHUTDOWN
    ns.close(fd)


def test_objects_that_share_a_descriptor(connected):
    client, conn = connected()
    other = ns.socket(fileno=client.fileno())
    assert other.fileno() == client.fileno()
    other.sendall(b"1")
    client.sendall(b"2")
    assert conn.recv(2, ns.MSG_WAITALL) == b"12"
    client.close()                          # closes it for both
    assert conn.recv(1) == b""
    for call in (lambda: other.send(b"x"), lambda: other.setblocking(False), other.close):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF
    other.close()
    assert other.fileno() == -1


def test_one_of_two_is_detached(connected):
    client, conn = connected()
    fd = client.fileno()
    with ns.socket(fileno=fd) as other:
        assert client.detach() == fd
        other.sendall(b"x")
        assert conn.recv(1) == b"x"
    assert conn.recv(1) == b""
    assert not DETACHED


def test_close_by_descriptor_leaves_other_descriptors(connected):
    client, conn = connected()
    with client.dup() as other:
        ns.close(client.fileno())
        other.sendall(b"x")
        assert conn.recv(1) == b"x"
        with pytest.raises(OSError):
            client.close()
    assert conn.recv(1) == b""


def test_dup_and_fromfd(connected):
    client, conn = connected()
    fd = ns.dup(client.fileno())
    assert fd != client.fileno()
    client.close()
    with ns.socket(fileno=fd) as twin, ns.fromfd(fd, ns.AF_INET, ns.SOCK_STREAM) as third:
        twin.sendall(b"x")
        third.sendall(b"y")
        assert conn.recv(2, ns.MSG_WAITALL) == b"xy"
    assert conn.recv(1) == b""
    a, b = real.socketpair()
    with a, b, real.socket(fileno=ns.dup(a.fileno())) as c:
        c.sendall(b"z")
        assert b.recv(1) == b"z"


def test_family_and_type_are_believed(stack):
    fd = ns.socket().detach()
    with ns.socket(250, 77, 23, fd) as s:
        assert (s.family, s.type, s.proto) == (250, 77, 23)
        s.bind(("127.0.0.1", 0))
    for wrong in (42.0, "foo"):
        with pytest.raises(TypeError):
            ns.socket(fileno=wrong)


def test_accept_for_classes_of_ones_own(stack):
    class Mine(ns.socket):
        def accept(self):
            fd, address = self._accept()
            return Mine(fileno=fd), address

    with Mine() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with ns.create_connection(server.getsockname()) as client:
            conn, address = server.accept()
            with conn:
                assert type(conn) is Mine
                assert address == client.getsockname()
                client.sendall(b"x")
                assert conn.recv(1) == b"x"


def test_fcntl_shows_whether_it_blocks(stack):
    with ns.socket() as s:
        for timeout in (None, 0.0, None, 5, None):
            s.settimeout(timeout)
            assert bool(fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK) == (timeout is not None)
    with ns.socket(ns.AF_INET, ns.SOCK_STREAM | ns.SOCK_NONBLOCK) as s:
        assert fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK


def test_the_systems_sockets_are_instances(stack):
    with ns.socket(ns.AF_UNIX) as s:
        assert isinstance(s, ns.socket)
    assert not isinstance(5, ns.socket)


def test_ssl_cannot_take_it_over(connected):
    client, _ = connected()
    scope = {"__name__": "ssl", "client": client}
    with pytest.raises(OSError, match="MemoryBIO"):
        exec("client.detach()", scope)
    client.close()


def test_sendfile_by_its_inner_names(connected, tmp_path):
    client, conn = connected()
    path = tmp_path / "text"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        assert client._sendfile_use_sendfile(file, 2, 5) == 5
    assert conn.recv(5, ns.MSG_WAITALL) == b"23456"
    with pytest.raises(ns._GiveupOnSendfile):
        client._sendfile_use_sendfile(object())


events: list[tuple[str, tuple[object, ...]]] = []
_listening = False


def _hear(name, arguments):
    if _listening and name.startswith("socket."):
        events.append((name, arguments))


def test_audit_events(stack):
    global _listening
    sys.addaudithook(_hear)         # for ever: there is no way back
    _listening = True
    try:
        with ns.socket(ns.AF_INET, ns.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            there = s.getsockname()
            s.sendto(b"", there)
            s.sendmsg([b""], (), 0, there)
            s.connect(there)
            ns.getaddrinfo("127.0.0.1", 80, ns.AF_INET, ns.SOCK_STREAM)
        assert events == [
            ("socket.__new__", (s, ns.AF_INET, ns.SOCK_DGRAM, -1)), ("socket.bind", (s, ("127.0.0.1", 0))),
            ("socket.sendto", (s, there)), ("socket.sendmsg", (s, there)), ("socket.connect", (s, there)),
            ("socket.getaddrinfo", ("127.0.0.1", 80, ns.AF_INET, ns.SOCK_STREAM, 0))]
    finally:
        _listening = False
        events.clear()
