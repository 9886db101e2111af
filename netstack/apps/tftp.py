"""TFTP, client and server: files over UDP, one block at a time.

RFC 1350 (The TFTP Protocol), RFC 2347 (options), RFC 2348 (blksize), RFC 2349
(timeout, tsize).  Octets only, no netascii.

Both ends do the same thing over and over, `Transfer.ask`: send a packet, wait for
the one that answers it, send it again if none comes.  `net` is a `netstack.Stack`
or the standard library's `socket` module, which have the same names.

    with open("image", "wb") as file:
        tftp.get(stack, "192.0.2.1", "boot/image", file)
"""
from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

T = TypeVar("T")
Options = dict[str, int]

PORT = 69
RRQ, WRQ, DATA, ACK, ERROR, OACK = range(1, 7)      # RFC 1350 5, RFC 2347
BLOCK = 512             # bytes, without the option
LEAST_BLOCK, MOST_BLOCK = 8, 65464      # RFC 2348
USUAL_BLOCK = 1428      # what we ask for: fits 1500 bytes over IPv6, with a tunnel on the way
LONGEST_REQUEST = 512   # bytes, RFC 2347
LEAST_TIMEOUT, MOST_TIMEOUT = 1, 255    # s, RFC 2349
TIMEOUT = 1.0           # s until a packet is sent again
ATTEMPTS = 6            # ... so often in all
DATAGRAM = 65535
LARGEST = 1 << 30       # bytes of a file that the server takes
TRANSFERS = 64          # that it does at once

UNDEFINED, NOT_FOUND, VIOLATION, FULL, ILLEGAL, UNKNOWN_TID, EXISTS, NO_USER, OPTIONS = range(9)    # error codes
ERRNOS = {UNDEFINED: errno.EIO, NOT_FOUND: errno.ENOENT, VIOLATION: errno.EACCES, FULL: errno.ENOSPC,
          ILLEGAL: errno.EPROTO, EXISTS: errno.EEXIST, OPTIONS: errno.EOPNOTSUPP}
CODES = {number: code for code, number in ERRNOS.items()} | {errno.EPERM: VIOLATION, errno.EFBIG: FULL,
                                                             errno.EDQUOT: FULL, errno.EISDIR: NOT_FOUND}


def request(opcode: int, name: str, options: Options) -> bytes:
    """RRQ or WRQ.  ValueError if the name cannot be told."""
    words = [name, "octet", *(str(word) for pair in options.items() for word in pair)]
    packet = struct.pack("!H", opcode) + b"".join(word.encode() + b"\0" for word in words)
    if not name or "\0" in name or len(packet) > LONGEST_REQUEST:
        raise ValueError(f"{name!r} cannot be asked for over TFTP")
    return packet


def ack(block: int) -> bytes:
    """That this block has come."""
    return struct.pack("!HH", ACK, block)


def acknowledges(block: int) -> Callable[[bytes], bool | None]:
    """Whether a packet is the ACK of this block; None if not."""
    return lambda packet: packet[:4] == ack(block) or None


def failure(code: int, text: str) -> bytes:
    """An ERROR packet."""
    return struct.pack("!HH", ERROR, code) + text.encode() + b"\0"


def oack(options: Options) -> bytes:
    """The options that the server has taken."""
    return struct.pack("!H", OACK) + b"".join(f"{k}\0{v}\0".encode() for k, v in options.items())


def strings(packet: bytes) -> list[str]:
    """The strings after the opcode; ValueError if the last one has no end."""
    *words, rest = packet[2:].split(b"\0")
    if rest:
        raise ValueError("a string without an end")
    return [word.decode(errors="replace") for word in words]


def options_of(words: list[str]) -> Options:
    """Pairs of words as options; those without a number, and unknown ones, are left out (RFC 2347: ignored)."""
    pairs = zip(words[::2], words[1::2], strict=False)
    return {k.lower(): int(v) for k, v in pairs if v.isascii() and v.isdigit() and len(v) < 20
            and k.lower() in ("blksize", "timeout", "tsize")}


