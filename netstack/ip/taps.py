"""Taps: frames on their way in and out, kept for a moment for the packet sockets that look at them (packet(7)).

What the link sends and receives is copied into one ring; at the end of the turn
the engine gives it to the sockets.  A ring that is full drops, counted.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine import addressof, arena, at, compiled, i32, i64, load64, record, ring, u8, u16

if TYPE_CHECKING:
    from .net import Net

SIZE = 1 << 20              # bytes of the ring
HEADER = 64                 # bytes in front of each frame
INBOUND, OUTBOUND = 0, 1


@record
class Tapped:
    """What stands in front of a frame in the ring."""

    length: i32
    interface: u8
    direction: u8           # INBOUND, OUTBOUND
    reserved: u16
    time: i64               # when, ns


@compiled
def open(net: Net) -> bool:
    """One more packet socket.  False: there is no memory."""
    if net.taps.data == 0:
        where = arena.allot(net.arena, SIZE)
        if where == 0:
            return False
        net.taps.data = addressof(net.arena) + where - addressof(net.taps)
        net.taps.size = SIZE
    net.tapped += 1
    return True


@compiled
def close(net: Net) -> None:
    """... and one less."""
    net.tapped -= 1
    if net.tapped == 0:
        ring.set_head(net.taps, net.taps.tail)
        arena.release(net.arena, addressof(net.taps) + net.taps.data - addressof(net.arena), SIZE)
        net.taps.data = 0


@compiled
def frame(net: Net, interface: int, direction: int, iov: int, parts: int, total: int, now: int) -> None:
    """Keep a frame whose parts (address, length: two i64 each) stand at `iov`."""
    need = HEADER + ((total + HEADER - 1) & -HEADER)
    r = net.taps
    if need > ring.room(r):
        net.tap_drops += 1
        return
    t = at(Tapped, ring.address(r, r.tail))
    t.length = total
    t.interface = interface
    t.direction = direction
    t.time = now
    position = r.tail + HEADER
    left = total
    for i in range(parts):
        n = min(load64(iov + 16 * i + 8), left)
        ring.place(r, position, load64(iov + 16 * i), n)
        position += n
        left -= n
    ring.set_tail(r, r.tail + need)
