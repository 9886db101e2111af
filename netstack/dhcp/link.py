"""The client's way to the link, and back: a UDP socket hears, and speaks once there is an address.

RFC 2131 4.1: what is broadcast before there is an address comes from 0.0.0.0.  A
UDP socket of a host with another interface would send it from that one's address,
here as on Linux; a packet socket sends what it is given.  Answers come as
broadcasts, for which the client asks (BROADCAST in `flags`), so that the stack
checks them as any datagram, its device's checksum offload included.

RFC 791, RFC 768 (the headers that the packet socket needs).
"""
from __future__ import annotations

import socket as real
import struct
from typing import TYPE_CHECKING, cast

from ..buffers import BYTES
from ..machine import sum16
from . import message as messages
from .message import CLIENT_PORT, SERVER_PORT, Malformed, Message

if TYPE_CHECKING:
    from ..interface import Interface
    from ..sockobject import socket as Socket
    from ..stack import Stack

IPV4 = 0x0800                   # EtherType
EVERYBODY = b"\xff" * 6
ALL = "255.255.255.255"
TTL = 64
UDP = 17
LARGEST = 65535
IP_PKTINFO = 8                  # Python's socket has no name for it

_ip = struct.Struct("!2B 3H 2B H 4s 4s")
_udp = struct.Struct("!4H")
_pktinfo = struct.Struct("=i4s4s")


class Link:
    """The sockets for one interface.  OSError where a socket's call gives one."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._stack = cast("Stack", interface.stack)
        self._socket: Socket | None = None

    def listen(self, wanted: bool) -> None:
        """Have the UDP socket, or have it not: a host that waits for nothing needs no port."""
        if not wanted:
            self.close()
        elif self._socket is None:
            sock = self._stack.socket(real.AF_INET, real.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                sock.setsockopt(real.SOL_SOCKET, real.SO_REUSEADDR, 1)
                sock.setsockopt(real.SOL_SOCKET, real.SO_BROADCAST, 1)
                sock.setsockopt(real.SOL_SOCKET, real.SO_BINDTODEVICE, self._interface.name.encode())
                sock.bind(("0.0.0.0", CLIENT_PORT))
            except BaseException:
                sock.close()
                raise
            self._socket = sock

    def close(self) -> None:
        """No socket any more."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def fileno(self) -> int:
        """The descriptor that is readable when a message is there; -1: nothing is listened for."""
        return -1 if self._socket is None else int(self._socket.fileno())

    def hear(self) -> Message | None:
        """The next message that has come; what is none is passed over."""
        while self._socket is not None:
            try:
                data, (_, port) = self._socket.recvfrom(LARGEST)
            except BlockingIOError:
                return None
            if port == SERVER_PORT:
                try:
                    return messages.parse(data)
                except Malformed:
                    continue
        return None

    def broadcast(self, message: Message) -> None:
        """To everybody on the link."""
        self.listen(True)
        data = messages.build(message)
        if message.ciaddr == 0:
            with self._stack.socket(real.AF_PACKET, real.SOCK_DGRAM, 0) as sock:
                sock.sendto(datagram(data), (self._interface.name, IPV4, 0, 0, EVERYBODY))
        else:
            self._send(data, message.ciaddr, ALL)

    def unicast(self, message: Message, server: str) -> None:
        """To a server, from the client's address."""
        self.listen(True)
        self._send(messages.build(message), message.ciaddr, server)

    def _send(self, data: bytes, source: int, to: str) -> None:
        assert self._socket is not None
        told = _pktinfo.pack(0, source.to_bytes(4, "big"), bytes(4))
        self._socket.sendmsg([data], [(real.IPPROTO_IP, IP_PKTINFO, told)], 0, (to, SERVER_PORT))


def datagram(data: bytes) -> bytes:
    """A UDP datagram from 0.0.0.0 to everybody, with its IP header."""
    source, to = bytes(4), b"\xff" * 4
    n = _udp.size + len(data)
    pseudo = source + to + struct.pack("!2H", UDP, n)
    header = _udp.pack(CLIENT_PORT, SERVER_PORT, n, 0)
    total = checksum(pseudo + header + data) or 0xFFFF          # (RFC 768) 0 would say that there is none
    head = _ip.pack(0x45, 0, _ip.size + n, 0, 0, TTL, UDP, 0, source, to)
    head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
    return head + _udp.pack(CLIENT_PORT, SERVER_PORT, n, total) + data


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    return int(sum16(id(data) + BYTES, len(data), 0)) ^ 0xFFFF
