"""Handlers: functions of the application's that the engine calls, on a link with a scripted peer (docs/handlers.md)."""
from __future__ import annotations

import errno
import logging
import socket as real

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

import netstack.machine as machine
from netstack.errors import Drop
from netstack.handlers import (
    MS,
    Event,
    Exchange,
    abort,
    byte_at,
    close,
    compiled,
    consume,
    end,
    find,
    number_at,
    send_back,
    send_datagram,
    send_decimal,
    send_number,
    send_text,
    wake,
)
from netstack.machine.mode import JIT
from netstack.services import handlers as services
from netstack.tcp import tcb

from .link import ACK, FIN, PSH, RST, SYN, Link, State

HUGE = 1 << 62


def listens(link, handler, text=b"", backlog=16):
    """A listener whose connections are a handler's."""
    link.listen(backlog=backlog)
    link.server.set_handler(handler, text=text)
    return link.server


def connects(link, port=None, wnd=65535):
    """The peer connects."""
    link.peer_port = port or link.peer_port
    link.peer_sends(SYN, seq=100, mss=1460, wnd=wnd)
    link.expect(SYN | ACK, ack=101)
    link.peer_sends(ACK, ack=1)


def opened(link, handler, text=b"", **how):
    listens(link, handler, text)
    connects(link, **how)


def counters(link, name):
    return link.stack.handlers()[name]


class Spy:
    """A handler in plain Python that remembers what it was shown, and does what an inner one does."""

    def __init__(self, inner=None):
        self.events = []
        self.inner = inner
        self.__name__ = "spy"

    def __call__(self, x):
        self.events.append((Event(x.event).name, x.length))
        if x.event == Event.CLOSED:
            self.error = x.error
        if self.inner is not None:
            self.inner(x)

    def names(self):
        return [name for name, _ in self.events]


# ---- connections

def test_echo(each_link):
    """The answer leaves in the turn in which the text came, and carries its ACK."""
    link = each_link
    opened(link, services.echo)
    link.peer_sends(data=b"hello")
    link.expect(seq=1, ack=106, data=b"hello")
    link.peer_sends(data=b"again")
    link.expect(seq=6, ack=111, data=b"again")
    link.peer_sends(FIN | ACK)
    link.expect(FIN | ACK, seq=11, ack=112)
    link.peer_sends(ACK)
    assert link.state() == State.CLOSED
    count = counters(link, "echo")
    assert (count["opened"], count["open"], count["bytes_in"], count["bytes_out"]) == (1, 0, 10, 10)
    assert (count["clamped"], count["errors"]) == (0, 0)


def test_connections_never_reach_accept(link):
    opened(link, services.discard)
    with pytest.raises(BlockingIOError):
        link.server.accept()
    link.peer_sends(data=b"x")
    assert counters(link, "discard")["bytes_in"] == 1


def test_more_connections_than_the_backlog(link):
    """Nobody has to accept them: the accept queue stays empty."""
    listens(link, services.echo, backlog=1)
    for port in range(40001, 40007):
        connects(link, port)
        link.peer_sends(data=b"x")
        link.expect(data=b"x", port=port)
    assert counters(link, "echo")["open"] == 6
    assert link.drops(Drop.TCP_ACCEPT_QUEUE) == 0


def test_fin_with_text(link):
    """Text, its end, and the end of it all, in this order; the connection then ends by itself."""
    spy = Spy(services.echo)
    opened(link, spy)
    link.peer_sends(FIN | ACK, data=b"all of it")
    link.expect(FIN | ACK, seq=1, ack=111, data=b"all of it")
    assert spy.events == [("OPENED", 0), ("DATA", 9), ("ENDED", 0), ("CLOSED", 0)]
    assert spy.error == 0
    link.peer_sends(ACK)
    assert link.state() == State.CLOSED


