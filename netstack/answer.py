"""What a handler may do with its Exchange: look, answer, consume, end.

    @compiled
    def echo(x: Exchange) -> None:
        consume(x, send_back(x, 0, x.length))

Every function here checks what it is given against the bytes that there are and the
room that there is: a position, a length or a number that makes no sense is cut, and
counted in `Handler.clamped`.  docs/handlers.md is the description.
"""
from __future__ import annotations

from .exchange import Call, Exchange, Wish
from .machine import addressof, at, compiled, invoke2, load8, ring, store8
from .machine.ring import Ring

# ---- looking ---------------------------------------------------------------------

@compiled
def byte_at(x: Exchange, position: int) -> int:
    """The byte at a position of what has come; -1 beyond its end."""
    c = at(Call, addressof(x))
    if position < 0 or position >= c.length:
        return -1
    return load8(ring.address(at(Ring, c.rcv), c.head + position))


@compiled
def number_at(x: Exchange, position: int, n: int) -> int:
    """n bytes (1 to 7) at a position of what has come as a number, network order; -1 if they are not all there."""
    c = at(Call, addressof(x))
    if position < 0 or not 1 <= n <= 7 or n > c.length - position:
        return -1
    r = at(Ring, c.rcv)
    value = 0
    for i in range(n):
        value = (value << 8) | load8(ring.address(r, c.head + position + i))
    return value


@compiled
def find(x: Exchange, byte: int, start: int) -> int:
    """The first position from `start` on where a byte stands in what has come; -1: nowhere."""
    c = at(Call, addressof(x))
    r = at(Ring, c.rcv)
    n = c.length
    position = max(start, 0)
    while position < n:
        if load8(ring.address(r, c.head + position)) == byte:
            return position
        position += 1
    return -1


# ---- answering --------------------------------------------------------------------

@compiled
def send_back(x: Exchange, position: int, n: int) -> int:
    """Answer with n bytes of what has come; how many were taken (fewer when there is no room)."""
    c = at(Call, addressof(x))
    n = _within(c, position, n, c.length)
    count = _reserve(c, n)
    left = count
    source = at(Ring, c.rcv)
    position += c.head
    while left > 0:
        part = ring.contiguous(source, position, left)
        ring.place(at(Ring, c.snd), c.tail, ring.address(source, position), part)
        c.tail += part
        position += part
        left -= part
    return count


@compiled
def send_text(x: Exchange, position: int, n: int) -> int:
    """Answer with n bytes of the text that was given with the handler; how many were taken."""
    c = at(Call, addressof(x))
    n = _within(c, position, n, c.text_length)
    count = _reserve(c, n)
    if count > 0:
        ring.place(at(Ring, c.snd), c.tail, c.text + position, count)
        c.tail += count
    return count


@compiled
def send_number(x: Exchange, value: int, n: int) -> int:
    """Answer with a number in n bytes (1 to 8), network order: n, or 0 when there is no room for all of them."""
    c = at(Call, addressof(x))
    if not 1 <= n <= 8:
        c.clamped += 1
        return 0
    if _reserve_all(c, n) == 0:
        return 0
    r = at(Ring, c.snd)
    for i in range(n):
        store8(ring.address(r, c.tail), value >> (8 * (n - 1 - i)))
        c.tail += 1
    return n


@compiled
def send_decimal(x: Exchange, value: int) -> int:
    """Answer with a number that is not negative as decimal digits: how many, or 0 when there is no room for all."""
    c = at(Call, addressof(x))
    if value < 0:
        c.clamped += 1
        return 0
    power = 1
    n = 1
    while n < 19 and value // power >= 10:
        power *= 10
        n += 1
    if _reserve_all(c, n) == 0:
        return 0
    r = at(Ring, c.snd)
    for _ in range(n):
        store8(ring.address(r, c.tail), 48 + value // power % 10)
        c.tail += 1
        power //= 10
    return n


@compiled
def send_datagram(x: Exchange) -> int:
    """UDP: send what was put into the answer (nothing: an empty datagram) to the peer, and begin another one.

    Its length, or -errno.  At the end of a call it happens by itself if there is something.  TCP: 0.
    """
    c = at(Call, addressof(x))
    return invoke2(c.out, addressof(c), 0) if c.out != 0 else 0


@compiled
def has_room(x: Exchange, n: int) -> bool:
    """Whether n bytes can be sent now.  If not, the handler is called again when there is more room."""
    c = at(Call, addressof(x))
    return _make_ready(c, max(n, 0)) >= n


@compiled
def _within(c: Call, position: int, n: int, length: int) -> int:
    """n, cut to what there is from a position on."""
    if position < 0 or position > length or n < 0:
        c.clamped += 1
        return 0
    if n > length - position:
        c.clamped += 1
        return length - position
    return n


@compiled
def _make_ready(c: Call, n: int) -> int:
    """How many of n bytes can be put behind the answer."""
    wanted = min(n, c.room)
    if wanted > c.ready and c.more != 0:
        invoke2(c.more, addressof(c), wanted)
    ready = max(min(wanted, c.ready, c.room), 0)
    if ready < n:
        c.refused = 1
    return ready


@compiled
def _take(c: Call, n: int) -> None:
    """n bytes are put behind the answer."""
    c.ready -= n
    c.room -= n
    c.put += n
    c.x.room = c.room


@compiled
def _reserve(c: Call, n: int) -> int:
    """Room for up to n bytes behind the answer."""
    count = _make_ready(c, n)
    _take(c, count)
    return count


@compiled
def _reserve_all(c: Call, n: int) -> int:
    """... for n bytes or none."""
    if _make_ready(c, n) < n:
        return 0
    _take(c, n)
    return n


# ---- the rest ---------------------------------------------------------------------

@compiled
def consume(x: Exchange, n: int) -> int:
    """n bytes more of what has come are done with: they do not come again.  How many there were."""
    c = at(Call, addressof(x))
    left = c.length - c.consumed
    if n < 0 or n > left:
        c.clamped += 1
        n = left if n > 0 else 0
    c.consumed += n
    return n


@compiled
def wake(x: Exchange, when: int) -> None:
    """TCP: call again (TIMER) at a time, ns; 0: no more."""
    at(Call, addressof(x)).wake_at = max(when, 0)


@compiled
def end(x: Exchange) -> None:
    """TCP: nothing more will be sent; what was is, and then FIN.  What comes is still shown."""
    c = at(Call, addressof(x))
    if c.wish < Wish.END:
        c.wish = Wish.END


@compiled
def close(x: Exchange) -> None:
    """TCP: the connection is done with.  What was sent arrives; what was not consumed is lost, and the peer is told."""
    c = at(Call, addressof(x))
    if c.wish < Wish.CLOSE:
        c.wish = Wish.CLOSE


@compiled
def abort(x: Exchange) -> None:
    """TCP: reset the connection."""
    at(Call, addressof(x)).wish = Wish.ABORT
