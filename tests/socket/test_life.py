"""The life of a socket object: repr, warnings, forks, the end of the interpreter."""
from __future__ import annotations

import gc
import os
import socket as real
import warnings

import pytest

import netstack
import netstack.socket as ns


def forget(holder: list[object]) -> None:
    """Drop the last reference."""
    holder.clear()
    gc.collect()


def test_repr(connected):
    client, conn = connected()
    text = repr(client)
    assert text.startswith("<netstack.socket.socket fd=")
    assert f"family={client.family}, type={client.type}, proto={client.proto}" in text
    assert f"laddr={client.getsockname()}, raddr={conn.getsockname()}>" in text
    assert f"fd={client.fileno()}," in repr(client)
    client.close()
    assert repr(client).startswith("<netstack.socket.socket [closed] fd=-1, family=")


def test_unclosed_warns(stack):
    with pytest.warns(ResourceWarning, match=r"unclosed <netstack\.socket\.socket fd=lazy"):
        forget([stack.socket()])
    assert stack.connections() == []
    s = stack.socket()
    s.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del s
        gc.collect()


def test_unclosed_stack_warns():
    with pytest.warns(ResourceWarning, match=r"unclosed <netstack\.Stack 'forgotten'"):
        forget([netstack.Stack(name="forgotten")])


def test_a_failed_init_warns_of_nothing(stack):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for arguments in ((ns.AF_INET, 77), ("x",)):
            with pytest.raises((OSError, TypeError)):
                ns.socket(*arguments)
        gc.collect()


def test_sockets_keep_their_stack():
    stack = netstack.Stack()
    s = stack.socket(ns.AF_INET, ns.SOCK_DGRAM)
    same = s._stack
    del stack
    gc.collect()
    s.bind(("127.0.0.1", 0))
    s.sendto(b"x", s.getsockname())
    assert s.recv(1) == b"x"
    s.close()
    same.close()


def test_subclass(stack):
    class Named(ns.socket):
        def __init__(self, name: str) -> None:
            super().__init__(ns.AF_INET, ns.SOCK_DGRAM)
            self.name = name

    with Named("mine") as s:
        assert s.name == "mine"
        s.bind(("127.0.0.1", 0))


def test_other_families_are_the_systems(stack):
    with ns.socket(ns.AF_UNIX) as s:
        assert type(s) is real.socket
    a, b = ns.socketpair()
    with a, b:
        a.sendall(b"x")
        assert b.recv(1) == b"x"
    with ns.socket(fileno=real.socket(real.AF_INET, real.SOCK_DGRAM).detach()) as s:
        assert type(s) is real.socket


def test_a_socket_of_the_module_starts_the_stacks_thread(life):
    """Without it no timer would run while a program sits in select."""
    stack = life.enter_context(netstack.Stack())
    with netstack.using(stack), ns.socket():
        assert stack._thread is not None
        assert stack._thread.is_alive()


def test_inheritance_of_descriptors(connected):
    client, _ = connected()
    assert client.get_inheritable() is False
    client.set_inheritable(False)
    assert client._own_fd == -1                     # no descriptor was needed
    client.set_inheritable(True)
    assert client.get_inheritable() is True
    assert os.get_inheritable(client.fileno())
    client.set_inheritable(False)
    assert client.get_inheritable() is False


FORK = """
import errno, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import netstack, netstack.socket as ns
with netstack.Stack() as stack:
    netstack.use(stack)
    with stack.create_server(("127.0.0.1", 0)) as server:
        client = stack.create_connection(server.getsockname())
        conn, _ = server.accept()
        fd = client.fileno()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for call in (lambda: client.recv(1), lambda: client.send(b"x"), lambda: stack.socket(),
                             lambda: server.accept(), lambda: ns.socket()):
                    try:
                        call()
                    except OSError as error:
                        assert error.errno in (errno.ESHUTDOWN, errno.EBADF), error
                        assert "parent" in str(error), error
                    else:
                        raise AssertionError("no error")
                client.close()
                stack.close()
                netstack.use(None)
                with ns.create_server(("127.0.0.1", 0)) as mine, ns.create_connection(mine.getsockname()) as c:
                    mine.accept()[0].close()
                netstack.current().close()
                status = 0
            except BaseException as error:
                print(repr(error), flush=True)
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        client.sendall(b"unharmed")
        assert conn.recv(100) == b"unharmed"
        client.close(); conn.close()
print("done")
"""


def test_fork(python):
    assert python(FORK).stdout == "done\n"


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "raise SystemExit", "os.kill(os.getpid(), 0)"])
def test_exit_with_everything_open(python, ending):
    """No hang, no crash, no message."""
    program = f"""
import os, sys, threading
import netstack, netstack.socket as ns
from tests.waiting import is_blocked, until
stack = netstack.Stack()
server = stack.create_server(("127.0.0.1", 0))
client = stack.create_connection(server.getsockname())
client.fileno()
conn = server.accept()[0]
threading.Thread(target=lambda: conn.recv(1), daemon=True).start()
default = ns.socket()
until(lambda: is_blocked(conn))
{ending}
"""
    done = python(program)
    assert (done.stdout, done.stderr) == ("", "")


def test_exit_while_another_thread_is_blocked(python):
    """A thread that is no daemon must end, or Python would wait for it: it is told that the stack has closed."""
    program = """
import threading
import netstack
from tests.waiting import is_blocked, until
stack = netstack.Stack()
server = stack.create_server(("127.0.0.1", 0))
def wait():
    try:
        server.accept()
    except OSError as error:
        print(error.errno)
threading.Thread(target=wait).start()
until(lambda: is_blocked(server))
stack.close()
"""
    assert python(program).stdout == "108\n"