def opcode(packet: bytes) -> int:
    """What kind of packet; 0: none."""
    return int.from_bytes(packet[:2], "big") if len(packet) >= 4 else 0


class Transfer:
    """One file on its way, at either end.  Within `with`: what goes wrong here is told to the peer."""

    def __init__(self, sock: Any, peer: Any, *, met: bool, timeout: float, attempts: int) -> None:
        self.sock = sock
        self.peer = peer            # the address and port (TID) of the other end
        self.met = met              # False: the port is the server's well-known one, and answers come from another
        self.timeout = timeout
        self.attempts = attempts
        self.block = BLOCK          # bytes in a full DATA
        self.size: int | None = None            # tsize, if it was told
        self.moved = 0              # bytes of the file
        self.resent = 0             # packets that nobody had answered in time
        self._told = False          # the peer knows that it is over

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with self.sock, contextlib.suppress(OSError):       # a server that stops has closed it
            if error is not None and not self._told and not isinstance(error, TimeoutError):
                number = (error.errno or 0) if isinstance(error, OSError) else 0
                text = os.strerror(number) if number else "the transfer was given up"
                self.sock.sendto(failure(CODES.get(number, UNDEFINED), text), self.peer)

    def ask(self, packet: bytes, wanted: Callable[[bytes], T | None]) -> T:
        """Send a packet until one comes that `wanted` makes something of; TimeoutError, OSError as the peer says."""
        for attempt in range(self.attempts):
            self.resent += attempt > 0
            self.sock.sendto(packet, self.peer)
            for heard in self.heard(self.timeout):
                if (found := wanted(heard)) is not None:
                    return found
        raise TimeoutError(errno.ETIMEDOUT, "no answer")

    def heard(self, seconds: float) -> Iterator[bytes]:
        """What the peer says within so many seconds, whatever else may come meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                packet, source = self.sock.recvfrom(DATAGRAM)
            except TimeoutError:
                return
            if source[:1 + self.met] != self.peer[:1 + self.met]:       # RFC 1350 4: it does not disturb us
                if opcode(packet) != ERROR:
                    self.sock.sendto(failure(UNKNOWN_TID, "not yours"), source)
                continue
            kind = opcode(packet)
            if kind in (DATA, ACK, ERROR, OACK):
                self.peer, self.met = source, True
            if kind == ERROR:
                self._told = True
                code, text = int.from_bytes(packet[2:4], "big"), packet[4:].partition(b"\0")[0].decode(errors="replace")
                raise OSError(ERRNOS.get(code, errno.EIO), text or f"TFTP error {code}")
            yield packet

    def agree(self, asked: Options, packet: bytes) -> None:
        """Take an OACK's options: only what was asked, and no larger block.  OSError: the server errs."""
        try:
            given = options_of(strings(packet))
        except ValueError as error:
            raise OSError(errno.EPROTO, str(error)) from None
        self.block = given.get("blksize", BLOCK)
        self.size = given.get("tsize")
        if not set(given) <= set(asked) or not LEAST_BLOCK <= self.block <= max(BLOCK, asked.get("blksize", 0)):
            raise OSError(errno.EOPNOTSUPP, "options that were not asked for")

    def send(self, file: BinaryIO) -> None:
        """All of a file.  An ACK of an earlier block is a duplicate, and nothing is sent for it.

        Were DATA sent again for it, each packet from then on would go twice: the
        sorcerer's apprentice (RFC 1123 4.2.3.1).
        """
        block = 0
        while True:
            data = file.read(self.block)
            block = block + 1 & 0xFFFF              # a long file goes round
            self.ask(struct.pack("!HH", DATA, block) + data, acknowledges(block))
            self.moved += len(data)
            if len(data) < self.block:
                return

    def receive(self, file: BinaryIO, packet: bytes, data: bytes | None = None, limit: int | None = None) -> None:
        """All of a file, beginning with `packet`, which DATA 1 answers, or with the text of DATA 1."""
        block = 1
        while True:
            if data is None:
                data = self.ask(packet, partial(self._data, block, packet))
            if limit is not None and self.moved + len(data) > limit:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            file.write(data)
            self.moved += len(data)
            packet = ack(block)
            if len(data) < self.block:
                break
            block, data = block + 1 & 0xFFFF, None
        file.flush()                                # what does not fit the disk is no file that has come
        self.sock.sendto(packet, self.peer)
        with contextlib.suppress(OSError):          # the file is here, whatever else happens
            for heard in self.heard(1.5 * self.timeout):        # RFC 1350 6: that ACK may be lost
                self._data(block + 1 & 0xFFFF, packet, heard)

    def _data(self, block: int, last: bytes, packet: bytes) -> bytes | None:
        """The text of this DATA; for what was answered before, the same answer once more."""
        kind, number = opcode(packet), int.from_bytes(packet[2:4], "big")
        if kind == DATA and number == block and len(packet) - 4 <= self.block:
            return packet[4:]
        if (kind == DATA and number == block - 1 & 0xFFFF) or (kind == OACK and last == ack(0)):
            self.sock.sendto(last, self.peer)
        return None


