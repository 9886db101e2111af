"""What receiving is built of, each by its record: sizes, right-sizing, quick ACKs, the mark."""
from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstack.machine import MS, addressof, ring
from netstack.machine.ring import Ring
from netstack.tcp import drs, quickack, space, urgent
from netstack.tcp.drs import Drs
from netstack.tcp.quickack import QuickAck
from netstack.tcp.space import Space
from netstack.tcp.urgent import Mark, Urgent

SECOND = 1000 * MS


# ---- sizes


@given(st.integers(1, 1 << 30), st.integers(-6, 8))
def test_a_buffer_for_a_window_holds_it(window, scale):
    assert space.window_of(space.rcvbuf_for(window, scale), scale) >= window


@pytest.mark.parametrize(("mss", "syn", "clamp"), [(1460, 64240, 64076), (1448, 65160, 64088), (65483, 65483, 65536)])
def test_linux_initial_windows(mss, syn, clamp):
    """What everybody has seen in a trace: win 64240 and then 501 << 7, win 65160 ..."""
    s = Space.new()
    space.set_rcvbuf(s, 131072, 1)
    s.clamp = 65535 << 14
    s.ssthresh = space.initial_window(s, mss)
    assert s.ssthresh == syn
    assert space.choose_scale(s, 6 << 20) == 7
    space.on_established(s, mss, 1)
    assert s.clamp == clamp
    assert s.ssthresh == min(syn, clamp)


@given(st.integers(2304, 1 << 24), st.integers(1, 1 << 30))
def test_a_small_buffer_is_some_units_of_its_window_scale(rcvbuf, most):
    s = Space.new()
    space.set_rcvbuf(s, rcvbuf, 1)
    assert 2 << space.choose_scale(s, most) <= max(s.window, 2)


def test_linux_first_send_buffer():
    assert space.sndbuf_for(14600, 1460) == 87040


