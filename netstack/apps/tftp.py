"""TFTP: files over UDP, one block at a time.  The packets, a transfer at either end, and the client.

RFC 1350 (The TFTP Protocol), RFC 2347 (options), RFC 2348 (blksize), RFC 2349
(timeout, tsize).  Octets only, no netascii.  The server is `tftp_server.py`.

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
import time
from collections.abc import Callable, Iterator
from functools import partial
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
    """The strings after the opcode; OSError EPROTO if the last one has no end."""
    *words, rest = packet[2:].split(b"\0")
    if rest:
        raise OSError(errno.EPROTO, "a string without an end")
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
        given = options_of(strings(packet))
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
