"""A program's own congestion control, in plain Python and compiled, on a link in virtual time."""
from __future__ import annotations

import logging
import socket as real

import pytest

import netstack
from netstack.drivers import Impaired, Wire
from netstack.machine import SECOND, compiled
from netstack.tcp import algorithms
from netstack.tcp.algorithms import register
from netstack.tcp.congestion import ALGORITHMS, Ca, Congestion

TCP_CONGESTION = 13
N = 300_000


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a test registers is gone afterwards: each stack has a table of its own."""
    monkeypatch.setattr(algorithms, "_known", list(algorithms._known))


def transfer(name, *, loss="0%", n=N):
    """Send n bytes over 10 Mbit/s and 20 ms with an algorithm; the sender's record and what arrived."""
    clock = netstack.VirtualClock(1)
    a, b = Wire.pair()
    with netstack.Stack(clock) as left, netstack.Stack(clock) as right:
        left.attach(Impaired(a, rate="10mbit", delay="10ms", loss=loss, seed=1), ip="192.0.2.1/24", dad=False)
        right.attach(Impaired(b, delay="10ms"), ip="192.0.2.2/24", dad=False)
        server = right.create_server(("192.0.2.2", 80))
        client = left.socket(real.AF_INET)
        client.setsockopt(real.IPPROTO_TCP, TCP_CONGESTION, name.encode())
        assert client.getsockopt(real.IPPROTO_TCP, TCP_CONGESTION, 16).rstrip(b"\0").decode() == name
        client.connect(("192.0.2.2", 80))
        conn = server.accept()[0]
        client.setsockopt(real.SOL_SOCKET, real.SO_SNDBUF, n)
        data = bytes(range(250)) * (n // 250)
        client.sendall(data)
        got = bytearray()
        while len(got) < n:
            got += conn.recv(1 << 16)
        from netstack.tcp import tcb
        t = tcb.get(left._tcp, client._handle & 0xFFFF_FFFF)
        found = {"words": [t.cc.words[i] for i in range(4)], "cwnd": t.cc.cwnd, "ssthresh": t.cc.ssthresh,
                 "retrans": t.stats.retrans, "state": t.cc.ca_state}
        for sock in (client, conn, server):
            sock.close()
        assert bytes(got) == data
        return found


# Twenty lines: Reno that gives up an eighth, and counts what happens to it in its own words.

def gentle_init(c: Congestion, now: int) -> None:
    """Begin with ten segments."""
    c.cwnd = 10 * c.mss
    c.ssthresh = 1 << 40
    c.words[0] = now


def gentle_on_ack(c: Congestion, now: int) -> None:
    """Slow start, then a segment for each window."""
    c.words[1] += 1
    if c.cwnd < c.ssthresh:
        c.cwnd += c.acked
    else:
        c.counted += c.acked
        if c.counted >= c.cwnd:
            c.counted -= c.cwnd
            c.cwnd += c.mss


def gentle_on_loss(c: Congestion, now: int) -> None:
    """Seven eighths."""
    c.ssthresh = max(c.flight * 7 // 8, 2 * c.mss)
    c.words[2] += 1


def gentle_on_recovered(c: Congestion, now: int) -> None:
    """It is over."""
    c.words[3] += 1


PLAIN = {"init": gentle_init, "on_ack": gentle_on_ack, "on_loss": gentle_on_loss, "on_recovered": gentle_on_recovered}
COMPILED = {name: compiled(function) for name, function in PLAIN.items()}


@pytest.mark.parametrize("hooks", [PLAIN, COMPILED], ids=["plain", "compiled"])
@pytest.mark.parametrize("loss", ["0%", "1%"])
def test_own_algorithm(hooks, loss):
    """Interpreted, both are called; compiled, one is a callback into Python, the other machine code."""
    register("gentle", **hooks)
    assert "gentle" in algorithms.names()
    found = transfer("gentle", loss=loss)
    begun, acks, losses, ends = found["words"]
    assert begun > 0
    assert acks > 20
    assert found["state"] <= Ca.DISORDER
    if loss == "0%":
        assert (losses, ends, found["retrans"]) == (0, 0, 0)
    else:
        assert losses > 0
        assert ends > 0
        assert found["retrans"] > 0
        assert found["ssthresh"] < 1 << 40


@pytest.mark.parametrize("loss", ["0%", "1%"])
def test_both_ways_do_the_same(loss):
    register("plain", **PLAIN)
    register("compiled", **COMPILED)
    one, two = (transfer(name, loss=loss) for name in ("plain", "compiled"))
    assert one == two


def test_hooks_that_are_left_out_are_renos():
    register("lazy", on_ack=lambda c, now: None)
    found = transfer("lazy", n=50_000)
    assert found["cwnd"] == 10 * 1448


def test_full_algorithms_decide_in_recoveries_too():
    """`full`: no PRR brings cwnd down, no timeout sets it to one segment."""
    def fixed(c, now):
        c.cwnd = 20 * c.mss

    register("fixed", init=fixed, on_ack=fixed, on_loss=fixed, on_rto=fixed, full=True)
    found = transfer("fixed", loss="2%")
    assert found["cwnd"] == 20 * 1448
    assert found["retrans"] > 0


def test_pacing_rate_of_an_own_algorithm():
    """100,000 bytes per second: 50,000 bytes take half a second."""
    def paced(c, now):
        c.cwnd = 100 * c.mss
        c.pacing_rate = 100_000
        c.words[0] = c.words[0] or now
        c.words[1] = now

    register("paced", init=paced, on_ack=paced)
    begun, ended = transfer("paced", n=50_000)["words"][:2]
    assert 0.4 * SECOND < ended - begun < 0.6 * SECOND


def test_an_error_in_a_hook_is_logged(caplog):
    """There is nobody to raise it to; the connection goes on with the window as it is."""
    def broken(c, now):
        raise RuntimeError("no idea")

    register("broken", on_ack=broken)
    with caplog.at_level(logging.ERROR):
        found = transfer("broken", n=30_000)
    assert found["cwnd"] == 10 * 1448
    assert any("broken failed" in r.getMessage() and r.exc_info for r in caplog.records)


def test_names_are_checked():
    for name in ("reno", "cubic", "bbr", "", "x" * 16):
        with pytest.raises(ValueError, match="is taken|is no name"):
            register(name, on_ack=gentle_on_ack)
    for i in range(ALGORITHMS - len(algorithms.names())):
        register(f"own{i}", on_ack=gentle_on_ack)
    with pytest.raises(ValueError, match="16 congestion controls already"):
        register("one more", on_ack=gentle_on_ack)
    with pytest.raises(KeyError, match="there is reno, cubic, bbr"):
        algorithms.index_of("vegas")


def test_a_stack_that_is_older_than_the_algorithm():
    """TCP_CONGESTION teaches it; as the default, net.ipv4.tcp_congestion_control."""
    with netstack.Stack(netstack.VirtualClock()) as stack:
        register("young", on_ack=gentle_on_ack)
        stack.settings["net.ipv4.tcp_congestion_control"] = "young"
        with stack.socket(real.AF_INET) as sock:
            assert sock.getsockopt(real.IPPROTO_TCP, TCP_CONGESTION, 16).rstrip(b"\0") == b"young"
