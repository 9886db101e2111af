"""TAP and TUN: Ethernet frames, or IP packets, to and from the Linux kernel, through /dev/net/tun.

Linux Documentation/networking/tuntap.rst.  The kernel's side of the link (its
addresses, routes, up or down) is configured by others: `ip`, pyroute2.
"""
from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import socket
import struct
import sys
from typing import Any

from ..errors import EAGAIN, EINTR, EINVAL
from ..machine import addressof, compiled, copy, load8, load64, put16, zero
from ..machine.libc import read, readv, writev
from . import offload
from .base import BUFFER, HEADROOM, SHORTEST, Device, Driver, Kind, mac_bytes
from .memory import Pages
from .offload import HEADER, Feature

TUN = "/dev/net/tun"
IPV4, IPV6 = 0x0800, 0x86DD      # EtherTypes
_IOW = 0x8004_0000 if os.uname().machine.startswith(("ppc", "mips", "sparc")) else 0x4004_0000    # an int goes in
TUNSETIFF = _IOW | 0x54CA
TUNSETPERSIST = _IOW | 0x54CB
TUNSETOWNER = _IOW | 0x54CC
TUNSETGROUP = _IOW | 0x54CE
IFF_TUN, IFF_TAP = 0x0001, 0x0002
IFF_MULTI_QUEUE = 0x0100
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
TUNSETOFFLOAD = _IOW | 0x54D0
TUNGETFEATURES = 0x4004_54CF if _IOW == 0x8004_0000 else 0x8004_54CF
TUNSETVNETHDRSZ = _IOW | 0x54D8
TUNSETVNETLE = _IOW | 0x54DC
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, TUN_F_USO6 = 0x01, 0x02, 0x04, 0x20, 0x40
PIECES = 7              # of a frame, besides the virtio-net header
SIOCGIFMTU = 0x8921
IFREQ = struct.Struct("16sH22x")        # name, flags
NAME_MAX = 15


@compiled
def receive(dev: Device) -> int:
    """Read one frame behind the headroom of our buffer; its text somewhere else, if that is foreseen."""
    dev.placed = 0
    dev.frame = dev.buffer + HEADROOM
    start = dev.frame + dev.bare - dev.vnet
    if dev.expect == 0:
        n = read(dev.fd, start, BUFFER - HEADROOM - dev.bare)
    else:
        dev.iov[0] = start
        dev.iov[1] = dev.vnet + dev.expect - dev.bare
        for i in range(4):
            dev.iov[2 + i] = dev.places[i]
        n = readv(dev.fd, addressof(dev.iov), 3 if dev.places[3] > 0 else 2)
    if n == -EAGAIN or n == -EINTR:
        return 0
    if n > dev.vnet:
        n += dev.bare - dev.vnet
        if dev.expect != 0:
            dev.placed = max(n - dev.expect, 0)
        if dev.vnet != 0:
            offload.parse(dev.rx_notes, start, n, dev.bare)
        if dev.bare != 0:
            _dress(dev.frame)
    return n


@compiled
def _dress(frame: int) -> None:
    """Give an IP packet the Ethernet header that every frame has here: from nobody to nobody."""
    version = load8(frame + SHORTEST) >> 4
    zero(frame, SHORTEST)
    put16(frame + SHORTEST - 2, IPV4 if version == 4 else IPV6 if version == 6 else 0)


@compiled
def gather(dev: Device) -> None:
    """The frame is not the one that was foreseen: put it together, in the buffer."""
    to = dev.frame + dev.expect
    first = min(dev.placed, dev.places[1])
    copy(to, dev.places[0], first)
    copy(to + first, dev.places[2], dev.placed - first)
    dev.placed = 0


