"""TCP Fast Open: RFC 7413, net.ipv4.tcp_fastopen, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, MSG_FASTOPEN."""
from __future__ import annotations

import errno

import pytest

from netstack import socket as names
from netstack.errors import Drop
from netstack.tcp import fastopen, fastopen_client
from netstack.tcp.tcb import listening

from .link import ACK, FIN, PEER_PORT, PORT, RST, SYN, State

COOKIE = bytes.fromhex("0102030405060708")
OTHER = bytes.fromhex("1112131415161718")
TCP = names.IPPROTO_TCP
KEY = "net.ipv4.tcp_fastopen_key"


def count(link, name):
    return link.counter(f"fast_open_{name}")


# ---- client ------------------------------------------------------------------

def sendto(link, data, port=PEER_PORT, sock=None):
    """sendto with MSG_FASTOPEN on a new socket: (socket, how many bytes or -errno)."""
    sock = sock or link.socket()
    try:
        result = sock.sendto(data, names.MSG_FASTOPEN, (link.theirs, port))
    except OSError as error:
        result = -error.errno
    link.port, link.peer_port = sock.getsockname()[1], port
    return sock, result


def answer(link, ack=1, fo=None, **fields):
    fields = {"mss": 1460, "sack_ok": True, **fields}
    return link.peer_sends(SYN | ACK, seq=500, ack=ack, fo=fo, **fields)


def know(link, cookie=COOKIE, **fields):
    """A first connection, which brings the cookie, and is over."""
    sock, result = sendto(link, b"first", port=39999)
    assert result == -errno.EINPROGRESS
    link.expect(SYN, fo=b"")
    answer(link, fo=cookie, **fields)
    link.expect(ACK)
    link.peer_sends(RST, seq=501)
    sock.close()


@pytest.fixture(params=[4, 6])
def client(request, make_link):
    """A client that has a cookie."""
    link = make_link(version=request.param, tcp_timestamps=0)
    know(link)
    return link


@pytest.mark.parametrize("version", [4, 6])
def test_client_asks_for_a_cookie_and_uses_it(make_link, version):
    """(3.1, 3.2) figure by figure."""
    link = make_link(version=version)
    sock, result = sendto(link, b"GET /")
    assert result == -errno.EINPROGRESS                 # nothing is taken: there is no cookie yet
    link.expect(SYN, fo=b"", fo_exp=False)
    answer(link, fo=COOKIE)
    link.expect(ACK, seq=1, ack=501)
    assert sock.send(b"GET /") == 5
    link.expect(ACK, data=b"GET /")
    sock, result = sendto(link, b"GET /again", port=40002)
    assert result == 10
    got = link.expect(SYN, fo=COOKIE, data=b"GET /again")
    assert got.mss and got.sack_ok and got.ts and got.wscale is not None
    answer(link, ack=11)
    link.expect(ACK, seq=11, ack=501)
    assert link.state() == State.ESTABLISHED
    t = link.tcb(sock)
    assert (t.snd_una, t.snd_nxt, t.snd_max) == ((t.iss + 11) & 0xFFFF_FFFF,) * 3
    assert t.queue.head == t.snd.tail - t.snd.head == 0 and t.fast.text_acked
    sock.send(b"more")
    link.expect(ACK, seq=11, data=b"more")
    assert (count(link, "active"), count(link, "active_fail")) == (1, 0)


def test_text_is_limited_to_the_servers_mss(make_link):
    """(4.1.3) The MSS is remembered with the cookie; 40 bytes are for options."""
    link = make_link()
    know(link, mss=1000)
    sock, result = sendto(link, bytes(5000))
    assert result == 960
    link.expect(SYN, size=960)
    answer(link, ack=961, mss=1000)
    link.expect(ACK, seq=961)
    assert sock.send(bytes(500)) == 500
    link.expect(ACK, seq=961, size=500)


def test_server_takes_only_the_syn(client):
    """(4.2.1) "If the server has only acknowledged the SYN, the client MUST retransmit the data": at once."""
    sock, result = sendto(client, b"question")
    assert result == 8
    client.expect(SYN, fo=COOKIE, data=b"question")
    answer(client, ack=1, fo=OTHER)
    client.expect(ACK, seq=1, ack=501, data=b"question")
    client.expect_silence()
    assert count(client, "active_fail") == 1 and client.counter("retrans_segs") == 1
    client.peer_sends(ACK, ack=9)
    client.expect_silence(5)
    t = client.tcb(sock)
    assert t.queue.head == 0 and t.cc.ca_state == 0 and t.fast.failed
    sendto(client, b"x", port=40003)
    client.expect(SYN, fo=OTHER, data=b"x")             # the new cookie