def test_the_send_buffer_follows_the_congestion_window():
    s = Space.new()
    s.sndbuf = 16384
    assert space.expand(s, 14600, 1460, 4 << 20)
    assert not space.expand(s, 14600, 1460, 4 << 20)
    assert space.expand(s, 146_000, 1460, 4 << 20)
    assert s.sndbuf >= 2 * 146_000
    assert space.expand(s, 1 << 30, 1460, 4 << 20)
    assert s.sndbuf == 4 << 20
    s.locked = space.SNDBUF
    assert not space.expand(s, 1 << 31, 1460, 8 << 20)


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 3))
def test_a_ring_grows_with_what_it_holds(before, head, held, doublings):
    """Every byte is found at its position again."""
    size = 2048
    held = min(held, size)
    memory = (ctypes.c_ubyte * (64 + size + (size << doublings)))()
    base = ctypes.addressof(memory)
    r = Ring.new()
    r.data, r.size, r.head, r.base = base - addressof(r), size, head, max(head - before, 0)
    text = bytes((7 * i + i // 256) & 0xFF for i in range(held))
    source = ctypes.create_string_buffer(text, held + 1)
    ring.place(r, head, ctypes.addressof(source), held)
    larger = base + size
    ring.copy_out(r, head, head + held, larger, size << doublings)
    r.data, r.size = larger - addressof(r), size << doublings
    out = ctypes.create_string_buffer(held + 1)
    ring.fetch(r, head, ctypes.addressof(out), held)
    assert out.raw[:held] == text


# ---- right-sizing


def test_no_round_trip_time_no_opinion():
    d = Drs.new()
    drs.start(d, 14600, 0)
    assert drs.on_read(d, 1 << 20, 1460, SECOND) == 0


def test_a_window_of_twice_what_is_read_in_a_round_trip():
    d = Drs.new()
    drs.start(d, 10_000, 0)
    drs.on_sample(d, 10 * MS)
    assert drs.on_read(d, 50_000, 1460, 5 * MS) == 0                # not a whole one yet
    assert drs.on_read(d, 10_000, 1460, 10 * MS) == 0               # no more than before
    window = drs.on_read(d, 30_000, 1460, 20 * MS)                  # 20,000: it doubles each time
    base = 2 * 20_000 + 16 * 1460
    assert window == base + 2 * base
    assert drs.on_read(d, 50_000, 1460, 30 * MS) == 0


def test_without_timestamps_the_quickest_window_counts():
    d = Drs.new()
    drs.on_window(d, 0, 1000, 10 * MS)
    drs.on_window(d, 999, 2000, 20 * MS)
    assert d.rtt == 0
    drs.on_window(d, 1000, 2000, 30 * MS)
    assert d.rtt == 8 * 20 * MS
    drs.on_window(d, 2000, 3000, 35 * MS)
    drs.on_window(d, 3000, 4000, 95 * MS)
    assert d.rtt == 8 * 5 * MS


# ---- quick ACKs


def started():
    q = QuickAck.new()
    quickack.start(q, 1460, 0)
    return q


def test_sixteen_at_the_start():
    q = started()
    quickack.on_text(q, 65535, 200 * MS, 40 * MS, 1)
    for _ in range(16):
        assert quickack.is_quick(q)
        quickack.on_sent(q, 0, 40 * MS, 2)
    assert not quickack.is_quick(q)


def test_no_more_than_half_of_a_small_window():
    q = started()
    quickack.on_text(q, 536 * 6, 200 * MS, 40 * MS, 1)
    assert q.quick == 3


def test_again_after_a_pause():
    q = started()
    q.ato = 40 * MS
    quickack.on_text(q, 65535, 200 * MS, 40 * MS, 100 * MS)
    assert not quickack.is_quick(q)
    quickack.on_text(q, 65535, 200 * MS, 40 * MS, 301 * MS)
    assert quickack.is_quick(q)


def test_an_answer_makes_it_ping_pong_and_a_missed_one_ends_it():
    q = started()
    quickack.on_text(q, 65535, 200 * MS, 40 * MS, 1)
    quickack.on_sent(q, 10, 40 * MS, 41 * MS)
    assert not q.pingpong                                           # too late for an answer
    quickack.on_sent(q, 10, 40 * MS, 20 * MS)
    assert q.pingpong
    assert not quickack.is_quick(q)
    quickack.on_delayed(q, 200 * MS, 40 * MS)
    assert not q.pingpong


def test_the_delay_follows_the_gaps():
    q = started()
    q.ato = q.at = 40 * MS
    now = q.at
    for gap, ato in ((5, 40), (30, 50), (45, 70), (45, 80), (1, 60), (1, 50)):
        now += gap * MS
        quickack.on_text(q, 0, 300 * MS, 40 * MS, now)
        assert q.ato == ato * MS
    q.ato = 400 * MS
    assert quickack.delay(q, 0, 40 * MS) == 200 * MS
    assert quickack.delay(q, 90 * MS, 40 * MS) == 90 * MS
    assert quickack.delay(q, 1 * MS, 40 * MS) == 40 * MS


def test_the_peers_segment_size():
    """Linux's rcv_mss: the largest seen; a smaller one when two of its size come without PSH."""
    q = started()
    assert q.mss == 536
    quickack.measure(q, 1448, 0, 1, 0, 1460)
    assert q.mss == 1448
    quickack.measure(q, 100, 0, 0, 1, 1460)
    assert (q.mss, q.pushed) == (1448, 1)
    quickack.measure(q, 1000, 0, 1, 0, 1460)
    assert (q.mss, q.pushed) == (1448, 2)
    quickack.measure(q, 1000 - 12, 12, 1, 0, 1460)                  # SACK blocks have taken the rest
    assert q.mss == 1000


# ---- the mark


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=30), st.booleans(), st.randoms())
def test_reads_take_every_byte_but_the_mark(steps, inline, chance):
    """Against a list of bytes: what reads take is the stream, without the last urgent byte unless it is in line."""
    u = Urgent.new()
    u.inline = 1 if inline else 0
    received = read = 0
    taken = []
    skipped = set()
    for is_urgent, n in steps:
        if is_urgent and urgent.on_pointer(u, received + n - 1, read, received):
            urgent.on_text(u, received, n, ctypes.addressof((ctypes.c_ubyte * 64)()))
            assert u.mark == Mark.HERE
        received += n
        if chance.random() < 0.5:
            continue
        while read < received and urgent.is_skipped(u, read):
            skipped.add(read)
            read += 1
        n = urgent.limit(u, read, received - read)
        taken += range(read, read + n)
        read += n
        urgent.on_read(u, read)
    assert sorted([*taken, *skipped]) == list(range(read))
    assert not (inline and skipped)