def test_what_is_not_consumed_comes_again(link):
    """A handler that takes lines: half of one waits for the other half."""
    spy = Spy(services.respond)
    opened(link, spy, text=b"OK\n")
    link.peer_sends(data=b"one\nhalf")
    link.expect(data=b"OK\n")
    link.peer_sends(data=b" of it\n")
    link.expect(data=b"OK\n")
    assert [e for e in spy.events if e[0] == "DATA"] == [("DATA", 8), ("DATA", 11)]
    assert counters(link, "spy")["bytes_in"] == 15
    link.peer_sends(FIN | ACK, data=b"no line")                 # nothing more can come: it is over
    link.expect(FIN | ACK)


def test_many_lines_at_once(link):
    opened(link, services.respond, text=b"yes ")
    link.peer_sends(data=b"a\nb\n\n")
    link.expect(data=b"yes yes yes ")


def test_no_room(link):
    """A peer that takes nothing: what there is no room for stays, its window shuts; then all comes."""
    spy = Spy(services.echo)
    listens(link, spy)
    link.server.setsockopt(real.SOL_SOCKET, real.SO_SNDBUF, 4096)
    link.server.setsockopt(real.SOL_SOCKET, real.SO_RCVBUF, 8192)
    connects(link, wnd=0)
    data = bytes(range(256)) * 400
    got = bytearray()
    sent = 0
    while True:                                                 # as much as our window takes
        link.peer_sends(data=data[sent:sent + 1024])
        sent += 1024
        link.advance(0.05)
        shut = False
        while link.queue:
            seg = link.queue.popleft()
            link._note(seg)
            shut = link.window(seg) < 1024
            got += seg.data                                     # a window probe has a byte
        if shut:
            break
        assert sent < len(data)
    t = link.tcp_tcbs()[0]
    assert tcb.handled(link.tcp, t).blocked == 1
    assert link.talk().sent < sent
    calls = len(spy.events)
    link.peer_sends(data=b"")                                   # nothing has changed: it is not called again
    assert len(spy.events) <= calls + 1
    link.peer_sends(ACK, wnd=65535)
    for _ in range(200):
        if len(got) >= sent - 1024:
            break
        link.advance(0.3)
        while link.queue:
            seg = link.queue.popleft()
            link._note(seg)
            if seg.data and seg.seq == 1 + len(got):
                got += seg.data
        link.peer_sends(ACK)
    assert bytes(got) == data[:len(got)]
    assert len(got) >= sent - 1024
    assert t.ep.handler != 0


