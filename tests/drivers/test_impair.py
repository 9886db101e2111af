"""Impairments: exact where they are scripted, right on average where they are chance."""
from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstack.drivers import Gilbert, Impaired, Loopback, Tap, Wire
from netstack.drivers.impair import INTAKE

from .rig import MS, Rig, frame, number

SECOND = 1_000_000_000


def numbers(frames: list[bytes]) -> list[int]:
    return [number(f) for f in frames]


def times(seen: list[tuple[int, bytes]], start: int) -> list[float]:
    return [(t - start) / MS for t, _ in seen]


def test_off_leaves_no_trace(rigs):
    rig = rigs()
    assert rig.inbound.on == rig.outbound.on == 0
    rig.driver.inject(frame(1))
    assert rig.receive_all() == [frame(1)]
    assert rig.send(frame(2)) == 60
    assert rig.sniff_all() == [frame(2)]
    assert rig.inbound.seen == rig.outbound.seen == 0
    assert rig.inbound.store == 0


@pytest.mark.parametrize("loss", [0.01, 0.3, 1.0])
def test_loss(rigs, loss):
    rig = rigs(loss=loss, seed=1)
    n = 4000
    for i in range(n):
        rig.driver.inject(frame(i, 14))
    got = numbers(rig.receive_all())
    assert got == sorted(set(got))
    assert rig.driver.counters("inbound")["lost"] == n - len(got)
    assert abs(n - len(got) - n * loss) <= 4 * (n * loss * (1 - loss)) ** 0.5
    assert rig.inbound.store == 0           # what is never held needs no memory


def test_bursts(rigs):
    model = Gilbert.bursts(0.1, length=5)
    assert model.to_good == 0.2
    rig = rigs(loss=model, seed=4)
    n = 8000
    for i in range(n):
        assert rig.send(frame(i, 14)) == 14
    lost = sorted(set(range(n)) - set(numbers(rig.sniff_all())))
    bursts = 1 + sum(b != a + 1 for a, b in itertools.pairwise(lost))
    assert 0.08 < len(lost) / n < 0.12
    assert 4 < len(lost) / bursts < 6


def test_scripted_drops(rigs):
    rig = rigs(outbound={"drop": [3, 7, 8]}, inbound={"drop": [1]})
    for i in range(1, 11):
        rig.send(frame(i))
        rig.driver.inject(frame(i))
    assert numbers(rig.sniff_all()) == [1, 2, 4, 5, 6, 9, 10]
    assert numbers(rig.receive_all()) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert rig.driver.counters("outbound")["scripted"] == 3


def test_scripted_actions(rigs):
    rig = rigs(script={2: "duplicate", 3: "reorder", 5: "corrupt", 6: "drop"})
    start = rig.now
    for i in range(1, 8):
        rig.send(frame(i))
    seen = rig.departures(start + SECOND)
    assert [number(f) for _, f in seen if f == frame(number(f))] == [1, 2, 2, 4, 7, 3]
    assert [t - start for t, _ in seen] == [0] * 6 + [MS]
    [spoilt] = [f for _, f in seen if f not in [frame(i) for i in range(1, 8)]]
    assert _bits_between(spoilt, frame(5)) == 1


def _bits_between(a: bytes, b: bytes) -> int:
    assert len(a) == len(b)
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()


@pytest.mark.parametrize("delay", [0.05, "50ms", "50000us"])
def test_delay_is_exact(rigs, delay):
    rig = rigs(delay=delay)
    start = rig.now
    for i in range(5):
        rig.driver.inject(frame(i))
        assert rig.receive() is None
        rig.now += MS
    assert times(rig.arrivals(start + SECOND), start) == [50, 51, 52, 53, 54]


def test_frames_of_one_time_keep_their_order(rigs):
    rig = rigs(delay="10ms")
    for i in range(300):
        rig.driver.inject(frame(i))
        rig.send(frame(i))
    assert numbers([f for _, f in rig.arrivals(rig.now + SECOND)]) == list(range(300))
    assert numbers([f for _, f in rig.departures(rig.now + SECOND)]) == list(range(300))


def test_more_than_one_call_takes_in(rigs):
    rig = rigs(Impaired(Wire(size=1 << 20), loss=1.0))
    for i in range(INTAKE + 10):
        rig.driver.inject(frame(i, 14))
    assert rig.receive() is None
    assert rig.receive() is None
    assert rig.driver.counters("inbound")["seen"] == INTAKE + 10


