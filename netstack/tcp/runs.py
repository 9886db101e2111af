"""The retransmission queue: what was sent and is not yet acknowledged, in runs.

A run is a stretch of sequence space that was sent at one time and has shared one
fate since: a burst of segments is one run until an ACK or a loss splits it, so a
window of thousands of segments is a handful of records.  RFC 6675 section 3 calls
what this keeps the scoreboard; RFC 8985 section 5.2 asks for the times.
"""
from __future__ import annotations

from ..machine import at, compiled, i64, record, table, u8, u32
from ..machine.table import Table
from . import seq


@record
class Run:
    """left .. right - 1; the FIN counts as one."""

    next: u32           # the run behind it, 0: none
    prev: u32
    later: u32          # in flight: the run that was sent next, 0: none
    earlier: u32
    left: u32
    right: u32
    sent_at: i64        # ns, when it was sent last
    # of the connection when it was sent (rate.py)
    delivered: i64      # bytes that had been delivered
    delivered_at: i64   # ns, when the last of them had
    first_sent_at: i64  # ns, start of the flight it belongs to
    sacked: u8          # the peer says it has it
    lost: u8            # taken for lost
    retrans: u8         # sent again, and that copy is thought to be on its way
    again: u8           # was sent again at some time: gives no fair measurement (Karn)
    app_limited: u8     # the application had not enough to send (rate.py)
    flying: u8          # stands in the list of those in flight, in the order in which they were sent


@record
class Queue:
    """The runs of one connection, in order, and sums of bytes over them."""

    head: u32
    tail: u32
    count: u32
    oldest: u32         # in flight: what was sent first, and what was sent last (neither SACKed nor lost)
    newest: u32
    lost_from: u32      # nothing before this run is to be sent again; 0: unknown
    high_sacked: u32    # the highest SACKed run, 0: none or unknown
    block_at: u32       # a run near where the last SACK block was looked for, 0: unknown
    sacked: u32         # held by the peer beyond SND.UNA
    lost: u32           # taken for lost (also those sent again since)
    retrans: u32        # sent again and on their way (a loss probe's too, which is not taken for lost)
    waiting: u32        # lost, and to be sent again


@compiled
def get(runs: Table, index: int) -> Run:
    """The run with an index."""
    return at(Run, table.address(runs, index))


@compiled
def size(r: Run) -> int:
    """Its length, sequence numbers."""
    return seq.diff(r.right, r.left)


@compiled
def has_room(runs: Table, q: Queue) -> bool:
    """Whether what is sent next can be remembered: by a run of its own, or by the last one."""
    return q.tail != 0 or table.has_room(runs)


@compiled
def append(runs: Table, q: Queue, left: int, right: int, now: int) -> int:
    """left .. right - 1 was sent for the first time.  The index of a run made for it; 0 when it joined the last one."""
    if q.tail != 0:
        last = get(runs, q.tail)
        if last.sent_at == now and last.sacked == 0 and last.lost == 0 and last.again == 0:
            last.right = right
            return 0
    index = table.allot(runs)
    if index == 0:
        if q.tail != 0:                         # no room for another: one that is older than it knows
            last = get(runs, q.tail)
            _count(q, last, -1)
            last.right = right
            last.sacked = 0
            _count(q, last, 1)
            if q.high_sacked == q.tail:
                q.high_sacked = 0
            if last.lost == 0 and last.flying == 0:
                _put_in_order(runs, q, q.tail)
        return 0
    r = get(runs, index)
    r.left = left
    r.right = right
    r.sent_at = now
    r.prev = q.tail
    if q.tail != 0:
        get(runs, q.tail).next = index
    else:
        q.head = index
    q.tail = index
    q.count += 1
    _take_off(runs, q, index)
    return index


@compiled
def _take_off(runs: Table, q: Queue, index: int) -> None:
    """A run is in flight now: the last of them."""
    r = get(runs, index)
    if r.flying:
        _land(runs, q, index)
    r.flying = 1
    r.later = 0
    r.earlier = q.newest
    if q.newest != 0:
        get(runs, q.newest).later = index
    else:
        q.oldest = index
    q.newest = index


@compiled
def _land(runs: Table, q: Queue, index: int) -> None:
    """A run is not in flight any more."""
    r = get(runs, index)
    if r.flying == 0:
        return
    r.flying = 0
    if r.earlier != 0:
        get(runs, r.earlier).later = r.later
    else:
        q.oldest = r.later
    if r.later != 0:
        get(runs, r.later).earlier = r.earlier
    else:
        q.newest = r.earlier