def get(net: Any, host: str, name: str, file: BinaryIO, *, port: int = PORT, blksize: int = USUAL_BLOCK,
        timeout: float = TIMEOUT, attempts: int = ATTEMPTS) -> Transfer:
    """Read a file from a server.  FileNotFoundError, PermissionError ... as it says, TimeoutError if it is silent."""
    with _begin(net, host, port, timeout, attempts) as transfer:
        asked = _asked(blksize, timeout, 0)
        first = transfer.ask(request(RRQ, name, asked), lambda p: p if opcode(p) == OACK or (
            p[:4] == struct.pack("!HH", DATA, 1) and len(p) <= 4 + BLOCK) else None)
        if opcode(first) == OACK:
            transfer.agree(asked, first)
            transfer.receive(file, ack(0))
        else:
            transfer.receive(file, b"", first[4:])          # a server that knows no options
    return transfer


def put(net: Any, host: str, name: str, file: BinaryIO, *, port: int = PORT, blksize: int = USUAL_BLOCK,
        timeout: float = TIMEOUT, attempts: int = ATTEMPTS) -> Transfer:
    """Write a file to a server; errors as `get`."""
    with _begin(net, host, port, timeout, attempts) as transfer:
        size = None
        if file.seekable():
            here = file.tell()
            size = file.seek(0, os.SEEK_END) - here
            file.seek(here)
        asked = _asked(blksize, timeout, size)
        first = transfer.ask(request(WRQ, name, asked), lambda p: p if opcode(p) == OACK or p[:4] == ack(0) else None)
        if opcode(first) == OACK:
            transfer.agree(asked, first)
        transfer.send(file)
    return transfer


def _begin(net: Any, host: str, port: int, timeout: float, attempts: int) -> Transfer:
    family, *_, address = net.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0]
    return Transfer(net.socket(family, socket.SOCK_DGRAM), address, met=False, timeout=timeout, attempts=attempts)


def _asked(blksize: int, timeout: float, size: int | None) -> Options:
    if not LEAST_BLOCK <= blksize <= MOST_BLOCK:
        raise ValueError(f"blksize is {LEAST_BLOCK} to {MOST_BLOCK} bytes, not {blksize}")
    asked = {} if size is None else {"tsize": size}
    if blksize != BLOCK:
        asked["blksize"] = blksize
    if timeout == int(timeout) and LEAST_TIMEOUT <= timeout <= MOST_TIMEOUT:
        asked["timeout"] = int(timeout)
    return asked


