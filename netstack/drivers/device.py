"""A device: where frames come from and go to.  One record for every kind.

`receive` and `transmit` choose by kind; each kind's own file does the work.
A received frame is lent, not copied: `device.frame` says where it stands until
`done`.
"""
from __future__ import annotations

from ..errors import ENETDOWN
from ..machine import compiled
from . import steer, tap, wire
from .base import BUFFER, HEADROOM, Device, Kind

__all__ = ["BUFFER", "HEADROOM", "Device", "Kind", "done", "has_room", "is_pending", "may_have", "receive", "sleep",
           "transmit", "wake"]

TAP = int(Kind.TAP)
WIRE = int(Kind.WIRE)
LOOPBACK = int(Kind.LOOPBACK)       # a wire whose two ends are one queue
INTAKE = 256            # frames of other worlds that one call of `receive` hands on at most


@compiled
def receive(dev: Device, now: int) -> int:
    """Take in a frame: its length, lent at `dev.frame` until `done`; 0 when there is none; -errno."""
    if dev.steer != 0:
        n = steer.take(dev)
        if n != 0:
            return n
    n = 0
    for _ in range(INTAKE):
        n = 0
        if dev.kind == TAP:
            n = tap.receive(dev)
        elif dev.kind == WIRE or dev.kind == LOOPBACK:
            n = wire.receive(dev)
        if n <= 0 or dev.steer == 0 or steer.is_ours(dev, n):
            return n
        if dev.kind == WIRE:
            wire.done(dev)
    return 0


@compiled
def done(dev: Device) -> None:
    """Give the lent frame back."""
    if dev.steer != 0 and steer.give_back(dev):
        return
    if dev.kind == WIRE or dev.kind == LOOPBACK:
        wire.done(dev)


@compiled
def transmit(dev: Device, iov: int, parts: int, total: int) -> int:
    """Send the frame whose parts (address, length: two i64 each) stand at `iov`.

    Returns total; 0 when the queue is full; -errno.
    """
    if dev.kind == TAP:
        return tap.transmit(dev, iov, parts, total)
    if dev.kind == WIRE or dev.kind == LOOPBACK:
        return wire.transmit(dev, iov, parts, total)
    return -ENETDOWN


@compiled
def has_room(dev: Device, n: int) -> bool:
    """Whether a frame of n bytes would be taken now."""
    if dev.kind == WIRE or dev.kind == LOOPBACK:
        return wire.has_room(dev, n)
    return True


@compiled
def is_pending(dev: Device) -> bool:
    """Whether a frame waits that poll(2) does not see."""
    if dev.steer != 0 and steer.is_pending(dev):
        return True
    if dev.kind == WIRE or dev.kind == LOOPBACK:
        return wire.is_pending(dev)
    return False


@compiled
def may_have(dev: Device) -> bool:
    """Whether `receive` may give a frame: of a device that the system keeps nobody knows before it asks."""
    return dev.kind == TAP or is_pending(dev)


@compiled
def sleep(dev: Device) -> bool:
    """Before poll(2): ask writers to ring the bell.  False: do not sleep, a frame waits already."""
    if dev.steer != 0 and not steer.sleep(dev):
        return False
    if dev.kind == WIRE or dev.kind == LOOPBACK:
        return wire.sleep(dev)
    return True


@compiled
def wake(dev: Device) -> None:
    """After poll(2): writers need not ring."""
    if dev.steer != 0:
        steer.wake(dev)
    if dev.kind == WIRE or dev.kind == LOOPBACK:
        wire.wake(dev)
