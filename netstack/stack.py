"""Stack: a host of its own.  Interfaces, addresses and routes; sockets; a clock; what happened and how often.

    with netstack.Stack() as stack:
        stack.attach(Tap("tap0"), ip="10.0.0.2/24", gateway="10.0.0.1")
        with stack.create_server(("", 7)) as server:
            conn, peer = server.accept()

On the real clock a background thread keeps timers going while no application
thread waits.  On a VirtualClock there is no thread: `advance`, and calls that
block, make time pass.

`close` ends it: every blocked call, and every call after, is OSError ESHUTDOWN;
devices are closed.  It is done at exit, too.  A stack belongs to the process
that made it: in a forked child its calls are refused with the same error.
"""
from __future__ import annotations

import atexit
import errno
import os
import select as _select
import signal
import socket as real
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from . import clock as virtual
from . import dialing, engine, entry, handlers, views
from . import world as worlds
from .attention import Attention
from .clock import VirtualClock
from .config import Settings
from .description import DETACHED
from .drive import PATIENCE
from .drivers import CaptureFile
from .endpoint import POLLPRI
from .links import Links
from .machine import address_of, addressof
from .resolver import Resolver, functions
from .tcp import algorithms
from .warm import ensure_compiled, to_be_compiled
from .world import Profile

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from ssl import SSLContext

    from . import serving
    from .selector import Selector
    from .sockbase import Base
    from .sockobject import socket as Socket
    from .tls import SSLSocket

POLLNVAL = virtual.POLLNVAL
SECOND = 1_000_000_000
POLL_STEP = 0.002           # s between two looks of `wait_for` on the real clock
AWAKE, SHORTLY = 1.0, 0.001  # s that `close` waits for a thread to leave poll(2), and until it looks again

_alive: weakref.WeakSet[Stack] = weakref.WeakSet()
_exiting = False


