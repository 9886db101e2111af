"""TLS on the sockets of a stack: what `ssl.SSLContext.wrap_socket` returns for them.

`SSLSocket` has the methods of `ssl.SSLSocket`, and after `netstack.patch()` it is
that class: `ssl.SSLSocket`, and what contexts wrap sockets in.  Without `patch`:
`wrap(sock, context)`, or `context.sslsocket_class = netstack.tls.SSLSocket`.
Certificates, names, sessions, ALPN and SNI are OpenSSL's business and the
context's; the bytes go through `tlsrecords`.
"""
from __future__ import annotations

import contextlib
import os
import socket as real
import ssl
import struct
import warnings
from errno import EINVAL, ENOTCONN
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import entry
from .description import ours
from .dialing import DEFAULT_TIMEOUT
from .sockbase import Base
from .sockobject import socket
from .tlsrecords import PIECE, Records

if TYPE_CHECKING:
    from .stack import Stack

S = TypeVar("S", bound="SSLSocket")

RESET = struct.pack("ii", 1, 0)     # SO_LINGER: close with a reset
MOST_REST = 16                      # pieces of what nobody can read any more

SystemSSLSocket = ssl.SSLSocket
"""The standard library's, for the system's sockets."""


def _of_the_system() -> Any:
    """SystemSSLSocket._create, which finds its class by the name that `patch` gives to ours: with its own globals."""
    create = SystemSSLSocket._create.__func__           # type: ignore[attr-defined]
    return FunctionType(create.__code__, {**vars(ssl), "SSLSocket": SystemSSLSocket}, create.__name__,
                        create.__defaults__, create.__closure__)


_create_system = _of_the_system()


def _behind(sock: Any) -> Any:
    """The stack's socket behind an object that only stands for one (a program's wrapper); else the object itself."""
    fileno = getattr(sock, "fileno", None)
    if fileno is None or ours(fileno()) is None:
        return sock
    timeout = sock.gettimeout()
    found = socket(fileno=sock.detach())
    found.settimeout(timeout)
    return found


