"""recv_view, send_view, sendfile: the application in the rings themselves; and that other reads copy once."""
from __future__ import annotations

import ctypes
import errno
import io
import mmap
import os
import random
import threading
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netstack
import netstack.socket as ns
from netstack import handles, sockdata
from netstack.buffers import BYTES, locate
from netstack.machine import ring
from netstack.machine.mode import IMAGE, JIT
from netstack.tcp import receive
from netstack.tcp.tcb import State, rare
from netstack.tcp.urgent import Mark

from ..waiting import is_blocked, until


def tcb(stack, sock):
    """The connection's record."""
    return handles.connection(stack._record, sock._handle & handles.INDEX)


def place(data):
    """Where a buffer's bytes stand."""
    return locate(data)[1]


def refused(code, function, *arguments):
    """The call must raise OSError with this errno."""
    with pytest.raises(OSError) as caught:
        function(*arguments)
    assert caught.value.errno == code


def enter(view):
    with view:
        pass


# ---- reading ------------------------------------------------------------------------

def test_a_view_of_what_waits(connected):
    client, conn = connected()
    client.sendall(b"Hello, view!")
    with conn.recv_view() as view:
        assert isinstance(view, memoryview)
        assert view.readonly
        assert view == b"Hello, view!"
    with pytest.raises(ValueError, match="released"):
        view[0]
    client.sendall(b"more")
    assert conn.recv(100) == b"more"


def test_it_stands_in_the_ring(connected, stack):
    client, conn = connected()
    client.sendall(b"0123456789")
    t = tcb(stack, conn)
    with conn.recv_view() as view:
        assert place(view) == ring.address(t.rcv, t.rcv.head)
        assert t.space.rcv_lent
    assert not t.space.rcv_lent
    with client.send_view(5) as view:
        t = tcb(stack, client)
        assert place(view) == ring.address(t.snd, t.snd.tail)
        view[:] = b"abcde"
    assert conn.recv(10) == b"abcde"


def test_as_much_as_is_said(connected):
    client, conn = connected()
    client.sendall(b"0123456789")
    taking = conn.recv_view(4)
    with taking as view:
        assert view == b"0123"
        taking.consume(3)
        taking.consume(1)               # the last word counts
    with taking as view:
        assert view == b"1234"
        taking.consume(0)
    with taking as view:
        assert view == b"1234"
    with conn.recv_view(0) as view:
        assert len(view) == 0
    assert conn.recv(10) == b"56789"


def test_what_cannot_be_said(connected):
    client, conn = connected()
    client.sendall(b"0123456789")
    taking = conn.recv_view()
    with pytest.raises(ValueError, match="no open view"):
        taking.consume(1)
    with taking:
        for wrong in (-1, 11):
            with pytest.raises(ValueError, match=f"{wrong} bytes of a view of 10"):
                taking.consume(wrong)
        with pytest.raises(TypeError):
            taking.consume("1")
    with pytest.raises(ValueError, match="no open view"):
        taking.consume(1)
    with pytest.raises(ValueError, match="negative"):
        conn.recv_view(-1)
    with pytest.raises(ValueError, match="at least"):
        client.send_view(0)
    room = client.send_view(5)
    with room, pytest.raises(ValueError, match="6 bytes of a view of 5"):
        room.commit(6)


def test_an_exception_in_the_block(connected):
    client, conn = connected()
    client.sendall(b"0123456789")
    with pytest.raises(ZeroDivisionError), conn.recv_view():
        1 // 0
    taking = conn.recv_view()
    with pytest.raises(ZeroDivisionError), taking:
        taking.consume(2)
        1 // 0
    assert conn.recv(100) == b"23456789"
    with pytest.raises(ZeroDivisionError), client.send_view(5) as view:
        view[:] = b"wrong"
        1 // 0
    client.sendall(b"right")
    assert conn.recv(100) == b"right"


def test_waiting_as_recv_does(connected, spawn):
    client, conn = connected()
    conn.settimeout(0)
    with pytest.raises(BlockingIOError):
        enter(conn.recv_view())
    conn.settimeout(0.001)
    with pytest.raises(TimeoutError):
        enter(conn.recv_view())
    conn.settimeout(None)
    conn.setsockopt(ns.SOL_SOCKET, ns.SO_RCVTIMEO, (0).to_bytes(8, "little") + (1000).to_bytes(8, "little"))
    with pytest.raises(BlockingIOError):
        enter(conn.recv_view())
    conn.setsockopt(ns.SOL_SOCKET, ns.SO_RCVTIMEO, bytes(16))

    def read():
        with conn.recv_view() as view:
            return bytes(view)

    reader = spawn(read)
    until(lambda: is_blocked(conn))
    client.sendall(b"at last")
    assert reader.result() == b"at last"
    client.shutdown(ns.SHUT_WR)
    for _ in range(2):
        assert read() == b""