def test_server_takes_a_part(client):
    sendto(client, b"question")
    client.expect(SYN, data=b"question")
    answer(client, ack=5)
    client.expect(ACK, seq=5, ack=501, data=b"tion")
    client.peer_sends(ACK, ack=9)
    client.expect_silence(5)


def test_syn_is_sent_again_without_text_or_cookie(client):
    """(4.1.3.1, 4.2.1) A middlebox may drop SYNs with text."""
    sock, _ = sendto(client, b"question")
    client.expect(SYN, fo=COOKIE, data=b"question")
    client.expect(SYN, fo=None, after=1)
    answer(client, ack=1)
    client.expect(ACK, seq=1, data=b"question")
    assert client.tcb(sock).rto.syn_again
    assert count(client, "active_fail") == 1


def test_answer_to_the_first_syn_may_come_late(client):
    sendto(client, b"question")
    client.expect(SYN, data=b"question")
    client.expect(SYN, after=1)
    answer(client, ack=9)
    client.expect(ACK, seq=9)
    client.expect_silence(5)
    assert count(client, "active") == 1


def test_lost_syns_with_text_are_not_repeated(client):
    """(4.1.3.1) Two in a row without a cookie in the answer: Fast Open rests, 4 minutes to begin with."""
    for port in (41000, 41001):
        sendto(client, b"question", port)
        client.expect(SYN, data=b"question")
        client.expect(SYN, after=1)
        answer(client)
        client.expect(ACK, data=b"question")
        client.peer_sends(RST, seq=501)
    _sock, result = sendto(client, b"question", 41002)
    assert result == -errno.EINPROGRESS
    client.expect(SYN, fo=None)
    client.peer_sends(RST | ACK, seq=0, ack=1)
    client.advance(240)
    sendto(client, b"question", 41003)
    client.expect(SYN, fo=COOKIE, data=b"question")


def test_refused(client):
    sock, _result = sendto(client, b"question")
    client.expect(SYN, data=b"question")
    client.peer_sends(RST | ACK, seq=0, ack=9)
    with pytest.raises(ConnectionRefusedError):
        sock.send(b"x")


def test_answer_with_text(client):
    """The server's answer may come in its SYN-ACK."""
    sock, _ = sendto(client, b"question")
    client.expect(SYN, data=b"question")
    answer(client, ack=9, data=b"answer")
    client.expect(ACK, seq=9, ack=507)
    assert sock.recv(100) == b"answer"


@pytest.mark.parametrize("taken", [False, True])
def test_crossing_syns(client, taken):
    """Simultaneous open: text in a SYN that crosses ours is not taken, as on Linux; the peer may do so."""
    sendto(client, b"question")
    client.expect(SYN, data=b"question")
    client.peer_sends(SYN, seq=500, mss=1460, data=b"theirs")
    client.expect(SYN | ACK, seq=0, ack=501, fo=None)
    client.peer_sends(SYN | ACK, seq=500, ack=9 if taken else 1)
    if not taken:
        client.expect(ACK, seq=1, data=b"question")
        client.peer_sends(ACK, ack=9)
    client.expect_silence(5)
    assert client.state() == State.ESTABLISHED
    assert (count(client, "active"), count(client, "active_fail")) == ((1, 0) if taken else (0, 1))


def test_path_is_too_small(make_link):
    """A router says so: the SYN again, at once, without text."""
    link = make_link(tcp_timestamps=0)
    know(link)
    sendto(link, bytes(2000))
    got = link.expect(SYN, size=1420)
    link.advance(0.1)
    link.icmp(3, 4, got, mtu=800)
    link.expect(SYN, fo=None)
    answer(link)
    for at, size in ((1, 760), (761, 660)):
        link.expect(ACK, seq=at, size=size)
    assert link.counter("timeouts") == 0


def test_server_without_fast_open(make_link):
    """(4.1.3.1) No answer to the option: the other kind, once; then this one again."""
    link = make_link()
    for port, experimental in ((41000, False), (41001, True), (41002, False)):
        sendto(link, b"question", port)
        link.expect(SYN, fo=b"", fo_exp=experimental)
        answer(link)
        link.expect(ACK)