@compiled
def transmit(dev: Device, iov: int, parts: int, total: int) -> int:
    """Write one frame, gathered from its parts; before it, if the device wants that, what is left to it."""
    if dev.vnet == 0 and dev.bare == 0:
        n = writev(dev.fd, iov, parts)
        return 0 if n == -EAGAIN or n == -EINTR else n
    if parts > PIECES:
        return -EINVAL
    first = 0
    if dev.vnet != 0:
        header = dev.buffer                             # the headroom before received frames has place for it
        offload.emit(dev.tx_notes, header, dev.bare)
        offload.clear(dev.tx_notes)
        dev.iov[0] = header
        dev.iov[1] = offload.HEADER
        first = 2
    for i in range(2 * parts):
        dev.iov[first + i] = load64(iov + 8 * i)
    dev.iov[first] += dev.bare
    dev.iov[first + 1] -= dev.bare
    n = writev(dev.fd, addressof(dev.iov), parts + first // 2)
    return 0 if n == -EAGAIN or n == -EINTR else n - dev.vnet + dev.bare if n > 0 else n


class TunTap(Driver):
    """What Tap and Tun have in common."""

    _mode, _mode_name = IFF_TAP, "tap"
    _bare = 0

    def __init__(self, name: str, mac: bytes | str | None, persist: bool | None, owner: int | None, group: int | None,
                 offload: bool, flags: int = 0) -> None:
        self.fd = -1
        self._others: set[int] = set()                  # descriptors of the interface's queues that `queues` opened
        self._pages: Pages | None = None
        _check_name(name)
        if self.ethernet:
            self.mac = mac_bytes(mac) if mac is not None else derived_mac(name)
        self.fd = _open_tun()
        try:
            self._vnet = offload and bool(_features(self.fd) & IFF_VNET_HDR)
            self.name = _attach(self.fd, name, self._mode, flags | (IFF_VNET_HDR if self._vnet else 0), self._mode_name)
            self._features = _negotiate(self.fd, self._vnet)
            self.offload = self._features != 0
            if owner is not None:
                _control(self.fd, TUNSETOWNER, owner, self.name, "owner")
            if group is not None:
                _control(self.fd, TUNSETGROUP, group, self.name, "group")
            if persist is not None:
                _control(self.fd, TUNSETPERSIST, int(persist), self.name, "persistence")
            self.mtu = interface_mtu(self.name)
        except BaseException:
            os.close(self.fd)
            self.fd = -1
            raise

    def open(self, device: Device, bell: int = -1) -> None:
        """See Driver.open."""
        if self.fd < 0:
            raise OSError(errno.EBADF, f"this {self!r} is closed")
        if self._pages is not None:
            raise OSError(errno.EBUSY, f"{self!r} is attached already")
        self._pages = Pages(BUFFER)
        self._device = device
        device.fd = self.fd
        device.buffer = self._pages.address
        device.vnet = HEADER if self._vnet else 0
        device.features = self._features if self.offload else 0
        device.bare = self._bare
        device.kind = Kind.TAP

    def set_offload(self, on: bool) -> None:
        """See Driver.set_offload; frames that wait in the kernel are as they were."""
        if on and self._features == 0:
            raise OSError(errno.EOPNOTSUPP, f"{self!r} was opened without offloads, or this kernel has none")
        self.offload = on
        if self._device is not None:
            self._device.features = self._features if on else 0
        if self._vnet:
            _negotiate(self.fd, on)

    def close(self) -> None:
        """See Driver.close."""
        super().close()
        self.__del__()

    def __del__(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._others.discard(fd)
            if getattr(self, "_vnet", False) and not self._others:
                _negotiate(fd, False)               # whoever attaches next to a persistent one may not expect them
            os.close(fd)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self, 'name', '?')!r})"


class Tap(TunTap):
    """A TAP interface of this host: attached to if it exists, otherwise made.

    With `offload` (the default) the kernel computes checksums and cuts large
    segments for us, and hands its own on uncut and unchecked, as between two ends
    of a veth; one that knows no virtio-net header does without.  `offload=False`:
    every frame on its own, complete, as on a cable.

    `mac` is our end's address (by default one derived from the name; the kernel's
    end has its own).  `persist=True` keeps the interface when we are gone, False
    makes it go; `owner` and `group` (numeric) may then attach to it without
    privileges.  All three are left as they are by default.

    `multi_queue=True`: this is one queue of an interface that has several; it was
    made so (`ip tuntap add dev NAME mode tap multi_queue`), or does not exist yet.
    `Tap.queues` opens several.  Offloads are the interface's: the last one to be
    switched on or off counts for all.
    """

    def __init__(self, name: str, *, mac: bytes | str | None = None, persist: bool | None = None,
                 owner: int | None = None, group: int | None = None, offload: bool = True,
                 multi_queue: bool = False) -> None:
        super().__init__(name, mac, persist, owner, group, offload, IFF_MULTI_QUEUE if multi_queue else 0)

    @classmethod
    def queues(cls, name: str, count: int, **settings: Any) -> list[Tap]:
        """So many queues of one multi-queue interface, with the same address; for `netstack.Shards`."""
        taps: list[Tap] = []
        try:
            for _ in range(count):
                taps.append(cls(taps[0].name if taps else name, multi_queue=True, **settings))
        except BaseException:
            for tap in taps:
                tap.close()
            raise
        shared = {tap.fd for tap in taps}
        for tap in taps:
            tap.mac, tap._others = taps[0].mac, shared
        return taps


