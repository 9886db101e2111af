"""A TFTP server: the files of a directory (`tftp.py` has the protocol).

RFC 1350 4: each transfer has a port of its own, and here a thread, too.

    with Server(stack, "directory"):
        ...
"""
from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .tftp import (
    ATTEMPTS,
    DATAGRAM,
    LEAST_BLOCK,
    LEAST_TIMEOUT,
    LONGEST_REQUEST,
    MOST_BLOCK,
    MOST_TIMEOUT,
    PORT,
    RRQ,
    TIMEOUT,
    WRQ,
    Options,
    Transfer,
    ack,
    acknowledges,
    oack,
    opcode,
    options_of,
    strings,
)

LARGEST = 1 << 30       # bytes of a file that is taken
TRANSFERS = 64          # at once


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
                name, asked = read_request(packet)
                (self._give if opcode(packet) == RRQ else self._take)(transfer, name, asked)
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
            given = accept(transfer, asked)
            if "tsize" in asked:
                given["tsize"] = os.fstat(file.fileno()).st_size
            if given:
                transfer.ask(oack(given), acknowledges(0))
            transfer.send(file)

    def _take(self, transfer: Transfer, name: str, asked: Options) -> None:
        if not self._writable:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        path = self.path(name)
        given = accept(transfer, asked)
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


def read_request(packet: bytes) -> tuple[str, Options]:
    """What an RRQ or WRQ asks for: a name, and with which options.  OSError EPROTO if that cannot be had."""
    name, mode, *words = [*strings(packet), "", ""] if len(packet) <= LONGEST_REQUEST else ["", ""]
    if mode.lower() != "octet":
        raise OSError(errno.EPROTO, "not a request for octets")
    return name, options_of(words)


def accept(transfer: Transfer, asked: Options) -> Options:
    """Those of the options blksize and timeout that we accept; the transfer has them from now on."""
    given = {}
    if asked.get("blksize", 0) >= LEAST_BLOCK:
        given["blksize"] = transfer.block = min(asked["blksize"], MOST_BLOCK)
    if LEAST_TIMEOUT <= asked.get("timeout", 0) <= MOST_TIMEOUT:
        transfer.timeout = given["timeout"] = asked["timeout"]
    return given