def test_experimental_option(make_link):
    link = make_link()
    sendto(link, b"question", 41000)
    link.expect(SYN, fo=b"")
    answer(link, fo=COOKIE, fo_exp=True)
    link.expect(ACK)
    sendto(link, b"question", 41001)
    link.expect(SYN, fo=COOKIE, fo_exp=True, data=b"question")


@pytest.mark.parametrize("cookie", [bytes(2), bytes(5), bytes(18)])
def test_cookie_of_a_wrong_length(make_link, cookie):
    link = make_link(tcp_timestamps=0)
    know(link, cookie)
    sendto(link, b"question")
    link.expect(SYN, fo=b"", fo_exp=True)


@pytest.mark.parametrize("length", [4, 6, 10, 16])
def test_cookies_of_other_lengths(make_link, length):
    link = make_link(tcp_timestamps=0)
    know(link, COOKIE * 2 if length == 16 else bytes(length))
    sendto(link, b"question")
    link.expect(SYN, fo=COOKIE * 2 if length == 16 else bytes(length), data=b"question")


def test_unasked_cookie(make_link):
    link = make_link()
    link.connect()
    link.expect(SYN, fo=None)
    answer(link, fo=COOKIE)
    link.expect(ACK)
    sendto(link, b"question", 41001)
    link.expect(SYN, fo=b"")


def test_connect_that_waits(client):
    """TCP_FASTOPEN_CONNECT: connect is done at once; the first text goes with the SYN."""
    sock = client.socket()
    sock.setsockopt(TCP, names.TCP_FASTOPEN_CONNECT, 1)
    sock.connect((client.theirs, PEER_PORT))
    client.expect_silence(10)
    assert client.stack.select([], [sock], [], 0)[1] == [sock]
    with pytest.raises(BlockingIOError):
        sock.recv(10)
    assert sock.connect_ex((client.theirs, PEER_PORT)) == errno.EISCONN
    client.port, client.peer_port = sock.getsockname()[1], PEER_PORT
    sock.sendall(b"question")
    client.expect(SYN, fo=COOKIE, data=b"question")
    with pytest.raises(BlockingIOError):
        sock.send(b"too early")
    assert client.stack.select([], [sock], [], 0)[1] == []
    answer(client, ack=9)
    client.expect(ACK, seq=9)
    sock.send(b"more")
    client.expect(ACK, seq=9, data=b"more")


def test_connect_that_waits_has_no_cookie(make_link):
    link = make_link()
    link.connect(TCP_FASTOPEN_CONNECT=1)
    link.expect(SYN, fo=b"")


def test_connect_that_waits_and_is_closed(client):
    sock = client.socket()
    sock.setsockopt(TCP, names.TCP_FASTOPEN_CONNECT, 1)
    sock.connect((client.theirs, PEER_PORT))
    sock.close()
    client.expect_silence(10)


def test_timeout_of_sendto(client):
    """A socket that blocks waits for the handshake, as on Linux."""
    sock = client.socket()
    sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        sock.sendto(b"question", names.MSG_FASTOPEN, (client.theirs, PEER_PORT))


@pytest.mark.parametrize("how", ["sendto", "connect"])
@pytest.mark.parametrize("size", [1, 1300, 10_000])
def test_two_stacks(virtual_pair, life, how, size):
    """Sockets that block: the first connection gets the cookie, the others use it."""
    for stack in (virtual_pair.a, virtual_pair.b):
        stack.settings["net.ipv4.tcp_fastopen"] = 3
    server = life.enter_context(virtual_pair.b.create_server(("", 7)))
    server.setsockopt(TCP, names.TCP_FASTOPEN, 5)
    text = bytes(range(250)) * 40
    for _ in range(3):
        sock = life.enter_context(virtual_pair.a.socket())
        if how == "sendto":
            assert sock.sendto(text[:size], names.MSG_FASTOPEN, (virtual_pair.b4, 7)) == size
        else:
            sock.setsockopt(TCP, names.TCP_FASTOPEN_CONNECT, 1)
            sock.connect((virtual_pair.b4, 7))
            sock.sendall(text[:size])
        sock.shutdown(names.SHUT_WR)
        conn = life.enter_context(server.accept()[0])
        assert b"".join(iter(lambda: conn.recv(4096), b"")) == text[:size]      # noqa: B023
    stats = virtual_pair.a.stats()
    assert (stats["tcp.fast_open_active"], stats["tcp.fast_open_active_fail"]) == (2, 0)
    assert virtual_pair.b.stats()["tcp.fast_open_passive"] == 2
    assert stats["tcp.retrans_segs"] == 0


