"""Sending and receiving: the methods that move bytes.

Bytes are never copied here: `recv` makes the bytes object that it returns and
has the engine fill it, `send` passes the address of what it was given.
"""
from __future__ import annotations

import mmap
import os
import socket as real
import stat
import struct
import sys
from errno import EAGAIN, EBADF, EDESTADDRREQ, EINPROGRESS, EMSGSIZE
from operator import index as to_int
from typing import Any

from . import ancillary, entry, extensions, ipoptions, names
from .buffers import BYTES, locate, locate_writable, new_bytes
from .datagram import MSG_OPTIONS, SIX
from .endpoint import POLLIN, POLLOUT, POLLRDHUP, Kind
from .inplace import RecvView, SendView
from .messages import Messages
from .sockbase import MSG_DONTWAIT, NEVER, Base, c_int
from .udp import MAX_DATAGRAM, MAX_DATAGRAM6

MSG_PEEK = int(real.MSG_PEEK)
MSG_WAITALL = int(real.MSG_WAITALL)
MSG_TRUNC = int(real.MSG_TRUNC)
MSG_ERRQUEUE = 0x2000
MSG_MORE = int(real.MSG_MORE)
MSG_OOB = int(real.MSG_OOB)
MSG_CMSG_CLOEXEC = 0x4000_0000
AF_INET = int(real.AF_INET)
IPPROTO_TCP = int(real.IPPROTO_TCP)
TCP_CM_INQ = 36
UDP_CORKED = int(real.IPPROTO_UDP) << 16 | 1
MSG_FASTOPEN = entry.MSG_FASTOPEN
SO_ERROR = int(real.SOL_SOCKET) << 16 | int(real.SO_ERROR)
SMALL = 8192                # up to here `recv` makes room without asking how much there is
DATAGRAM = 65536            # more than any datagram
NOT_OURS = ~(MSG_WAITALL | MSG_OPTIONS)   # flags that datagrams do not know
PIECE = 1 << 18             # bytes that `sendfile` reads at a time
VIEW = 1 << 30              # bytes: more than any ring has

_sender = struct.Struct("3qB39x").unpack           # of a datagram.Prefix
_int = struct.Struct("i")

# Global names are quicker than attributes of a module.
_send = entry.send
_send_all = entry.send_all
_sendto = entry.sendto
_recv = entry.recv
_recvfrom = entry.recvfrom
_available = entry.available
_await_available = entry.await_available
_recv_many = entry.recv_many
_send_many = entry.send_many
_TCP = Kind.TCP