@compiled
def _put_after(runs: Table, q: Queue, index: int, before: int) -> None:
    """A run is in flight, and was sent after the run `before` (0: before all)."""
    r = get(runs, index)
    r.flying = 1
    r.earlier = before
    if before != 0:
        b = get(runs, before)
        r.later = b.later
        b.later = index
    else:
        r.later = q.oldest
        q.oldest = index
    if r.later != 0:
        get(runs, r.later).earlier = index
    else:
        q.newest = index


@compiled
def _put_in_order(runs: Table, q: Queue, index: int) -> None:
    """A run is in flight, since it was sent."""
    sent_at = get(runs, index).sent_at
    before = q.newest
    while before != 0 and get(runs, before).sent_at > sent_at:
        before = get(runs, before).earlier
    _put_after(runs, q, index, before)


@compiled
def _count(q: Queue, r: Run, sign: int) -> None:
    """Add a run to the sums, or take it out."""
    n = sign * size(r)
    if r.sacked:
        q.sacked += n
    if r.lost:
        q.lost += n
    if r.retrans:
        q.retrans += n
    elif r.lost:
        q.waiting += n


@compiled
def split(runs: Table, q: Queue, index: int, middle: int) -> bool:
    """Cut a run in two at `middle`, inside of it: the front keeps its index.  False when there is no room."""
    other = table.allot(runs)
    if other == 0:
        return False
    a = get(runs, index)
    b = get(runs, other)
    b.left = middle
    b.right = a.right
    b.sent_at = a.sent_at
    b.delivered = a.delivered
    b.delivered_at = a.delivered_at
    b.first_sent_at = a.first_sent_at
    b.sacked = a.sacked
    b.lost = a.lost
    b.retrans = a.retrans
    b.again = a.again
    b.app_limited = a.app_limited
    a.right = middle
    b.prev = index
    b.next = a.next
    if a.next != 0:
        get(runs, a.next).prev = other
    else:
        q.tail = other
    a.next = other
    q.count += 1
    if a.flying:
        _put_after(runs, q, other, index)
    if q.high_sacked == index:
        q.high_sacked = other
    return True


@compiled
def _unlink(runs: Table, q: Queue, index: int) -> None:
    r = get(runs, index)
    _land(runs, q, index)
    if q.lost_from == index:
        q.lost_from = r.next
    if q.high_sacked == index:
        q.high_sacked = 0
    if q.block_at == index:
        q.block_at = r.prev if r.prev != 0 else r.next
    if r.prev != 0:
        get(runs, r.prev).next = r.next
    else:
        q.head = r.next
    if r.next != 0:
        get(runs, r.next).prev = r.prev
    else:
        q.tail = r.prev
    q.count -= 1
    table.release(runs, index)


@compiled
def remove(runs: Table, q: Queue, index: int) -> None:
    """Take a run out: it is acknowledged."""
    _count(q, get(runs, index), -1)
    _unlink(runs, q, index)


@compiled
def trim(q: Queue, r: Run, left: int) -> None:
    """The front of a run, up to `left`, is acknowledged."""
    _count(q, r, -1)
    r.left = left
    _count(q, r, 1)


@compiled
def clear(runs: Table, q: Queue) -> None:
    """Give every run back: the connection is over."""
    while q.head != 0:
        remove(runs, q, q.head)


@compiled
def set_sacked(runs: Table, q: Queue, index: int) -> None:
    """The peer holds it: it is neither lost nor on its way any more."""
    r = get(runs, index)
    _count(q, r, -1)
    r.sacked = 1
    r.lost = 0
    r.retrans = 0
    _count(q, r, 1)
    _land(runs, q, index)
    if q.high_sacked == 0 or seq.gt(r.right, get(runs, q.high_sacked).right):
        q.high_sacked = index


@compiled
def set_lost(runs: Table, q: Queue, index: int) -> None:
    """Taken for lost, the copy that was sent again too."""
    r = get(runs, index)
    if q.waiting == 0 or (q.lost_from != 0 and seq.lt(r.left, get(runs, q.lost_from).left)):
        q.lost_from = index
    _count(q, r, -1)
    if q.high_sacked == index:
        q.high_sacked = 0
    r.sacked = 0
    r.lost = 1
    r.retrans = 0
    _count(q, r, 1)
    _land(runs, q, index)


