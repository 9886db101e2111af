"""Memory: how much the buffers of all connections may take, and when they are to take less.

tcp_mem of Linux's ip-sysctl: three numbers, kept in bytes here.  Above the second there is pressure,
until no more than the first is taken: buffers do not grow, windows do not open further, what is
empty goes back, and nothing more is handed out for sending.  Above the third only text in order
is taken, for connections that have nothing else to read.  A window that was offered stays offered.

Long before, a connection that is idle keeps nothing: above WARM a ring that is empty goes back at once, and what comes
next gets a block that was in use a moment ago.  So 100,000 connections that take turns share a few blocks.
"""
from __future__ import annotations

from ..machine import compiled, i64, record, u8

PAGE = 4096     # of tcp_mem
WARM = 4 << 20  # bytes that all connections together may keep for what comes next


@record
class Memory:
    """Of all connections together."""

    used: i64           # bytes of buffers that they have
    peak: i64
    pressures: i64      # TCPMemoryPressures: how often it began
    pressure: u8


@compiled
def may_take(m: Memory, n: int, most: int) -> bool:
    """Whether n bytes more are allowed."""
    return m.used + n <= most


@compiled
def is_shared(m: Memory) -> bool:
    """Whether a ring that is empty goes back: many connections have one, or there is pressure."""
    return m.used > WARM or m.pressure != 0


@compiled
def press(m: Memory) -> None:
    """There is pressure (tcp_enter_memory_pressure)."""
    if m.pressure == 0:
        m.pressure = 1
        m.pressures += 1


@compiled
def take(m: Memory, n: int, pressure: int) -> None:
    """n bytes were handed out."""
    m.used += n
    m.peak = max(m.peak, m.used)
    if m.used > pressure:
        press(m)


@compiled
def give(m: Memory, n: int, low: int) -> None:
    """n bytes have come back."""
    m.used -= n
    if m.used <= low:
        m.pressure = 0
