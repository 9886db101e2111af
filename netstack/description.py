"""Description: an open socket, as the objects see it that share it.

What several socket objects share after `dup`, as descriptors share an open file
description (open(2)): the handle, SO_LINGER and the timeouts of socket(7), and
the descriptor that select, poll and epoll watch.
"""
from __future__ import annotations

import os
import threading
import weakref
from errno import EBADF, EINTR
from typing import TYPE_CHECKING, Any

from . import entry, epolls, pairs
from .endpoint import FULL, POLLERR, POLLHUP, POLLOUT, Kind
from .tcp.calls import LINGER
from .tcp.tcb import State

if TYPE_CHECKING:
    from .sockbase import Base
    from .stack import Stack

SECOND = 1_000_000_000
LINGER_STEP = SECOND // 200     # ns between two looks whether all is acknowledged
UNCONNECTED = POLLOUT | POLLHUP # what a stream says that is connected to nothing, and never was (or disconnected)

OURS: weakref.WeakValueDictionary[int, Description] = weakref.WeakValueDictionary()
"""The sockets behind descriptors that `fileno` gave out, by descriptor."""
DETACHED: dict[int, Description] = {}
"""Of these, those that no object stands for since `detach`, and that keep the socket open."""


def ours(fd: Any) -> Description | None:
    """The socket behind a descriptor, or None.

    One that the program has closed by os.close, and that is another file's now, is a socket's no more.
    """
    description = OURS.get(fd) if isinstance(fd, int) else None
    if description is None or description.is_at(fd):
        return description
    description.lose(fd)
    return None