@compiled
def set_found(runs: Table, q: Queue, index: int) -> None:
    """It was not lost after all: it is in flight, since it was sent."""
    r = get(runs, index)
    _count(q, r, -1)
    r.lost = 0
    _count(q, r, 1)
    _put_in_order(runs, q, index)


@compiled
def set_sent_again(runs: Table, q: Queue, index: int, now: int) -> None:
    """A copy of it is on its way."""
    r = get(runs, index)
    _count(q, r, -1)
    r.retrans = 1
    r.again = 1
    r.sent_at = now
    _count(q, r, 1)
    _take_off(runs, q, index)


@compiled
def near(runs: Table, q: Queue, left: int) -> int:
    """A run that begins at `left` or before, or else the first; nothing before it reaches beyond `left`.  0: none.

    Looked for from the nearest of what is known, in steps as many as there are runs between: a window may have
    thousands, while blocks tell of what is beside the blocks before them.
    """
    index = q.head
    if index == 0:
        return 0
    distance = abs(seq.diff(left, get(runs, index).left))
    if q.high_sacked != 0:
        other = abs(seq.diff(left, get(runs, q.high_sacked).left))
        if other < distance:
            index = q.high_sacked
            distance = other
    if q.block_at != 0:
        other = abs(seq.diff(left, get(runs, q.block_at).left))
        if other < distance:
            index = q.block_at
    r = get(runs, index)
    while r.prev != 0 and seq.gt(r.left, left):
        index = r.prev
        r = get(runs, index)
    return index


@compiled
def join_sacked(runs: Table, q: Queue, index: int) -> int:
    """Unite a SACKed run with SACKed ones beside it: nothing tells them apart any more.  Its index afterwards."""
    r = get(runs, index)
    high = q.high_sacked
    while r.next != 0 and get(runs, r.next).sacked:
        high = index if high == r.next else high
        r.right = get(runs, r.next).right
        _unlink(runs, q, r.next)
    if r.prev != 0 and get(runs, r.prev).sacked:
        before = r.prev
        high = before if high == index else high
        get(runs, before).right = r.right
        _unlink(runs, q, index)
        index = before
    q.high_sacked = high
    return index


@compiled
def pipe(q: Queue, outstanding: int) -> int:
    """What is thought to be in the network, bytes (RFC 6675 section 4, SetPipe), of all that is outstanding."""
    return outstanding - q.sacked - q.lost + q.retrans


@compiled
def first_lost(runs: Table, q: Queue) -> int:
    """The first run that is to be sent again (RFC 6675 section 4, NextSeg rule 1), or 0."""
    if q.waiting == 0:
        return 0
    index = q.lost_from if q.lost_from != 0 else q.head
    while index != 0:
        r = get(runs, index)
        if r.lost and r.retrans == 0:
            q.lost_from = index
            return index
        index = r.next
    q.lost_from = q.tail
    return 0


@compiled
def all_lost(runs: Table, q: Queue, renege: int, until: int) -> int:
    """A timeout: everything that the peer has not SACKed is to be sent again; with `renege` that too.

    RFC 6675 5.1 keeps the SACKs over a timeout, unless the peer has taken back what it said (RFC 2018 section 8).
    What was sent after `until` (ns) may still be on its way, but for the first (RFC 8985 6.3).  Returns how many
    bytes were not lost before.
    """
    news = 0
    index = q.head
    while index != 0:
        r = get(runs, index)
        if (r.sacked == 0 and (r.sent_at <= until or index == q.head)) or renege:
            if r.lost == 0 or r.retrans:
                news += size(r)
            set_lost(runs, q, index)
            index = _join_lost(runs, q, index)
            r = get(runs, index)
        index = r.next
    return news


@compiled
def _join_lost(runs: Table, q: Queue, index: int) -> int:
    """Unite a lost run with the one before, if they are alike: they are sent again as one stretch.  Its index then."""
    r = get(runs, index)
    if r.prev == 0:
        return index
    before = get(runs, r.prev)
    if before.lost == 0 or before.retrans or before.again != r.again:
        return index
    before.right = r.right
    before.sent_at = max(before.sent_at, r.sent_at)
    keep = r.prev
    _unlink(runs, q, index)
    return keep


@compiled
def all_found(runs: Table, q: Queue) -> None:
    """The loss was none: what was not sent again is on its way as before."""
    index = q.head
    while index != 0:
        r = get(runs, index)
        if r.lost and r.retrans == 0:
            set_found(runs, q, index)
        index = r.next
