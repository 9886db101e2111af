"""Threads in calls that block: how often they come back to Python, and for what."""
from __future__ import annotations

import _thread
import ctypes
import re
import threading
from collections import Counter

import pytest

from netstack import drive, sockdata
from netstack.machine import loaded
from netstack.machine.mode import JIT

from ..waiting import is_blocked, until

FOR_EVER = 1 << 60
# Signals of the system wait until an interpreted call has come out of the engine (machine/compiled.py); what Python
# itself does to a thread does not.
compiled = pytest.mark.skipif(not JIT and not loaded.is_there(),
                              reason="interpreted, the exception may come in the midst of the engine")


@pytest.fixture
def calls(monkeypatch):
    """How often each thread has gone into the engine's `recv`."""
    counted: Counter[int] = Counter()
    plain = sockdata._recv

    def recv(*arguments):
        counted[threading.get_ident()] += 1
        return plain(*arguments)

    monkeypatch.setattr(sockdata, "_recv", recv)
    return counted


def test_only_the_main_thread_comes_back_for_signals(stack, connected, spawn, calls):
    assert stack._record.patience == drive.PATIENCE
    stack._record.patience = FOR_EVER
    a, b = connected()
    c, _ = connected()
    other = spawn(lambda: (a.recv(1), threading.get_ident()))
    until(lambda: is_blocked(a))
    c.settimeout(3.5 * drive.SLICE / 1e9)
    with pytest.raises(TimeoutError):
        c.recv(1)
    b.sendall(b"x")
    said, ident = other.result()
    assert said == b"x"
    assert calls[ident] == 1
    assert calls[threading.get_ident()] >= 2


@compiled
def test_a_signal_that_no_thread_sees(stack, connected, spawn):
    """interrupt_main() sends none: the main thread looks."""
    stack._record.patience = FOR_EVER
    a, _ = connected()
    other = spawn(lambda: (until(lambda: is_blocked(a)), _thread.interrupt_main()))
    with pytest.raises(KeyboardInterrupt):
        a.recv(1)
    other.result()


@compiled
def test_an_exception_that_another_thread_sends(stack, connected, spawn):
    """It comes when the thread is back in Python (on Linux only once its call returns)."""
    stack._record.patience = drive.SLICE
    a, b = connected()
    idents = []

    def receive():
        idents.append(threading.get_ident())
        try:
            return a.recv(1)
        except EOFError:
            return "told"

    other = spawn(receive)
    until(lambda: is_blocked(a))
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(idents[0]), ctypes.py_object(EOFError)) == 1
    assert other.result() == "told"
    b.sendall(b"x")
    assert a.recv(1) == b"x"


def test_the_interpreter_ends_with_threads_in_calls(python):
    """Daemons, which nobody waits for; and faulthandler sees them."""
    program = """
import faulthandler, sys, threading
import netstack
from tests.waiting import is_blocked, until
stack = netstack.Stack()
stack._record.patience = 1 << 60
server = stack.create_server(("127.0.0.1", 0))
socks = [stack.create_connection(server.getsockname()) for _ in range(5)]
conns = [server.accept() for _ in socks]
for call in [server.accept, *(lambda s=s: s.recv(1) for s in socks)]:
    threading.Thread(target=call, daemon=True).start()
until(lambda: all(map(is_blocked, [server, *socks])))
faulthandler.dump_traceback(sys.stdout)
"""
    said = python(program).stdout
    assert len(re.findall(r"sockdata.py\", line \d+ in recv\b", said)) == 5
    assert len(re.findall(r"sockobject.py\", line \d+ in accept\b", said)) == 1
