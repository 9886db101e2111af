"""The same misuse of our sockets and of the system's gives the same exception and errno."""
from __future__ import annotations

import errno
import pickle
import select
import socket as real
import struct
from typing import Any

import pytest

import netstack.socket as ns

from .conftest import closed_port


def tcp_connection(m: Any) -> tuple[Any, Any]:
    with m.create_server(("127.0.0.1", 0)) as server:
        client = m.create_connection(server.getsockname())
        return client, server.accept()[0]


def reset_has_come(sock: Any) -> None:
    """Wait for it; poll(2) tells, and takes nothing away."""
    poller = select.poll()
    poller.register(sock, 0)
    assert poller.poll(10_000), "no reset came"


def bind_twice(m):
    with m.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.bind(("127.0.0.1", 0))


def connect_twice(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.connect(conn.getsockname())


def connect_while_listening(m):
    with m.create_server(("127.0.0.1", 0)) as server:
        server.connect(server.getsockname())


def listen_while_connected(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.listen()


def accept_without_listening(m):
    with m.socket() as s:
        s.accept()


def accept_on_a_connection(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.accept()


def recv_unconnected(m):
    with m.socket() as s:
        s.recv(1)


def send_unconnected(m):
    with m.socket() as s:
        s.send(b"x")


def recv_on_a_listener(m):
    with m.create_server(("127.0.0.1", 0)) as server:
        server.recv(1)


def send_on_a_listener(m):
    with m.create_server(("127.0.0.1", 0)) as server:
        server.send(b"x")


def shutdown_unconnected(m):
    with m.socket() as s:
        s.shutdown(m.SHUT_WR)


def shutdown_in_a_wrong_way(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.shutdown(7)


def shutdown_udp_unconnected(m):
    with m.socket(m.AF_INET, m.SOCK_DGRAM) as s:
        s.shutdown(m.SHUT_RD)


def getpeername_unconnected(m):
    with m.socket() as s:
        s.getpeername()


def getpeername_of_a_listener(m):
    with m.create_server(("127.0.0.1", 0)) as server:
        server.getpeername()


def refused(m):
    with m.socket() as s:
        s.connect(("127.0.0.1", closed_port(m.socket)))


def refused_twice(m):
    with m.socket() as s:
        port = closed_port(m.socket)
        assert s.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
        s.connect(("127.0.0.1", port))


def send_after_refused(m):
    with m.socket() as s:
        assert s.connect_ex(("127.0.0.1", closed_port(m.socket))) == errno.ECONNREFUSED
        s.send(b"x")


def recv_after_refused(m):
    with m.socket() as s:
        assert s.connect_ex(("127.0.0.1", closed_port(m.socket))) == errno.ECONNREFUSED
        return s.recv(1)


def send_after_reset(m):
    client, conn = tcp_connection(m)
    with client:
        conn.setsockopt(m.SOL_SOCKET, m.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()
        reset_has_come(client)
        client.send(b"x")


def send_after_reset_twice(m):
    client, conn = tcp_connection(m)
    with client:
        conn.setsockopt(m.SOL_SOCKET, m.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()
        reset_has_come(client)
        with pytest.raises(ConnectionResetError):
            client.send(b"x")
        client.send(b"x")


def recv_after_reset_twice(m):
    client, conn = tcp_connection(m)
    with client:
        conn.setsockopt(m.SOL_SOCKET, m.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()
        reset_has_come(client)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        return client.recv(1)


def getpeername_after_reset(m):
    client, conn = tcp_connection(m)
    with client:
        conn.setsockopt(m.SOL_SOCKET, m.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()
        reset_has_come(client)
        client.getpeername()


def send_after_shutdown(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.shutdown(m.SHUT_WR)
        client.send(b"x")


def shutdown_twice(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.shutdown(m.SHUT_WR)
        client.shutdown(m.SHUT_WR)
        client.shutdown(m.SHUT_RDWR)


def connect_to_port_zero(m):
    with m.socket() as s:
        s.connect(("127.0.0.1", 0))


def udp_send_without_peer(m):
    with m.socket(m.AF_INET, m.SOCK_DGRAM) as s:
        s.send(b"x")


def udp_to_port_zero(m):
    with m.socket(m.AF_INET, m.SOCK_DGRAM) as s:
        s.sendto(b"x", ("127.0.0.1", 0))


def udp_too_long(m):
    with m.socket(m.AF_INET, m.SOCK_DGRAM) as s:
        s.sendto(bytes(70_000), ("127.0.0.1", 9))


def udp_listen(m):
    with m.socket(m.AF_INET, m.SOCK_DGRAM) as s:
        s.listen()


def udp_accept(m):
    with m.socket(m.AF_INET, m.SOCK_DGRAM) as s:
        s.accept()


def udp_bind_twice(m):
    with m.socket(m.AF_INET, m.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        s.bind(("127.0.0.1", 0))


def udp_bind_in_use(m):
    with m.socket(m.AF_INET, m.SOCK_DGRAM) as s, m.socket(m.AF_INET, m.SOCK_DGRAM) as t:
        s.bind(("127.0.0.1", 0))
        t.bind(s.getsockname())


def udp_wildcard_bind_in_use(m):
    with m.socket(m.AF_INET, m.SOCK_DGRAM) as s, m.socket(m.AF_INET6, m.SOCK_DGRAM) as t:
        s.bind(("127.0.0.1", 0))
        t.bind(("::", s.getsockname()[1]))


def udp_oob(m):
    with m.socket(m.AF_INET, m.SOCK_DGRAM) as s:
        s.sendto(b"x", m.MSG_OOB, ("127.0.0.1", 9))


def tcp_bind_in_use(m):
    with m.create_server(("127.0.0.1", 0)) as server, m.socket() as s:
        s.setsockopt(m.SOL_SOCKET, m.SO_REUSEADDR, 1)
        s.bind(server.getsockname())


def listen_in_use(m):
    with m.socket() as s, m.socket() as t:
        for one in (s, t):
            one.setsockopt(m.SOL_SOCKET, m.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        t.bind(s.getsockname())
        s.listen()
        t.listen()


def not_our_address(m):
    with m.socket() as s:
        s.bind(("203.0.113.77", 0))


def six_only_bind_of_a_mapped_address(m):
    with m.socket(m.AF_INET6) as s:
        s.setsockopt(m.IPPROTO_IPV6, m.IPV6_V6ONLY, 1)
        s.bind(("::ffff:127.0.0.1", 0))


def six_only_connect_to_a_mapped_address(m):
    with m.socket(m.AF_INET6) as s:
        s.setsockopt(m.IPPROTO_IPV6, m.IPV6_V6ONLY, 1)
        s.connect(("::ffff:127.0.0.1", 9))


def oob_when_there_is_none(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.recv(1, m.MSG_OOB)


def wrong_family(m):
    m.socket(m.AF_INET, m.SOCK_STREAM, m.IPPROTO_UDP)


def wrong_protocol(m):
    m.socket(m.AF_INET, m.SOCK_DGRAM, m.IPPROTO_TCP)


def wrong_type(m):
    m.socket(m.AF_INET, 77)


def unknown_type(m):
    m.socket(m.AF_INET, m.SOCK_SEQPACKET)


def unknown_family(m):
    m.socket(77)


def text_as_family(m):
    m.socket("AF_INET")


def negative_recv(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.recv(-1)


def text_recv(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.recv("5")


def recv_into_bytes(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.recv_into(b"abc")


def recv_into_too_small(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.recv_into(bytearray(2), 3)


def recv_into_negative(m):
    client, conn = tcp_connection(m)
    with client, conn:
        client.recv_into(bytearray(2), -1)


def pickled(m):
    with m.socket() as s:
        pickle.dumps(s)


def text_backlog(m):
    with m.socket() as s:
        s.listen("5")


MISUSES = [function for name, function in list(globals().items())
           if callable(function) and getattr(function, "__module__", "") == __name__
           and getattr(function, "__code__", None) and function.__code__.co_varnames[:1] == ("m",)
           and name != "tcp_connection"]


def outcome(function: Any, module: Any) -> Any:
    try:
        return function(module)
    except Exception as error:
        return type(error), getattr(error, "errno", None)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("misuse", MISUSES, ids=lambda f: f.__name__)
def test_same_error(stack, misuse):
    assert outcome(misuse, ns) == outcome(misuse, real)


def test_messages_are_linux_messages(stack):
    import os

    with stack.socket() as s, pytest.raises(OSError) as caught:
        s.accept()
    assert caught.value.strerror == os.strerror(errno.EINVAL)
    assert str(caught.value) == f"[Errno {errno.EINVAL}] {os.strerror(errno.EINVAL)}"


def test_an_error_lets_go_of_the_buffer(connected):
    """Its traceback has the frames; event loops clear the bytearray that they could not send, while they handle it."""
    client, _conn = connected()
    client.setblocking(False)
    data = bytearray(1 << 20)
    datagrams = client._stack.socket(type=ns.SOCK_DGRAM)
    with datagrams:
        datagrams.setblocking(False)
        for call in (lambda: client.recv_into(data), lambda: [client.send(data) for _ in range(100)],
                     lambda: client.sendall(data), lambda: datagrams.sendto(data, ("127.0.0.1", 9)),
                     lambda: datagrams.recvfrom_into(data)):
            with pytest.raises(OSError) as caught:
                call()
            data.append(0)          # BufferError while anybody holds it
            assert caught.value