class Description:
    """An open socket."""

    __slots__ = ("__weakref__", "alone", "corked", "engine_end", "family", "handle", "inode", "kept", "linger", "lock",
                 "protocol", "receive_timeout", "references", "send_timeout", "shared", "stack", "tells_rest", "type",
                 "user_end")

    def __init__(self, stack: Stack, handle: int, family: int, type: int, protocol: int) -> None:
        self.stack = stack
        self.handle = handle
        self.family = family
        self.type = type
        self.protocol = protocol
        self.references = 1         # socket objects, or what several share: a descriptor
        self.linger = -1            # SO_LINGER in seconds, -1: off
        self.receive_timeout = 0    # SO_RCVTIMEO, ns; 0: none
        self.send_timeout = 0       # SO_SNDTIMEO
        self.tells_rest = False     # TCP_INQ
        self.kept: dict[int, Any] = {}          # options that the engine need not know, by level << 16 | name
        self.corked: list[bytes] | None = None  # a Destination, and pieces of a datagram for it (MSG_MORE)
        self.engine_end = -1        # descriptors of the pair behind fileno()
        self.user_end = -1
        self.alone = False          # ... of which there is only the user's yet
        self.inode = 0              # of the user's end
        self.shared: frozenset[int] = frozenset()       # descriptors that more than one object stands for
        self.lock = threading.Lock()

    def descriptor(self, blocking: bool = False) -> int:
        """The descriptor that select, poll and epoll may watch; made when first asked for."""
        with self.lock:
            if self.user_end < 0:
                if self._is_unconnected():
                    self.user_end, self.alone = pairs.lone(), True
                else:
                    ends = pairs.pair()
                    if entry.attach_fd(self.stack._world, self.handle, *ends, 0) < 0:
                        os.close(ends[0])
                        os.close(ends[1])
                        return -1
                    self.engine_end, self.user_end = ends
                self.inode = os.fstat(self.user_end).st_ino
                if blocking:
                    os.set_blocking(self.user_end, True)
            OURS[self.user_end] = self
            fd = self.user_end
        if self.alone:
            self.follow()                   # another thread may have connected it meanwhile
        return fd

    def follow(self) -> None:
        """A call has connected the stream, had it listen, or ended that: the descriptor follows.

        Before a connection it is one lone end of a pair, which a call connects: the file stays.  There is no way
        back: then it is another file under the same number, and the epolls that watch it are told.
        """
        if self.user_end < 0:
            return
        with self.lock:
            if self.handle == 0 or not self.is_at(self.user_end) or self._is_unconnected() == self.alone:
                return
            if not self.alone:
                entry.attach_fd(self.stack._world, self.handle, -1, -1, 0)
                self._replace(pairs.lone())
                self.alone = True
                engine, self.engine_end = self.engine_end, -1
                os.close(engine)            # who waits for the file that was there wakes up
                return
            self.alone = False
            self.engine_end = pairs.join(self.user_end)
            state = FULL
            if self.engine_end < 0:
                self.engine_end, user = pairs.pair()
                self._replace(user)
                state = 0
            entry.attach_fd(self.stack._world, self.handle, self.engine_end, self.user_end, state)

    def _is_unconnected(self) -> bool:
        return self.handle >> 56 == Kind.TCP and entry.poll(
            self.stack._world, self.handle) & ~POLLERR == UNCONNECTED

    def _replace(self, user: int) -> None:
        """Another file for the user's end, under the numbers of the one that was there."""
        os.set_blocking(user, os.get_blocking(self.user_end))
        fds = {fd for fd in (self.user_end, *(fd for fd, other in list(OURS.items()) if other is self))
               if self.is_at(fd)}
        told = epolls.forget(fds)
        self.inode = os.fstat(user).st_ino
        for fd in fds:
            os.dup2(user, fd, inheritable=os.get_inheritable(fd))
        os.close(user)
        epolls.restore(told)

    # Objects and descriptors

    def is_at(self, fd: int) -> bool:
        """Whether a descriptor is (still) this socket's."""
        try:
            return os.fstat(fd).st_ino == self.inode
        except OSError:
            return False

    def lose(self, fd: int) -> None:
        """A descriptor is somebody else's from now on."""
        OURS.pop(fd, None)
        kept = DETACHED.pop(fd, None)
        with self.lock:
            if fd == self.user_end:
                engine, self.engine_end, self.user_end = self.engine_end, -1, -1
                entry.attach_fd(self.stack._world, self.handle, -1, -1, 0)
                if engine >= 0:
                    os.close(engine)
        if kept is not None:
            kept.release()

    def objects(self, fd: int) -> list[Base]:
        """The socket objects that stand for a descriptor."""
        return [sock for sock in self.stack._live_sockets() if sock._own_fd == fd and sock._description is self]

    def share(self, fd: int) -> None:
        """One object more stands for a descriptor.  For one that was detached it is the only one."""
        if DETACHED.pop(fd, None) is None:
            with self.lock:
                self.shared |= {fd}

    def detach(self, fd: int) -> None:
        """An object stands for its descriptor no more; if it was the only one, the descriptor keeps the socket open."""
        for other in list(DETACHED):
            ours(other)                 # those that were closed since
        if fd not in self.shared or not self.objects(fd):
            DETACHED[fd] = self

    def dup(self) -> int:
        """Another descriptor, which no object stands for yet."""
        with self.lock:
            if self.references == 0:
                raise OSError(EBADF, os.strerror(EBADF))
            self.references += 1
        fd = os.dup(self.descriptor())
        OURS[fd] = DETACHED[fd] = self
        return fd

    def close_descriptor(self, fd: int) -> None:
        """Close a descriptor (-1: what an object is without one) for all objects that stand for it."""
        if fd >= 0:
            DETACHED.pop(fd, None)
            if fd in self.shared:
                with self.lock:
                    self.shared -= {fd}
                for sock in self.objects(fd):
                    sock._handle = 0            # EBADF, also when it is closed
            if OURS.get(fd) is self:
                del OURS[fd]
                if fd != self.user_end:
                    os.close(fd)
        self.release()

    def hang_up(self) -> None:
        """The stack is gone: whoever watches the descriptor learns it.  The engine runs no more."""
        with self.lock:
            self.handle = 0
            engine, self.engine_end = self.engine_end, -1
            if self.alone and self.is_at(self.user_end):
                pairs.end(self.user_end)
        if engine >= 0:
            os.close(engine)

    def abandon(self) -> None:
        """In a forked child: only the descriptors are ours."""
        for fd in [fd for fd, other in DETACHED.items() if other is self]:
            del DETACHED[fd]
        for end in (self.engine_end, self.user_end):
            if end >= 0:
                os.close(end)
        self.engine_end = self.user_end = -1
        self.handle = 0

    def release(self) -> None:
        """One reference less; the last one closes."""
        with self.lock:
            self.references -= 1
            if self.references > 0:
                return
            handle, self.handle = self.handle, 0
        world = self.stack._world
        try:
            if handle and self.linger > 0:
                self._wait_for_acknowledgement(world, handle)
        finally:                        # Ctrl-C ends the wait, not more
            if handle:
                entry.close(world, handle)      # the engine forgets the descriptors before they are closed
            engine, user = self.engine_end, self.user_end
            self.engine_end = self.user_end = -1
            if user >= 0:
                OURS.pop(user, None)
            for end in (engine, user):
                if end >= 0:
                    os.close(end)

    def _wait_for_acknowledgement(self, world: int, handle: int) -> None:
        """SO_LINGER: until the peer has acknowledged all that was sent and our FIN, or the time is over (socket(7)).

        As on Linux also if the socket does not block; text that was not read, or comes now, resets at once.
        """
        if entry.shutdown(world, handle, LINGER) != 1:
            return
        deadline = self.stack._now() + self.linger * SECOND
        while entry.state(world, handle) in (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK):
            now = self.stack._now()
            if now >= deadline:
                return
            r = self.stack._wait(world, handle, 0, min(deadline, now + LINGER_STEP))
            if r > 0 or r not in (0, -EINTR):
                return