@pytest.mark.parametrize("how", ["setting", "option"])
def test_client_without_cookie(make_link, how):
    link = make_link(tcp_fastopen=5 if how == "setting" else 1)
    sock = link.socket()
    if how == "option":
        sock.setsockopt(TCP, names.TCP_FASTOPEN_NO_COOKIE, 1)
    _, result = sendto(link, b"question", sock=sock)
    assert result == 8
    link.expect(SYN, fo=None, data=b"question")


def test_switched_off(make_link):
    link = make_link(tcp_fastopen=0)
    assert sendto(link, b"x")[1] == -errno.EOPNOTSUPP
    with pytest.raises(OSError) as caught:
        link.socket().setsockopt(TCP, names.TCP_FASTOPEN_CONNECT, 1)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_errors_of_sendto(client):
    sock, _ = sendto(client, b"question")
    client.expect(SYN, data=b"question")
    assert sendto(client, b"x", sock=sock)[1] == -errno.EALREADY
    answer(client, ack=9)
    client.expect(ACK)
    assert sendto(client, b"x", sock=sock)[1] == 1      # open: the flag means nothing any more, as on Linux
    client.expect(ACK, data=b"x")


def test_flag_after_a_deferred_connect(client):
    """MSG_FASTOPEN after connect with TCP_FASTOPEN_CONNECT: the text goes with the SYN."""
    sock = client.socket()
    sock.setsockopt(TCP, names.TCP_FASTOPEN_CONNECT, 1)
    sock.connect((client.theirs, PEER_PORT))
    assert sendto(client, b"question", sock=sock)[1] == 8
    client.expect(SYN, fo=COOKIE, data=b"question")


def test_failure_in_tcp_info(make_link):
    """tcpi_fastopen_client_fail: no cookie, text not acknowledged, SYN sent again."""
    link = make_link(tcp_timestamps=0)
    sock, _ = sendto(link, b"first", port=39999)
    link.expect(SYN, fo=b"")
    assert sock.info()["fastopen_client_fail"] == fastopen.Failure.NO_COOKIE
    answer(link, fo=COOKIE)
    link.expect(ACK)
    for port, failure in ((41000, fastopen.Failure.NOT_ACKED), (41001, fastopen.Failure.REPEATED)):
        sock, _ = sendto(link, b"question", port=port)
        link.expect(SYN, data=b"question")
        assert sock.info()["fastopen_client_fail"] == fastopen.Failure.NONE
        if failure == fastopen.Failure.REPEATED:
            link.expect(SYN, after=1)
        answer(link, ack=1)
        link.expect(ACK, data=b"question")
        link.peer_sends(ACK, ack=9)
        assert sock.info()["fastopen_client_fail"] == failure


def test_cookie_that_was_not_asked_for_is_not_kept(make_link):
    """As Linux: in the mode without cookies (4) none is learned."""
    link = make_link(tcp_fastopen=5, tcp_timestamps=0)
    sendto(link, b"question", port=39999)
    link.expect(SYN, fo=None, data=b"question")
    answer(link, ack=9, fo=COOKIE)
    link.expect(ACK)
    link.stack.settings["net.ipv4.tcp_fastopen"] = 1
    assert sendto(link, b"question", port=40002)[1] == -errno.EINPROGRESS
    link.expect(SYN, fo=b"")


def test_answer_to_another_syn_is_reset(make_link):
    """A SYN-ACK that echoes a timestamp we never sent (as Linux); the right one is taken still."""
    link = make_link()
    sendto(link, b"question")
    syn = link.expect(SYN)
    answer(link, ts=(1000, (syn.ts[0] + 9999) & 0xFFFF_FFFF))
    link.expect(RST, seq=1)
    answer(link, ts=(1000, syn.ts[0]))
    link.expect(ACK)
    assert link.state() == State.ESTABLISHED


