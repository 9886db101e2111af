"""Impair: what a bad network does to frames, asked for and counted.

One record for each direction of an interface.  A frame's fate is decided once,
when it comes: a script, loss, duplication; then each copy passes the queue of
the rate limiter, may have a bit flipped, and waits until its time of release.
Each effect draws from a generator of its own, so the same seed loses the same
frames whatever else is asked for, in both modes and on any clock.

Differs: netem(8) lets jitter reorder frames unless told otherwise; here it
keeps their order unless told otherwise, and `reorder` is a wish of its own.
"""
from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from ..machine import SECOND, Array, addressof, at, be16, compiled, i32, i64, load8, load64, put16, record, store8, u8
from ..machine.random import Rng, below, random64
from ..machine.timers import NEVER
from . import device, held, offload
from .base import Device
from .held import Store

ALWAYS = 1 << 32        # probability 1
ETHERNET, IPV4, IPV6 = 14, 0x0800, 0x86DD      # header bytes; types
INTAKE = 4096           # frames that one call of `receive` takes from the device at most


class Action(IntEnum):
    """What a script does to a frame."""

    NONE = 0
    DROP = 1
    DUPLICATE = 2
    CORRUPT = 3
    REORDER = 4


class Effect(IntEnum):
    """Whose generator."""

    LOSS = 0
    STATE = 1
    DUPLICATE = 2
    CORRUPT = 3
    JITTER = 4
    REORDER = 5
    MARK = 6


@record
class Impair:
    """What happens to the frames of one direction.  A probability p is stored as p * 2**32."""

    on: u8                  # 0: nothing happens to frames; 1: something may; 2: only until the frames held are gone
    ordered: u8             # 1: jitter never lets a frame overtake another
    bad: u8                 # Gilbert-Elliott: 1 while in the bad state
    lent: i32               # place in the store of the frame that `receive` lent, or 0
    loss: i64               # probability (in the good state)
    loss_bad: i64           # ... in the bad state
    to_bad: i64             # probability to go from the good state to the bad one, at each frame
    to_good: i64            # ... and back
    duplicate: i64          # probability
    corrupt: i64            # probability that one bit is flipped
    mark: i64               # probability that an IP packet with ECT is marked with CE (RFC 3168 5)
    reorder: i64            # probability that later frames may overtake this one
    hold: i64               # ns that such a frame waits longer
    delay: i64              # ns
    jitter: i64             # ns: the delay is between delay - jitter and delay + jitter, evenly spread
    rate: i64               # bits per second, or 0
    queue: i64              # ns of work that the rate limiter accepts ahead
    overhead: i32           # bytes that each frame takes on the limited link besides its own
    limit: i32              # frames held at most
    busy_until: i64         # when the rate limiter will have sent all that it accepted
    remainder: i64          # ... exactly: so many 1/rate ns later
    floor: i64              # latest time of release of an ordered frame
    script: i64             # address of the script: frame number * 8 + Action, ascending
    script_count: i32       # its entries
    script_next: i32        # the first that has not come yet
    store: i64              # address of the Store, or 0: no frame is ever held
    rng: Annotated[Array[Rng], 7]       # by Effect
    iov: Annotated[Array[i64], 2]       # address and length of the frame at hand
    seen: i64               # frames that came
    scripted: i64           # frames to which the script did something
    lost: i64               # frames lost by chance
    duplicated: i64         # frames of which there were two
    corrupted: i64          # copies in which a bit was flipped
    marked: i64             # frames marked with CE
    reordered: i64          # copies held back
    delayed: i64            # copies that had to wait
    overflowed: i64         # copies dropped because the rate limiter's queue or the store was full
    refused: i64            # copies that the device did not take when their time had come


@compiled
def _happens(r: Rng, probability: int) -> bool:
    return probability > 0 and (random64(r) >> 31) < probability