class Server:
    """The files of a directory, for whoever asks: TFTP knows no users.  New ones are taken if it is `writable`."""

    def __init__(self, net: Any, directory: str | os.PathLike[str], *, host: str = "::", port: int = PORT,
                 writable: bool = False, largest: int = LARGEST, timeout: float = TIMEOUT, attempts: int = ATTEMPTS,
                 log: Callable[[str], None] | None = None) -> None:
        self._net = net
        self._root = Path(directory).resolve(strict=True)
        self._writable, self._largest = writable, largest
        self._timeout, self._attempts = timeout, attempts
        self._log = log or (lambda line: None)
        self._busy: dict[Any, tuple[threading.Thread, Transfer]] = {}       # by the client's address and port
        self._host = host
        self._sock = self._socket(port)
        self.address = self._sock.getsockname()
        self._thread = threading.Thread(target=self._serve, name="tftp", daemon=True)
        self._thread.start()

    def _socket(self, port: int) -> Any:
        six = ":" in self._host
        sock = self._net.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            sock.bind((self._host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Serve no more; what is under way ends."""
        self._sock.close()
        self._thread.join()
        for thread, transfer in list(self._busy.values()):
            transfer.sock.close()
            thread.join()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                packet, client = self._sock.recvfrom(DATAGRAM)
            except OSError:                         # it is closed
                return
            # The same client again: its request was sent twice, and the first one is being served.
            if client in self._busy or len(self._busy) >= TRANSFERS or opcode(packet) not in (RRQ, WRQ):
                continue
            try:
                sock = self._socket(0)
            except OSError as error:                # no port, no memory: the client asks again
                self._log(f"{client[0]}: {error.strerror or error}")
                continue
            transfer = Transfer(sock, client, met=True, timeout=self._timeout, attempts=self._attempts)
            thread = threading.Thread(target=self._answer, args=(transfer, client, packet), name="tftp", daemon=True)
            self._busy[client] = thread, transfer
            thread.start()

    def _answer(self, transfer: Transfer, client: Any, packet: bytes) -> None:
        """One request, in a thread and on a port of its own."""
        name, host = "", client[0].removeprefix("::ffff:")
        try:
            with transfer:
                try:
                    name, mode, *words = strings(packet) if len(packet) <= LONGEST_REQUEST else []
                except ValueError:
                    raise OSError(errno.EPROTO, "not a request") from None
                if mode.lower() != "octet":
                    raise OSError(errno.EPROTO, "only octets")
                (self._give if opcode(packet) == RRQ else self._take)(transfer, name, options_of(words))
            self._log(f"{host} {'read' if opcode(packet) == RRQ else 'wrote'} {name!r}: {transfer.moved} bytes")
        except OSError as error:
            self._log(f"{host} {name!r}: {error.strerror or error}")
        finally:
            del self._busy[client]

    def _give(self, transfer: Transfer, name: str, asked: Options) -> None:
        path = self.path(name)
        if not path.is_file():                      # a FIFO, or a device, would keep us
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        with path.open("rb") as file:
            given = self._taken(transfer, asked)
            if "tsize" in asked:
                given["tsize"] = os.fstat(file.fileno()).st_size
            if given:
                transfer.ask(oack(given), acknowledges(0))
            transfer.send(file)

    def _take(self, transfer: Transfer, name: str, asked: Options) -> None:
        if not self._writable:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        path = self.path(name)
        given = self._taken(transfer, asked)
        if "tsize" in asked:
            given["tsize"] = asked["tsize"]
        if asked.get("tsize", 0) > self._largest:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        with path.open("xb") as file:               # FileExistsError: nobody overwrites
            try:
                transfer.receive(file, oack(given) if given else ack(0), limit=self._largest)
            except BaseException:
                path.unlink()                       # half a file is none
                raise

    def path(self, name: str) -> Path:
        """Where the file of this name is; PermissionError if that is outside, through a link, too."""
        parts = [part for part in name.replace("\\", "/").split("/") if part]
        try:
            path = self._root.joinpath(*parts).resolve()
        except RuntimeError:                        # links in a circle (an OSError since Python 3.13)
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        if not parts or ".." in parts or self._root not in path.parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return path

    def _taken(self, transfer: Transfer, asked: Options) -> Options:
        """Those of the options blksize and timeout that we accept."""
        given = {}
        if asked.get("blksize", 0) >= LEAST_BLOCK:
            given["blksize"] = transfer.block = min(asked["blksize"], MOST_BLOCK)
        if LEAST_TIMEOUT <= asked.get("timeout", 0) <= MOST_TIMEOUT:
            transfer.timeout = given["timeout"] = asked["timeout"]
        return given
