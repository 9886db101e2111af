"""Selector: `selectors` for the sockets of a stack, without descriptors and their system calls.

    selector = stack.selector()
    selector.register(server, selectors.EVENT_READ, accept)
    while True:
        for key, events in selector.select():
            key.data(key.fileobj)

The methods and what they mean are those of `selectors.BaseSelector`; level-
triggered.  The thread in `select` runs the engine meanwhile, and one turn serves
everything that has become ready.  On a virtual clock its time passes.
"""
from __future__ import annotations

import os
import selectors
from array import array
from collections.abc import Iterator, Mapping
from errno import EBUSY, EINTR
from selectors import EVENT_READ, EVENT_WRITE, SelectorKey
from typing import TYPE_CHECKING, Any

from . import entry
from .clock import NEVER
from .endpoint import POLLIN, Kind
from .sockbase import AF_INET, Base

if TYPE_CHECKING:
    from .stack import Stack

SECOND = 1_000_000_000
ROOM = 1024             # sockets that one `select` tells of at most; the others come next

_select = entry.select


class Selector(selectors.BaseSelector):
    """See the module.  A socket is in one such selector at a time (else OSError, EBUSY)."""

    def __init__(self, stack: Stack) -> None:
        stack._check()
        self._stack = stack
        self._world = stack._world
        self._keys: dict[int, SelectorKey] = {}
        self._handle = entry.open(self._world, int(Kind.SELECTOR), AF_INET, 0)
        if self._handle < 0:
            raise OSError(-self._handle, os.strerror(-self._handle))
        self._out = array("q", bytes(16 * ROOM))
        self._address = self._out.buffer_info()[0]

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Watch a socket of this stack for EVENT_READ, EVENT_WRITE or both.  `key.fd` is its handle: no descriptor.

        ValueError: no open socket of this stack, or no such events.  KeyError: watched already.
        """
        if not events or events & ~(EVENT_READ | EVENT_WRITE):
            raise ValueError(f"Invalid events: {events!r}")
        handle = self._handle_of(fileobj)
        if handle in self._keys:
            raise KeyError(f"{fileobj!r} is already registered")
        self._watch(handle, events)
        key = self._keys[handle] = SelectorKey(fileobj, handle, events, data)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        """Watch it no longer.  KeyError: it was not watched."""
        key = self._key(fileobj)
        del self._keys[key.fd]
        entry.watch_for(self._world, self._handle, key.fd, 0)       # one that is closed is watched no longer anyway
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Watch it for other events, or with other data.  KeyError: it was not watched."""
        if not events or events & ~(EVENT_READ | EVENT_WRITE):
            raise ValueError(f"Invalid events: {events!r}")
        key = self._key(fileobj)
        if events != key.events:
            self._watch(key.fd, events)
        key = self._keys[key.fd] = key._replace(events=events, data=data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Wait until sockets are ready, at most `timeout` seconds (None: for ever; 0 or less: a look).

        [(key, events)]; empty when the time is over, or `wakeup` was called.
        """
        stack = self._stack
        deadline = NEVER if timeout is None else stack._now() + max(0, int(timeout * SECOND))
        if stack.clock is None:
            n = _select(self._world, self._handle, self._address, ROOM, deadline)
            while n == -EINTR:          # Python runs its signal handlers
                n = _select(self._world, self._handle, self._address, ROOM, deadline)
        else:
            n = self._select_virtual(deadline)
        if n < 0:
            raise self._error(n)
        if n == 1:
            key = self._keys.get(self._out[0])
            return [(key, self._out[1])] if key is not None else []
        found = []
        values = iter(self._out[:2 * n].tolist())
        keys = self._keys
        for handle, events in zip(values, values, strict=True):       # two at a time
            key = keys.get(handle)
            if key is not None:
                found.append((key, events))
        return found

    def _select_virtual(self, deadline: int) -> int:
        while True:
            n = int(_select(self._world, self._handle, self._address, ROOM, 0))
            if n != 0:
                return n
            r = self._stack._wait(self._world, self._handle, POLLIN, deadline)
            if r <= 0:
                return r
            n = int(_select(self._world, self._handle, self._address, ROOM, 0))
            if n != 0 or self._stack._now() >= deadline:
                return n

    def wakeup(self) -> None:
        """Have `select` return at once: in the thread that waits, or at its next call.  From any thread."""
        r = entry.wakeup(self._world, self._handle)
        if r < 0:
            raise self._error(r)

    def close(self) -> None:
        """Watch nothing any more.  The sockets stay open."""
        handle, self._handle = self._handle, 0
        if handle:
            for watched in self._keys:
                entry.watch_for(self._world, handle, watched, 0)
            self._keys.clear()
            entry.close(self._world, handle)

    def get_map(self) -> Mapping[Any, SelectorKey]:
        """What is watched: socket to SelectorKey; as `selectors` has it, iterating gives `key.fd`."""
        return _Map(self)

    def get_key(self, fileobj: Any) -> SelectorKey:
        """The SelectorKey of a socket.  KeyError: it is not watched."""
        return self._key(fileobj)

    def _handle_of(self, fileobj: Any) -> int:
        if not isinstance(fileobj, Base) or fileobj._stack is not self._stack or not fileobj._handle:
            raise ValueError(f"not an open socket of this stack: {fileobj!r}")
        return fileobj._handle

    def _key(self, fileobj: Any) -> SelectorKey:
        key = self._keys.get(getattr(fileobj, "_handle", fileobj))
        if key is None:                 # closed meanwhile, perhaps
            key = next((k for k in self._keys.values() if k.fileobj is fileobj), None)
        if key is None:
            raise KeyError(f"{fileobj!r} is not registered")
        return key

    def _watch(self, handle: int, events: int) -> None:
        r = entry.watch_for(self._world, self._handle, handle, events)
        if r == -EBUSY:
            raise OSError(EBUSY, "another selector watches this socket")
        if r < 0:
            raise self._error(r)

    def _error(self, code: int) -> OSError:
        return self._stack._why_not() or OSError(-code, os.strerror(-code))


class _Map(Mapping[Any, SelectorKey]):
    def __init__(self, selector: Selector) -> None:
        self._selector = selector

    def __len__(self) -> int:
        return len(self._selector._keys)

    def __getitem__(self, fileobj: Any) -> SelectorKey:
        return self._selector._key(fileobj)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._selector._keys)