class Transfer(Base):
    """The part of a socket object that moves bytes."""

    __slots__ = ()

    # Sending

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send what the buffer has room for: how many bytes."""
        if data.__class__ is bytes:
            n, address = len(data), id(data) + BYTES
        else:
            _keep, address, n = locate(data)
        if flags.__class__ is not int:
            flags = c_int(flags)
        sent = _send(self._world, self._handle, address, n, flags)
        if sent < 0:
            if sent == -EINPROGRESS:
                return self._open_with(data, flags) if self._kind is _TCP else self._cork(data, flags)
            deadline = 0
            try:
                while sent < 0:
                    deadline = self._await(sent, POLLOUT, deadline, flags)
                    sent = _send(self._world, self._handle, address, n, flags)
            except BaseException:
                _keep = None        # the traceback has this frame, and the caller may want to change his buffer
                raise
        return sent

    def _open_with(self, data: Any, flags: int, where: tuple[int, int, int, int] = (0, 0, 0, 0)) -> int:
        """Send the first text with the SYN (RFC 7413): how many bytes.  A blocking socket waits until it is connected.

        `where`: address and port; without, `connect` has been told.
        """
        n = memoryview(data).nbytes
        waits = self._patience != 0 and not flags & MSG_DONTWAIT
        sent = self._begin_with(data, where, waits)
        self._description.follow()
        if sent == -EAGAIN:                         # it is open, or another thread's text was the first
            return self.send(data, flags & ~MSG_FASTOPEN)
        if sent < 0 and sent != -EINPROGRESS:
            raise self._error(sent)
        if not waits:
            if sent < 0:
                raise self._error(sent)
            return sent
        self._await(-EAGAIN, POLLOUT, 0, flags)
        error = int(entry.get_option(self._world, self._handle, SO_ERROR))
        if error != 0:
            if self._patience < 0:
                self._forget_attempt()
            raise self._error(-abs(error))
        sent = max(sent, 0)
        if sent < n:
            sent += self.send(memoryview(data).cast("B")[sent:], flags & ~MSG_FASTOPEN)
        return sent

    def _begin_with(self, data: Any, where: tuple[int, int, int, int], waits: bool) -> int:
        """Send the SYN: see entry.open_with."""
        _keep, address, n = locate(data)
        return int(entry.open_with(self._world, self._handle, address, n, 1 if waits else 0, *where))

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send everything; the timeout is for the whole call."""
        if data.__class__ is bytes:
            n, address = len(data), id(data) + BYTES
        else:
            _keep, address, n = locate(data)
        if flags.__class__ is not int:
            flags = c_int(flags)
        sent = _send(self._world, self._handle, address, n, flags)
        if sent == -EINPROGRESS:
            sent = self._open_with(data, flags) if self._kind is _TCP else self._cork(data, flags)
        if sent == n:
            return
        patience = self._patience
        deadline = self._stack._now() + patience if patience > 0 else 0
        real_time = self._stack.clock is None and not flags & MSG_DONTWAIT
        done = 0
        while True:
            if sent >= 0:
                done += sent
                if done >= n:
                    return
                if real_time and (deadline or (patience < 0 and not self._description.send_timeout)):
                    done += _send_all(self._world, self._handle, address + done, n - done, flags, deadline or NEVER)
                    if done >= n:
                        return
            else:
                try:
                    deadline = self._await(sent, POLLOUT, deadline, flags)
                except BaseException:
                    _keep = None
                    raise
            sent = _send(self._world, self._handle, address + done, n - done, flags)

    def sendto(self, data: Any, *arguments: Any) -> int:
        """sendto(data[, flags], address): send a datagram there.  A stream: with MSG_FASTOPEN, connect and send."""
        if len(arguments) == 1:
            flags, address = 0, arguments[0]
        elif len(arguments) == 2:
            flags, address = c_int(arguments[0]), arguments[1]
        else:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({len(arguments) + 1} given)")
        if self._kind is _TCP:
            if flags & MSG_FASTOPEN:
                return self._open_with(data, flags, names.parse(self._stack, self._af, address, "sendto"))
            return self.send(data, flags)           # a stream ignores the address, as Linux does
        sys.audit("socket.sendto", self, address)
        try:
            known = names.KNOWN[self._af].get(address)
        except TypeError:
            known = None
        return self._send_datagram(data, flags, known or names.parse(self._stack, self._af, address, "sendto"))

    def _send_datagram(self, data: Any, flags: int, to: tuple[int, int, int, int]) -> int:
        hi, lo, port, scope = to
        _keep, where, n = locate(data)
        sent = _sendto(self._world, self._handle, where, n, flags, hi, lo, port, scope)
        if sent == -EINPROGRESS:
            return self._cork(data, flags, ancillary.plain(to))
        deadline = 0
        while sent < 0:
            try:
                deadline = self._await(sent, POLLOUT, deadline, flags)
            except BaseException:
                _keep = None
                raise
            sent = _sendto(self._world, self._handle, where, n, flags, hi, lo, port, scope)
        return int(sent)

    def _send_with(self, data: Any, flags: int, to: bytes) -> int:
        """Send a datagram where a datagram.Destination says, and as it says."""
        _keep, where, n = locate(data)
        there = bytearray(to)
        _also, destination, _ = locate(there)
        sent = entry.send_with(self._world, self._handle, where, n, flags, destination)
        deadline = 0
        while sent < 0:
            deadline = self._await(sent, POLLOUT, deadline, flags)
            sent = entry.send_with(self._world, self._handle, where, n, flags, destination)
        return int(sent)

    def _cork(self, data: Any, flags: int, to: bytes | None = None) -> int:
        """MSG_MORE, UDP_CORK: one more piece of a datagram, which goes where the first was to go (udp(7))."""
        data = bytes(data)
        d = self._description
        with d.lock:
            pieces = d.corked
            if pieces is None:
                if to is None:
                    out = bytes(32)
                    if entry.peer(self._world, self._handle, id(out) + BYTES) < 0:
                        raise OSError(EDESTADDRREQ, os.strerror(EDESTADDRREQ))
                    to = ancillary.plain((0, 0, 0, 0))
                pieces = d.corked = [to]
            pieces.append(data)
            if sum(map(len, pieces[1:])) > (MAX_DATAGRAM if self._af == AF_INET else MAX_DATAGRAM6):
                d.corked = None
                self._mark_corked()
                raise OSError(EMSGSIZE, os.strerror(EMSGSIZE))
            if flags & MSG_MORE or d.kept.get(UDP_CORKED):
                self._mark_corked()
                return len(data)
        self._uncork(flags)
        return len(data)

    def _uncork(self, flags: int = 0) -> None:
        """Send what has been put together."""
        d = self._description
        with d.lock:
            pieces, d.corked = d.corked, None
            self._mark_corked()
        if pieces is not None:
            self._send_with(b"".join(pieces[1:]), flags & ~MSG_MORE, pieces[0])

    def _corked_by_option(self, on: int) -> None:
        if on:
            self._mark_corked()
        else:
            self._uncork()

    def _mark_corked(self) -> None:
        """Tell the engine whether the next piece comes here, too."""
        d = self._description
        on = d.corked is not None or bool(d.kept.get(UDP_CORKED))
        entry.set_option(self._world, self._handle, UDP_CORKED, on)

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /) -> int:
        """Send buffers as one message.

        Ancillary data is what Linux takes (`ancillary`): of UDP UDP_SEGMENT, of datagrams IP_PKTINFO, IP_TTL, IP_TOS,
        IPV6_PKTINFO, IPV6_HOPLIMIT, IPV6_TCLASS, IPV6_DONTFRAG, IPV6_HOPOPTS, IPV6_DSTOPTS.  OSError EINVAL for what is
        malformed.
        """
        try:
            data = b"".join(buffers)
        except TypeError:
            data = b"".join(bytes(memoryview(b)) for b in buffers)
        said = ancillary.listed(ancdata)
        flags = c_int(flags)
        where = (0, 0, 0, 0) if address is None else names.parse(self._stack, self._af, address, "sendmsg")
        sys.audit("socket.sendmsg", self, address)
        if self._kind is _TCP:
            try:
                ancillary.check_socket(said)
            except OSError:
                self.send(b"", flags)               # what is wrong with the connection goes first
                raise
            return self.send(data, flags) if address is None else self.sendto(data, flags, address)
        if self._handle == 0:
            raise self._error(-EBADF)
        to = ancillary.destination(self, said, where)
        if to is None:
            return self.send(data, flags) if address is None else self._send_datagram(data, flags, where)
        if self._kind is Kind.UDP and (flags & MSG_MORE or self._description.corked is not None
                                       or self._description.kept.get(UDP_CORKED)):
            return self._cork(data, flags, to)
        return self._send_with(data, flags, to)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file opened in binary mode from `offset` on, to its end or `count` bytes: how many were sent.

        See `socket.sendfile` of the standard library.  A regular file is read right into the send buffer, a mapping
        (mmap.mmap) is copied there once; anything else that has `read` goes through a bytes object.
        """
        self._check_sendfile(file, count)
        if isinstance(file, mmap.mmap):
            return self._sendfile_mapped(file, offset, count)
        try:
            fd = file.fileno()
            status = os.fstat(fd)
        except (AttributeError, OSError):               # io.UnsupportedOperation is one, too
            return self._sendfile_use_send(file, offset, count)
        if not stat.S_ISREG(status.st_mode):
            return self._sendfile_use_send(file, offset, count)
        at = offset
        try:
            while count is None or at - offset < count:
                rest = os.fstat(fd).st_size - at        # each time: it may be growing, or cut off
                if rest <= 0:
                    break
                if count is not None:
                    rest = min(rest, offset + count - at)
                room = self.send_view(min(rest, PIECE))
                with room as view:
                    n = os.preadv(fd, [view], at)
                    room.commit(n)
                at += n
        finally:
            if at > offset and hasattr(file, "seek"):
                file.seek(at)
        return at - offset

    def _sendfile_use_sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Only a regular file; `socket._GiveupOnSendfile` for any other."""
        self._check_sendfile(file, count)
        try:
            os.fstat(file.fileno())
        except (AttributeError, OSError) as error:      # io.UnsupportedOperation is one, too
            raise real._GiveupOnSendfile(error) from None     # type: ignore[attr-defined]
        return self.sendfile(file, offset, count)

    def _sendfile_mapped(self, file: mmap.mmap, offset: int, count: int | None) -> int:
        """A mapped file: what `read` would give, without it."""
        if offset:
            file.seek(offset)
        start = file.tell()
        data = memoryview(file)[start:][:count]
        for at in range(0, len(data), PIECE):
            piece = data[at:at + PIECE]
            self.sendall(piece)
            file.seek(start + at + len(piece))
        return len(data)

    def _check_sendfile(self, file: Any, count: int | None) -> None:
        if "b" not in getattr(file, "mode", "b"):
            raise ValueError("file should be opened in binary mode")
        if self._kind is not _TCP:
            raise ValueError("only SOCK_STREAM type sockets are supported")
        if count is not None and (not isinstance(count, int) or count <= 0):
            wrong = ValueError if isinstance(count, int) else TypeError
            raise wrong(f"count must be a positive integer (got {count!r})")
        if self._patience == 0:
            raise ValueError("non-blocking sockets are not supported")

    def _sendfile_use_send(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """os.sendfile would write to the descriptor, which carries nothing."""
        self._check_sendfile(file, count)
        if offset:
            file.seek(offset)
        total = 0
        try:
            while count is None or total < count:
                piece = file.read(PIECE if count is None else min(PIECE, count - total))
                if not piece:
                    break
                self.sendall(piece)
                total += len(piece)
        finally:
            if total and hasattr(file, "seek"):
                file.seek(offset + total)
        return total

    # Receiving

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Up to `bufsize` bytes as soon as there are any; b"" at the end of the stream."""
        if bufsize.__class__ is not int:
            bufsize = to_int(bufsize)
        if bufsize <= 0:
            if bufsize < 0:
                raise ValueError("negative buffersize in recv")
            return b""
        if flags.__class__ is not int:
            flags = c_int(flags)
        if flags & (MSG_WAITALL | MSG_TRUNC):
            return self._recv_special(bufsize, flags)
        deadline = self._until(flags)
        while True:
            room = bufsize
            if bufsize > SMALL:
                if self._kind is _TCP:
                    got = _await_available(self._world, self._handle, deadline)
                    if got < 0:
                        deadline = self._await(got, POLLIN, deadline, flags)
                        continue
                    room = min(bufsize, max(got, SMALL))
                else:
                    room = min(bufsize, DATAGRAM)
            data = new_bytes(room)
            got = _recv(self._world, self._handle, id(data) + BYTES, room, flags, deadline)
            if got >= 0:
                return data if got == room else data[:got]
            deadline = self._await(got, POLLIN, deadline, flags)

    def _recv_special(self, bufsize: int, flags: int) -> bytes:
        data = bytes(bufsize) if flags & MSG_TRUNC else new_bytes(bufsize)      # MSG_TRUNC: nothing is put there
        got = self._recv_at(id(data) + BYTES, bufsize, flags)
        return data if got == bufsize else data[:got]

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As `recv`, into a writable buffer: how many bytes."""
        _keep, address, room = locate_writable(buffer, "recv_into")
        if nbytes:
            room = _shorten(nbytes, room, "recv_into")
        if room == 0:
            return 0
        try:
            return self._recv_at(address, room, flags if flags.__class__ is int else c_int(flags))
        except BaseException:
            _keep = None
            raise

    def _recv_at(self, address: int, room: int, flags: int) -> int:
        if flags & MSG_WAITALL and self._kind is _TCP and not flags & MSG_PEEK:
            return self._recv_all(address, room, flags & ~MSG_WAITALL)
        flags &= ~MSG_WAITALL
        deadline = self._until(flags)
        while True:
            got = _recv(self._world, self._handle, address, room, flags, deadline)
            if got >= 0:
                return got
            deadline = self._await(got, POLLIN, deadline, flags)

    def _recv_all(self, address: int, room: int, flags: int) -> int:
        """MSG_WAITALL: all of it, unless the stream ends, fails or a timeout ends the wait."""
        done, deadline = 0, self._until(flags)
        while done < room:
            got = _recv(self._world, self._handle, address + done, room - done, flags, deadline)
            if got == 0:
                break
            if got > 0:
                done += got
                continue
            try:
                deadline = self._await(got, POLLIN, deadline, flags)
            except OSError:
                if done:
                    break
                raise
        return done

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """One datagram and its sender."""
        if bufsize.__class__ is not int:
            bufsize = to_int(bufsize)
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        if self._kind is _TCP:
            return self.recv(bufsize, flags), None
        flags = c_int(flags) & NOT_OURS
        room = min(bufsize, DATAGRAM)
        data = new_bytes(room)
        out = bytes(64)
        deadline = self._until(flags)
        where, prefix = id(data) + BYTES, id(out) + BYTES
        while (got := _recvfrom(self._world, self._handle, where, room, flags, prefix, deadline)) < 0:
            deadline = self._await(got, POLLIN, deadline, flags)
        hi, lo, port, scope = _sender(out)
        return data if got >= room else data[:got], names.unparse(self._af, hi, lo, port, scope)

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """As `recvfrom`, into a writable buffer: (how many bytes, sender)."""
        _keep, address, room = locate_writable(buffer, "recvfrom_into")
        if nbytes:
            room = _shorten(nbytes, room, "recvfrom_into")
        if self._kind is _TCP:
            return self.recv_into(buffer, room, flags), None
        out = bytes(64)
        try:
            got = self._receive_datagram(address, room, c_int(flags) & NOT_OURS, out)
        except BaseException:
            _keep = None
            raise
        hi, lo, port, scope = _sender(out)
        return got, names.unparse(self._af, hi, lo, port, scope)

    def _receive_datagram(self, address: int, room: int, flags: int, out: bytes) -> int:
        """How many bytes; into `out` goes what stands in front of it, a datagram.Prefix or a datagram.Failure."""
        deadline = self._until(flags)
        while (got := _recvfrom(self._world, self._handle, address, room, flags, id(out) + BYTES, deadline)) < 0:
            deadline = self._await(got, POLLIN, deadline, flags)
        return int(got)

    def recvmmsg(self, messages: Messages, flags: int = 0, /) -> int:
        """Receive as many datagrams as there are, at least one, into a batch: how many (recvmmsg(2)).

        0: nothing will come any more, after `shutdown`.  What was in the batch is gone.
        """
        flags = c_int(flags)
        messages._n = 0
        got = _recv_many(self._world, self._handle, messages._address, messages.size, messages.count, flags)
        deadline = 0
        while got < 0:
            deadline = self._await(got, POLLIN, deadline, flags)
            got = _recv_many(self._world, self._handle, messages._address, messages.size, messages.count, flags)
        messages._n = got
        return got

    def sendmmsg(self, messages: Messages, flags: int = 0, /) -> int:
        """Send the datagrams of a batch, each to its address: how many (sendmmsg(2)).

        An error of the first one is raised; one of a later one ends the call, and the next call meets it.
        """
        sent = _send_many(self._world, self._handle, messages._address, messages.size, messages._n, c_int(flags))
        if sent < 0:
            raise self._error(sent)
        return sent

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> tuple[bytes, list[Any], int, Any]:
        """(data, ancillary data, flags, sender).

        Ancillary data is what options of the socket ask for (`ancillary`, docs/sockets.md): TCP_CM_INQ is an int, how
        many bytes are left to read, or 1 when the peer's FIN is next; UDP_GRO is an int, how long each of the datagrams
        is that the data stands for (the last may be shorter); the others are Linux's.
        """
        bufsize = to_int(bufsize)
        if bufsize < 0:
            raise ValueError("negative buffer size in recvmsg()")
        if to_int(ancbufsize) < 0:
            raise ValueError("invalid ancillary data buffer length")
        buffer = bytearray(min(bufsize, DATAGRAM) if self._kind is not _TCP else bufsize)
        got, told, answer, sender = self.recvmsg_into([buffer], ancbufsize, flags)
        return bytes(buffer[:got]), told, answer, sender

    def recvmsg_into(self, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> tuple[int, list[Any], int, Any]:
        """As `recvmsg`, scattered over buffers."""
        if to_int(ancbufsize) < 0:
            raise ValueError("invalid ancillary data buffer length")
        views = [memoryview(b).cast("B") for b in buffers]
        if any(view.readonly for view in views):
            raise TypeError("recvmsg_into() argument 1 must be an iterable of read-write buffers")
        one = bytearray(sum(v.nbytes for v in views)) if len(views) != 1 else views[0]
        flags = c_int(flags)
        answer = flags & MSG_CMSG_CLOEXEC
        sender = None
        told: list[Any] = []
        if self._kind is _TCP:
            got = self.recv_into(one, 0, flags)
            answer |= flags & MSG_OOB
            if self._description.kept and got > 0:
                told = ancillary.of_text(self)
            if self._description.tells_rest:
                told.append((IPPROTO_TCP, TCP_CM_INQ, _int.pack(self._rest())))
        else:
            got, told, cut, sender = self._receive_message(one, flags & NOT_OURS)
            answer |= cut
        if told:
            told, cut = ancillary.fit(told, to_int(ancbufsize))
            answer |= cut
        if len(views) != 1:
            start = 0
            for view in views:
                piece = memoryview(one)[start:min(start + view.nbytes, got)]
                view[:len(piece)] = piece
                start += view.nbytes
        return got, told, answer, sender

    def _receive_message(self, buffer: Any, flags: int) -> tuple[int, list[ancillary.Message], int, Any]:
        """(bytes, what to tell of the datagram, flags, sender); with MSG_ERRQUEUE of one that failed."""
        _keep, address, room = locate_writable(buffer, "recvmsg_into")
        out = bytes(ancillary.PREFIX)
        hears = 0 if flags & MSG_ERRQUEUE else ancillary.hears_options(self)
        if hears:
            out = bytes(ancillary.PREFIX + (extensions.LONGEST_CHAIN if hears & SIX else ipoptions.LONGEST))
            flags |= MSG_OPTIONS
        got = self._receive_datagram(address, room, flags, out)
        if flags & MSG_ERRQUEUE:
            length, told, sender = ancillary.of_failure(self, out)
            return got, told, MSG_ERRQUEUE | (MSG_TRUNC if length > room else 0), sender
        cut = MSG_TRUNC if ancillary.length_of(out) > room else 0
        return got, ancillary.of_datagram(self, out), cut, ancillary.sender_of(self, out)

    def _rest(self) -> int:
        """Bytes left to be read; behind them a FIN counts as one, for reading goes on (Linux: tcp_inq_hint)."""
        rest = _available(self._world, self._handle)
        if rest <= 0:
            return 1 if entry.poll(self._world, self._handle) & POLLRDHUP else 0
        return int(rest)

    # In place

    def recv_view(self, nbytes: int | None = None, /) -> RecvView:
        """A context manager: a read-only memoryview of text that waits to be read, where it stands; nothing is copied.

        `with sock.recv_view() as view` waits as `recv` does, and raises what that raises.  The view has a byte at least
        and `nbytes` at most; it may be shorter than what is there, since it ends where the buffer does.  At the end of
        the stream it is empty.  When the block ends all of it has been read, or as many bytes as `consume` of the
        context manager was told; after an exception only those.  Then the view is released, and parts that were cut
        off it must have been (BufferError, which counts as an exception).  Other reads meanwhile are OSError EBUSY, but
        for MSG_PEEK and MSG_OOB.  Streams only: EOPNOTSUPP.
        """
        if nbytes is None:
            return RecvView(self, VIEW)
        nbytes = to_int(nbytes)
        if nbytes < 0:
            raise ValueError("negative size in recv_view")
        return RecvView(self, min(nbytes, VIEW))

    def send_view(self, nbytes: int, flags: int = 0, /) -> SendView:
        """A context manager: a writable memoryview of the send buffer, for text to be sent; nothing is copied.

        `with sock.send_view(n) as view` waits for room as `send` does, and raises what that raises.  The view has a
        byte at least and `nbytes` at most, contents arbitrary.  When the block ends all of it is sent, or as many
        bytes as `commit` of the context manager was told; after an exception none.  Then the view is released, and
        parts that were cut off it must have been (BufferError, which counts as an exception).  Other sends meanwhile
        are OSError EBUSY.  The end of the block raises what `send` would if the connection is over by then.  Streams
        only: EOPNOTSUPP.
        """
        nbytes = to_int(nbytes)
        if nbytes < 1:
            raise ValueError("send_view needs room for a byte at least")
        return SendView(self, min(nbytes, VIEW), c_int(flags))

    # How much, and where

    def ioctl(self, request: int, /) -> int:
        """ioctl(2) requests of tcp(7) and udp(7): the int that they give; ENOTTY for any other.

        FIONREAD (SIOCINQ): bytes to be read, up to urgent data.  TIOCOUTQ (SIOCOUTQ): bytes written and not
        acknowledged.  SIOCOUTQNSD (0x894B): bytes not yet sent.  SIOCATMARK (0x8905): as `sockatmark`.
        fcntl.ioctl would ask the descriptor, which carries nothing.
        """
        r = entry.ioctl(self._world, self._handle, to_int(request))
        if r < 0:
            raise self._error(r)
        return int(r)

    def sockatmark(self) -> bool:
        """Whether the next byte is urgent, sockatmark(3): what the peer sent with MSG_OOB stood here."""
        return self.ioctl(entry.SIOCATMARK) != 0


def _shorten(nbytes: int, room: int, caller: str) -> int:
    nbytes = to_int(nbytes)
    if nbytes < 0:
        raise ValueError(f"negative buffersize in {caller}")
    if nbytes > room:
        raise ValueError("buffer too small for requested bytes")
    return nbytes or room