def test_low_water(connected, spawn):
    """SO_RCVLOWAT says how much a wait waits for; what is there is given without one."""
    client, conn = connected()
    conn.setsockopt(ns.SOL_SOCKET, ns.SO_RCVLOWAT, 5)

    def read():
        with conn.recv_view() as view:
            return bytes(view)

    reader = spawn(read)
    until(lambda: is_blocked(conn))
    client.sendall(b"ab")
    client.sendall(b"cde")
    assert reader.result() == b"abcde"
    client.sendall(b"x")
    conn.settimeout(60)
    while (got := conn.recv(1, ns.MSG_PEEK)) != b"x":
        assert not got
    assert read() == b"x"


def test_a_reset_while_a_view_is_open(connected, stack):
    client, conn = connected()
    client.sendall(b"the last words")
    with conn.recv_view(8) as view:
        client.setsockopt(ns.SOL_SOCKET, ns.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        until(lambda: tcb(stack, conn).state == State.CLOSED)
        assert view == b"the last"
    assert conn.recv(100) == b" words"
    with pytest.raises(ConnectionResetError):
        enter(conn.recv_view())
    assert conn.recv(1) == b""


def test_reading_is_shut_down_meanwhile(connected):
    client, conn = connected()
    client.sendall(b"0123456789")
    with conn.recv_view(5) as view:
        conn.shutdown(ns.SHUT_RD)
        assert view == b"01234"
    with conn.recv_view() as view:
        assert view == b"56789"
    with conn.recv_view() as view:
        assert view == b""


def test_other_reads_meanwhile(connected):
    client, conn = connected()
    client.sendall(b"0123456789")
    taking = conn.recv_view(5)
    with taking as view:
        for other in (lambda: conn.recv(1), lambda: conn.recv_into(bytearray(3)), lambda: enter(conn.recv_view()),
                      lambda: enter(taking), lambda: conn.recv(10, ns.MSG_WAITALL)):
            refused(errno.EBUSY, other)
        assert conn.recv(100, ns.MSG_PEEK) == b"0123456789"
        assert conn.ioctl(0x541B) == 10
        assert view == b"01234"
    assert conn.recv(100) == b"56789"


def test_urgent_data(connected, stack):
    client, conn = connected()
    client.sendall(b"before")
    client.send(b"!", ns.MSG_OOB)
    client.sendall(b"behind")
    until(lambda: tcb(stack, conn).rcv.tail - tcb(stack, conn).rcv.head == 13)
    with conn.recv_view() as view:
        assert view == b"before"
        assert conn.recv(1, ns.MSG_OOB) == b"!"
        assert not conn.sockatmark()
    assert conn.sockatmark()
    with conn.recv_view() as view:
        assert view == b"behind"
    assert not conn.sockatmark()
    conn.setsockopt(ns.SOL_SOCKET, ns.SO_OOBINLINE, 1)
    client.send(b"ab", ns.MSG_OOB)
    until(lambda: conn.ioctl(0x541B) == 2)
    for text in (b"a", b"b"):
        with conn.recv_view() as view:
            assert view == text
    assert rare(tcb(stack, conn)).urgent.mark == Mark.NONE          # it has been read
    with client.send_view(3, ns.MSG_OOB) as view:
        view[:] = b"xyz"
    until(lambda: conn.ioctl(0x541B) == 3)
    assert conn.recv(10) == b"xy"
    assert conn.sockatmark()
    assert conn.recv(10) == b"z"


def test_the_window_moves_when_the_block_ends(pair):
    with pair.b.create_server((pair.b4, 7)) as server, pair.a.create_connection((pair.b4, 7)) as client:
        conn, _ = server.accept()
        with conn:
            t = tcb(pair.b, conn)
            client.settimeout(1)                        # longer than an ACK is delayed, or a small segment
            sent = 0

            def fill():
                """Until nothing more has gone for a while."""
                nonlocal sent
                before = -1
                while sent > before:
                    before = sent
                    with pytest.raises(TimeoutError):
                        while True:
                            sent += client.send(bytes(5000))

            fill()
            edge = t.rcv_adv
            with conn.recv_view() as view:
                size = len(view)
                assert size > 10_000
                fill()
                assert t.rcv_adv == edge
            until(lambda: t.rcv_adv != edge)
            while size < sent:
                with conn.recv_view() as view:
                    size += len(view)


# ---- writing -------------------------------------------------------------------------

def test_as_much_is_sent_as_is_said(connected):
    client, conn = connected()
    room = client.send_view(10)
    with room as view:
        assert not view.readonly
        assert len(view) == 10
        view[:3] = b"abc"
        room.commit(3)
    with room as view:
        view[:] = b"0123456789"
    with room:
        room.commit(0)
    with room as view:
        room.commit(io.BytesIO(b"from a file").readinto(view))
    with pytest.raises(ValueError, match="released"):
        view[0] = 1
    client.shutdown(ns.SHUT_WR)
    assert conn.recv(100, ns.MSG_WAITALL) == b"abc0123456789from a fil"


def test_waiting_as_send_does(connected, spawn):
    client, conn = connected()
    client.setsockopt(ns.SOL_SOCKET, ns.SO_SNDBUF, 8192)
    conn.setsockopt(ns.SOL_SOCKET, ns.SO_RCVBUF, 8192)
    client.settimeout(0)
    sent = 0

    def fill():
        nonlocal sent
        while True:
            with client.send_view(1000) as view:
                view[:] = bytes(len(view))
                n = len(view)
            sent += n

    with pytest.raises(BlockingIOError):
        fill()
    client.settimeout(1)                                # longer than an ACK is delayed, or a small segment
    before = -1
    while sent > before:
        before = sent
        with pytest.raises(TimeoutError):
            fill()
    client.settimeout(None)
    with pytest.raises(BlockingIOError):
        enter(client.send_view(10, ns.MSG_DONTWAIT))

    def write():
        with client.send_view(1) as view:
            view[:] = b"x"

    writer = spawn(write)
    until(lambda: is_blocked(client))
    assert len(conn.recv(sent, ns.MSG_WAITALL)) == sent
    writer.result()
    assert conn.recv(10) == b"x"


def test_other_sends_meanwhile(connected):
    client, conn = connected()
    with client.send_view(3) as view:
        for other in (lambda: client.send(b"x"), lambda: client.sendall(b"x"), lambda: enter(client.send_view(1))):
            refused(errno.EBUSY, other)
        view[:] = b"abc"
        conn.sendall(b"the other way")
        assert client.recv(100) == b"the other way"
    client.sendall(b"def")
    assert conn.recv(6, ns.MSG_WAITALL) == b"abcdef"


def test_the_end_while_a_view_is_open(connected, stack):
    client, conn = connected()
    with pytest.raises(BrokenPipeError), client.send_view(3) as view:
        client.shutdown(ns.SHUT_WR)
        view[:] = b"abc"
    assert conn.recv(10) == b""
    room = client.send_view(3)
    with pytest.raises(BrokenPipeError):
        enter(room)
    with conn.send_view(3) as view:
        view[:] = b"abc"
    assert client.recv(10) == b"abc"
    client, conn = connected()
    with pytest.raises(ConnectionResetError), conn.send_view(3):
        client.setsockopt(ns.SOL_SOCKET, ns.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        until(lambda: tcb(stack, conn).state == State.CLOSED)


def test_time_wait_leaves_the_room_that_is_lent(connected, stack):
    client, conn = connected()
    t = tcb(stack, client)
    room = client.send_view(100)
    with pytest.raises(BrokenPipeError), room as view:
        client.shutdown(ns.SHUT_WR)
        conn.close()
        until(lambda: t.state == State.TIME_WAIT)
        assert t.state == State.TIME_WAIT
        assert t.snd.data != 0
        view[:] = bytes(100)
    assert t.snd.data == 0


def test_pressure_leaves_the_room_that_is_lent(connected, stack):
    client, conn = connected()
    t = tcb(stack, client)

    def relieve():
        with stack._guard():
            had = stack._tcp.memory.pressure
            stack._tcp.memory.pressure = 1
            receive.relieve_sender(stack._tcp, t)
            stack._tcp.memory.pressure = had

    with client.send_view(3) as view:
        relieve()
        assert t.snd.data != 0
        view[:] = b"abc"
    assert conn.recv(3) == b"abc"
    until(lambda: t.snd.head == t.snd.tail)
    relieve()
    assert t.snd.data == 0
    client.sendall(b"again")
    assert conn.recv(10) == b"again"


def test_records(connected, stack):
    """MSG_EOR and MSG_MORE, as of send."""
    for _ in range(5):                              # it is held for 200 ms, within which we may not have come to look
        client, conn = connected()
        with client.send_view(5, ns.MSG_MORE) as view:
            view[:] = b"01234"
        try:
            conn.recv(1, ns.MSG_DONTWAIT)
        except BlockingIOError:
            break
    else:
        pytest.fail("it was not held")
    with client.send_view(5, ns.MSG_EOR) as view:
        view[:] = b"56789"
    assert conn.recv(10, ns.MSG_WAITALL) == b"0123456789"
    refused(errno.EOPNOTSUPP, lambda: enter(client.send_view(5, ns.MSG_PEEK)))


def test_fast_open_connect(stack):
    with stack.create_server(("127.0.0.1", 0)) as server, stack.socket() as client:
        client.setsockopt(ns.IPPROTO_TCP, ns.TCP_FASTOPEN_CONNECT, 1)
        client.connect(server.getsockname())
        with client.send_view(5) as view:
            view[:] = b"first"
        conn, _ = server.accept()
        with conn:
            assert conn.recv(5) == b"first"


# ---- what cannot be viewed -----------------------------------------------------------

def test_sockets_that_have_no_stream(stack, connected):
    with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as udp:
        refused(errno.EOPNOTSUPP, lambda: enter(udp.recv_view()))
        refused(errno.EOPNOTSUPP, lambda: enter(udp.send_view(1)))
    with stack.create_server(("127.0.0.1", 0)) as server:
        refused(errno.ENOTCONN, lambda: enter(server.recv_view()))
        refused(errno.EPIPE, lambda: enter(server.send_view(1)))
    with stack.socket() as fresh:
        refused(errno.ENOTCONN, lambda: enter(fresh.recv_view()))
    client, _ = connected()
    views = client.recv_view(), client.send_view(1)
    client.close()
    for view in views:
        refused(errno.EBADF, lambda view=view: enter(view))


# ---- what is kept beyond the block ------------------------------------------------------

def test_a_part_that_is_kept(connected):
    client, conn = connected()
    client.sendall(b"0123456789")
    with pytest.raises(BufferError, match="still in use"), conn.recv_view() as view:
        part = view[2:5]
    assert part == b"234"
    refused(errno.EBUSY, lambda: conn.recv(1))          # the text stays where it is as long as the part lives
    del part
    assert conn.recv(100) == b"0123456789"

    client.sendall(b"0123456789")
    taking = conn.recv_view()
    with pytest.raises(BufferError), taking as view:
        taking.consume(4)
        part = memoryview(view)
    part.release()
    assert conn.recv(100) == b"456789"


def test_a_buffer_that_is_kept(connected):
    client, conn = connected()
    with pytest.raises(BufferError, match="still in use"), client.send_view(10) as view:
        kept = (ctypes.c_char * 10).from_buffer(view)
    refused(errno.EBUSY, lambda: client.send(b"x"))
    kept[:3] = b"abc"
    del kept, view
    client.sendall(b"def")
    assert conn.recv(100) == b"def"


def test_a_part_that_a_traceback_keeps(connected):
    """An error in the block is not hidden by another one."""
    client, conn = connected()
    client.sendall(b"0123456789")

    def parse():
        taking = conn.recv_view()
        with taking as view:
            part = view[2:]
            taking.consume(1)
            return 1 // part[-100]

    with pytest.raises(IndexError) as caught:
        parse()
    del caught
    assert stays_readable(conn) == b"123456789"


def stays_readable(conn):
    import gc

    gc.collect()
    return conn.recv(100)


def test_a_block_that_is_never_left(connected):
    client, conn = connected()
    client.sendall(b"0123456789")
    conn.recv_view().__enter__()
    assert conn.recv(100) == b"0123456789"
    client.send_view(10).__enter__()
    client.sendall(b"sent")
    assert conn.recv(100) == b"sent"


# ---- threads ------------------------------------------------------------------------------

def test_close_in_another_thread(connected, stack, spawn):
    """The text stays until the block ends, whatever becomes of the socket; then everything goes."""
    client, conn = connected()
    text = os.urandom(5000)
    client.sendall(text)
    until(lambda: conn.ioctl(0x541B) == 5000)
    t = tcb(stack, conn)
    index = conn._handle & handles.INDEX
    with conn.recv_view() as view:
        spawn(conn.close).result()
        assert t.ep.closed
        client.close()
        for _ in range(5):                              # others get the memory that is free
            a, b = connected()
            a.sendall(bytes(5000))
            b.recv(5000, ns.MSG_WAITALL)
            assert index not in (a._handle & handles.INDEX, b._handle & handles.INDEX)
        assert view == text
        assert t.rcv.data != 0
    until(lambda: t.ep.generation == 0)
    assert t.ep.generation == 0
    assert t.rcv.data == 0
    refused(errno.EBADF, lambda: enter(conn.recv_view()))


def test_close_while_a_thread_writes(connected, stack, spawn):
    client, conn = connected()
    t = tcb(stack, client)
    refusals = []

    def write():
        with client.send_view(1000) as view:
            opened.set()
            assert closed.wait(20)
            view[:] = bytes(len(view))

    def run():
        try:
            write()
        except OSError as error:
            refusals.append(error.errno)

    opened, closed = threading.Event(), threading.Event()
    writer = spawn(run)
    assert opened.wait(20)
    client.close()
    assert t.snd.data != 0
    closed.set()
    writer.result()
    assert refusals == [errno.EBADF]
    assert conn.recv(10) == b""
    conn.close()


def test_the_stack_ends_while_views_are_open():
    with netstack.Stack() as stack:
        with stack.create_server(("127.0.0.1", 0)) as server:
            client = stack.create_connection(server.getsockname())
            conn, _ = server.accept()
        client.sendall(b"0123456789")
        with pytest.raises(OSError, match="closed") as caught, client.send_view(3) as room, conn.recv_view() as view:
            stack.close()
            assert view == b"0123456789"
            room[:] = b"abc"
        assert caught.value.errno == errno.ESHUTDOWN
        refused(errno.ESHUTDOWN, lambda: enter(conn.recv_view()))
        client.close()
        conn.close()


def test_a_part_outlives_the_stack():
    with netstack.Stack() as stack:
        with stack.create_server(("127.0.0.1", 0)) as server:
            client = stack.create_connection(server.getsockname())
            conn, _ = server.accept()
        client.sendall(b"0123456789")
        with pytest.raises(BufferError), conn.recv_view() as view:
            part = view[5:]
        client.close()
        conn.close()
    del stack, server, client, conn, view
    assert stays(part) == b"56789"


def stays(part):
    import gc

    gc.collect()
    return bytes(part)


def test_two_readers_by_views(connected, spawn):
    """Each waits for its turn: EBUSY until the other has left its block."""
    client, conn = connected()
    turn = threading.Lock()
    got = []

    def read():
        while True:
            with turn, conn.recv_view(700) as view:
                if not view:
                    return
                got.append(bytes(view))

    readers = [spawn(read) for _ in range(3)]
    text = random.Random(5).randbytes(100_000)
    client.sendall(text)
    client.shutdown(ns.SHUT_WR)
    for reader in readers:
        reader.result()
    assert b"".join(got) == text


# ---- every way of reading and writing, mixed -------------------------------------------

READS = st.sampled_from(["recv", "recv_into", "peek", "view", "part", "none", "error"])
WRITES = st.sampled_from(["send", "view", "part", "error"])
SIZES = st.sampled_from([1, 3, 100, 1460, 5000, 20_000])


def _write(sock, how, text):
    """Write the beginning of a text: how much of it."""
    if how == "send":
        return sock.send(text)
    room = sock.send_view(len(text))
    try:
        with room as view:
            n = len(view)
            view[:] = text[:n]
            if how == "part":
                n = n // 2
                view[n:] = bytes(len(view) - n)
                room.commit(n)
            if how == "error":
                raise ZeroDivisionError
    except ZeroDivisionError:
        return 0
    return n


def _read(sock, how, size):
    """Read: what has come off the stream."""
    if how == "recv":
        return sock.recv(size)
    if how == "recv_into":
        buffer = bytearray(size)
        return bytes(buffer[:sock.recv_into(buffer)])
    if how == "peek":
        seen = sock.recv(size, ns.MSG_PEEK)
        assert sock.recv(len(seen)) == seen
        return seen
    taking = sock.recv_view(size)
    try:
        with taking as view:
            assert 0 < len(view) <= size
            n = len(view)
            if how == "part":
                n //= 2
                taking.consume(n)
            if how == "none":
                n = 0
                taking.consume(0)
            text = bytes(view[:n])
            if how == "error":
                text = b""
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    return text


@settings(max_examples=25 if JIT else 10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_the_stream_comes_once_and_in_order(connected, data):
    client, conn = connected()
    client.settimeout(0)
    conn.settimeout(0)
    written, got = bytearray(), bytearray()
    source = random.Random(len(written))
    for _ in range(data.draw(st.integers(1, 40))):
        if data.draw(st.booleans()):
            text = source.randbytes(data.draw(SIZES))
            with suppress(BlockingIOError):
                written += text[:_write(client, data.draw(WRITES), text)]
        else:
            with suppress(BlockingIOError):
                got += _read(conn, data.draw(READS), data.draw(SIZES))
    client.settimeout(20)
    conn.settimeout(20)
    while len(got) < len(written):
        got += _read(conn, "view", 1 << 20)
    assert got == written
    client.close()
    conn.close()


def test_across_the_rings_end(connected, spawn):
    """Much more than a ring holds: views end where it does, and nothing is lost there."""
    client, conn = connected()
    text = random.Random(9).randbytes(3_000_000 if JIT else 400_000)

    def write():
        at = 0
        while at < len(text):
            with client.send_view(min(7001, len(text) - at)) as view:
                view[:] = text[at:at + len(view)]
                at += len(view)
        client.shutdown(ns.SHUT_WR)

    writer = spawn(write)
    got = bytearray()
    taking = conn.recv_view()
    while True:
        with taking as view:
            if not view:
                break
            taken = max(len(view) * 2 // 3, 1)
            got += view[:taken]
            taking.consume(taken)
    writer.result()
    assert got == text


def test_on_a_virtual_clock(virtual_pair):
    pair = virtual_pair
    with pair.b.create_server((pair.b4, 7)) as server, pair.a.create_connection((pair.b4, 7)) as client:
        conn, _ = server.accept()
        with conn:
            client.settimeout(3)
            began = pair.clock.now
            with pytest.raises(TimeoutError):
                enter(client.recv_view())
            assert pair.clock.now - began == 3_000_000_000
            with client.send_view(5) as view:
                view[:] = b"hello"
            with conn.recv_view() as view:
                assert view == b"hello"


# ---- one copy ------------------------------------------------------------------------------

def test_recv_and_recv_into_are_filled_by_the_engine(connected, monkeypatch):
    """The engine is given the address of the very object that the application has: no copy is made on the way."""
    client, conn = connected()
    calls = []
    original = sockdata._recv
    monkeypatch.setattr(sockdata, "_recv", lambda *a: calls.append(a[2:4]) or original(*a))
    for flags in (0, ns.MSG_WAITALL):
        client.sendall(bytes(20_000))
        conn.recv(20_000, ns.MSG_PEEK | ns.MSG_WAITALL)
        until(lambda: conn.ioctl(0x541B) == 20_000)
        calls.clear()
        data = conn.recv(20_000, flags)
        assert calls == [(id(data) + BYTES, 20_000)]
    client.sendall(bytes(20_000))
    until(lambda: conn.ioctl(0x541B) == 20_000)
    calls.clear()
    buffer = memoryview(bytearray(30_000))
    assert conn.recv_into(buffer[5000:]) == 20_000
    assert calls == [(place(buffer) + 5000, 25_000)]


@pytest.mark.skipif(JIT or IMAGE, reason="counts calls of a function that is compiled into others")
def test_how_often_bytes_are_copied(connected, stack, monkeypatch, tmp_path):
    """Between the application and the rings: recv_into and send once, views never, sendfile never."""
    client, conn = connected()
    copied = []
    original = ring.copy
    monkeypatch.setattr(ring, "copy", lambda to, source, n: copied.append((to, source, n)) or original(to, source, n))

    def within(address, buffer, size):
        return place(buffer) <= address < place(buffer) + size

    buffer = bytearray(1000)
    with client.send_view(1000) as view:
        view[:] = bytes(1000)
        assert copied == []
    until(lambda: conn.ioctl(0x541B) == 1000)
    copied.clear()
    with conn.recv_view() as view:
        assert len(view) == 1000
    assert copied == []
    text = bytes(1000)
    client.send(text)
    assert [c[2] for c in copied if within(c[1], text, 1000)] == [1000]
    until(lambda: conn.ioctl(0x541B) == 1000)
    copied.clear()
    assert conn.recv_into(buffer) == 1000
    assert [(to, n) for to, _, n in copied] == [(place(buffer), 1000)]
    (tmp_path / "file").write_bytes(b"f" * 1000)
    copied.clear()
    with open(tmp_path / "file", "rb") as file:
        assert client.sendfile(file) == 1000
    r = tcb(stack, client).snd
    assert not any(0 <= to - ctypes.addressof(r) - r.data < r.size for to, _, _ in copied)
    assert conn.recv_into(buffer) == 1000
    assert buffer == b"f" * 1000


# ---- sendfile -------------------------------------------------------------------------------

@pytest.fixture
def file(tmp_path):
    """A file of 300,000 bytes, open for reading."""
    path = tmp_path / "file"
    path.write_bytes(random.Random(3).randbytes(300_000))
    with open(path, "rb") as opened:
        yield opened


def content(file):
    with open(file.name, "rb") as again:
        return again.read()


@pytest.mark.parametrize(("offset", "count"), [(0, None), (10, None), (0, 1), (299_999, 5), (10, 100_000),
                                               (0, 1_000_000), (300_000, None), (400_000, 10)])
@pytest.mark.parametrize("kind", ["file", "mapped", "pipe-like"])
def test_sendfile(connected, spawn, file, kind, offset, count):
    client, conn = connected()
    text = content(file)
    wanted = text[offset:None if count is None else offset + count]
    source = file
    if kind == "mapped":
        if offset > len(text):
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, pytest.raises(ValueError):
                client.sendfile(mapped, offset, count)      # its seek says so
            return
        source = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    elif kind == "pipe-like":
        source = io.BytesIO(text)
    sent = spawn(lambda: client.sendfile(source, offset, count))
    if wanted:
        assert conn.recv(len(wanted), ns.MSG_WAITALL) == wanted
    assert sent.result() == len(wanted)
    if wanted:
        assert source.tell() == offset + len(wanted)
    if kind == "mapped":
        source.close()


def test_sendfile_refuses_what_socket_sendfile_refuses(stack, connected, file):
    client, _ = connected()
    with open(file.name, encoding="latin-1") as text, pytest.raises(ValueError, match="binary mode"):
        client.sendfile(text)
    for count in (0, -1):
        with pytest.raises(ValueError, match="positive integer"):
            client.sendfile(file, count=count)
    with pytest.raises(TypeError, match="positive integer"):
        client.sendfile(file, count=1.5)
    client.settimeout(0)
    with pytest.raises(ValueError, match="non-blocking"):
        client.sendfile(file)
    with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as udp, pytest.raises(ValueError, match="SOCK_STREAM"):
        udp.sendfile(file)


def test_sendfile_begins_at_the_offset_wherever_the_file_stands(connected, spawn, file):
    """As the standard library's with sendfile(2)."""
    client, conn = connected()
    file.seek(200_000)
    sent = spawn(lambda: client.sendfile(file, count=1000))
    assert conn.recv(1000, ns.MSG_WAITALL) == content(file)[:1000]
    assert sent.result() == 1000


def test_sendfile_with_a_timeout(connected, file):
    client, _ = connected()
    client.setsockopt(ns.SOL_SOCKET, ns.SO_SNDBUF, 8192)
    client.settimeout(0.01)
    with pytest.raises(TimeoutError):
        client.sendfile(file, 5)
    assert 5 < file.tell() < 300_000                    # where it would go on


def test_sendfile_needs_no_room_to_see_the_end(connected, file, stack):
    """The send buffer is just full when the file ends: done."""
    client, conn = connected()
    client.setsockopt(ns.SOL_SOCKET, ns.SO_SNDBUF, 4096)
    conn.setsockopt(ns.SOL_SOCKET, ns.SO_RCVBUF, 4096)
    client.settimeout(0)
    with pytest.raises(BlockingIOError):
        while True:
            client.send(bytes(1000))
    room = 10
    conn.recv(2000)
    until(lambda: tcb(stack, client).snd.head > 0)
    client.settimeout(60)
    assert client.sendfile(file, 300_000 - room) == room
