"""Tap against the real kernel.  Each test runs in a process with a network namespace of its own."""
from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from netstack.drivers import Tap, device
from netstack.drivers import tap as module

from .rig import Rig

ROOT = Path(__file__).resolve().parents[2]
IFF_TUN = 0x0001


def in_namespace(name: str) -> None:
    """Run the function `name` of this file in a new network namespace; skip when that cannot be had."""
    if not os.path.exists(module.TUN):
        pytest.skip(f"there is no {module.TUN}")
    unshare = shutil.which("unshare")
    flags = "-n" if os.geteuid() == 0 else "-rn"
    if unshare is None or subprocess.run([unshare, flags, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here")
    code = f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}\nfrom {__name__} import {name}; {name}()"
    run = subprocess.run([unshare, flags, sys.executable, "-c", code], capture_output=True, text=True, timeout=250,
                         check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def kernel(name: str, *, address: str = "", **attributes: object) -> None:
    """Configure the kernel's side."""
    from pyroute2 import IPRoute
    with IPRoute() as ip:
        [index] = ip.link_lookup(ifname=name)
        if attributes.pop("delete", None):
            ip.link("del", index=index)
            return
        ip.link("set", index=index, **attributes)
        if address:
            ip.addr("add", index=index, address=address, prefixlen=24)


def wait_for(rig: Rig, *ethertypes: int) -> bytes:
    """The next frame of one of these types (the kernel says much on its own)."""
    for _ in range(100):
        data = rig.receive()
        if data is None:
            ready, _, _ = select.select([rig.device.fd], [], [], 10)
            assert ready, "nothing came"
        elif int.from_bytes(data[12:14], "big") in ethertypes:
            return data
    raise AssertionError("not among 100 frames")


def exchange() -> None:
    tap = Tap("tap0")
    assert tap.name == "tap0"
    assert tap.mtu == 1500
    assert tap.mac[0] & 3 == 2
    kernel("tap0", state="up", address="10.9.0.1")
    rig = Rig(tap)
    assert rig.device.fd == tap.fd
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(10)
        s.bind(("10.9.0.1", 5000))
        s.sendto(b"hello", ("10.9.0.2", 6000))
        request = wait_for(rig, 0x0806)
        assert request[38:42] == bytes([10, 9, 0, 2])
        kernel_mac = request[6:12]
        assert kernel_mac != tap.mac
        ours = bytes([10, 9, 0, 2])
        reply = kernel_mac + tap.mac + bytes.fromhex("08060001080006040002") + tap.mac + ours + request[22:32]
        assert rig.send(reply[:14], reply[14:]) == len(reply)
        packet = wait_for(rig, 0x0800)
        assert packet[:6] == tap.mac
        assert packet[-5:] == b"hello"
        udp = bytes.fromhex("1770 1388 000d 0000") + b"world"
        header = bytes.fromhex("4500 0021 0000 4000 4011") + bytes(2) + ours + bytes([10, 9, 0, 1])
        total = sum(int.from_bytes(header[i:i + 2], "big") for i in range(0, 20, 2))
        total = (total & 0xFFFF) + (total >> 16)
        header = header[:10] + (0xFFFF - total).to_bytes(2, "big") + header[12:]
        assert rig.transmit(kernel_mac + tap.mac + b"\x08\x00", header, udp) == 47
        assert s.recvfrom(100) == (b"world", ("10.9.0.2", 6000))
    assert device.has_room(rig.device, 1514)
    assert device.sleep(rig.device)
    device.wake(rig.device)
    kernel("tap0", state="down")
    assert rig.transmit(b"\0" * 60) == -errno.EIO
    tap.close()
    tap.close()
    assert rig.device.kind == 0
    assert rig.device.fd == -1
    assert "tap0" not in interfaces()               # made by us, so gone with us
    with pytest.raises(OSError, match="closed"):
        tap.open(rig.device)


def interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def deleted_under_us() -> None:
    rig = Rig(Tap("tap0"))
    kernel("tap0", delete=True)
    assert device.receive(rig.device, 0) < 0
    assert rig.transmit(b"\0" * 60) < 0
    rig.driver.close()


def persistent() -> None:
    Tap("keep0", persist=True, owner=os.getuid(), group=os.getgid()).close()
    assert "keep0" in interfaces()
    kernel("keep0", mtu=1280)
    with Tap("keep0", mac="02:00:00:00:00:05") as tap:
        assert tap.mtu == 1280
        assert tap.mac == b"\x02\0\0\0\0\x05"
        with pytest.raises(OSError, match="another program is attached") as caught:
            Tap("keep0")
        assert caught.value.errno == errno.EBUSY
    assert "keep0" in interfaces()
    Tap("keep0", persist=False).close()
    assert "keep0" not in interfaces()
    with Tap("many%d") as first, Tap("many%d") as second:
        assert (first.name, second.name) == ("many0", "many1")
        rig = Rig(first)
        with pytest.raises(OSError, match="attached already"):
            first.open(rig.device)


def not_a_tap() -> None:
    tun = os.open(module.TUN, os.O_RDWR)
    fcntl.ioctl(tun, module.TUNSETIFF, module.IFREQ.pack(b"tun0", IFF_TUN))
    for name in ("tun0", "lo"):
        with pytest.raises(OSError, match="no TAP") as caught:
            Tap(name)
        assert caught.value.errno in (errno.EINVAL, errno.EEXIST)
    os.close(tun)


def no_privileges() -> None:
    os.setgid(65534)
    os.setuid(65534)
    with pytest.raises(PermissionError) as caught:
        Tap("tap0")
    assert re.search("unshare -rn|run as root", str(caught.value))


@pytest.mark.kernel
@pytest.mark.parametrize("what", ["exchange", "deleted_under_us", "persistent", "not_a_tap"])
def test_with_the_kernel(what):
    in_namespace(what)


@pytest.mark.kernel
def test_without_privileges():
    if os.geteuid() != 0:
        pytest.skip("needs root, to give it up")
    in_namespace("no_privileges")


@pytest.mark.parametrize("name", ["", "a" * 16, "a b", "a/b", "a:b", ".", "..", "a\0b", "ä" * 8])
def test_bad_names(name):
    with pytest.raises(OSError, match="not a name") as caught:
        Tap(name)
    assert caught.value.errno == errno.EINVAL


def test_no_tun_device(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "TUN", str(tmp_path / "tun"))
    with pytest.raises(FileNotFoundError, match="modprobe tun"):
        Tap("tap0")


def test_something_else_in_its_place(monkeypatch):
    monkeypatch.setattr(module, "TUN", "/dev/null")
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="tap0: ") as caught:
        Tap("tap0")
    assert caught.value.errno == errno.ENOTTY
    assert set(os.listdir("/proc/self/fd")) == before


def test_bad_address():
    with pytest.raises(ValueError, match="one station"):
        Tap("tap0", mac="01:00:5e:00:00:01")
