"""Stack.selector(): the methods of selectors.BaseSelector, without descriptors."""
from __future__ import annotations

import errno
import selectors
import threading
import time

import pytest

import netstack
import netstack.socket as ns

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@pytest.fixture
def selector(stack):
    with stack.selector() as made:
        yield made


def events(selector, timeout: float | None = 0) -> list[tuple[object, int]]:
    return sorted(((key.data, what) for key, what in selector.select(timeout)), key=str)


def settled(selector, wanted: list[tuple[object, int]]) -> bool:
    """Events are as wanted, after the background thread has had its turns."""
    deadline = time.monotonic() + 60
    while (now := events(selector, 0.01)) != wanted:
        assert time.monotonic() < deadline, now
    return True


def test_a_stream_from_beginning_to_end(stack, selector, life):
    server = life.enter_context(stack.create_server(("127.0.0.1", 0)))
    selector.register(server, READ, "server")
    assert events(selector) == []
    client = life.enter_context(stack.create_connection(server.getsockname()))
    assert settled(selector, [("server", READ)])
    conn = life.enter_context(server.accept()[0])
    assert settled(selector, [])
    selector.register(conn, READ | WRITE, "conn")
    assert settled(selector, [("conn", WRITE)])
    client.sendall(b"ab")
    assert settled(selector, [("conn", READ | WRITE)])
    assert conn.recv(1) == b"a"
    assert settled(selector, [("conn", READ | WRITE)])          # level-triggered: there is more
    selector.modify(conn, READ, "conn")
    assert conn.recv(1) == b"b"
    assert settled(selector, [])
    client.close()
    assert settled(selector, [("conn", READ)])
    assert conn.recv(1) == b""
    selector.unregister(conn)
    assert settled(selector, [])


def test_nothing_for_a_descriptor(stack, selector, life):
    a = life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM))
    a.bind(("127.0.0.1", 0))
    selector.register(a, READ, "a")
    life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM)).sendto(b"x", a.getsockname())
    assert events(selector, 5) == [("a", READ)]
    assert repr(a).startswith("<netstack.socket.socket fd=lazy")        # none was made


def test_a_thread_that_waits_wakes(stack, selector, life):
    a = life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM))
    a.bind(("127.0.0.1", 0))
    selector.register(a, READ, "a")
    b = life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM))
    timer = threading.Timer(0.1, b.sendto, (b"x", a.getsockname()))
    timer.start()
    started = time.monotonic()
    assert events(selector, 200) == [("a", READ)]
    assert time.monotonic() - started < 100
    timer.join()


def test_wakeup(stack, selector):
    timer = threading.Timer(0.05, selector.wakeup)
    timer.start()
    started = time.monotonic()
    assert selector.select(200) == []
    assert time.monotonic() - started < 100
    timer.join()
    selector.wakeup()                       # nobody waits: the next call returns at once
    assert selector.select(10) == []
    assert selector.select(0) == []


def test_wakeup_is_not_lost_beside_events(stack, selector, life):
    a = life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM))
    selector.register(a, WRITE, "a")
    selector.wakeup()
    assert events(selector, 10) == [("a", WRITE)]
    selector.unregister(a)
    assert selector.select(10) == []


def test_the_timeout(selector):
    started = time.monotonic()
    assert selector.select(0.05) == []
    assert 0.04 < time.monotonic() - started < 60
    assert selector.select(-1) == []


def test_more_than_one_call_tells_of(stack, selector, life, monkeypatch):
    """All have their turn, however few fit into one answer."""
    monkeypatch.setattr("netstack.selector.ROOM", 2)
    socks = [life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM)) for _ in range(5)]
    for i, s in enumerate(socks):
        selector.register(s, WRITE, i)
    seen = [data for _ in range(5) for data, _ in events(selector, 0)]
    assert len(seen) == 10 and sorted(seen) == sorted([*range(5)] * 2)


def test_what_is_refused(stack, selector, life):
    s = life.enter_context(stack.socket())
    with pytest.raises(ValueError, match="Invalid events"):
        selector.register(s, 0)
    with pytest.raises(ValueError, match="Invalid events"):
        selector.register(s, 4)
    with pytest.raises(ValueError, match="not an open socket"):
        selector.register(0, READ)
    with pytest.raises(KeyError):
        selector.unregister(s)
    with pytest.raises(KeyError):
        selector.modify(s, READ)
    key = selector.register(s, READ, "data")
    with pytest.raises(KeyError):
        selector.register(s, READ)
    with pytest.raises(ValueError, match="Invalid events"):
        selector.modify(s, 0)
    assert selector.get_key(s) == key == selector.get_map()[s]
    assert len(selector.get_map()) == 1 and list(selector.get_map().values()) == [key]
    with stack.selector() as other, pytest.raises(OSError, match="another selector") as e:
        other.register(s, READ)
    assert e.value.errno == errno.EBUSY
    with netstack.Stack() as elsewhere, elsewhere.socket() as far, pytest.raises(ValueError, match="of this stack"):
        selector.register(far, READ)


def test_another_selector_once_it_is_free(stack, selector, life):
    s = life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM))
    with stack.selector() as first:
        first.register(s, WRITE)
        assert len(first.select(0)) == 1
    selector.register(s, WRITE, "now")
    assert events(selector) == [("now", WRITE)]


def test_closed_while_it_is_watched(stack, selector, life):
    s = stack.socket(ns.AF_INET, ns.SOCK_DGRAM)
    t = life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM))
    selector.register(s, WRITE, "s")
    selector.register(t, WRITE, "t")
    assert events(selector) == [("s", WRITE), ("t", WRITE)]
    s.close()
    assert events(selector) == [("t", WRITE)]
    for _ in range(20):                     # its entry in the table is used again
        with stack.socket(ns.AF_INET, ns.SOCK_DGRAM):
            assert events(selector) == [("t", WRITE)]
    selector.unregister(s)
    assert len(selector.get_map()) == 1


def test_a_closed_stack():
    stack = netstack.Stack()
    selector = stack.selector()
    threading.Timer(0.05, stack.close).start()
    with pytest.raises(OSError) as e:
        selector.select()
    assert e.value.errno == errno.ESHUTDOWN
    with pytest.raises(OSError) as e:
        selector.wakeup()
    assert e.value.errno == errno.ESHUTDOWN
    selector.close()


def test_a_selector_is_no_connection(stack, selector):
    assert stack.connections() == []


def test_on_a_virtual_clock():
    clock = netstack.VirtualClock(seed=1)
    with (netstack.Stack(clock=clock) as stack, stack.selector() as selector,
          stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as s, stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as t):
        s.bind(("127.0.0.1", 7))
        selector.register(s, READ, "s")
        before = clock.time()
        assert selector.select(30) == []
        assert clock.time() - before == pytest.approx(30)
        t.sendto(b"x", ("127.0.0.1", 7))
        assert events(selector, 30) == [("s", READ)]
        selector.wakeup()
        s.recv(1)
        assert selector.select(0) == []
