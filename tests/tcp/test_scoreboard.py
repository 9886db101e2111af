"""The retransmission queue and scoreboard against naive references: a note for each sequence number."""
from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from netstack.machine import sizeof, table
from netstack.tcp import ack, acked, newreno, rack, runs, sack, seq
from netstack.tcp.runs import Run
from netstack.tcp.tcb import Tcb, Tcp

MSS = 10
SPAN = 400
PLENTY, FEW = 300, 5


@dataclass
class Note:
    """What is known of one sequence number."""

    sacked: bool = False
    lost: bool = False
    retrans: bool = False
    again: bool | None = False          # None: it was SACKed, which makes one run of several


class Sender:
    """A queue over a table of its own, and the notes that say what must stand in it."""

    def __init__(self, base: int, capacity: int) -> None:
        self.tcp, self.t, self.base = Tcp.new(), Tcb.new(), base
        self.pool, self.queue = self.tcp.runs, self.t.queue
        self.memory = ctypes.create_string_buffer(sizeof(Run) * capacity)
        table.init(self.pool, ctypes.addressof(self.memory), sizeof(Run), capacity)
        self.t.snd_una = self.t.snd_nxt = base
        rack.init(self.t.rack, base)
        self.now = 1000
        self.una = self.nxt = 0
        self.notes: dict[int, Note] = {}
        self.told: set[int] = set()                         # what the peer has ever reported

    def seq(self, offset: int) -> int:
        """A sequence number."""
        return (self.base + offset) & 0xFFFF_FFFF

    def list(self) -> list[tuple[int, int, Any]]:
        """The runs, (left, right, run) counted from the base; both directions of the list agree."""
        found, index, before = [], self.queue.head, 0
        while index:
            r = runs.get(self.pool, index)
            assert r.prev == before
            found.append(((r.left - self.base) & 0xFFFF_FFFF, (r.right - self.base) & 0xFFFF_FFFF, r))
            before, index = index, r.next
        assert self.queue.tail == before
        return found

    # ---- what can happen

    def send(self, n: int, wait: int) -> None:
        """New data."""
        self.now += wait
        runs.append(self.pool, self.queue, self.seq(self.nxt), self.seq(self.nxt + n), self.now)
        self.notes |= {i: Note() for i in range(self.nxt, self.nxt + n)}
        self.nxt += n
        self.t.snd_nxt = self.seq(self.nxt)

    def begin(self) -> None:
        """An ACK comes."""
        self.now += 7
        acked.begin(self.tcp.acked, self.t.snd_nxt, -1)

    def block(self, left: int, n: int) -> None:
        """... with a SACK block."""
        left, right = min(left, self.nxt), min(left + n, self.nxt)
        self.begin()
        if sack.is_plausible(self.seq(left), self.seq(right), self.t.snd_una, self.t.snd_nxt):
            ack._take_block(self.tcp, self.t, self.seq(left), self.seq(right), self.now)
        news = [self.notes[i] for i in range(max(left, self.una), right) if not self.notes[i].sacked]
        self.told |= set(range(left, right))
        self.delivered = len(news)
        for note in news:
            note.sacked, note.lost, note.retrans, note.again = True, False, False, None

    def acknowledge(self, upto: int) -> None:
        """... with a higher number."""
        upto = max(min(upto, self.nxt), self.una)
        self.begin()
        ack._leave_queue(self.tcp, self.t, self.seq(upto), self.now)
        self.t.snd_una = self.seq(upto)
        gone = [self.notes.pop(i) for i in range(self.una, upto)]
        self.delivered = sum(not note.sacked for note in gone)
        self.una = upto

    def resend(self, segments: int) -> None:
        """What is lost goes out again, first things first."""
        for _ in range(segments):
            self.resend_one()

    def resend_one(self) -> None:
        """... a segment at most."""
        self.now += 1
        index = runs.first_lost(self.pool, self.queue)
        lost = [i for i, note in sorted(self.notes.items()) if note.lost and not note.retrans]
        if index == 0:
            assert not lost or self.tight
            return
        r = runs.get(self.pool, index)
        if runs.size(r) > MSS and not runs.split(self.pool, self.queue, index, seq.add(r.left, MSS)):
            return
        runs.set_sent_again(self.pool, self.queue, index, self.now)
        first = (r.left - self.base) & 0xFFFF_FFFF
        assert self.tight or first == lost[0]
        for i in range(first, first + runs.size(r)):
            self.notes[i].retrans = self.notes[i].again = True

    def probe(self) -> None:
        """A loss probe: the last segment again, lost or not."""
        if self.queue.tail == 0:
            return
        self.now += 1
        r = runs.get(self.pool, self.queue.tail)
        if r.sacked or (runs.size(r) > MSS and not runs.split(self.pool, self.queue, self.queue.tail,
                                                              seq.add(r.right, -MSS))):
            return
        r = runs.get(self.pool, self.queue.tail)
        runs.set_sent_again(self.pool, self.queue, self.queue.tail, self.now)
        for i in range(self.nxt - runs.size(r), self.nxt):
            self.notes[i].retrans = self.notes[i].again = True

    def first(self) -> None:
        """Three duplicate ACKs without SACK: the first segment is lost."""
        newreno.mark_first(self.pool, self.queue, MSS)
        if self.queue.head:
            r = runs.get(self.pool, self.queue.head)
            if r.lost:
                for i in range(self.una, self.una + runs.size(r)):
                    if not self.notes[i].lost:
                        self.notes[i] = replace(self.notes[i], sacked=False, lost=True, retrans=False)

    def detect(self) -> None:
        """IsLost of RFC 6675 section 4, for each number by itself."""
        again = {i: r.again for left, right, r in self.list() for i in range(left, right)}
        sack.detect(self.pool, self.queue, MSS)
        above = sequences = 0
        before = False
        for i in sorted(self.notes, reverse=True):
            note = self.notes[i]
            if note.sacked:
                above += 1
                sequences += not before
            elif not note.lost and not again[i] and (above > 2 * MSS or sequences >= 3):
                note.lost = True
            before = note.sacked

    def rack(self, window: int) -> None:
        """RACK_detect_loss of RFC 8985 6.2, for each run."""
        k = self.t.rack
        want = []
        for left, right, r in self.list():
            sent_after = (k.xmit_ts, (k.end_seq - self.base) & 0xFFFF_FFFF) > (r.sent_at, right)
            due = sent_after and r.sent_at + k.rtt + window <= self.now
            want.append(r.lost == 1 or (r.sacked == 0 and due))
            if r.sacked == 0 and due and not (r.lost and not r.retrans):
                for i in range(left, right):
                    self.notes[i].lost, self.notes[i].retrans = True, False
        rack.detect(k, self.pool, self.queue, window, self.now)
        assert [r.lost == 1 for _, _, r in self.list()] == want

    def timeout(self, renege: int, age: int) -> None:
        """The retransmission timer; what was sent less than `age` ago may still be on its way."""
        old = {i for n, (left, right, r) in enumerate(self.list()) for i in range(left, right)
               if n == 0 or r.sent_at <= self.now - age}
        news = runs.all_lost(self.pool, self.queue, renege, self.now - age)
        count = 0
        for i, note in self.notes.items():
            if (not note.sacked and i in old) or renege:
                count += not note.lost or note.retrans
                note.sacked, note.lost, note.retrans = False, True, False
        assert self.tight or news == count

    def found(self) -> None:
        """It was spurious."""
        runs.all_found(self.pool, self.queue)
        for note in self.notes.values():
            note.lost &= note.retrans

    # ---- what must be true

    @property
    def tight(self) -> bool:
        """Whether there was no room for a run at some time."""
        return bool(self.pool.exhausted)

    def check(self) -> None:
        """Structure and sums; while there was always room, each number as well."""
        q, edge = self.queue, self.una
        every = self.list()
        for left, right, r in every:
            assert left == edge
            assert right > left
            assert not (r.sacked and (r.lost or r.retrans))
            edge = right
        assert edge == (self.nxt if every else self.una)
        assert every or self.nxt == self.una or self.tight
        assert q.count == len(every) == self.pool.live
        for name in ("sacked", "lost", "retrans"):
            assert getattr(q, name) == sum(right - left for left, right, r in every if getattr(r, name)), name
        outstanding = self.nxt - self.una
        pipe = runs.pipe(q, outstanding)
        assert pipe >= 0
        assert {i for left, right, r in every if r.sacked for i in range(left, right)} <= self.told
        if not self.tight:
            for left, right, r in every:
                for i in range(left, right):
                    assert self.notes[i] == Note(bool(r.sacked), bool(r.lost), bool(r.retrans),
                                                 None if self.notes[i].again is None else bool(r.again)), i
            assert pipe == sum((not n.sacked and not n.lost) + n.retrans for n in self.notes.values())   # SetPipe
        for (_, _, a), (_, _, b) in pairwise(every):
            assert not (a.sacked and b.sacked) or self.tight, "two SACKed runs side by side are one"
        self.check_shortcuts(every)

    def check_shortcuts(self, every: list[tuple[int, int, Any]]) -> None:
        """What is kept so that nobody need walk the whole queue."""
        q = self.queue
        flying, index, before = [], q.oldest, 0
        while index:
            r = runs.get(self.pool, index)
            assert r.flying
            assert r.earlier == before
            flying.append(r)
            before, index = index, r.later
        assert q.newest == before
        in_flight = [r for _, _, r in every if not r.sacked and (r.retrans or not r.lost)]
        assert sorted(r.left for r in flying) == sorted(r.left for r in in_flight)
        assert all(a.sent_at <= b.sent_at for a, b in pairwise(flying)), "in the order in which they were sent"
        waiting = [left for left, _, r in every if r.lost and not r.retrans]
        assert q.waiting == sum(right - left for left, right, r in every if left in waiting)
        if q.lost_from:
            start = (runs.get(self.pool, q.lost_from).left - self.base) & 0xFFFF_FFFF
            assert not [left for left in waiting if left < start]
        for left, _, _ in every:
            start = runs.get(self.pool, runs.near(self.pool, q, self.seq(left)))
            assert (start.left - self.base) & 0xFFFF_FFFF <= left, "nothing that a block is about stands before"
        if q.high_sacked:
            assert runs.get(self.pool, q.high_sacked).left == [r.left for _, _, r in every if r.sacked][-1]


