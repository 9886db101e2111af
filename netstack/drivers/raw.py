"""Raw: a station of our own on the network behind an interface of this host, through AF_PACKET.

packet(7); PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING of Linux's include/uapi/linux/if_packet.h.
"""
from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import socket
import struct
import sys

from .base import BUFFER, Device, Driver, Kind, mac_bytes
from .memory import Pages
from .offload import HEADER, Feature
from .tap import derived_mac, interface_mtu

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 1, 15, 23
PACKET_MR_PROMISC = 1
MREQ = struct.Struct("iHH8s")       # packet_mreq: interface, type, length of the address, address
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SO_ATTACH_FILTER = 26
FILTER = struct.Struct("HBBI")      # sock_filter: code, how far to jump if so, and if not, operand
LD_W, LD_H, LD_B, JEQ, JSET, RET = 0x20, 0x28, 0x30, 0x15, 0x45, 0x06
QUEUE = 16 << 20                    # bytes of frames that may wait in the kernel, if it lets us have so much


class Raw(Driver):
    """A network that an interface of this host is on: an Ethernet card, a veth, a bridge.

    We are a station besides this host, with an address of our own (`mac`; by default
    one derived from the interface's name and ours), so the interface hears more than
    is for it (promiscuous mode); the host itself cannot be reached through it.

    What comes from this machine (the other end of a veth) may be uncut, and lack its
    checksum: a virtio-net header says so, with offloads and without.  `offload`: what
    we send may too, and the kernel or the card cuts and sums it.

    Needs CAP_NET_RAW.
    """

    def __init__(self, name: str, *, mac: bytes | str | None = None, offload: bool = True) -> None:
        self.name = name
        self._pages: Pages | None = None
        self.mac = mac_bytes(mac) if mac is not None else derived_mac(f"raw {name}")
        self._socket = _open(name, self.mac)
        try:
            self._vnet = _has_vnet(self._socket)
            self._features = _features() if self._vnet and offload else Feature(0)
            self.offload = self._features != 0
            self.mtu = interface_mtu(name)
        except BaseException:
            self._socket.close()
            raise

    def open(self, device: Device, bell: int = -1) -> None:
        """See Driver.open."""
        if self._socket.fileno() < 0:
            raise OSError(errno.EBADF, f"this {self!r} is closed")
        if self._pages is not None:
            raise OSError(errno.EBUSY, f"{self!r} is attached already")
        self._pages = Pages(BUFFER)
        self._device = device
        device.fd = self._socket.fileno()
        device.buffer = self._pages.address
        device.vnet = HEADER if self._vnet else 0
        device.features = self._features if self.offload else 0
        device.kind = Kind.TAP

    def set_offload(self, on: bool) -> None:
        """See Driver.set_offload: for what we send."""
        if on and self._features == 0:
            raise OSError(errno.EOPNOTSUPP, f"{self!r} was opened without offloads, or this kernel has none")
        self.offload = on
        if self._device is not None:
            self._device.features = self._features if on else 0

    def close(self) -> None:
        """See Driver.close."""
        super().close()
        self._socket.close()

    def __repr__(self) -> str:
        return f"Raw({self.name!r})"


def _open(name: str, mac: bytes) -> socket.socket:
    """A packet socket that hears what comes in at the interface for this address, for everybody and for groups."""
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)      # protocol 0: nothing, until it is bound
    except PermissionError as error:
        raise OSError(error.errno, f"{name}: packet sockets need CAP_NET_RAW: run as root, or in a namespace of your "
                                   "own (unshare -rn)") from None
    try:
        index = _index(name)
        sock.setblocking(False)
        for forced, plain in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                sock.setsockopt(socket.SOL_SOCKET, forced, QUEUE)
            except OSError:
                sock.setsockopt(socket.SOL_SOCKET, plain, QUEUE)        # as much as net.core allows
        with contextlib.suppress(OSError):                              # before Linux 4.20: IP drops what is from us
            sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, MREQ.pack(index, PACKET_MR_PROMISC, 0, b""))
        _has_vnet(sock)
        _attach_filter(sock, mac)
        sock.bind((name, ETH_P_ALL))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{name}: {os.strerror(error.errno or 0)}") from None
    return sock


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise OSError(errno.ENODEV, name) from None


def _attach_filter(sock: socket.socket, mac: bytes) -> None:
    """What is for others stays in the kernel (classic BPF, Linux Documentation/networking/filter.rst)."""
    program = b"".join(FILTER.pack(*step) for step in (
        (LD_W, 0, 0, 0), (JEQ, 0, 2, int.from_bytes(mac[:4], "big")),
        (LD_H, 0, 0, 4), (JEQ, 2, 0, int.from_bytes(mac[4:], "big")),
        (LD_B, 0, 0, 0), (JSET, 0, 1, 1),                   # the multicast bit
        (RET, 0, 0, 0xFFFF_FFFF), (RET, 0, 0, 0)))
    held = ctypes.create_string_buffer(program, len(program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                    struct.pack("HxxxxxxP", len(program) // FILTER.size, ctypes.addressof(held)))


def _features() -> Feature:
    """What a virtio-net header asks of the kernel; to cut UDP since Linux 6.2 (virtio_net_hdr_to_skb), as for a TAP."""
    release = tuple(int(n) for n in re.findall(r"\d+", os.uname().release)[:2])
    return Feature.CSUM | Feature.TSO | (Feature.USO if release >= (6, 2) else Feature(0))


def _has_vnet(sock: socket.socket) -> bool:
    """Ask for virtio-net headers, which are in the machine's byte order here.  Whether there are."""
    if sys.byteorder != "little":
        return False
    with contextlib.suppress(OSError):
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    return sock.getsockopt(SOL_PACKET, PACKET_VNET_HDR) == 1