@compiled
def _scripted(imp: Impair) -> int:
    """What the script does to frame number `seen`."""
    if imp.script_next >= imp.script_count:
        return 0
    entry = load64(imp.script + 8 * imp.script_next)
    if entry >> 3 != imp.seen:
        return 0
    imp.script_next += 1
    imp.scripted += 1
    return entry & 7


@compiled
def _is_lost(imp: Impair) -> bool:
    """Evenly, or in bursts (E. Gilbert 1960, E. O. Elliott 1963: two states, each with its own loss)."""
    if imp.to_bad == 0:
        return _happens(imp.rng[Effect.LOSS], imp.loss)
    if _happens(imp.rng[Effect.STATE], imp.to_good if imp.bad != 0 else imp.to_bad):
        imp.bad = 1 - imp.bad
    return _happens(imp.rng[Effect.LOSS], imp.loss_bad if imp.bad != 0 else imp.loss)


@compiled
def _sent_at(imp: Impair, total: int, now: int) -> int:
    """When the rate limiter will have sent the frame; -1: its queue is full."""
    if imp.rate == 0:
        return now
    if imp.busy_until < now:
        imp.busy_until = now
        imp.remainder = 0
    work = (total + imp.overhead) * 8 * SECOND + imp.remainder
    until = imp.busy_until + work // imp.rate
    if imp.busy_until > now and until - now > imp.queue:
        return -1
    imp.busy_until = until
    imp.remainder = work % imp.rate
    return until


@compiled
def _release_at(imp: Impair, total: int, now: int, action: int) -> int:
    """When the frame goes on; -1: it is dropped, the queue is full."""
    sent = _sent_at(imp, total, now)
    if sent < 0:
        return -1
    release = sent + imp.delay
    if imp.jitter > 0:
        release = max(release + below(imp.rng[Effect.JITTER], 2 * imp.jitter + 1) - imp.jitter, sent)
    if action == Action.REORDER or _happens(imp.rng[Effect.REORDER], imp.reorder):
        imp.reordered += 1
        return release + imp.hold
    if imp.ordered != 0:
        release = max(release, imp.floor)
        imp.floor = release
    return release


@compiled
def _keep(imp: Impair, s: Store, iov: int, parts: int, total: int, release: int, flip: bool) -> bool:
    """Hold a copy of the frame until `release`, one bit of it flipped if `flip`.  False: no room."""
    if s.slots.live >= imp.limit:
        return False
    place = held.put(s, iov, parts, total, release)
    if place == 0:
        return False
    if flip:
        imp.corrupted += 1
        bit = below(imp.rng[Effect.CORRUPT], total * 8)
        p = held.address(s, place) + (bit >> 3)
        store8(p, load8(p) ^ (1 << (bit & 7)))
    return True


@compiled
def _mark(imp: Impair, p: int, n: int) -> None:
    """Congestion experienced (RFC 3168 5), in place, if the frame is an IP packet with ECT; n: bytes of its front."""
    if n < ETHERNET + 20:
        return
    kind = be16(p + 12)
    p += ETHERNET
    if kind == IPV4 and load8(p + 1) & 3 in (1, 2):
        before = be16(p)
        store8(p + 1, load8(p + 1) | 3)
        total = (be16(p + 10) ^ 0xFFFF) + (before ^ 0xFFFF) + be16(p)       # RFC 1624 3
        total = (total & 0xFFFF) + (total >> 16)
        put16(p + 10, ((total & 0xFFFF) + (total >> 16)) ^ 0xFFFF)
        imp.marked += 1
    elif kind == IPV6 and load8(p + 1) >> 4 & 3 in (1, 2):
        store8(p + 1, load8(p + 1) | 0x30)
        imp.marked += 1


