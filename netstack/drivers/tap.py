"""TAP: Ethernet frames to and from the Linux kernel, through /dev/net/tun.

Linux Documentation/networking/tuntap.rst.  The kernel's side of the link (its
addresses, routes, up or down) is configured by others: `ip`, pyroute2.
"""
from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import struct

from ..errors import EAGAIN, EINTR
from ..machine import compiled
from ..machine.libc import read, writev
from .base import BUFFER, HEADROOM, Device, Driver, Kind, mac_bytes
from .memory import Pages

TUN = "/dev/net/tun"
_IOW = 0x8004_0000 if os.uname().machine.startswith(("ppc", "mips", "sparc")) else 0x4004_0000    # an int goes in
TUNSETIFF = _IOW | 0x54CA
TUNSETPERSIST = _IOW | 0x54CB
TUNSETOWNER = _IOW | 0x54CC
TUNSETGROUP = _IOW | 0x54CE
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
SIOCGIFMTU = 0x8921
IFREQ = struct.Struct("16sH22x")        # name, flags
NAME_MAX = 15


@compiled
def receive(dev: Device) -> int:
    """Read one frame behind the headroom of our buffer."""
    n = read(dev.fd, dev.buffer + HEADROOM, BUFFER - HEADROOM)
    if n == -EAGAIN or n == -EINTR:
        return 0
    dev.frame = dev.buffer + HEADROOM
    return n


@compiled
def transmit(dev: Device, iov: int, parts: int, total: int) -> int:
    """Write one frame, gathered from its parts."""
    n = writev(dev.fd, iov, parts)
    return 0 if n == -EAGAIN or n == -EINTR else n


class Tap(Driver):
    """A TAP interface of this host: attached to if it exists, otherwise made.

    `mac` is our end's address (by default one derived from the name; the kernel's
    end has its own).  `persist=True` keeps the interface when we are gone, False
    makes it go; `owner` and `group` (numeric) may then attach to it without
    privileges.  All three are left as they are by default.
    """

    def __init__(self, name: str, *, mac: bytes | str | None = None, persist: bool | None = None,
                 owner: int | None = None, group: int | None = None) -> None:
        self.fd = -1
        self._pages: Pages | None = None
        _check_name(name)
        self.mac = mac_bytes(mac) if mac is not None else _derived_mac(name)
        self.fd = _open_tun()
        try:
            self.name = _attach(self.fd, name)
            if owner is not None:
                _control(self.fd, TUNSETOWNER, owner, self.name, "owner")
            if group is not None:
                _control(self.fd, TUNSETGROUP, group, self.name, "group")
            if persist is not None:
                _control(self.fd, TUNSETPERSIST, int(persist), self.name, "persistence")
            self.mtu = _mtu(self.name)
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
        device.kind = Kind.TAP

    def close(self) -> None:
        """See Driver.close."""
        super().close()
        self.__del__()

    def __del__(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __repr__(self) -> str:
        return f"Tap({getattr(self, 'name', '?')!r})"


def _check_name(name: str) -> None:
    raw = name.encode()
    if not 0 < len(raw) <= NAME_MAX or name in (".", "..") or any(c in "/:" or c.isspace() or c == "\0" for c in name):
        raise OSError(errno.EINVAL, f"not a name for an interface: {name!r} "
                                    f"(1 to {NAME_MAX} bytes without spaces, '/' and ':')")


def _derived_mac(name: str) -> bytes:
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


def _attach(fd: int, name: str) -> str:
    """TUNSETIFF; the name that the interface got ("tap%d" is filled in by the kernel)."""
    request = bytearray(IFREQ.pack(name.encode(), IFF_TAP | IFF_NO_PI))
    try:
        fcntl.ioctl(fd, TUNSETIFF, request)
    except OSError as error:
        hint = {
            errno.EPERM: "not permitted to make it or to attach to it: have it made for you (sudo ip tuntap add dev "
                         f"{name} mode tap user $USER), or run in a namespace of your own (unshare -rn), or as root",
            errno.EBUSY: "another program is attached to it",
            errno.EINVAL: "it exists and is no TAP interface, or a TAP of another sort (multi-queue)",
            errno.EEXIST: "it exists and is no TAP interface",
        }.get(error.errno or 0, os.strerror(error.errno or 0))
        raise OSError(error.errno, f"{name}: {hint}") from None
    return bytes(IFREQ.unpack(request)[0]).rstrip(b"\0").decode()


def _control(fd: int, command: int, value: int, name: str, what: str) -> None:
    try:
        fcntl.ioctl(fd, command, value)
    except OSError as error:
        raise OSError(error.errno, f"{name}: cannot set its {what}: {os.strerror(error.errno or 0)}") from None


def _mtu(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        answer = fcntl.ioctl(s, SIOCGIFMTU, struct.pack("16si20x", name.encode(), 0))
    return int(struct.unpack("16si20x", answer)[1])
