"""Captures: every frame of an interface into a pcapng file, for Wireshark and tcpdump.

draft-ietf-opsawg-pcapng.  Blocks are gathered in memory and written when that is
full, or when asked.  A file that cannot be written ends the capture, counted;
it never harms the traffic.  All numbers are big-endian; readers take either order.
Python's side, which opens the file and describes the interfaces, is `pcapfile`.
"""
from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from ..errors import EAGAIN, EINTR, EIO
from ..machine import Array, compiled, copy, i32, i64, load64, put16, put32, record, store8, u8
from ..machine.libc import write

BUFFER = 256 << 10      # bytes gathered before a write
INTERFACES = 32         # that one file can describe, the stack's numbers 0 .. 31
ENHANCED_PACKET = 6     # block type (4.3)
FIXED = 44              # bytes of that block besides the frame: 28 before, 16 behind
EPB_FLAGS = 2           # option code (4.3)


class Direction(IntEnum):
    """The low bits of epb_flags."""

    INBOUND = 1
    OUTBOUND = 2


@record
class Capture:
    """One capture file being written."""

    on: u8              # 1 while frames are captured
    fd: i32             # the file
    snaplen: i32        # bytes of each frame that are kept, at most
    error: i32          # errno of the write that ended the capture, or 0
    buffer: i64         # address of BUFFER bytes
    used: i64           # bytes in it
    epoch: i64          # what to add to `now` for nanoseconds since 1970
    written: i64        # bytes in the file
    boundary: i64       # ... of which so many are whole blocks
    frames: i64         # frames captured
    bytes: i64          # their bytes
    safe_frames: i64    # ... of which so many are in those whole blocks
    safe_bytes: i64
    dropped: i64        # frames not captured: the file could not be written
    blocks: Annotated[Array[u8], 32]    # by interface: place of its description in the file + 1; 0: not described


@compiled
def flush(cap: Capture) -> None:
    """Write what has been gathered."""
    done = 0
    while done < cap.used:
        n = write(cap.fd, cap.buffer + done, cap.used - done)
        if n == -EINTR:
            continue
        if n == -EAGAIN:                # a pipe whose reader is slow: keep the rest
            break
        if n <= 0:
            cap.on = 0
            cap.error = -n if n < 0 else EIO
            cap.written += done
            cap.used = 0
            cap.dropped += cap.frames - cap.safe_frames
            cap.frames = cap.safe_frames
            cap.bytes = cap.safe_bytes
            return
        done += n
    cap.written += done
    cap.used -= done
    if cap.used == 0:
        cap.boundary = cap.written
        cap.safe_frames = cap.frames
        cap.safe_bytes = cap.bytes
    elif done > 0:
        copy(cap.buffer, cap.buffer + done, cap.used)


@compiled
def _has_room(cap: Capture, n: int) -> bool:
    if cap.used + n > BUFFER:
        flush(cap)
    return cap.on != 0 and cap.used + n <= BUFFER


@compiled
def append(cap: Capture, block: int, n: int) -> bool:
    """Add the n bytes of a block that stands at `block`.  False: no room, or the file cannot be written."""
    if not _has_room(cap, n):
        return False
    copy(cap.buffer + cap.used, block, n)
    cap.used += n
    return True


@compiled
def frame(cap: Capture, interface: int, direction: int, iov: int, parts: int, total: int, now: int) -> None:
    """Add a frame whose parts (address, length: two i64 each) stand at `iov`: an Enhanced Packet Block (4.3)."""
    if cap.on == 0:
        if cap.error != 0:
            cap.dropped += 1
        return
    kept = min(total, cap.snaplen)
    size = FIXED + ((kept + 3) & -4)
    if cap.blocks[interface] == 0 or not _has_room(cap, size):
        cap.dropped += 1
        return
    time = now + cap.epoch
    p = cap.buffer + cap.used
    put32(p, ENHANCED_PACKET)
    put32(p + 4, size)
    put32(p + 8, cap.blocks[interface] - 1)
    put32(p + 12, time >> 32)
    put32(p + 16, time)
    put32(p + 20, kept)
    put32(p + 24, total)
    p += 28
    left = kept
    for i in range(parts):
        n = min(load64(iov + 16 * i + 8), left)
        copy(p, load64(iov + 16 * i), n)
        p += n
        left -= n
    end = cap.buffer + cap.used + size
    while p < end - 16:                             # pad to 32 bits
        store8(p, 0)
        p += 1
    put16(p, EPB_FLAGS)
    put16(p + 2, 4)
    put32(p + 4, direction)
    put32(p + 8, 0)                                 # end of options
    put32(p + 12, size)
    cap.used += size
    cap.frames += 1
    cap.bytes += total