def test_writer_that_waits_carries_the_ack(make_link):
    """As Linux: the rest of a blocking send acknowledges the SYN-ACK; alone, the ACK comes after its delay."""
    link = make_link(tcp_timestamps=0)
    sock, _ = sendto(link, b"question")
    link.expect(SYN, fo=b"")
    link.tcb(sock).fast.more = 1
    answer(link, fo=COOKIE)
    sock.send(b"question")
    link.expect(ACK, seq=1, ack=501, data=b"question")


@pytest.mark.parametrize(("option", "value", "error"), [
    ("TCP_FASTOPEN", -1, errno.EINVAL), ("TCP_FASTOPEN_CONNECT", 2, errno.EINVAL),
    ("TCP_FASTOPEN_NO_COOKIE", 2, errno.EINVAL)])
def test_options(link, option, value, error):
    sock = link.socket()
    with pytest.raises(OSError) as caught:
        sock.setsockopt(TCP, getattr(names, option), value)
    assert caught.value.errno == error
    sock.setsockopt(TCP, getattr(names, option), 1)
    assert sock.getsockopt(TCP, getattr(names, option)) == 1


def test_black_hole(make_link):
    """(7.1) A path that swallows everything after a Fast Open: clients do without it for a while, then for longer."""
    link = make_link(tcp_fastopen_blackhole_timeout_sec=100, tcp_timestamps=0)
    know(link)
    for pause in (100, 200):
        sock, result = sendto(link, b"question")
        assert result == 8
        link.drain()
        link.advance(8)                                 # the third timeout
        link.drain()
        assert sendto(link, b"x", 41001)[1] == -errno.EINPROGRESS
        assert link.drain()[-1].fo is None
        link.advance(pause)
        link.drain()
        sock.close()
        link.peer_port = PEER_PORT
    assert count(link, "blackhole") == 2


def test_memory_is_bounded(make_link):
    link = make_link()
    m = link.tcp.fast
    for i in range(fastopen_client.ENTRIES + 10):
        fastopen_client.learn(m, fastopen_client._place(m, 0, 1, 0, 1000 + i), 1460, 0, 0, 0, 100 + i)
    found = [fastopen_client.find(m, 0, 1, 0, 1000 + i) >= 0 for i in range(fastopen_client.ENTRIES + 10)]
    assert found == [False] * 10 + [True] * fastopen_client.ENTRIES    # who was not asked for longest has gone
    assert fastopen_client.find(m, 0, 2, 0, 1073) == -1                # a cookie is for one address of ours


# ---- server ------------------------------------------------------------------

def serve(make_link, limit=16, fastopen=2, **settings):
    link = make_link(tcp_fastopen=fastopen, **settings)
    link.listen()
    link.server.setsockopt(TCP, names.TCP_FASTOPEN, limit)
    return link


def cookie_of(link, **fields):
    """Ask for the cookie, as its own connection."""
    link.peer_sends(SYN, seq=100, mss=1460, fo=b"", port=39999, **fields)
    got = link.expect(SYN | ACK, port=39999)
    link.peer_sends(RST, seq=101, port=39999)
    return got.fo


@pytest.mark.parametrize("version", [4, 6])
def test_server_gives_a_cookie_and_takes_text(make_link, version):
    """(3.2) The application reads and answers before the handshake is over."""
    link = serve(make_link, version=version)
    cookie = cookie_of(link)
    assert len(cookie) == 8
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question")
    link.expect(SYN | ACK, seq=0, ack=109, fo=None)
    conn = link.accept()
    assert link.state() == State.SYN_RECEIVED
    assert conn.recv(100) == b"question"
    conn.send(b"answer")
    link.expect(ACK, seq=1, ack=109, data=b"answer")
    link.peer_sends(ACK, ack=7)
    assert link.state() == State.ESTABLISHED
    t = link.tcb(conn)
    assert t.queue.head == 0 and t.snd.head == t.snd.tail
    link.peer_sends(ACK, data=b"next")
    assert conn.recv(100) == b"next"
    assert count(link, "passive") == 1 and count(link, "cookie_reqd") == 1
    assert listening(link.tcb(link.server)).fast.count == 0