def test_room_event(link):
    """Chargen has nothing to look at: it is told that there is room."""
    spy = Spy(services.chargen)
    opened(link, spy, text=services.PATTERN)
    got = bytearray()
    for _ in range(12):
        while link.queue:
            seg = link.queue.popleft()
            link._note(seg)
            if seg.data and seg.seq == 1 + len(got):
                got += seg.data
        link.peer_sends(ACK)
    assert bytes(got) == (services.PATTERN * (len(got) // len(services.PATTERN) + 1))[:len(got)]
    assert len(got) > len(services.PATTERN)
    assert "ROOM" in spy.names()
    link.peer_sends(FIN | ACK)
    assert spy.names()[-2:] == ["ENDED", "CLOSED"]


@compiled
def one_answer(x: Exchange) -> None:
    """A number of bytes it has had, and the end of our side."""
    x.a += consume(x, x.length)
    if x.event == Event.DATA and x.b == 0:
        x.b = 1
        send_decimal(x, x.a)
        end(x)


def test_half_close(link):
    """end: our FIN goes out, and what the peer sends is still taken."""
    opened(link, one_answer)
    link.peer_sends(data=b"0123456789")
    link.expect(FIN | ACK, seq=1, ack=111, data=b"10")
    link.peer_sends(ACK)
    assert link.state() == State.FIN_WAIT_2
    link.peer_sends(data=b"more")
    link.expect(ACK, ack=115, after=0.04)
    assert counters(link, "one_answer")["bytes_in"] == 14
    link.peer_sends(FIN | ACK)
    link.expect(ACK, ack=116)
    assert link.state() == State.TIME_WAIT
    assert counters(link, "one_answer")["open"] == 0


@compiled
def polite(x: Exchange) -> None:
    """Takes everything and closes."""
    if x.event == Event.DATA:
        consume(x, x.length)
        send_text(x, 0, x.text_length)
        close(x)


@compiled
def rude(x: Exchange) -> None:
    """Takes nothing and closes."""
    if x.event == Event.DATA:
        close(x)


@compiled
def angry(x: Exchange) -> None:
    """Resets."""
    if x.event == Event.DATA:
        send_back(x, 0, x.length)
        abort(x)


def test_close(link):
    opened(link, polite, text=b"bye")
    link.peer_sends(data=b"x")
    link.expect(FIN | ACK, seq=1, ack=102, data=b"bye")
    link.peer_sends(FIN | ACK)
    link.expect(ACK, ack=103)
    assert link.state() == State.TIME_WAIT


def test_close_with_text_that_was_not_consumed(link):
    """As close(2), RFC 2525 2.17: the peer is told that it is lost."""
    opened(link, rude)
    link.peer_sends(data=b"x")
    link.expect(RST | ACK)
    assert link.state() == State.CLOSED


def test_abort(link):
    opened(link, angry)
    link.peer_sends(data=b"x")
    link.expect(RST | ACK)
    assert counters(link, "angry")["open"] == 0


def test_reset_by_the_peer(link):
    spy = Spy()
    opened(link, spy)
    link.peer_sends(data=b"never consumed")
    link.peer_sends(RST)
    assert spy.names() == ["OPENED", "DATA", "CLOSED"]
    assert spy.error == errno.ECONNRESET
    assert link.state() == State.CLOSED
    assert not link.tcp_tcbs()                                  # and all memory has come back
    assert link.world.net.arena.live == 0


@compiled
def clock(x: Exchange) -> None:
    """Says something every 10 ms, three times."""
    if x.event == Event.OPENED:
        wake(x, x.now + 10 * MS)
    elif x.event == Event.TIMER:
        x.a += 1
        send_number(x, x.a, 1)
        if x.a < 3:
            wake(x, x.now + 10 * MS)


def test_timer(link):
    opened(link, clock)
    link.expect(data=b"\1", after=0.010)
    link.peer_sends(ACK)
    link.expect(data=b"\2", after=0.010)
    link.peer_sends(FIN | ACK)                                  # a clock is running: not over yet
    link.expect(ACK)
    link.advance(0.011)
    link.expect(FIN | ACK, data=b"\3")


def test_syn_cookies(make_link):
    link = make_link(tcp_syncookies=2)
    opened(link, services.echo)
    link.peer_sends(data=b"hello")
    link.expect(data=b"hello")


def test_fast_open(make_link):
    """The text of a SYN (RFC 7413) is answered before the handshake is over."""
    link = make_link(tcp_fastopen=0x602)                        # server, without a cookie
    listens(link, services.echo)
    link.peer_sends(SYN, seq=100, mss=1460, data=b"early")
    link.expect(SYN | ACK, ack=106)
    link.expect(seq=1, data=b"early")
    link.peer_sends(ACK)


# ---- a client's side

def test_client(link):
    """A handler set before connect hears of the handshake; the socket is still the application's."""
    sock = link.socket()
    sock.set_handler(services.ping, text=b"ping")
    assert sock.connect_ex((link.theirs, 40000)) == errno.EINPROGRESS
    link.port = sock.getsockname()[1]
    link.expect(SYN)
    link.peer_sends(SYN | ACK, seq=500, ack=1, mss=1460)
    link.expect(ack=501, data=b"ping")                          # the ACK of the SYN has text already
    for _ in range(3):
        link.peer_sends(data=b"ping")
        link.expect(data=b"ping")
    for call in (lambda: sock.recv(1), lambda: sock.send(b"x")):
        with pytest.raises(OSError, match="busy") as caught:
            call()
        assert caught.value.errno == errno.EBUSY
    sock.set_handler(None)
    link.peer_sends(data=b"pong")
    assert sock.recv(10) == b"pong"
    assert counters(link, "ping")["open"] == 0


def test_client_that_is_refused(link):
    spy = Spy()
    sock = link.socket()
    sock.set_handler(spy)
    sock.connect_ex((link.theirs, 40000))
    link.port = sock.getsockname()[1]
    link.expect(SYN)
    link.peer_sends(RST | ACK, seq=0, ack=1)
    assert spy.names() == ["CLOSED"]
    assert spy.error == errno.ECONNREFUSED
    assert sock.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.ECONNREFUSED


def test_client_that_closes(link):
    """close in a handler: our side ends; the application's socket has no handler then, and hears of the end."""
    conn = link.established()
    conn.set_handler(polite, text=b"bye")
    link.peer_sends(data=b"x")
    link.expect(FIN | ACK, data=b"bye")
    link.peer_sends(FIN | ACK)
    link.expect(ACK)
    assert conn.recv(10) == b""


def test_the_application_closes(link):
    spy = Spy()
    conn = link.established()
    conn.set_handler(spy)
    conn.close()
    link.expect(FIN | ACK)
    assert spy.names() == ["OPENED", "CLOSED"]


def test_a_handler_for_a_connection_that_has_text(link):
    conn = link.established()
    link.peer_sends(data=b"early")
    conn.set_handler(services.echo)
    link.expect(data=b"early")


def test_not_while_the_application_is_in_the_rings(link):
    """recv_view and a handler cannot both have what has come."""
    conn = link.established()
    link.peer_sends(data=b"mine")
    with conn.recv_view() as view:
        assert bytes(view) == b"mine"
        with pytest.raises(OSError, match="busy"):
            conn.set_handler(services.discard)
    conn.set_handler(services.discard)
    for lend in (conn.recv_view, lambda: conn.send_view(10)):
        with pytest.raises(OSError, match="busy"), lend():
            pass


# ---- coming and going

def test_taken_from_a_listener(link):
    """Those that have it keep it; the next one is accepted."""
    opened(link, services.echo)
    link.server.set_handler(None)
    link.peer_sends(data=b"old")
    link.expect(data=b"old")
    connects(link, 40005)
    conn = link.accept()
    link.peer_sends(data=b"new")
    assert conn.recv(10) == b"new"
    link.peer_sends(data=b"still", port=40000)
    link.advance(0.05)
    assert counters(link, "echo")["bytes_in"] == 8


def test_given_to_a_listener_whose_connections_wait(link):
    link.listen()
    for port in (40001, 40002):
        connects(link, port)
        link.peer_sends(data=b"waits")
        link.expect(ACK, ack=106, port=port)
    link.server.set_handler(services.discard)
    assert counters(link, "discard") | {"calls": 0} == {
        "calls": 0, "opened": 2, "open": 2, "bytes_in": 10, "bytes_out": 0, "datagrams_in": 0, "datagrams_out": 0,
        "unsent": 0, "clamped": 0, "errors": 0}
    with pytest.raises(BlockingIOError):
        link.server.accept()


def test_exchanged(link):
    """Another handler: it hears of the connection as of a new one."""
    conn = link.established()
    conn.set_handler(services.discard)
    link.peer_sends(data=b"gone")
    conn.set_handler(services.echo)
    link.advance(0.05)
    link.queue.clear()
    link.peer_sends(data=b"back")
    link.expect(data=b"back")
    assert (counters(link, "discard")["open"], counters(link, "echo")["open"]) == (0, 1)


def test_the_listener_is_closed(link):
    """Nobody else has its handler's connections: they are closed as by close(2)."""
    listens(link, spy := Spy(services.echo))
    connects(link, 40001)
    connects(link, 40002)
    link.peer_sends(data=b"answered")
    link.server.close()
    link.expect(data=b"answered", port=40002)
    ends = {link.expect(FIN | ACK).dport for _ in range(2)}
    assert ends == {40001, 40002}
    assert spy.names().count("CLOSED") == 2
    assert {link.state(port) for port in ends} == {State.FIN_WAIT_1}


def test_the_stack_is_closed():
    """Nothing is called any more, and nothing hangs."""
    spy = Spy(services.echo)
    link = Link()
    opened(link, spy)
    link.peer_sends(data=b"x")
    before = len(spy.events)
    link.stack.close()
    assert len(spy.events) == before
    with pytest.raises(OSError, match="closed"):
        link.server.set_handler(None)
    link.life.close()


def test_one_function_in_many_places(link):
    """Its counters are one; with another text it is another one."""
    socks = [link.socket() for _ in range(100)]
    for sock in socks:
        sock.set_handler(services.echo)
    socks[0].set_handler(services.echo, text=b"a")
    assert set(link.stack.handlers()) == {"echo", "echo#2"}
    socks[0].close()


def test_table_of_handlers(link):
    """63 of them; the place of one that no socket has any more is free."""
    sock = [link.socket() for _ in range(64)]
    for i in range(63):
        sock[i].set_handler(services.echo, text=b"%d" % i)
    with pytest.raises(ValueError, match="63 different handlers"):
        sock[63].set_handler(services.echo, text=b"63")
    sock[5].set_handler(None)
    sock[63].set_handler(services.echo, text=b"63")


def test_what_cannot_have_one(link):
    with link.stack.socket(real.AF_INET, real.SOCK_DGRAM, real.IPPROTO_ICMP) as sock:
        with pytest.raises(OSError, match="only TCP and UDP") as caught:
            sock.set_handler(services.echo)
        assert caught.value.errno == errno.EOPNOTSUPP
    sock = link.socket()
    with pytest.raises(TypeError, match="a function of an Exchange"):
        sock.set_handler(5)
    sock.close()
    with pytest.raises(OSError, match="Bad file"):
        sock.set_handler(services.echo)


# ---- those that misbehave

@compiled
def greedy(x: Exchange) -> None:
    """Every argument is nonsense."""
    send_back(x, -1, 5)
    send_back(x, 0, HUGE)
    send_back(x, HUGE, 1)
    send_back(x, 0, -HUGE)
    send_text(x, 1, 100)
    send_text(x, -1, 1)
    send_number(x, 1, 9)
    send_decimal(x, -1)
    consume(x, -1)
    consume(x, HUGE)
    x.a += byte_at(x, -1) + byte_at(x, HUGE) + byte_at(x, x.length)
    x.a += number_at(x, HUGE, 4) + number_at(x, 0, 99) + number_at(x, x.length - 1, 2) + find(x, 300, -HUGE)
    wake(x, -HUGE)
    send_datagram(x)
    x.peer_hi = HUGE
    x.peer_scope = HUGE


def test_arguments_are_cut(link):
    """What is there is sent and consumed once, the rest is counted."""
    opened(link, greedy, text=b"Text")
    link.expect(data=b"ext")                                    # OPENED: nothing but the text is there
    before = counters(link, "greedy")["clamped"]
    assert before == 10
    link.peer_sends(data=b"abc")
    link.expect(data=b"abcext")
    count = counters(link, "greedy")
    assert count["clamped"] == 2 * before
    assert count["bytes_in"] == 3
    assert count["errors"] == 0


def test_an_error_resets_the_connection(link, caplog):
    """... that one only; it is counted and logged."""
    def broken(x):
        if x.event == Event.DATA and byte_at(x, 0) == ord("b"):
            send_back(x, 0, x.length)
            raise RuntimeError("no idea")

    listens(link, broken)
    connects(link, 40001)
    connects(link, 40002)
    with caplog.at_level(logging.ERROR):
        link.peer_sends(data=b"bad")
    link.expect(RST | ACK, port=40002)
    assert any("broken failed" in r.getMessage() for r in caplog.records)
    count = counters(link, "broken")
    assert (count["errors"], count["open"]) == (1, 1)
    link.peer_port = 40001
    link.peer_sends(data=b"good")
    assert counters(link, "broken")["errors"] == 1


@compiled
def failing(x: Exchange) -> None:
    """An exception in compiled code."""
    if x.event == Event.DATA:
        raise ValueError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_error_in_compiled_code(link):
    """numba writes it to stderr."""
    opened(link, failing)
    link.peer_sends(data=b"x")
    link.expect(RST | ACK)
    assert counters(link, "failing")["errors"] == 1


def test_fields_that_are_not_for_it(link):
    """A plain function may write them all: the stack does not read them."""
    def forger(x):
        x.length = x.room = HUGE
        assert consume(x, x.length) <= 3
        send_back(x, 0, 3)

    opened(link, forger)
    link.peer_sends(data=b"abc")
    link.expect(data=b"abc")


@compiled
def helper(x: Exchange) -> None:
    """Called by `indirect`."""
    machine.store32(x.now, 1)


@compiled
def indirect(x: Exchange) -> None:
    """Writes anywhere, through a function."""
    helper(x)


@compiled
def writer(x: Exchange) -> None:
    """Writes a field that is not for it."""
    x.length = 5


@compiled
def reader(x: Exchange) -> None:
    """Reads memory."""
    x.a = machine.load32(x.now)


@compiled
def caller(x: Exchange) -> None:
    """Calls the engine."""
    tcb.get(x, 1)


NUMBERS = [1, 2]


@compiled
def changer(x: Exchange) -> None:
    """Changes what is outside."""
    NUMBERS[0] = 1


@pytest.mark.parametrize(("handler", "what"), [
    (indirect, "handler helper may touch its exchange only: it uses store32"),
    (writer, "it writes the field length; it may write a, b"),
    (reader, "it uses load32"),
    (caller, "it calls get of the engine"),
    (changer, "it uses NUMBERS"),
], ids=lambda p: getattr(p, "__name__", ""))
def test_checked_for_what_it_may_touch(link, handler, what):
    with pytest.raises(TypeError, match="may touch its exchange only") as caught:
        link.socket().set_handler(handler)
    assert what.split()[-1] in str(caught.value)
    assert not link.stack.handlers()


# ---- no memory

def test_no_memory_to_answer(link):
    """It is called again when there is some."""
    opened(link, services.echo)
    arena = link.world.net.arena
    limit, arena.limit = arena.limit, arena.live + 2048         # for the receive ring
    link.tcp_tcbs()[0].rcv.size = 2048
    link.peer_sends(data=b"hello")
    link.advance(0.05)
    link.expect(ACK, ack=106)
    arena.limit = limit
    link.advance(0.02)
    link.expect(data=b"hello")


# ---- datagrams

def udp(link, handler, port=7, text=b""):
    sock = link.life.enter_context(link.stack.socket(real.AF_INET, real.SOCK_DGRAM))
    sock.setblocking(False)
    sock.bind(("", port))
    sock.set_handler(handler, text=text)
    return sock


def datagram(link, data, sport=5000, dport=7):
    link.inject(bytes(IP(src=link.theirs, dst=link.ours) / UDP(sport=sport, dport=dport) / Raw(data)))


def leaves(link):
    packet = IP(link.expect_packet())
    return packet.dst, packet[UDP].dport, bytes(packet[UDP].payload)


def test_datagrams(link):
    sock = udp(link, services.echo)
    for data in (b"hello", b"", bytes(1000)):
        datagram(link, data)
        assert leaves(link) == (link.theirs, 5000, data)
    datagram(link, b"for ever", sport=services.ECHO)
    assert not link.others
    assert counters(link, "echo") == {
        "calls": 5, "opened": 1, "open": 1, "bytes_in": 1013, "bytes_out": 1005, "datagrams_in": 4, "datagrams_out": 3,
        "unsent": 0, "clamped": 0, "errors": 0}
    with pytest.raises(OSError, match="busy"):
        sock.recv(10)
    sock.set_handler(None)
    datagram(link, b"for you")
    assert sock.recv(10) == b"for you"


@compiled
def spread(x: Exchange) -> None:
    """Two datagrams to the peer, one to the next port; what is over is too large."""
    if x.event == Event.DATAGRAM:
        send_number(x, 0x4142, 2)
        x.a = max(x.a, send_datagram(x))
        send_back(x, 1, x.length - 1)
        send_datagram(x)
        x.peer_port += 1
        send_decimal(x, x.a)
        send_decimal(x, 1_000_000_007)


def test_several_answers(link):
    udp(link, spread)
    datagram(link, b"xyz")
    assert [leaves(link) for _ in range(3)] == [
        (link.theirs, 5000, b"AB"), (link.theirs, 5000, b"yz"), (link.theirs, 5001, b"21000000007")]


@compiled
def large(x: Exchange) -> None:
    """More than a datagram holds; and one to nowhere."""
    if x.event == Event.DATAGRAM:
        for _ in range(17):
            send_text(x, 0, x.text_length)
        x.a = send_number(x, 1, 8)
        x.peer_port = 0


def test_too_large_and_nowhere(link):
    udp(link, large, text=bytes(4000))
    datagram(link, b"x")
    assert not link.others
    count = counters(link, "large")
    assert (count["unsent"], count["datagrams_out"], count["clamped"], count["errors"]) == (1, 0, 1, 0)


def test_an_error_forgets_the_datagram(link, caplog):
    def broken(x):
        send_back(x, 0, x.length)
        if x.event == Event.DATAGRAM and byte_at(x, 0) == 0:
            raise RuntimeError("no idea")

    udp(link, broken)
    datagram(link, b"\0")
    datagram(link, b"\1")
    assert leaves(link)[2] == b"\1"
    assert counters(link, "broken")["errors"] == 1


def test_a_udp_socket_that_is_closed(link):
    spy = Spy()
    sock = udp(link, spy)
    datagram(link, b"abc")
    sock.close()
    assert spy.events == [("OPENED", 0), ("DATAGRAM", 3), ("CLOSED", 0)]
    assert counters(link, "spy")["open"] == 0


def test_a_queue_that_waits(link):
    """Datagrams that came before the handler are its own."""
    sock = link.life.enter_context(link.stack.socket(real.AF_INET, real.SOCK_DGRAM))
    sock.bind(("", 7))
    datagram(link, b"early")
    sock.set_handler(services.echo)
    link._collect()
    assert leaves(link)[2] == b"early"


# ---- both ways

@compiled
def tally(x: Exchange) -> None:
    """Something of everything: sums, numbers, lines, a clock."""
    x.a += x.event
    x.b = x.b * 31 + x.length
    x.c += number_at(x, 0, min(x.length, 7))
    at = find(x, 10, 0)
    if at >= 0:
        send_back(x, 0, at + 1)
        send_number(x, x.b, 8)
        send_decimal(x, x.c & 0xFFFF)
        consume(x, at + 1)
        wake(x, x.now + 5 * MS)
    if x.event == Event.TIMER:
        send_text(x, x.a % 3, 3)


def plain_tally(x):
    """The same in plain Python."""
    getattr(tally, "py_func", tally)(x)


def story(handler):
    """What the stack sends, and what the handler remembers."""
    link = Link()
    try:
        opened(link, handler, text=b"texts")
        sent = []
        for data in (b"a\n", b"half ", b"line\nand", b"\n" * 3, b"x" * 1400, b"\n"):
            link.peer_sends(data=data)
            link.advance(0.006)
            while link.queue:
                seg = link.queue.popleft()
                link._note(seg)
                sent.append((seg.seq, seg.data))
            link.peer_sends(ACK)
        own = tcb.handled(link.tcp, link.tcp_tcbs()[0])
        remembered = [getattr(own, name) for name in "abcdefgh"]
        [count] = link.stack.handlers().values()
        return sent, remembered, count
    finally:
        link.close()


def test_both_ways_do_the_same():
    """Interpreted they are one; compiled, machine code and a callback into Python."""
    one, two = story(tally), story(plain_tally)
    assert one == two
    assert len(one[0]) > 5
    assert JIT or tally is not plain_tally


def test_push(link):
    """An answer ends with PSH, as after send(2)."""
    opened(link, services.echo)
    link.peer_sends(data=b"hello")
    link.expect(ACK | PSH, data=b"hello")
