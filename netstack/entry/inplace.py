"""Views of a stream's rings: what `recv_view` and `send_view` are made of (tcp/inplace.py).

From a `begin_` that has said more than 0 until its `end_` the thread counts as one inside a call, so the
connection stays where it is, even if another thread closes the socket.
"""
from __future__ import annotations

from .. import drive, handles
from ..endpoint import Endpoint
from ..errors import EBADF, EOPNOTSUPP
from ..machine import at, entered
from ..world import World
from . import streams
from .door import held_call


@held_call
def begin_read(w: World, h: int, ep: Endpoint, n: int, out: int) -> int:
    """The text that can be read now, up to n bytes that stand together: how many, and at `out` their address (i64).
    0 at the end, -EAGAIN, -EBUSY while it is lent already, or -errno.  Nobody else reads until `end_read`."""
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    return streams.begin_read(w, ep, handles.connection(w, ep.index), n, out)


@entered
def end_read(world: int, h: int, n: int) -> int:
    """The first n bytes of the text that was lent are consumed: n.  For a closed handle, too."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = streams.end_read(w, ep, handles.connection(w, ep.index), n)
    drive.leave(w, h, ep)
    return result


@held_call
def begin_write(w: World, h: int, ep: Endpoint, n: int, flags: int, out: int) -> int:
    """Room for text, up to n bytes that stand together: how many, and at `out` their address (i64).
    -EAGAIN, -EBUSY while it is lent already, or -errno.  Nobody else writes until `end_write`."""
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    return streams.begin_write(w, ep, handles.connection(w, ep.index), n, flags, out)


@entered
def end_write(world: int, h: int, n: int, flags: int) -> int:
    """The first n bytes of the room that was lent are to be sent: n, or -errno.  For a closed handle, too: -EBADF."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    is_open = handles.is_open(ep, h)
    result = streams.end_write(w, ep, handles.connection(w, ep.index), n, flags)
    if not is_open and n > 0:
        result = -EBADF
    drive.leave(w, h, ep)
    return result