def test_cookie_is_linuxs(make_link):
    """The values of published scripts for this key."""
    link = serve(make_link)
    link.stack.settings[KEY] = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"
    key = link.tcp.settings.tcp_fastopen_key
    client, server = 0xFFFF_C000_0201, 0xFFFF_C0A8_0001         # 192.0.2.1 to 192.168.0.1
    assert fastopen.cookie(key, 0, client, 0, server, True) == 0x3021_B9D8_8901_7EEB
    link.stack.settings[KEY] = "0-0-0-0"
    assert fastopen.cookie(key, 0, client, 0, server, True) & ((1 << 64) - 1) == 0xB7C1_2350_A90D_C8F5


def test_fin_behind_a_syn_with_text_is_acknowledged_at_once(make_link):
    """As Linux: the text of the SYN is none that acknowledgments are measured by."""
    link = serve(make_link)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question")
    link.expect(SYN | ACK, ack=109)
    link.peer_sends(FIN | ACK, ack=1)
    link.expect(ACK, seq=1, ack=110)


@pytest.mark.parametrize("version", [4, 6])
def test_key_of_a_listener(make_link, version):
    """TCP_FASTOPEN_KEY: its cookies instead of the stack's; the second key's are good, and are renewed."""
    link = serve(make_link, version=version)
    first, second = bytes(range(16)), bytes(range(16, 32))
    stack_key = link.server.getsockopt(TCP, names.TCP_FASTOPEN_KEY, 64)
    assert len(stack_key) == 16
    others = cookie_of(link)
    for wrong in (b"", bytes(3), bytes(17), bytes(48)):
        with pytest.raises(OSError) as caught:
            link.server.setsockopt(TCP, names.TCP_FASTOPEN_KEY, wrong)
        assert caught.value.errno == errno.EINVAL
    link.server.setsockopt(TCP, names.TCP_FASTOPEN_KEY, first)
    assert link.server.getsockopt(TCP, names.TCP_FASTOPEN_KEY, 64) == first
    cookie = cookie_of(link)
    assert cookie != others
    link.peer_sends(SYN, seq=100, mss=1460, fo=others, data=b"question", port=41000)
    link.expect(SYN | ACK, ack=101, fo=cookie, port=41000)
    link.server.setsockopt(TCP, names.TCP_FASTOPEN_KEY, second + first)
    assert link.server.getsockopt(TCP, names.TCP_FASTOPEN_KEY, 64) == second + first
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question", port=41001)
    got = link.expect(SYN | ACK, ack=109, port=41001)
    assert got.fo not in (cookie, others, b"", None)
    link.server.setsockopt(TCP, names.TCP_FASTOPEN_KEY, stack_key)
    assert cookie_of(link) == others


@pytest.mark.parametrize("version", [4, 6])
def test_cookies_differ(make_link, version):
    link = serve(make_link, version=version)
    mine = cookie_of(link)
    assert mine == cookie_of(link)
    key = link.tcp.settings.tcp_fastopen_key
    assert len({fastopen.cookie(key, 0, client, 0, 5, version == 4) for client in range(100)}) == 100


def test_wrong_cookie(make_link):
    """(4.2.2) It gets a good one, and its text is not taken."""
    link = serve(make_link)
    good = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=COOKIE, data=b"question")
    got = link.expect(SYN | ACK, ack=101)
    assert got.fo == good
    link.peer_sends(ACK, seq=101, ack=1, data=b"question")
    assert link.accept().recv(100) == b"question"
    assert count(link, "passive_fail") == 1


def test_experimental_option_is_answered_in_kind(make_link):
    link = serve(make_link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=b"", fo_exp=True)
    got = link.expect(SYN | ACK, fo_exp=True)
    assert len(got.fo) == 8


def test_key_before_the_last_is_good_too(make_link):
    """(4.1.2) Keys change; a cookie made with the old one is taken, and a new one given."""
    link = serve(make_link)
    link.stack.settings[KEY] = "1-2-3-4"
    old = cookie_of(link)
    link.stack.settings[KEY] = "5-6-7-8,1-2-3-4"
    assert link.stack.settings[KEY] == "00000005-00000006-00000007-00000008,00000001-00000002-00000003-00000004"
    link.peer_sends(SYN, seq=100, mss=1460, fo=old, data=b"question")
    got = link.expect(SYN | ACK, ack=109)
    assert got.fo not in (None, old) and len(got.fo) == 8
    assert count(link, "passive_alt_key") == 1
    link.stack.settings[KEY] = "5-6-7-8"
    link.peer_sends(SYN, seq=100, mss=1460, fo=old, data=b"question", port=40002)
    link.expect(SYN | ACK, ack=101, fo=got.fo)
    for wrong in ("", "1-2-3", "1-2-3-4,5", "x-2-3-4", "1-2-3-4,1-2-3-4,1-2-3-4", "123456789-0-0-0"):
        with pytest.raises(ValueError):
            link.stack.settings[KEY] = wrong