N = st.integers(1, 60)
OFFSET = st.integers(0, SPAN)
STEP = st.one_of(
    st.tuples(st.just("send"), N, st.sampled_from([0, 0, 1, 5])), st.tuples(st.just("send"), N, st.just(0)),
    st.tuples(st.just("block"), OFFSET, N), st.tuples(st.just("block"), st.integers(0, 40).map(lambda i: 10 * i),
                                                      st.sampled_from([10, 20, 30])),
    st.tuples(st.just("acknowledge"), OFFSET),
    st.tuples(st.just("resend"), st.integers(1, 12)),
    st.tuples(st.sampled_from(["probe", "first", "detect", "found"])),
    st.tuples(st.just("rack"), st.sampled_from([0, 0, 10, 1000])),
    st.tuples(st.just("timeout"), st.sampled_from([0, 0, 1]), st.sampled_from([0, 0, 10])))
STEPS = st.lists(STEP, max_size=60)
BASE = st.sampled_from([0, 2**32 - 100, 2**31 - 100, 12345])


def play(base: int, steps: list[Any], capacity: int) -> Sender:
    s = Sender(base, capacity)
    s.send(80, 0)
    for name, *arguments in steps:
        if name == "send" and s.nxt + arguments[0] > SPAN:
            continue
        getattr(s, name)(*arguments)
        s.check()
        if name in ("block", "acknowledge"):
            assert s.tight or s.tcp.acked.delivered == s.delivered
    s.acknowledge(s.nxt)
    s.check()
    assert (s.queue.count, s.queue.sacked, s.queue.lost, s.queue.retrans, s.pool.live) == (0, 0, 0, 0, 0)
    return s


@settings(deadline=None, max_examples=400)
@given(BASE, STEPS)
def test_every_number_has_the_fate_it_should(base, steps):
    assert not play(base, steps, PLENTY).tight


@settings(deadline=None, max_examples=400)
@given(BASE, STEPS, st.integers(2, FEW))
@example(0, [("block", 20, 60), ("first",), ("resend", 1), ("send", 1, 0)], 4)      # what joins a SACKed run is as old
def test_without_room_for_runs_the_sums_still_agree(base, steps, capacity):
    """An exhausted table: what could not be noted is as if it had not been said."""
    play(base, steps, capacity)


@settings(deadline=None, max_examples=50)
@given(BASE, STEPS)
def test_clear_gives_everything_back(base, steps):
    s = Sender(base, PLENTY)
    s.send(80, 0)
    for name, *arguments in steps:
        if name != "send" or s.nxt + arguments[0] <= SPAN:
            getattr(s, name)(*arguments)
    runs.clear(s.pool, s.queue)
    assert (s.queue.count, s.queue.sacked, s.queue.lost, s.queue.retrans, s.pool.live) == (0, 0, 0, 0, 0)