class Stack(Links):
    """A TCP/IP stack."""

    def __init__(self, clock: VirtualClock | None = None, *, profile: Profile | None = None,
                 settings: Mapping[str, Any] | None = None, name: str | None = None, seed: int | None = None,
                 nameservers: Iterable[str | tuple[str, int]] = (), search: Iterable[str] = (),
                 hosts: str | os.PathLike[str] | Mapping[str, str | list[str]] | None = None) -> None:
        """`clock`: None is the real one.  `profile`: sizes of the tables.  `settings`: sysctl names and values
        (netstack.config).  `seed`: what everything random comes from; the system's, or the virtual clock's.
        `nameservers`: their addresses; `search`: domains; `hosts`: names and their addresses, or the path of a file
        like /etc/hosts (netstack.resolver).  ValueError for what is no address."""
        self._closed = True             # until it is made
        self.clock = virtual.check(clock)
        self.name = name or "stack"
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None
        self._lifetime = threading.Lock()
        self._interfaces = {}
        self._names = {}
        self._agents = {}
        self._told = [], []
        self._sockets: dict[int, weakref.ref[Base]] = {}    # by id
        self._handlers = handlers.Table()
        self._capture: CaptureFile | None = None
        if seed is None and self.clock is not None:
            seed = self.clock.seed()
        self._record, self._memory = worlds.create(
            profile, seed=seed, virtual=self.clock is not None, start=self.clock.now if self.clock else 0)
        ensure_compiled()               # progress on stderr, if the compiler has to run
        engine.set_units(self._record)
        self._record.main_thread = threading.main_thread().ident or 0
        if not to_be_compiled():
            self._record.patience = PATIENCE
        self._attention = Attention(self._record, self._names)
        self._world: int = addressof(self._record)
        self._net = self._record.net
        self._tcp = self._record.tcp
        self._bell = -1
        if self.clock is None:
            self._bell = self._record.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._wait: Callable[[int, int, int, int], int] = entry.wait
            self._now: Callable[[], int] = time.monotonic_ns
        else:
            self._wait = self.clock.wait
            self._now = lambda: clock.now       # type: ignore[union-attr]
            self.clock.join(self)
        self._settings = Settings({"net": self._net.settings, "tcp": self._tcp.settings,
                                   "udp": self._record.datagrams}, self._guard, self._know)
        self._closed = False
        try:
            self.resolver = Resolver(self, nameservers, search, hosts)
            for key, value in (settings or {}).items():
                self._settings[key] = value
            self._open_loopback()
        except BaseException:
            self.close()
            raise
        _alive.add(self)
        if self._record.units.receive != address_of(engine.receive_unit):
            self.change_over()          # the image came while this was made

    def __repr__(self) -> str:
        state = "closed" if self._closed else ", ".join(i.name for i in self._interfaces.values())
        return f"<netstack.Stack {self.name!r}: {state}>"

    def _know(self, algorithm: int) -> None:
        """Have a congestion control in the world's table; one that was registered after this stack was made is not."""
        if self._tcp.algorithms[algorithm].known == 0:
            with self._guard():
                algorithms.install(self._tcp, algorithm)

    # Life

    def change_over(self) -> None:
        """The engine is compiled now (`warm.change_over`)."""
        with self._guard():
            engine.set_units(self._record)
            self._record.patience = PATIENCE
            self._net.attention = 1         # the thread comes back to Python, and goes into the new form
        if self.clock is None:
            self._wait = entry.wait
    @property
    def closed(self) -> bool:
        """Whether it is over (or belongs to the parent of this process)."""
        return self._closed or self._pid != os.getpid()

    def start(self) -> None:
        """Start the background thread; done by the first `attach` or socket.  Nothing to do on a virtual clock."""
        self._check()
        if self.clock is not None or self._thread is not None:
            return
        with self._lifetime:
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=_run, args=(self._world, self._memory, self._attention), daemon=True,
                                          name=f"netstack {self.name}")
                thread.netstack = True          # type: ignore[attr-defined]
                with _signals_blocked():        # the thread inherits it: signals go to the application's threads
                    thread.start()
                self._thread = thread

    def close(self) -> None:
        """End every blocked call, the threads, the capture and the devices.  Twice does no harm."""
        if not self.closed:
            for agent in list(self._agents.values()):       # they may still have something to say
                agent.close(why=errno.ESHUTDOWN)
        with self._lifetime:
            if self._closed:
                return
            self._closed = True
        if self._pid != os.getpid():
            return
        if self.clock is not None:
            self.clock.leave(self)
        entry.stop(self._world)
        if self._thread is not None and self._thread is not threading.current_thread():
            while self._thread.is_alive():
                os.eventfd_write(self._bell, 1)     # it may have been on its way to sleep
                self._thread.join(0.05)
        deadline = time.monotonic() + AWAKE         # not for ever: what is interpreted an exception may end anywhere
        while self._record.sleeping and time.monotonic() < deadline:
            os.eventfd_write(self._bell, 1)         # who drives looks at a device once more when poll(2) ends
            time.sleep(SHORTLY)
        for sock in self._live_sockets():
            if sock._handle:
                sock._handle = STOPPED
                sock._description.hang_up()
        for description in list(DETACHED.values()):
            if description.stack is self:
                description.hang_up()
        if self._capture is not None:
            with suppress(OSError):
                self._capture.close()
            self._capture = None
        with self._guard():
            for interface in list(self._interfaces.values()):
                interface.driver.close()
            self._interfaces.clear()
        if self._bell >= 0:
            self._record.bell = -1
            os.close(self._bell)
        _alive.discard(self)

    def __enter__(self) -> Stack:
        self._check()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and self._pid == os.getpid() and not sys.is_finalizing():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

    def _check(self) -> None:
        """Refuse what a closed stack cannot do."""
        why = self._why_not()
        if why is not None:
            raise why

    def _why_not(self) -> OSError | None:
        if self._pid != os.getpid():
            return OSError(errno.ESHUTDOWN, "this stack belongs to the parent process: a forked child cannot use it")
        if self._closed:
            while _exiting and threading.current_thread().daemon:
                time.sleep(60)      # as in a system call: a daemon thread does not outlive the interpreter
            return OSError(errno.ESHUTDOWN, "the stack is closed")
        return None

    def _live_sockets(self) -> list[Base]:
        for _ in range(100):
            with suppress(RuntimeError):        # another thread opened or closed one meanwhile
                return [sock for known in list(self._sockets.values()) if (sock := known()) is not None]
        return []

    def _abandon(self) -> None:
        """In a forked child: the engine, its devices and threads are the parent's."""
        self._lifetime = threading.Lock()
        self._thread = None
        for agent in self._agents.values():
            agent.abandon()
        self._agents.clear()
        for sock in self._live_sockets():
            sock._handle = 0
            sock._own_fd = -1
            sock._description.abandon()
        for description in list(DETACHED.values()):
            if description.stack is self:
                description.abandon()

    # Time

    def advance(self, seconds: float | None = None, *, until: float | None = None) -> None:
        """Let virtual time pass: so many seconds, or until so many seconds after the clock was made."""
        if self.clock is None:
            raise ValueError("this stack lives on the real clock: only a VirtualClock can be advanced")
        self._check()
        self.clock.advance(seconds, until=until)

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = 5.0) -> bool:
        """Wait until `predicate()` is true, at most `timeout` seconds of the stack's clock: whether it is."""
        if self.clock is not None:
            return self.clock.wait_until(lambda: bool(predicate()), timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not predicate():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(POLL_STEP)
        return True

    # Sockets

    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> Socket:
        """A socket on this stack; AF_INET, SOCK_STREAM by default."""
        from .sockobject import socket as Socket

        self.start()
        return Socket._on(self, family, type, proto)

    def create_server(self, address: Any, *, family: int = real.AF_INET, backlog: int | None = None,
                      reuse_port: bool = False, dualstack_ipv6: bool = False) -> Socket:
        """A listening TCP socket; see `socket.create_server`."""
        return dialing.create_server(self.socket, address, family, backlog, reuse_port, dualstack_ipv6)

    def create_connection(self, address: tuple[Any, Any], timeout: Any = dialing.DEFAULT_TIMEOUT,
                          source_address: Any = None, *, all_errors: bool = False) -> Socket:
        """A TCP connection to (host, port); see `socket.create_connection`."""
        return dialing.create_connection(self.socket, self.getaddrinfo, address, timeout, source_address, all_errors)

    def secure_connect(self, address: tuple[str, int], *, ca: Any = None, context: SSLContext | None = None,
                       server_hostname: str | None = None, alpn: Iterable[str] = (),
                       timeout: Any = dialing.DEFAULT_TIMEOUT, source_address: Any = None,
                       session: Any = None) -> SSLSocket:
        """A TLS connection to (host, port): the certificate is checked, and that it is the host's.

        `ca`: whose certificates are good, a file, a directory or bytes (PEM or DER); None: the system's list.
        `context`: an ssl.SSLContext instead, with all that it can say.  `server_hostname`: the name in the
        certificate, if not the host.  `alpn`: protocols (RFC 7301).  Raises ssl.SSLCertVerificationError, OSError.
        """
        from . import tls

        return tls.connect(self, address, ca=ca, context=context, server_hostname=server_hostname, alpn=alpn,
                           timeout=timeout, source_address=source_address, session=session)

    async def start_server(self, handler: serving.Handler | None, host: str | None, port: int, *,
                           max_connections: int | None = None, when_full: str = "wait",
                           idle_timeout: float | None = None, keepalive: serving.KeepAlive = None,
                           ssl: SSLContext | None = None, **more: Any) -> serving.Server:
        """A server on asyncio, without `patch`: `handler(reader, writer)` for each connection (asyncio.start_server).

        `protocol=`: a factory of asyncio protocols instead of a handler.  `host` None: all addresses, both families.
        `max_connections`: open at the same time; those past it stay unaccepted ("wait") or are reset ("reset",
        `when_full`).  `idle_timeout`: seconds without a byte either way after which a connection is ended.
        `keepalive`: True, or (seconds of silence, between probes, probes).  Also `ssl_handshake_timeout`, `backlog`,
        `reuse_port`, `limit`, `start_serving`.
        """
        from . import serving

        return await serving.start_server(self, handler, host, port, max_connections=max_connections,
                                          when_full=when_full, idle_timeout=idle_timeout, keepalive=keepalive,
                                          ssl=ssl, **more)

    async def open_connection(self, host: str, port: int, *, timeout: float | None = None,
                              keepalive: serving.KeepAlive = None, ssl: SSLContext | bool | None = None,
                              server_hostname: str | None = None, limit: int = 1 << 16
                              ) -> tuple[StreamReader, StreamWriter]:
        """A connection on asyncio, without `patch`: (reader, writer), as asyncio.open_connection gives them.

        `timeout`: seconds for all of it, TLS included (TimeoutError).
        """
        from . import serving

        return await serving.open_connection(self, host, port, timeout=timeout, keepalive=keepalive, ssl=ssl,
                                             server_hostname=server_hostname, limit=limit)

    def getaddrinfo(self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0,
                    flags: int = 0) -> list[Any]:
        """Names and services to socket addresses, by this stack's resolver; see `socket.getaddrinfo`."""
        return functions.getaddrinfo(self, host, port, family, type, proto, flags)

    def select(self, rlist: Iterable[Any], wlist: Iterable[Any], xlist: Iterable[Any],
               timeout: float | None = None) -> tuple[list[Any], list[Any], list[Any]]:
        """As `select.select`; on a virtual clock for this clock's sockets only, and its time passes."""
        if self.clock is None:
            return _select.select(rlist, wlist, xlist, timeout)
        wanted = [(list(objects), bits) for objects, bits in (
            (rlist, views.READABLE), (wlist, views.WRITABLE), (xlist, POLLPRI))]
        ready: list[list[Any]] = [[], [], []]

        def look() -> bool:
            for i, (objects, bits) in enumerate(wanted):
                ready[i] = [s for s in objects if _readiness(s) & bits]
            return any(ready)

        self.clock.wait_until(look, timeout)
        return ready[0], ready[1], ready[2]

    def selector(self) -> Selector:
        """A selector for this stack's sockets (`netstack.selector`): quicker than any that watches descriptors."""
        from .selector import Selector

        self.start()
        return Selector(self)

    # What happened

    @property
    def settings(self) -> Settings:
        """Settings by Linux's sysctl names."""
        return self._settings

    def stats(self) -> dict[str, int]:
        """Every counter by name, such as "tcp.retrans_segs" or "tap0.rx_packets"."""
        found = views.counters(self._record)
        for interface in self.interfaces:
            found.update({f"{interface.name}.{name}": n for name, n in interface.counters.items()})
        return found

    def handlers(self) -> dict[str, dict[str, int]]:
        """What the handlers of this stack's sockets have done, by their names: "calls", "bytes_in" ...

        docs/handlers.md says what each counts.
        """
        return self._handlers.counters(self)

    def drops(self) -> dict[str, int]:
        """Packets dropped, by reason (netstack.errors.Drop): those that happened."""
        return views.drops(self._net)

    def connections(self) -> list[views.Connection]:
        """Every TCP, UDP and ping socket of the stack, like ss(8)."""
        with self._guard():
            return views.connections(self._record)

    def capture(self, path: str | os.PathLike[str] | int | None, *, snaplen: int = 0) -> CaptureFile | None:
        """Write every frame to a pcapng file (a path, or a descriptor) from now on; None: stop.

        The object returned can be flushed, and closed to stop.
        """
        self._check()
        if self._capture is not None:
            capture, self._capture = self._capture, None
            capture.close()
        if path is None:
            return None
        epoch = None if self.clock is None else time.time_ns() - self.clock.now
        capture = CaptureFile(path, snaplen=snaplen, epoch=epoch)
        capture.guard = self._guard
        with self._guard():
            capture.open(self._net.capture)
        for interface in self.interfaces:
            capture.add_interface(interface.index, interface.name, mac=interface.driver.mac)
        self._capture = capture
        return capture


STOPPED = 1             # a handle that is none, and not 0, which is a closed socket's


def _run(world: int, memory: Any, attention: Attention) -> None:
    """The background thread.  It holds the world's memory, not the Stack, which may be forgotten."""
    while entry.background(world) == -errno.EINTR:
        attention.look()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _readiness(sock: Any) -> int:
    r = entry.poll(sock._world, sock._handle)
    if r & POLLNVAL:
        raise sock._error(-errno.EBADF)
    return int(r)


def alive() -> list[Stack]:
    """The stacks of this process that are open."""
    return [stack for stack in list(_alive) if not stack.closed]


@atexit.register
def _close_all() -> None:
    """At exit: devices are given back while Python still works.  Only daemon threads are left now."""
    global _exiting
    _exiting = True
    for stack in list(_alive):
        stack.close()


def _after_fork() -> None:
    from . import choice

    for stack in list(_alive):
        stack._abandon()
    _alive.clear()
    choice._forget_after_fork()


os.register_at_fork(after_in_child=_after_fork)