@compiled
def _passes(imp: Impair, iov: int, parts: int, total: int, now: int) -> bool:
    """Decide a frame's fate.  True: it goes on at once as it is; False: it is gone, or held, or a copy of it is."""
    imp.seen += 1
    action = _scripted(imp)
    if action == Action.DROP:
        return False
    if _is_lost(imp):
        imp.lost += 1
        return False
    if _happens(imp.rng[Effect.MARK], imp.mark):
        _mark(imp, load64(iov), load64(iov + 8))
    copies = 1
    if action == Action.DUPLICATE or _happens(imp.rng[Effect.DUPLICATE], imp.duplicate):
        imp.duplicated += 1
        copies = 2
    passes = False
    for i in range(copies):
        release = _release_at(imp, total, now, action)
        if release < 0:
            imp.overflowed += 1
            continue
        flip = action == Action.CORRUPT or _happens(imp.rng[Effect.CORRUPT], imp.corrupt)
        if release <= now and i == 0 and not flip:
            passes = True
            continue
        if imp.store == 0 or not _keep(imp, at(Store, imp.store), iov, parts, total, release, flip):
            imp.overflowed += 1
        elif release > now:
            imp.delayed += 1
    return passes


@compiled
def _is_due(imp: Impair, now: int) -> bool:
    return imp.store != 0 and held.is_due(at(Store, imp.store), now)


@compiled
def _free(imp: Impair, place: int) -> None:
    s = at(Store, imp.store)
    held.free(s, place)
    if imp.on == 2 and s.slots.live == 0:
        imp.on = 0


@compiled
def may_have(imp: Impair, dev: Device, now: int) -> bool:
    """Whether `receive` may give a frame."""
    return device.may_have(dev) or (imp.on != 0 and _is_due(imp, now))


@compiled
def receive(imp: Impair, dev: Device, now: int) -> int:
    """As `device.receive`: the next frame whose time has come is lent at `dev.frame`."""
    if imp.on == 0:
        return device.receive(dev, now)
    for _ in range(INTAKE):
        if _is_due(imp, now):
            s = at(Store, imp.store)
            imp.lent = held.take(s, now)
            offload.clear(dev.rx_notes)
            dev.frame = held.address(s, imp.lent)
            return held.length(s, imp.lent)
        n = device.receive(dev, now)
        if n <= 0:
            return n
        offload.complete(dev.rx_notes, dev.frame, n)
        imp.iov[0] = dev.frame
        imp.iov[1] = n
        if _passes(imp, addressof(imp.iov), 1, n, now):
            return n
        device.done(dev)
    return 0


@compiled
def done(imp: Impair, dev: Device) -> None:
    """Give the lent frame back."""
    if imp.lent == 0:
        device.done(dev)
        return
    _free(imp, imp.lent)
    imp.lent = 0


@compiled
def release(imp: Impair, dev: Device, now: int) -> None:
    """Send the frames whose time has come."""
    if imp.on == 0 or imp.store == 0:
        return
    s = at(Store, imp.store)
    while held.is_due(s, now):
        place = held.take(s, now)
        imp.iov[0] = held.address(s, place)
        imp.iov[1] = held.length(s, place)
        if device.transmit(dev, addressof(imp.iov), 1, imp.iov[1]) <= 0:
            imp.refused += 1
        _free(imp, place)


@compiled
def transmit(imp: Impair, dev: Device, iov: int, parts: int, total: int, now: int) -> int:
    """As `device.transmit`.  A frame that is lost or held has been sent, as far as its sender knows."""
    if imp.on == 0:
        return device.transmit(dev, iov, parts, total)
    release(imp, dev, now)                  # what is due goes before this one
    sent = total
    if _passes(imp, iov, parts, total, now):
        sent = device.transmit(dev, iov, parts, total)
    release(imp, dev, now)                  # a second copy, or a corrupt one, that need not wait
    return sent


@compiled
def next_deadline(imp: Impair, now: int) -> int:
    """When `receive` or `release` must be called again, or NEVER."""
    if imp.on == 0 or imp.store == 0:
        return NEVER
    return held.next_deadline(at(Store, imp.store), now)