@pytest.mark.parametrize(("bits", "limit", "gives"), [(2, 0, False), (1, 16, False), (2, 16, True), (0x402, 0, True)])
def test_who_gives_cookies(make_link, bits, limit, gives):
    link = make_link(tcp_fastopen=bits)
    link.listen()
    if limit:
        link.server.setsockopt(TCP, names.TCP_FASTOPEN, limit)
    assert (cookie_of(link) is not None) == gives


@pytest.mark.parametrize("how", ["setting", "option"])
def test_server_without_cookies(make_link, how):
    link = make_link(tcp_fastopen=0x202 if how == "setting" else 2)
    link.listen()
    link.server.setsockopt(TCP, names.TCP_FASTOPEN, 16)
    if how == "option":
        link.server.setsockopt(TCP, names.TCP_FASTOPEN_NO_COOKIE, 1)
    link.peer_sends(SYN, seq=100, mss=1460, data=b"question")
    link.expect(SYN | ACK, ack=109, fo=None)
    assert link.accept().recv(100) == b"question"


def test_text_without_cookie_is_not_taken(make_link):
    link = serve(make_link)
    link.peer_sends(SYN, seq=100, mss=1460, data=b"question")
    link.expect(SYN | ACK, ack=101, fo=None)


def test_limit_of_pending(make_link):
    """(5.1) PendingFastOpenRequests: beyond the limit there is no Fast Open."""
    link = serve(make_link, limit=2)
    cookie = cookie_of(link)
    for port, ack in ((40001, 109), (40002, 109), (40003, 101)):
        link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question", port=port)
        link.expect(SYN | ACK, ack=ack, fo=None)
    assert count(link, "listen_overflow") == 1
    link.peer_sends(ACK, ack=1, seq=109, port=40001)                # one handshake is over
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question", port=40004)
    link.expect(SYN | ACK, ack=109)


def test_reset_ones_count_for_a_while(make_link):
    """(5.1) Else an attacker would have a spoofed host's resets make room for the next spoofed SYN."""
    link = serve(make_link, limit=1)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question")
    link.expect(SYN | ACK, ack=109)
    link.peer_sends(RST, seq=109)
    assert link.state() == State.CLOSED
    conn = link.accept()                                            # the application gets it all the same, as on Linux
    assert conn.recv(100) == b"question"
    with pytest.raises(ConnectionResetError):
        conn.recv(100)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question", port=40002)
    link.expect(SYN | ACK, ack=101)
    link.advance(130)
    link.drain()
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question", port=40003)
    link.expect(SYN | ACK, ack=109)


def test_syn_ack_is_sent_again_alone(make_link):
    """What was answered waits for the handshake, then it is sent again at once (as Linux)."""
    link = serve(make_link)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question")
    link.expect(SYN | ACK, ack=109)
    conn = link.accept()
    conn.send(b"answer")
    link.expect(ACK, data=b"answer")
    link.expect(SYN | ACK, ack=109, after=1)
    link.expect(SYN | ACK, ack=109, after=2)
    link.peer_sends(ACK, ack=1, seq=109)
    link.expect(ACK, seq=1, data=b"answer")
    link.peer_sends(ACK, ack=7)
    link.expect_silence(5)


def test_client_sends_its_syn_again(make_link):
    """Without text: our SYN-ACK was lost, and is sent again."""
    link = serve(make_link)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question")
    link.expect(SYN | ACK, ack=109)
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK, ack=109)
    link.peer_sends(ACK, seq=109, ack=1)
    conn = link.accept()
    assert conn.recv(100) == b"question"
    assert link.state() == State.ESTABLISHED


def test_handshake_never_ends(make_link):
    link = serve(make_link, tcp_synack_retries=2)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question")
    link.expect(SYN | ACK)
    conn = link.accept()
    conn.send(b"answer")
    link.expect(ACK, data=b"answer")
    for wait in (1, 2, 4):
        link.expect(SYN | ACK, after=wait)
    link.expect_silence(60)
    assert conn.recv(100) == b"question"
    with pytest.raises(TimeoutError):
        conn.recv(100)
    assert listening(link.tcb(link.server)).fast.count == 0


