"""netstack.socket has every name of the standard module; which stack it works on; patch."""
from __future__ import annotations

import socket as real
import sys
import threading

import pytest

import netstack
import netstack.socket as ns


def test_every_name_is_there():
    missing = [name for name in real.__all__ if not hasattr(ns, name) and name not in ("CAPI", "sethostname")]
    assert missing == []
    for name in real.__all__:
        if name.isupper() and name != "CAPI":
            assert getattr(ns, name) == getattr(real, name)
    assert set(ns.__all__) <= set(dir(ns))


def test_every_method_is_there():
    missing = [name for name in dir(real.socket) if not name.startswith("_") and not hasattr(ns.socket, name)
               and name != "sendmsg_afalg"]
    assert missing == []


def test_from_import():
    scope: dict[str, object] = {}
    exec("from netstack.socket import *\nfrom netstack.socket import AF_INET6, create_server, _GLOBAL_DEFAULT_TIMEOUT",
         scope)
    assert scope["AF_INET"] is real.AF_INET
    assert scope["socket"] is ns.socket
    assert ns.timeout is TimeoutError
    assert ns.error is OSError
    assert ns.gaierror is real.gaierror
    with pytest.raises(AttributeError):
        ns.no_such_name


def test_use(stack):
    assert netstack.current() is stack
    with ns.socket() as s:
        assert s._stack is stack
    with netstack.Stack() as other:
        netstack.use(other)
        with ns.create_server(("127.0.0.1", 0)) as server:
            assert server._stack is other
        with netstack.using(stack):
            assert netstack.current() is stack
            seen = []
            thread = threading.Thread(target=lambda: seen.append(netstack.current()))
            thread.start()
            thread.join()
            assert seen == [other]
        assert netstack.current() is other
        netstack.use(stack)
    with pytest.raises(TypeError):
        netstack.use("eth0")


def test_the_default_stack_has_a_loopback(python):
    program = """
import netstack, netstack.socket as socket
with socket.create_server(("localhost", 0)) as server, socket.create_connection(server.getsockname()) as client:
    conn, _ = server.accept()
    with conn:
        conn.sendall(b"x")
        assert client.recv(1) == b"x"
stack = netstack.current()
assert stack is netstack.current() and [i.name for i in stack.interfaces] == ["lo"]
print("done")
"""
    assert python(program).stdout == "done\n"


def test_patch(stack):
    import http.client

    netstack.patch()
    try:
        netstack.patch()
        import socket

        assert socket is ns
        assert http.client.socket is ns
        assert sys.modules["socket"] is ns
    finally:
        netstack.unpatch()
        netstack.unpatch()
    import socket

    assert socket is real
    assert http.client.socket is real


def test_create_connection(stack, life):
    server = life.enter_context(stack.create_server(("127.0.0.1", 0)))
    port = server.getsockname()[1]
    with ns.create_connection(("localhost", port), timeout=5, source_address=("127.0.0.5", 0)) as s:
        assert s.gettimeout() == 5
        assert s.getsockname()[0] == "127.0.0.5"
    with ns.create_connection(("localhost", port)) as s:        # ::1 refuses, 127.0.0.1 accepts
        assert s.family == ns.AF_INET
    server.close()
    with pytest.raises(ConnectionRefusedError):
        ns.create_connection(("localhost", port))
    if sys.version_info >= (3, 11):
        with pytest.raises(ExceptionGroup) as caught:           # noqa: F821
            ns.create_connection(("localhost", port), all_errors=True)
        assert len(caught.value.exceptions) == 2


def test_create_server(stack):
    with ns.create_server(("127.0.0.1", 0), reuse_port=True, backlog=3) as server:
        assert server.getsockopt(ns.SOL_SOCKET, ns.SO_REUSEPORT) == 1
        with ns.create_server(server.getsockname(), reuse_port=True):
            pass
    with pytest.raises(ValueError):
        ns.create_server(("", 0), dualstack_ipv6=True)
    assert ns.has_dualstack_ipv6()


def test_close_of_a_descriptor(connected):
    client, conn = connected()
    ns.close(client.fileno())
    assert conn.recv(1) == b""
    with pytest.raises(OSError):
        client.recv(1)
    with pytest.raises(OSError):
        client.close()                  # EBADF, as on Linux
    client.close()


def test_create_connection_uses_what_stands_in_the_module(stack, monkeypatch):
    """Proxies replace socket.socket."""
    class Proxy(ns.socket):
        def connect(self, address):
            raise TimeoutError("the proxy is slow")

    monkeypatch.setattr(ns, "socket", Proxy)
    with pytest.raises(TimeoutError, match="the proxy is slow"):
        ns.create_connection(("127.0.0.1", 9))
