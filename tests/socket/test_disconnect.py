"""connect(2) with AF_UNSPEC, which Python cannot say: the kernel is asked through libc, ours has `disconnect`."""
from __future__ import annotations

import ctypes
import errno
import os
import select
import socket as real
import struct
from contextlib import ExitStack

import pytest

from ..waiting import until
from .conftest import closed_port

LIBC = ctypes.CDLL(None, use_errno=True)
STATES = ("new", "bound", "listening", "client", "server", "half closed", "closed by the peer", "refused")


def disconnect(sock):
    if not isinstance(sock, real.socket):
        sock.disconnect()
    elif LIBC.connect(sock.fileno(), struct.pack("H", real.AF_UNSPEC) + bytes(14), 16) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def ask(call, *arguments):
    """A result, or the name of an errno."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]


def in_state(life, make, state):
    """A socket, and the other end if it has one."""
    sock = life.enter_context(make())
    if state == "new":
        return sock, None
    if state == "refused":
        assert ask(sock.connect, ("127.0.0.1", closed_port(make))) == "ECONNREFUSED"
        return sock, None
    sock.bind(("127.0.0.1", 0))
    if state == "bound":
        return sock, None
    sock.listen()
    if state == "listening":
        return sock, None
    client = life.enter_context(make())
    client.connect(sock.getsockname())
    server = life.enter_context(sock.accept()[0])
    if state == "server":
        return server, client
    if state == "half closed":
        client.shutdown(real.SHUT_WR)
        assert server.recv(1) == b""
    if state == "closed by the peer":
        server.close()
        assert client.recv(1) == b""
        return client, None
    return client, server


@pytest.mark.parametrize("state", STATES)
def test_as_linux(stack, state):
    """What each call says afterwards, what stays of the options, and that there is another beginning."""
    def look(make):
        with ExitStack() as life:
            sock, peer = in_state(life, make, state)
            sock.setsockopt(real.IPPROTO_TCP, real.TCP_KEEPIDLE, 77)
            sock.setsockopt(real.SOL_SOCKET, real.SO_RCVBUF, 30_000)
            sock.setsockopt(real.SOL_SOCKET, real.SO_OOBINLINE, 1)
            found = [disconnect(sock), ask(sock.getpeername), ask(sock.getsockname)[0], ask(sock.send, b"x"),
                     ask(sock.send, b"x"), ask(sock.recv, 1, real.MSG_DONTWAIT), ask(sock.shutdown, real.SHUT_RDWR),
                     sock.getsockopt(real.IPPROTO_TCP, real.TCP_INFO, 1),
                     sock.getsockopt(real.SOL_SOCKET, real.SO_ERROR),
                     sock.getsockopt(real.IPPROTO_TCP, real.TCP_KEEPIDLE),
                     sock.getsockopt(real.SOL_SOCKET, real.SO_RCVBUF),
                     sock.getsockopt(real.SOL_SOCKET, real.SO_OOBINLINE)]
            if peer is not None and state != "half closed":
                peer.settimeout(10)
                found.append(ask(peer.recv, 1))
            listener, _ = in_state(life, make, "listening")
            found.append(ask(sock.connect, listener.getsockname()))
            other = life.enter_context(listener.accept()[0])
            other.sendall(b"yes")
            return [*found, sock.recv(3), sock.getpeername() == listener.getsockname(),
                    ask(sock.connect, ("127.0.0.1", 9))]
    there, here = look(real.socket), look(stack.socket)
    assert here == there


def test_an_error_that_nobody_read(stack):
    """The next connect forgets it."""
    def look(make):
        with ExitStack() as life:
            sock, _ = in_state(life, make, "client")
            disconnect(sock)
            listener, _ = in_state(life, make, "listening")
            return ask(sock.connect, listener.getsockname()), sock.getsockopt(real.SOL_SOCKET, real.SO_ERROR)
    assert look(stack.socket) == look(real.socket) == (None, 0)


def test_a_listener_may_listen_again(stack):
    def look(make):
        with ExitStack() as life:
            sock, _ = in_state(life, make, "listening")
            waiting = life.enter_context(make())
            waiting.connect(sock.getsockname())
            disconnect(sock)
            waiting.settimeout(10)
            return ask(waiting.recv, 1), ask(sock.accept), ask(sock.listen), ask(sock.connect, ("127.0.0.1", 9))
    assert look(stack.socket) == look(real.socket)


@pytest.mark.parametrize(("bound", "port"), [(None, 0), ("", 0), ("127.0.0.1", 0), ("127.0.0.1", 1)])
def test_datagrams(stack, bound, port):
    """What the application has not bound by its number goes too."""
    def look(make):
        with ExitStack() as life:
            sock, peer = (life.enter_context(make(type=real.SOCK_DGRAM)) for _ in range(2))
            peer.bind(("127.0.0.1", 0))
            if port:
                with make(type=real.SOCK_DGRAM) as free:
                    free.bind(("127.0.0.1", 0))
                    number = free.getsockname()[1]
            if bound is not None:
                sock.bind((bound, number if port else 0))
            sock.connect(peer.getsockname())
            disconnect(sock)
            name = sock.getsockname()
            found = [name[0], name[1] == 0, ask(sock.getpeername), ask(sock.send, b"x"),
                     sock.sendto(b"x", peer.getsockname()), peer.recvfrom(10)[0], sock.getsockname()[1] == 0]
            sock.connect(peer.getsockname())
            return [*found, sock.send(b"y"), peer.recv(10)]
    assert look(stack.socket) == look(real.socket)


def test_two_ends_of_one_stack_go_on(stack):
    """A hundred times, and nothing is left over."""
    with stack.create_server(("127.0.0.1", 0)) as server, stack.socket() as sock:
        before = stack._tcp.tcbs.live, stack._tcp.rares.live, stack._tcp.memory.used
        for i in range(100):
            sock.connect(server.getsockname())
            with server.accept()[0] as conn:
                sock.sendall(b"%d" % i)
                assert conn.recv(10) == b"%d" % i
                sock.disconnect()
                with pytest.raises(ConnectionResetError):
                    conn.recv(10)
        until(lambda: (stack._tcp.tcbs.live, stack._tcp.rares.live, stack._tcp.memory.used) == before)


def test_what_is_lent_is_busy(stack, connected):
    client, _ = connected()
    with client.send_view(10):
        with pytest.raises(OSError) as caught:
            client.disconnect()
        assert caught.value.errno == errno.EBUSY
    client.disconnect()


def ready(sock, timeout=0.0):
    r, w, _ = select.select([sock], [sock], [], timeout)
    return ("r" if r else "") + ("w" if w else "")


def test_descriptor_before_a_connection(stack):
    """It has told of no end: there was none."""
    with stack.create_server(("127.0.0.1", 0)) as server, stack.socket() as sock:
        poller = select.poll()
        poller.register(sock.fileno(), select.POLLIN | select.POLLOUT | select.POLLRDHUP)
        assert ready(sock) == "rw"                          # as on Linux
        sock.connect(server.getsockname())
        until(lambda: ready(sock) == "w")
        assert poller.poll(0) == [(sock.fileno(), select.POLLOUT)]


def test_descriptor_of_another_connection(stack):
    with stack.create_server(("127.0.0.1", 0)) as server, stack.socket() as sock:
        fd = sock.fileno()
        for _ in range(2):
            sock.connect(server.getsockname())
            until(lambda: ready(sock) == "w")
            server.accept()[0].close()
            until(lambda: ready(sock) == "rw")
            sock.disconnect()
            assert sock.fileno() == fd


def test_closed(stack):
    sock = stack.socket()
    sock.close()
    with pytest.raises(OSError) as caught:
        sock.disconnect()
    assert caught.value.errno == errno.EBADF