def test_answered_and_closed_before_the_handshake_is_over(make_link):
    """The FIN follows the answer, and the ACK of all three ends the handshake."""
    link = serve(make_link)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question")
    link.expect(SYN | ACK, ack=109)
    with link.accept() as conn:
        conn.recv(100)
        conn.send(b"answer")
    link.expect(ACK, seq=1, data=b"answer")
    link.expect(FIN | ACK, seq=7)
    link.peer_sends(ACK, ack=8, seq=109)
    assert link.state() == State.FIN_WAIT_2
    link.peer_sends(FIN | ACK, seq=109)
    link.expect(ACK, ack=110)
    assert link.state() == State.TIME_WAIT


def test_closed_unread(make_link):
    link = serve(make_link)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question")
    link.expect(SYN | ACK, ack=109)
    link.accept().close()
    link.expect(RST | ACK, seq=1, ack=109)
    assert listening(link.tcb(link.server)).fast.count == 0


def test_listener_goes(make_link):
    link = serve(make_link)
    cookie = cookie_of(link)
    for port in (40001, 40002):
        link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question", port=port)
        link.expect(SYN | ACK, ack=109)
    conn = link.accept()
    link.server.close()
    link.expect(RST | ACK, seq=1, ack=109, port=40002)              # nobody will accept it
    link.peer_sends(ACK, seq=109, ack=1, port=40001)
    assert link.state(40001) == State.ESTABLISHED
    assert conn.recv(100) == b"question"


def test_no_fast_open_in_a_flood(make_link):
    """The SYN queue is full: the SYN is answered with a SYN cookie, and its text is not taken."""
    link = serve(make_link, tcp_max_syn_backlog=1)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, port=40001)
    link.expect(SYN | ACK)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question", port=40002)
    link.expect(SYN | ACK, ack=101, fo=None)
    assert link.counter("syncookies_sent") == 1
    link.peer_sends(ACK, seq=101, ack=1, data=b"question", port=40002)
    assert link.accept().recv(100) == b"question"


def test_accept_queue_is_full(make_link):
    link = make_link(tcp_fastopen=2)
    link.listen(backlog=0)
    link.server.setsockopt(TCP, names.TCP_FASTOPEN, 16)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question", port=40001)
    link.expect(SYN | ACK, ack=109)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question", port=40002)
    link.expect_silence()
    assert link.drops(Drop.TCP_ACCEPT_QUEUE) == 1
    link.peer_sends(ACK, seq=109, ack=1, port=40001)                # has its place in the queue already
    assert link.state(40001) == State.ESTABLISHED


def test_full_text_and_window(make_link):
    """The SYN-ACK offers what is left of the buffer."""
    link = make_link(tcp_fastopen=2)
    link.listen(SO_RCVBUF=4096)                                     # doubled, and half of that is window
    link.server.setsockopt(TCP, names.TCP_FASTOPEN, 16)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=bytes(1420))
    got = link.expect(SYN | ACK, ack=1521)
    assert 0 < link.window(got) <= 4096 - 1420
    assert len(link.accept().recv(5000)) == 1420


def test_timestamps(make_link):
    """The third segment's timestamp is taken: the SYN's text was acknowledged before it."""
    link = serve(make_link)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, wscale=7, sack_ok=True, ts=(1000, 0), fo=cookie, data=b"question")
    got = link.expect(SYN | ACK, ack=109)
    conn = link.accept()
    link.peer_sends(ACK, seq=109, ack=1, wnd=100, ts=(1010, got.ts[0]))
    t = link.tcb(conn)
    assert t.ts.recent == 1010 and t.snd_wnd == 12800
    conn.send(b"x")
    assert link.expect(ACK, data=b"x").ts[1] == 1010


def test_in_window_syn_of_another(make_link):
    """(RFC 5961 4) The text is with the application already: the connection stays, the peer is asked."""
    link = serve(make_link)
    cookie = cookie_of(link)
    link.peer_sends(SYN, seq=100, mss=1460, fo=cookie, data=b"question")
    link.expect(SYN | ACK, ack=109)
    link.peer_sends(SYN, seq=200, mss=1460)
    link.expect(ACK, seq=1, ack=109)
    assert link.state() == State.SYN_RECEIVED
    assert link.port == PORT