class SSLSocket(socket):
    """A stream socket of a stack with TLS on it; see `ssl.SSLSocket` of the standard library.

    The system's TLS sockets count as instances.
    """

    _context: ssl.SSLContext
    _sslobj: Any                    # of OpenSSL; None: plain text, before or after TLS
    _records: Records
    _session: Any
    _connected: bool
    server_side: bool
    server_hostname: str | None
    do_handshake_on_connect: bool
    suppress_ragged_eofs: bool

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._handle = 0
        raise TypeError(f"{type(self).__name__} does not have a public constructor: SSLContext.wrap_socket makes them")

    @classmethod
    def _create(cls: type[S], sock: Any, server_side: bool = False, do_handshake_on_connect: bool = True,
                suppress_ragged_eofs: bool = True, server_hostname: Any = None, context: Any = None,
                session: Any = None) -> Any:
        """What SSLContext.wrap_socket calls.  A socket of the system becomes one of its TLS sockets."""
        if not isinstance(sock, Base):
            sock = _behind(sock)
        if not isinstance(sock, Base):
            return _create_system(SystemSSLSocket, sock, server_side, do_handshake_on_connect, suppress_ragged_eofs,
                                  server_hostname, context, session)
        if sock.type != real.SOCK_STREAM:
            raise NotImplementedError("only stream sockets are supported")
        if server_side and server_hostname:
            raise ValueError("server_hostname can only be specified in client mode")
        if server_side and session is not None:
            raise ValueError("session can only be specified in client mode")
        if context.check_hostname and not server_hostname:
            raise ValueError("check_hostname requires server_hostname")
        self = object.__new__(cls)
        self._sslobj = None
        self._context = context
        self._session = session
        self.server_side = server_side
        self.server_hostname = context._encode_hostname(server_hostname)
        self.do_handshake_on_connect = do_handshake_on_connect
        self.suppress_ragged_eofs = suppress_ragged_eofs
        self._take_over(cast(socket, sock))
        try:
            self._connected = self._is_connected()
            if self._connected:
                self._begin(server_side)
                if do_handshake_on_connect:
                    if self._patience == 0:
                        raise ValueError("do_handshake_on_connect should not be specified for non-blocking sockets")
                    self.do_handshake()
        except (OSError, ValueError):
            self.close()
            raise
        return self

    def _take_over(self, sock: socket) -> None:
        """The other object is closed; this one has its socket."""
        timeout = sock.gettimeout()
        if not sock._handle:
            raise sock._error(-9)
        self._adopt(sock._description)
        self._own_fd, sock._own_fd = sock._own_fd, -1
        sock._handle = 0
        sock._closed = True
        self.settimeout(timeout)

    def _is_connected(self) -> bool:
        try:
            self.getpeername()
        except OSError as error:
            if error.errno != ENOTCONN:
                raise
        else:
            return True
        try:                # text that came before the connection ended is not TLS: nobody may take it for that
            early = super().recv(1, real.MSG_DONTWAIT)
        except OSError as error:
            if error.errno not in (ENOTCONN, EINVAL):
                raise
            early = b""
        if early:
            refused = ssl.SSLError(ENOTCONN, "Closed before TLS handshake with data in recv buffer.")
            refused.reason = "Closed before TLS handshake with data in recv buffer."
            refused.library = None      # type: ignore[assignment]
            raise refused
        return False

    def _begin(self, server_side: bool) -> None:
        self._records = records = Records()
        self._sslobj = self._context._wrap_bio(records.incoming, records.outgoing,      # type: ignore[attr-defined]
                                               server_side, self.server_hostname, owner=self, session=self._session)

    # Opening

    def do_handshake(self, block: bool = False) -> None:
        """The TLS handshake; `block`: wait for it although the socket does not block."""
        if not self._connected:
            self.getpeername()
        timeout = self.gettimeout()
        try:
            if timeout == 0.0 and block:
                self.settimeout(None)
            self._records.run(self, "handshake", self._sslobj.do_handshake)
        finally:
            if timeout == 0.0 and block:
                self.settimeout(timeout)

    def connect(self, address: Any, /) -> None:
        """Connect, and then the handshake."""
        self._connect_with(address, super().connect)

    def connect_ex(self, address: Any, /) -> int:
        """As `connect`; an error of the network is returned, one of TLS raised."""
        return int(self._connect_with(address, super().connect_ex))

    def _connect_with(self, address: Any, connect: Any) -> Any:
        if self.server_side:
            raise ValueError("can't connect in server-side mode")
        if self._connected or self._sslobj is not None:
            raise ValueError("attempt to connect already-connected SSLSocket!")
        self._begin(False)
        try:
            result = connect(address)
            if not result:
                self._connected = True
                if self.do_handshake_on_connect:
                    self.do_handshake()
        except (OSError, ValueError):
            self._sslobj = None
            raise
        return result

    def accept(self) -> tuple[Any, Any]:
        """Wait for a connection: (a socket for it with TLS, the peer's address)."""
        conn, peer = super().accept()
        made = self._context.wrap_socket(cast(Any, conn), server_side=True,
                                         do_handshake_on_connect=self.do_handshake_on_connect,
                                         suppress_ragged_eofs=self.suppress_ragged_eofs) \
            if SSLSocket in cast(Any, self._context).sslsocket_class.__mro__ else \
            type(self)._create(conn, True, self.do_handshake_on_connect, self.suppress_ragged_eofs, None, self._context)
        return made, peer

    # Text

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Up to `len` bytes, or into `buffer`: how many.  The end: b"", or 0."""
        if self._sslobj is None:
            raise ValueError("Read on closed or unwrapped SSL socket.")
        try:
            if buffer is not None:
                if len > 0 and memoryview(buffer).nbytes:
                    return self._records.read(self, self._sslobj, len, buffer)
                return self._records.run(self, "read", self._sslobj.read, len, buffer)
            if len > 0:
                return self._records.read(self, self._sslobj, len)
            return self._records.run(self, "read", self._sslobj.read, len)
        except ssl.SSLError as error:
            if error.args[0] == ssl.SSL_ERROR_EOF and self.suppress_ragged_eofs:
                return b"" if buffer is None else 0
            raise

    def write(self, data: Any) -> int:
        """Send: how many bytes."""
        if self._sslobj is None:
            raise ValueError("Write on closed or unwrapped SSL socket.")
        return self._records.write(self, self._sslobj.write, data)

    def send(self, data: Any, flags: int = 0, /) -> int:
        """As `write`."""
        if self._sslobj is None:
            return super().send(data, flags)
        self._no_flags(flags, "send")
        return self.write(data)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send everything."""
        if self._sslobj is None:
            super().sendall(data, flags)
            return
        self._no_flags(flags, "sendall")
        done = self.write(data) if data.__class__ is bytes and data else 0
        if done and done == len(data):
            return
        with memoryview(data) as given, given.cast("B") as view:
            while done < len(view):
                done += self.write(view[done:])

    def recv(self, bufsize: int = 1024, flags: int = 0, /) -> bytes:
        """As `read`."""
        if self._sslobj is None:
            return super().recv(bufsize, flags)
        self._no_flags(flags, "recv")
        return cast(bytes, self.read(bufsize))

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """As `read` into a buffer."""
        if self._sslobj is None:
            return super().recv_into(buffer, nbytes or 0, flags)
        self._no_flags(flags, "recv_into")
        if not nbytes:
            with memoryview(buffer) as view:
                nbytes = view.nbytes or 1024
        return int(self.read(nbytes, buffer))

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file; see `socket.sendfile`."""
        if self._sslobj is None:
            return super().sendfile(file, offset, count)
        return self._sendfile_use_send(file, offset, count)

    def _no_flags(self, flags: int, what: str) -> None:
        if flags != 0:
            raise ValueError(f"non-zero flags not allowed in calls to {what}() on {type(self)}")

    def pending(self) -> int:
        """Bytes that are decrypted and not read."""
        return int(self._sslobj.pending()) if self._sslobj is not None else 0

    # Calls that would go past TLS

    def sendto(self, data: Any, *arguments: Any) -> int:
        """ValueError, but before or after TLS."""
        self._plain("sendto")
        return super().sendto(data, *arguments)

    def recvfrom(self, bufsize: int = 1024, flags: int = 0, /) -> tuple[bytes, Any]:
        """ValueError, but before or after TLS."""
        self._plain("recvfrom")
        return super().recvfrom(bufsize, flags)

    def recvfrom_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> Any:
        """ValueError, but before or after TLS."""
        self._plain("recvfrom_into")
        return super().recvfrom_into(buffer, nbytes or 0, flags)

    def _plain(self, what: str) -> None:
        if self._sslobj is not None:
            raise ValueError(f"{what} not allowed on instances of {type(self)}")

    def _never(self, *arguments: Any, **keywords: Any) -> Any:
        raise NotImplementedError(f"not allowed on instances of {type(self)}")

    sendmsg = recvmsg = recvmsg_into = recv_view = send_view = set_handler = sendmmsg = recvmmsg = _never

    def dup(self) -> Any:
        """NotImplementedError: two objects cannot share one TLS connection."""
        raise NotImplementedError(f"Can't dup() {type(self).__name__} instances")

    # The end

    def unwrap(self) -> SSLSocket:
        """End TLS, and wait until the peer does: the socket, whose text is plain from now on."""
        if self._sslobj is None:
            raise ValueError("No SSL wrapper around " + str(self))
        self._records.run(self, "shutdown", self._sslobj.shutdown)
        self._sslobj = None
        return self

    def shutdown(self, how: int, /) -> None:
        """Close one direction or both of the connection; TLS is over."""
        self._sslobj = None
        super().shutdown(how)

    def _real_close(self) -> None:
        mine = self._description if self._handle else None
        if self._sslobj is not None and mine is not None and mine.references == 1 and mine.linger != 0 and (
                not self._records.sending.locked()):        # a thread that waits in write is to hear of the close
            with contextlib.suppress(OSError):
                if entry.available(self._world, self._handle) <= 0 or self._take_the_rest():
                    super().shutdown(real.SHUT_WR)      # FIN first: a ticket that comes now resets nothing for the peer
        self._sslobj = None
        super()._real_close()

    def _take_the_rest(self) -> bool:
        """What is unread makes close a reset, which may overtake what was sent, an alert or the last text.

        For text that the application has not read that is right (RFC 2525 2.17).  Session tickets, and what came
        after an alert of ours, it could not have read.  Whether there was no text.
        """
        self.settimeout(0.0)
        if self._sslobj.version() is not None:
            try:
                if self._records.run(self, "read", self._sslobj.read, 1):
                    self.setsockopt(real.SOL_SOCKET, real.SO_LINGER, RESET)
                    return False
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            except ssl.SSLError:
                pass
        with contextlib.suppress(BlockingIOError):
            for _ in range(MOST_REST):
                if not super().recv(PIECE):
                    break
        return True

    # What was agreed on

    @property
    def context(self) -> ssl.SSLContext:
        """The context; one that is set takes over, as a server's SNI callback does."""
        return self._context

    @context.setter
    def context(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._sslobj.context = context

    @property
    def session(self) -> Any:
        """The session, to be given to another `wrap_socket`."""
        return self._sslobj.session if self._sslobj is not None else None

    @session.setter
    def session(self, session: Any) -> None:
        self._session = session
        if self._sslobj is not None:
            self._sslobj.session = session

    @property
    def session_reused(self) -> bool | None:
        """Whether this connection began with one."""
        return bool(self._sslobj.session_reused) if self._sslobj is not None else None

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The peer's certificate: a dict, empty if it was not checked, or DER; None if there is none."""
        if not self._connected:
            self.getpeername()
        return self._sslobj.getpeercert(binary_form)

    def get_verified_chain(self) -> Any:
        """The chain from the peer's certificate to the root, DER each (Python 3.13)."""
        return [c.public_bytes(2) for c in self._sslobj.get_verified_chain() or ()]

    def get_unverified_chain(self) -> Any:
        """... as the peer sent it."""
        return [c.public_bytes(2) for c in self._sslobj.get_unverified_chain() or ()]

    def selected_npn_protocol(self) -> None:
        """None: nobody has NPN any more."""
        warnings.warn("ssl NPN is deprecated, use ALPN instead", DeprecationWarning, stacklevel=2)

    def selected_alpn_protocol(self) -> str | None:
        """The protocol that both agreed on (RFC 7301)."""
        return cast("str | None", self._asked("selected_alpn_protocol"))

    def cipher(self) -> tuple[str, str, int] | None:
        """(name, version of TLS, secret bits)."""
        return cast("tuple[str, str, int] | None", self._asked("cipher"))

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """What both offered; of a server."""
        return cast("list[tuple[str, str, int]] | None", self._asked("shared_ciphers"))

    def compression(self) -> str | None:
        """The compression, mostly None."""
        return cast("str | None", self._asked("compression"))

    def version(self) -> str | None:
        """The version of TLS, such as "TLSv1.3"."""
        return cast("str | None", self._asked("version"))

    def _asked(self, what: str) -> Any:
        return None if self._sslobj is None else getattr(self._sslobj, what)()

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """Bytes that only this connection has (RFC 5929)."""
        if self._sslobj is not None:
            return cast("bytes | None", self._sslobj.get_channel_binding(cb_type))
        if cb_type not in ssl.CHANNEL_BINDING_TYPES:
            raise ValueError(f"{cb_type} channel binding type not implemented")
        return None

    def verify_client_post_handshake(self) -> None:
        """Ask the client for a certificate now (TLS 1.3)."""
        if self._sslobj is None:
            raise ValueError("No SSL wrapper around " + str(self))
        self._records.run(self, "post-handshake", self._sslobj.verify_client_post_handshake)


SSLSocket.register(SystemSSLSocket)


def wrap(sock: socket, context: ssl.SSLContext, *, server_side: bool = False, do_handshake_on_connect: bool = True,
         suppress_ragged_eofs: bool = True, server_hostname: str | None = None, session: Any = None) -> SSLSocket:
    """TLS on a socket of a stack, as `context.wrap_socket` after `netstack.patch()`: the socket object is used up."""
    made: SSLSocket = SSLSocket._create(sock, server_side, do_handshake_on_connect, suppress_ragged_eofs,
                                        server_hostname, context, session)
    return made


def client_context(ca: str | os.PathLike[str] | bytes | None = None) -> ssl.SSLContext:
    """A client's context, which checks certificates and names against a CA of one's own: a file, a directory, or the
    certificates themselves as bytes (PEM or DER); None: the system's."""
    if ca is None or isinstance(ca, (bytes, bytearray)):
        pem = ca is not None and b"-----BEGIN" in ca
        return ssl.create_default_context(cadata=bytes(ca).decode("ascii") if ca is not None and pem else ca)
    if os.path.isdir(ca):
        return ssl.create_default_context(capath=os.fspath(ca))
    return ssl.create_default_context(cafile=os.fspath(ca))


def connect(stack: Stack, address: tuple[str, int], *, ca: Any = None, context: ssl.SSLContext | None = None,
            server_hostname: str | None = None, alpn: Any = (), timeout: Any = DEFAULT_TIMEOUT,
            source_address: Any = None, session: Any = None) -> SSLSocket:
    """See `Stack.secure_connect`."""
    if context is None:
        context = client_context(ca)
        if alpn:
            context.set_alpn_protocols(list(alpn))
    elif ca is not None or alpn:
        raise ValueError("a context has its own CA and protocols: give either")
    sock = stack.create_connection(address, timeout, source_address)
    try:
        return wrap(sock, context, server_hostname=server_hostname or address[0], session=session)
    except BaseException:
        sock.close()
        raise
