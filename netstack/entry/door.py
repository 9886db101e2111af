"""What every call on a socket begins with, and how integers become records.

`@call`: Python calls `listen(world, h, backlog)`; the function with that name takes
the World, the handle and the Endpoint, and only runs when the stack has not stopped
and the handle is still somebody's.  `@held_call`: the same, and the endpoint is not
freed before the call is over, whatever other threads do: for those that work on
it without owning the world.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from .. import drive, handles
from ..endpoint import Endpoint, enter_call
from ..errors import EBADF, ESHUTDOWN
from ..machine import at, compiled
from ..machine.door import door
from ..world import World

P = ParamSpec("P")

CALL = """
def NAME(world, hARGUMENTS):
    w = at(World, world)
    ep = endpoint_of(w, h)
    result = checked(w, h, ep)
    if result == 0:
        result = body(w, h, epARGUMENTS)
    return result
"""

HELD_CALL = """
def NAME(world, hARGUMENTS):
    w = at(World, world)
    ep = endpoint_of(w, h)
    enter_call(ep)
    result = checked(w, h, ep)
    if result == 0:
        result = body(w, h, epARGUMENTS)
    leave(w, h, ep)
    return result
"""


@compiled
def checked(w: World, h: int, ep: Endpoint) -> int:
    """0 if a call on this handle may go on, or -errno."""
    if w.stopped:
        return -ESHUTDOWN
    return 0 if handles.is_open(ep, h) else -EBADF


def call(function: Callable[Concatenate[World, int, Endpoint, P], int]) -> Callable[Concatenate[int, int, P], int]:
    """See above."""
    return _front(function, CALL)


def held_call(function: Callable[Concatenate[World, int, Endpoint, P], int]) -> Callable[Concatenate[int, int, P], int]:
    """See above."""
    return _front(function, HELD_CALL)


def _front(function: Callable[Concatenate[World, int, Endpoint, P], int],
           text: str) -> Callable[Concatenate[int, int, P], int]:
    made: Callable[Concatenate[int, int, P], int] = door(
        function, 3, text, at=at, World=World, endpoint_of=handles.endpoint_of, checked=checked,
        enter_call=enter_call, leave=drive.leave)
    return made
