"""Each record by itself: Reno (RFC 5681), CUBIC (RFC 9438), HyStart++ (RFC 9406), PRR (RFC 6937), pacing, idling."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstack.machine import MS, SECOND, addressof, at
from netstack.tcp import congestion, cubic, cwv, hystart, pacing, prr, reno
from netstack.tcp.congestion import UNLIMITED, Ca, Cause, Congestion
from netstack.tcp.cubic import Cubic
from netstack.tcp.hystart import Hystart

MSS = 1000


def controlled(cwnd, ssthresh=UNLIMITED, **fields):
    c = Congestion.new()
    c.cwnd, c.ssthresh, c.limited, c.mss = cwnd, ssthresh, 1, MSS
    for name, value in fields.items():
        setattr(c, name, value)
    return c


# ---- Reno


def test_initial_window():
    """RFC 6928: min(10 MSS, max(2 MSS, 14600))."""
    assert [congestion.initial_window(n) for n in (536, 1460, 1500, 8960, 65495)] == [
        5360, 14600, 14600, 17920, 130990]


def test_slow_start_counts_bytes():
    """RFC 3465, L = 2; after a timeout L = 1 (2.3)."""
    c = controlled(10_000, 50_000)
    for acked, expected in ((1000, 11_000), (2000, 13_000), (10_000, 15_000), (1, 15_001)):
        c.acked = acked
        reno.grow(c)
        assert c.cwnd == expected
    c.ca_state, c.acked = Ca.LOSS, 10_000
    reno.grow(c)
    assert c.cwnd == 16_001


@given(st.integers(2, 100), st.integers(1, 8))
def test_congestion_avoidance_adds_a_segment_for_each_window(n, per_ack):
    c = controlled(n * 1000, 1000, acked=1000 * per_ack)
    acked = 0
    while acked < n * 1000:
        reno.grow(c)
        acked += 1000 * per_ack
    assert c.cwnd == (n + 1) * 1000


def test_unused_window_does_not_grow():
    c = controlled(10_000, 50_000, limited=0, acked=1000)
    reno.grow(c)
    assert c.cwnd == 10_000


@pytest.mark.parametrize("abe", [0, 1])
def test_reductions(abe):
    """(3.1, eq. 4) half of the flight; RFC 8511: four fifths of the window for a mark."""
    c = controlled(20_000, flight=16_000, abe=abe)
    reno.on_loss(addressof(c), 0)
    assert c.ssthresh == 8000
    c.cause = Cause.ECN
    reno.on_loss(addressof(c), 0)
    assert c.ssthresh == (16_000 if abe else 10_000)


# ---- CUBIC


@given(st.integers(0, 10**18))
def test_cube_root(n):
    r = cubic.cube_root(n)
    assert r**3 <= n < (r + 1)**3


def test_the_curve():
    """(4.2) from beta * w_max back to w_max after K = cbrt(w_max * (1 - beta) / C) seconds."""
    c = controlled(100 * MSS, 50 * MSS)
    s = at(Cubic, congestion.own(c))
    cubic.reduce(s, c, cubic.BETA)
    assert c.ssthresh == 70 * MSS
    c.cwnd = c.ssthresh
    s.cwnd_prior = 0                                    # Reno's estimate grows by alpha = 1: still below the curve
    cubic.avoid_congestion(s, c, 5 * SECOND)
    assert abs(s.k - 4217) <= 1                         # cbrt(30 / 0.4) s
    for t, segments in ((0, 70), (1000, 86.7), (2000, 95.6), (4217, 100), (6000, 102.3), (9000, 143.8)):
        assert abs(cubic.curve(s, t, MSS) - segments * MSS) < 150


def test_fast_convergence():
    """(4.7) A flow whose window did not come back to w_max leaves room."""
    c = controlled(100 * MSS, 50 * MSS)
    s = at(Cubic, congestion.own(c))
    cubic.reduce(s, c, cubic.BETA)
    assert s.w_max == 100 * MSS
    c.cwnd = 80 * MSS
    cubic.reduce(s, c, cubic.BETA)
    assert (s.w_max, c.ssthresh) == (68 * MSS, 56 * MSS)


def test_undo():
    """(4.9.2)"""
    c = controlled(100 * MSS, 50 * MSS, acked=MSS, srtt=50 * MS)
    s = at(Cubic, congestion.own(c))
    s.w_max, s.k, s.epoch, s.w_est = 90 * MSS, 1234, SECOND, 80 * MSS
    before = s.w_max, s.k, s.epoch, s.w_est
    cubic.on_loss(addressof(c), SECOND)
    assert (s.w_max, s.epoch) == (100 * MSS, 0)
    c.undone = 1
    cubic.on_recovered(addressof(c), SECOND)
    assert (s.w_max, s.k, s.epoch, s.w_est) == before


def test_reno_friendly_region():
    """(4.3) On a short path with little loss CUBIC is no slower than Reno: a segment for each window, later."""
    c = controlled(10 * MSS, 10 * MSS, acked=MSS, srtt=1 * MS)
    s = at(Cubic, congestion.own(c))
    s.w_max, s.cwnd_prior = 14 * MSS, 14 * MSS
    now = SECOND
    for _ in range(10 * 12):
        now += MS // 10
        cubic.grow(s, c, now)
    assert 15 * MSS < c.cwnd < 18 * MSS                 # 12 rounds of 0.53 to 1 segments, in 12 ms of the curve


def test_time_that_was_not_used_does_not_count():
    """(5.8)"""
    c = controlled(50 * MSS, 10 * MSS, acked=MSS, srtt=10 * MS)
    s = at(Cubic, congestion.own(c))
    cubic.grow(s, c, SECOND)
    c.limited = 0
    cubic.grow(s, c, 100 * SECOND)
    assert s.epoch == 100 * SECOND


# ---- HyStart++


def rounds(h, rtts, una=0):
    """Rounds of ten ACKs with one round-trip time each; whether one of them ended slow start."""
    for rtt in rtts:
        h.window_end = una + 10
        for i in range(10):
            if hystart.on_ack(h, hystart.DELAY, rtt, rtt, una + i + 1, una + 20, 0):
                return True
        una += 10
    return False


def test_steady_delay_does_not_end_slow_start():
    h = Hystart.new()
    hystart.init(h, 0)
    assert not rounds(h, [50 * MS] * 20)
    assert not h.css


def test_rising_delay_does():
    """(4.2) A round longer than the last by max(4 ms, RTT / 8): five rounds at a quarter of the pace, then the end."""
    h = Hystart.new()
    hystart.init(h, 0)
    assert not rounds(h, [50 * MS, 50 * MS, 58 * MS])
    assert h.css == 1
    assert hystart.growth(h, 8000, MSS, 0) == 2000
    assert rounds(h, [58 * MS] * 5, 30)


def test_delay_that_falls_again_was_a_mistake():
    """(4.2) CSS goes back to slow start."""
    h = Hystart.new()
    hystart.init(h, 0)
    assert not rounds(h, [50 * MS, 50 * MS, 58 * MS, 50 * MS])
    assert h.css == 0
    assert hystart.growth(h, 8000, MSS, 0) == 8000


def test_growth_for_one_ack():
    """(4.2) min(N, L * SMSS), L = 8; infinite when paced (4.3), and the divisor is still for all."""
    h = Hystart.new()
    hystart.init(h, 0)
    assert [hystart.growth(h, n, MSS, 0) for n in (7999, 8000, 8001, 50_000)] == [7999, 8000, 8000, 8000]
    assert [hystart.growth(h, n, MSS, 1) for n in (8001, 50_000)] == [8001, 50_000]
    h.css = 1
    assert hystart.growth(h, 50_000, MSS, 1) == 12_500


def test_train_of_acks():
    """ACKs that follow each other for half of the round-trip time: twice as many would fill the path."""
    h = Hystart.new()
    hystart.init(h, 0)
    now = SECOND
    assert not hystart.on_ack(h, 3, 50 * MS, 50 * MS, 1, 100, now)         # ends the first round
    for i in range(25):
        now += MS
        assert not hystart.on_ack(h, 3, 50 * MS, 50 * MS, 2 + i, 200, now)
    assert hystart.on_ack(h, 3, 50 * MS, 50 * MS, 30, 200, now + MS)
    assert h.done


def test_acks_with_gaps_are_no_train():
    h = Hystart.new()
    hystart.init(h, 0)
    now = SECOND
    for i in range(30):
        now += 3 * MS
        assert not hystart.on_ack(h, 3, 50 * MS, 50 * MS, 1 + i, 200, now)


# ---- PRR (RFC 6937 section 4, figure 2: one loss, 20 segments, ssthresh 10)


def test_one_loss():
    p = prr.Prr.new()
    prr.begin(p, 20 * MSS)
    sent = []
    pipe = 19
    for ack in range(19):
        n = prr.allowance(p, MSS, pipe * MSS, 10 * MSS, MSS, False, ack == 0) // MSS
        p.out += n * MSS
        pipe += n - 1
        sent.append(n)
    assert 9 <= sum(sent) <= 10                         # half of what arrives
    assert max(sent) == 1
    assert "".join(map(str, sent)).count("11") <= 1     # evenly


def test_window_lost_as_a_whole_is_rebuilt_in_slow_start():
    """(section 3) Far below ssthresh the bound is slow start's: one segment more than arrived."""
    p = prr.Prr.new()
    prr.begin(p, 20 * MSS)
    assert prr.allowance(p, MSS, 2 * MSS, 10 * MSS, MSS, True, True) == 2 * MSS
    assert prr.allowance(p, MSS, 2 * MSS, 10 * MSS, MSS, False, False) <= 2 * MSS


# ---- pacing, idle


def test_pace():
    p = pacing.Pacing.new()
    now = SECOND
    for _ in range(10):
        pacing.on_sent(p, 1000, 1_000_000, 0, now)      # 1 ms each
    assert SECOND + 9 * MS <= p.next_at <= SECOND + 10 * MS
    assert pacing.rate(p, 500) == 500
    p.most = 100
    assert pacing.rate(p, 500) == pacing.rate(p, 0) == 100


def test_window_fades_when_idle():
    """RFC 2861 section 3: half for each timeout, down to the restart window; ssthresh remembers three quarters."""
    c = controlled(80 * MSS, 20 * MSS)
    cwv.after_idle(c, 150 * MS, 200 * MS)
    assert c.cwnd == 80 * MSS
    cwv.after_idle(c, 450 * MS, 200 * MS)
    assert (c.cwnd, c.ssthresh) == (20 * MSS, 60 * MSS)
    cwv.after_idle(c, 100 * SECOND, 200 * MS)
    assert c.cwnd == 10 * MSS