def test_jitter_keeps_order_unless_told_otherwise(rigs):
    for ordered in (True, False):
        rig = rigs(delay="20ms", jitter="5ms", ordered=ordered, seed=3)
        start = rig.now
        sent = {}
        seen = []
        for i in range(500):
            sent[i] = rig.now
            rig.send(frame(i))
            seen += rig.departures(rig.now + MS // 10)
        seen += rig.departures(start + SECOND)
        order = numbers([f for _, f in seen])
        waits = [t - sent[number(f)] for t, f in seen]
        assert sorted(order) == list(range(500))
        assert (order == sorted(order)) is ordered
        if not ordered:
            assert min(waits) >= 15 * MS
            assert max(waits) <= 25 * MS
            assert max(waits) - min(waits) > 9 * MS


def test_reorder_lets_later_frames_overtake(rigs):
    rig = rigs(delay="10ms", reorder=0.1, seed=1)
    start = rig.now
    seen = []
    for i in range(1000):
        rig.send(frame(i))
        seen += rig.departures(rig.now + MS)
    seen += rig.departures(start + 2 * SECOND)
    waits = {number(f): t - start - number(f) * MS for t, f in seen}
    assert set(waits.values()) == {10 * MS, 16 * MS}        # half the delay and 1 ms more
    late = [i for i, wait in waits.items() if wait == 16 * MS]
    assert 70 <= len(late) <= 130
    assert rig.driver.counters("outbound")["reordered"] == len(late)


def test_hold_can_be_chosen(rigs):
    rig = rigs(reorder=1, hold="7ms")
    rig.send(frame(1))
    assert rig.departures(rig.now + SECOND) == [(1007 * MS, frame(1))]


def test_duplicates(rigs):
    rig = rigs(duplicate=0.25, seed=2)
    for i in range(2000):
        rig.driver.inject(frame(i, 14))
    got = numbers(rig.receive_all())
    assert got == sorted(got)
    assert set(got) == set(range(2000))
    twice = rig.driver.counters("inbound")["duplicated"]
    assert len(got) == 2000 + twice
    assert 420 < twice < 580


def test_corruption_flips_one_bit_and_leaves_the_sender_alone(rigs):
    rig = rigs(corrupt=1.0, seed=5)
    places = set()
    for _ in range(200):
        assert rig.send(frame(9), frame(9)) == 120
        [got] = rig.sniff_all()
        assert _bits_between(got, frame(9) * 2) == 1
        places.add(next(i for i in range(120) if got[i] != (frame(9) * 2)[i]))
    assert len(places) > 60
    assert rig.driver.counters("outbound") == {
        "seen": 200, "scripted": 0, "lost": 0, "duplicated": 0, "corrupted": 200, "reordered": 0, "delayed": 0,
        "marked": 0, "overflowed": 0, "refused": 0, "held": 0}


def test_rate_is_exact(rigs):
    """1 Mbit/s and frames of 1514 + 24 bytes: 12.304 ms each, and no drift from rounding."""
    rig = rigs(rate="1mbit", overhead=24, queue="2mb")
    start = rig.now
    for i in range(100):
        rig.send(frame(i, 1514))
    assert [t - start for t, _ in rig.departures(start + 2 * SECOND)] == [12_304_000 * (i + 1) for i in range(100)]

    rig = rigs(rate=7_000_000, queue="2mb")         # 8 * 14 bits take 16000 ns; 8 * 15 bits 17142.857 ns
    start = rig.now
    for i in range(700):
        rig.send(frame(i, 15))
    seen = rig.departures(start + SECOND)
    assert [t - start for t, _ in seen] == [(i + 1) * 120 * SECOND // 7_000_000 for i in range(700)]


def test_an_idle_link_starts_at_once(rigs):
    rig = rigs(rate="1mbit", delay="3ms")
    for _ in range(3):
        start = rig.now
        rig.send(frame(0, 125))
        assert times(rig.departures(start + SECOND), start) == [4]


def test_the_queue_before_the_rate_drops_its_tail(rigs):
    rig = rigs(rate="1mbit", queue=3000)
    start = rig.now
    for i in range(10):
        rig.send(frame(i, 1000))
    assert rig.driver.counters("outbound")["overflowed"] == 7
    rig.now += 8 * MS                       # one has gone
    rig.departures(rig.now)
    rig.send(frame(10, 1000))
    rig.send(frame(11, 1000))
    seen = rig.departures(start + SECOND)
    assert numbers([f for _, f in seen]) == [1, 2, 10]
    assert times(seen, start) == [16, 24, 32]


def test_a_frame_larger_than_the_queue_still_passes_an_idle_link(rigs):
    rig = rigs(rate="1mbit", queue=100)
    rig.send(frame(1, 1000))
    assert len(rig.departures(rig.now + SECOND)) == 1


def test_the_default_queue_is_a_tenth_of_a_second(rigs):
    rig = rigs(rate="100mbit", limit=60000)
    for i in range(2000):
        rig.send(frame(i, 1000))
    assert rig.driver.counters("outbound")["overflowed"] == 2000 - 1250


def test_no_more_frames_than_the_limit(rigs):
    rig = rigs(delay="1s", limit=5)
    for i in range(8):
        rig.send(frame(i))
        rig.driver.inject(frame(i))
    assert rig.receive() is None
    for direction in ("inbound", "outbound"):
        assert rig.driver.counters(direction)["overflowed"] == 3
        assert rig.driver.counters(direction)["held"] == 5
    rig.now += SECOND
    assert numbers(rig.receive_all()) == [0, 1, 2, 3, 4]
    assert numbers([f for _, f in rig.departures(rig.now)]) == [0, 1, 2, 3, 4]


def test_the_largest_frames_fit(rigs):
    rig = rigs(delay="1s")
    for i in range(50):
        rig.driver.inject(frame(i, 65550))
        assert rig.receive() is None
    assert [f for _, f in rig.arrivals(rig.now + 2 * SECOND)] == [frame(i, 65550) for i in range(50)]


def test_a_device_that_is_full_when_the_time_comes(rigs):
    rig = rigs(Impaired(Wire(size=256 << 10), delay="1s"))
    for i in range(400):
        assert rig.send(frame(i, 1514)) == 1514
    sent = numbers([f for _, f in rig.departures(rig.now + 2 * SECOND)])
    assert sent == list(range(len(sent)))
    assert rig.driver.counters("outbound")["refused"] == 400 - len(sent) > 0


def test_a_full_device_is_told_when_nothing_is_held(rigs):
    rig = rigs(Impaired(Wire(size=256 << 10), drop=[1]))
    while rig.send(frame(0, 1514)):
        pass
    assert rig.send(frame(0, 1514)) == 0
    assert rig.driver.counters("outbound")["refused"] == 0


def test_directions_are_separate(rigs):
    rig = rigs(delay="5ms", inbound={"delay": 0, "loss": 1})
    rig.driver.inject(frame(1))
    assert rig.receive() is None
    assert rig.inbound.store == 0
    rig.send(frame(1))
    assert rig.departures(rig.now + SECOND) == [(1005 * MS, frame(1))]
    assert rig.driver.settings("inbound").loss == 1
    assert rig.driver.settings("outbound").delay == "5ms"


def test_the_same_seed_gives_the_same_fate(rigs):
    def lost(**settings):
        rig = rigs(**settings)
        for i in range(300):
            rig.send(frame(i))
            rig.driver.inject(frame(i))
        got = set(numbers([f for _, f in rig.departures(rig.now + SECOND)]))
        back = set(numbers([f for _, f in rig.arrivals(rig.now + SECOND)]))
        return sorted(set(range(300)) - got), sorted(set(range(300)) - back)
    first = lost(loss=0.2, seed=1)
    assert first[0] != first[1]                                     # the directions are not alike
    assert lost(loss=0.2, seed=1) == first
    assert lost(loss=0.2, seed=1, delay="1ms", jitter="1ms", duplicate=0.1, corrupt=0) == first
    assert lost(loss=0.2, seed=2) != first


def test_settings_change_while_frames_flow(rigs):
    rig = rigs()
    for i in range(1, 4):
        rig.send(frame(i))
    rig.driver.set("outbound", delay="10ms", drop=[2])              # counts from now
    for i in range(4, 8):
        rig.send(frame(i))
    rig.driver.set("outbound", delay="20ms")
    rig.send(frame(8))
    assert [(t // MS - 1000, number(f)) for t, f in rig.departures(rig.now + 5 * MS)] == [(0, 1), (0, 2), (0, 3)]
    assert [(t // MS - 1000, number(f)) for t, f in rig.departures(rig.now + SECOND)] == [
        (10, 4), (10, 6), (10, 7), (20, 8)]
    assert rig.inbound.on == 0
    rig.driver.set("both", loss=1)
    rig.send(frame(9))
    assert rig.departures(rig.now + SECOND) == []


def test_clear_lets_held_frames_come_in_order(rigs):
    rig = rigs(delay="10ms")
    start = rig.now
    rig.send(frame(1))
    rig.driver.clear()
    assert rig.outbound.on == 2
    rig.send(frame(2))                                              # waits for the first
    assert [(t - start, number(f)) for t, f in rig.departures(start + SECOND)] == [(10 * MS, 1), (10 * MS, 2)]
    assert rig.outbound.on == 0
    assert rig.inbound.on == 0
    rig.send(frame(3))
    assert numbers(rig.sniff_all()) == [3]


def test_a_new_seed_starts_anew(rigs):
    rig = rigs(loss=0.5, seed=1)

    def fate():
        for i in range(100):
            rig.send(frame(i))
        return numbers(rig.sniff_all())
    first = fate()
    assert fate() != first
    rig.driver.set(seed=1)
    assert fate() == first


def test_changes_happen_under_the_guard(rigs):
    rig = rigs()
    held = []

    class Guard:
        def __enter__(self):
            held.append("in")

        def __exit__(self, *exception):
            held.append("out")
    rig.driver.guard = Guard
    rig.driver.set("inbound", loss=0.5)
    assert held == ["in", "out"]
    assert rig.driver.driver.guard is Guard


@pytest.mark.parametrize(("settings", "message"), [
    ({"loss": 1.5}, "at most 1"), ({"loss": -0.1}, "probability"), ({"loss": "12"}, "at most 1"),
    ({"loss": "nonsense"}, "not a probability"), ({"loss": float("nan")}, "probability"),
    ({"delay": -1}, "duration"), ({"delay": "5 parsecs"}, "duration"), ({"delay": "2000000s"}, "a day"),
    ({"rate": 0}, "at least 1 bit/s"), ({"rate": "fast"}, "bit rate"), ({"rate": "1000000gbit"}, "terabit"),
    ({"queue": "x", "rate": 1}, "size"), ({"limit": 0}, "limit"), ({"limit": 1 << 20}, "limit"),
    ({"overhead": -1}, "overhead"), ({"drop": [0]}, "from 1"), ({"script": {1: "explode"}}, "explode"),
    ({"loss": Gilbert(2, 0)}, "at most 1"),
])
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Impaired(Wire(), **settings)
    wire = Impaired(Wire())
    with pytest.raises(ValueError, match=message):
        wire.set(**settings)


def test_bad_names():
    with pytest.raises(TypeError, match="no such impairment: 'los'"):
        Impaired(Wire(), los=1)
    with pytest.raises(TypeError, match="no such impairment"):
        Impaired(Wire()).set(los=1)
    with pytest.raises(ValueError, match="direction"):
        Impaired(Wire()).set("sideways", loss=1)
    with pytest.raises(TypeError, match="plain driver"):
        Impaired(Impaired(Wire()))
    with pytest.raises(TypeError, match="a duration is"):
        Impaired(Wire(), delay=[1])
    with pytest.raises(ValueError, match="mean length"):
        Gilbert.bursts(0.1, 0.5)


@pytest.mark.parametrize(("text", "fraction"), [("1%", 0.01), ("0.5 %", 0.005), (0.25, 0.25), ("0.25", 0.25), (1, 1)])
def test_probabilities(text, fraction):
    rig = Rig(Impaired(Wire(), loss=text))
    assert rig.inbound.loss == round(fraction * 2**32)


def test_the_wrapped_driver_shows_through(rigs):
    wire = Wire("02:00:00:00:00:09", name="left")
    both = Impaired(wire, loss=1)
    assert (both.name, both.mac, both.mtu, both.ethernet) == ("left", wire.mac, 1500, True)
    both.stack, both.wait_hook = "stack", lambda timeout, ready: ready()
    assert wire.stack == "stack"
    assert wire.wait_hook is both.wait_hook
    assert both.sniff(5) is None
    with pytest.raises(AttributeError, match="nothing"):
        both.nothing
    assert Impaired(Loopback()).ethernet is False
    assert issubclass(Tap, type(wire).__mro__[1])


def test_counters_outlive_the_stack():
    rig = Rig(Impaired(Wire(), drop=[1], delay="1s"))
    rig.send(frame(1))
    rig.send(frame(2))
    rig.driver.close()
    rig.driver.close()
    assert rig.outbound.on == 0
    assert rig.driver.counters("outbound")["scripted"] == 1
    assert rig.driver.counters("outbound")["delayed"] == 1


@st.composite
def conditions(draw):
    """Anything that may not lose a frame."""
    return {
        "delay": draw(st.sampled_from([0, 0.001, 0.05])), "jitter": draw(st.sampled_from([0, 0.0001, 0.1])),
        "ordered": draw(st.booleans()), "duplicate": draw(st.sampled_from([0, 0.5, 1])),
        "reorder": draw(st.sampled_from([0, 0.2])), "seed": draw(st.integers(0, 2**64)),
        "rate": draw(st.sampled_from([None, "1mbit", "1gbit"])), "queue": "100mb",
    }


@given(conditions(), st.lists(st.tuples(st.integers(14, 2000), st.integers(0, 30 * MS)), max_size=40))
def test_nothing_lost_nothing_invented(settings, traffic):
    rig = Rig(Impaired(Wire(), **settings))
    seen: list[tuple[int, bytes]] = []
    sent = {}
    for i, (size, pause) in enumerate(traffic):
        rig.send(frame(i, size))
        rig.driver.inject(frame(i, size))
        sent[i] = (rig.now, size)
        seen += rig.departures(rig.now + pause)
    seen += rig.departures(rig.now + 60 * SECOND)
    out = [f for _, f in seen]
    back = [f for _, f in rig.arrivals(rig.now + 60 * SECOND)]
    for frames, direction in ((out, "outbound"), (back, "inbound")):
        assert all(f == frame(number(f), sent[number(f)][1]) for f in frames)
        assert set(numbers(frames)) == set(sent)
        counters = rig.driver.counters(direction)
        assert len(frames) == len(sent) + counters["duplicated"]
        assert counters["held"] == counters["overflowed"] == 0
        if settings["ordered"] and not settings["reorder"]:
            assert numbers(frames) == sorted(numbers(frames))
    assert all(t >= sent[number(f)][0] for t, f in seen)
    assert [t for t, _ in seen] == sorted(t for t, _ in seen)
    rig.driver.close()


def history() -> str:
    """A digest of everything that happens to 400 frames under everything at once."""
    h = hashlib.sha256()
    rig = Rig(Impaired(Wire(), loss=Gilbert.bursts(0.1, 3), delay="20ms", jitter="7ms", duplicate=0.05, corrupt=0.05,
                       reorder=0.05, rate="3mbit", queue=20_000, limit=60, drop=[5, 17], seed=11,
                       outbound={"ordered": False}))
    for i in range(400):
        rig.send(frame(i, 14 + i * 7 % 1400))
        rig.driver.inject(frame(i, 60))
        for t, f in rig.arrivals(rig.now + MS * (i % 5)) + rig.departures(rig.now):
            h.update(t.to_bytes(8, "big") + f)
    for side in (rig.inbound, rig.outbound):
        h.update(repr([getattr(side, name) for name in side._layout_ if name not in ("script", "store", "iov", "rng")])
                 .encode())
    h.update(repr(rig.driver.counters("outbound")).encode())
    rig.driver.close()
    return h.hexdigest()


def test_both_modes_agree():
    other = "1" if os.environ.get("NETSTACK_JIT", "1") == "0" else "0"
    code = f"import sys; sys.path[:0] = {sys.path!r}\nfrom {__name__} import history; print(history())"
    run = subprocess.run([sys.executable, "-c", code], env={**os.environ, "NETSTACK_JIT": other}, timeout=250,
                         capture_output=True, text=True, check=True)
    assert run.stdout.strip() == history()


@pytest.mark.parametrize("codepoint", range(4))
@pytest.mark.parametrize("version", [4, 6])
def test_marks_are_those_of_a_router(rigs, version, codepoint):
    """RFC 3168 5: ECT becomes CE, the IPv4 checksum follows; what is not ECT passes as it is."""
    from scapy.layers.inet import IP, TCP, Ether
    from scapy.layers.inet6 import IPv6
    def packet(ecn):
        ip = IP(tos=0xA8 | ecn, id=77) if version == 4 else IPv6(tc=0xA8 | ecn, fl=0x12345)
        return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / ip / TCP() / b"text")
    rig = rigs(mark=1.0)
    rig.driver.inject(packet(codepoint))
    assert rig.receive_all() == [packet(3 if codepoint else 0)]
    assert rig.send(packet(codepoint)) > 0
    assert rig.sniff_all() == [packet(3 if codepoint else 0)]
    assert rig.driver.counters("inbound")["marked"] == (1 if codepoint in (1, 2) else 0)