class Tun(TunTap):
    """A TUN interface of this host: IP packets, without Ethernet; attached to if it exists, otherwise made.

    There are two ends and no addresses to resolve: what is routed to it goes to the
    kernel.  The other arguments are Tap's.
    """

    _mode, _mode_name = IFF_TUN, "tun"
    _bare = SHORTEST
    ethernet = False
    point_to_point = True

    def __init__(self, name: str, *, persist: bool | None = None, owner: int | None = None, group: int | None = None,
                 offload: bool = True) -> None:
        super().__init__(name, None, persist, owner, group, offload)


def _check_name(name: str) -> None:
    raw = name.encode()
    if not 0 < len(raw) <= NAME_MAX or name in (".", "..") or any(c in "/:" or c.isspace() or c == "\0" for c in name):
        raise OSError(errno.EINVAL, f"not a name for an interface: {name!r} "
                                    f"(1 to {NAME_MAX} bytes without spaces, '/' and ':')")


def derived_mac(name: str) -> bytes:
    """Locally administered (IEEE 802 8.4), the same each time for the same name."""
    return b"\x02" + hashlib.sha256(b"netstack " + name.encode()).digest()[:5]


def _open_tun() -> int:
    try:
        return os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        hint = {
            errno.ENOENT: "there is none: load the module (modprobe tun), or give it to the container "
                          "(--device /dev/net/tun)",
            errno.ENODEV: "the kernel has no tun driver: load the module (modprobe tun)",
            errno.EACCES: "no permission to open it: make it readable and writable for you (chmod 666), or run as root",
            errno.EPERM: "the container's device policy forbids it: give it the device (--device /dev/net/tun)",
        }.get(error.errno or 0, os.strerror(error.errno or 0))
        raise OSError(error.errno, f"{TUN}: {hint}") from None


def _features(fd: int) -> int:
    """TUNGETFEATURES: the flags that this kernel knows; 0 if it cannot say."""
    answer = bytearray(4)
    try:
        fcntl.ioctl(fd, TUNGETFEATURES, answer)
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


def _negotiate(fd: int, on: bool) -> Feature:
    """TUNSETOFFLOAD: what the kernel may leave to us.  What we may leave to it, which is never less."""
    if on:
        if sys.byteorder == "big":
            fcntl.ioctl(fd, TUNSETVNETLE, (1).to_bytes(4, sys.byteorder))
        tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
        for wish, features in ((tso | TUN_F_USO4 | TUN_F_USO6, Feature.CSUM | Feature.TSO | Feature.USO),
                               (tso, Feature.CSUM | Feature.TSO)):
            try:
                fcntl.ioctl(fd, TUNSETOFFLOAD, wish)
                return features
            except OSError:                         # a kernel before 6.2 has no USO
                continue
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, TUNSETOFFLOAD, 0)
    return Feature(0)


def _attach(fd: int, name: str, mode: int, flags: int, word: str) -> str:
    """TUNSETIFF; the name that the interface got ("tap%d" is filled in by the kernel)."""
    request = bytearray(IFREQ.pack(name.encode(), mode | IFF_NO_PI | flags))
    try:
        fcntl.ioctl(fd, TUNSETIFF, request)
    except OSError as error:
        hint = {
            errno.EPERM: "not permitted to make it or to attach to it: have it made for you (sudo ip tuntap add dev "
                         f"{name} mode {word} user $USER), or run in a namespace of your own (unshare -rn), or as root",
            errno.EBUSY: "another program is attached to it",
            errno.EINVAL: f"it exists and is no {word.upper()} interface, or one of another sort (multi-queue or not)",
            errno.EEXIST: f"it exists and is no {word.upper()} interface",
        }.get(error.errno or 0, os.strerror(error.errno or 0))
        raise OSError(error.errno, f"{name}: {hint}") from None
    return bytes(IFREQ.unpack(request)[0]).rstrip(b"\0").decode()


def _control(fd: int, command: int, value: int, name: str, what: str) -> None:
    try:
        fcntl.ioctl(fd, command, value)
    except OSError as error:
        raise OSError(error.errno, f"{name}: cannot set its {what}: {os.strerror(error.errno or 0)}") from None


def interface_mtu(name: str) -> int:
    """The MTU of an interface of this host, bytes.  OSError ENODEV if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        answer = fcntl.ioctl(s, SIOCGIFMTU, struct.pack("16si20x", name.encode(), 0))
    return int(struct.unpack("16si20x", answer)[1])
