"""A TUN and a packet socket: what a TAP does, with offloads and without; tests/kernel/test_offload.py has the TAP's."""
from __future__ import annotations

import contextlib
import errno
import socket
import struct
import subprocess
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from pyroute2 import IPRoute

from netstack.drivers import Raw, Tun
from netstack.lab import kernel

from .conftest import FAR, TAP
from .test_offload import CLEAN, bad_drops, packets, sent_whole, to_linux, to_us

each_device = pytest.mark.parametrize("device", ["tun", "raw"])
with_and_without = pytest.mark.parametrize("offload", [True, False])
UDP_SEGMENT, UDP_GRO = 103, 104


def clean(before: dict[str, int], but: AbstractSet[str] = frozenset()) -> None:
    after = kernel.counters()
    assert not {name: after[name] - before[name] for name in CLEAN if name not in but and after[name] != before[name]}


@each_device
@with_and_without
@pytest.mark.parametrize("mtu", [576, 1500, 9000])
def test_tcp(make_link: Any, linux: Any, life: Any, mtu: int, offload: bool, device: str,
             megabytes: Callable[[int], int]) -> None:
    net = make_link(mtu=mtu, offload=offload, device=device)
    before = kernel.counters()
    to_linux(net, linux, life, megabytes(10))
    to_us(net, linux, life, megabytes(10))
    if mtu >= 1280:
        to_linux(net, linux, life, megabytes(3), "linux6")
        to_us(net, linux, life, megabytes(3), "ip6")
    reordered = device == "raw"                         # a veth's frames pass a queue of each CPU
    clean(before, {"TcpExtPAWSEstab"} if reordered else set())
    assert not {k: n for k, n in bad_drops(net).items() if not reordered or k != "TCP_PAWS"}


@each_device
@with_and_without
@pytest.mark.parametrize(("family", "size"), [
    *((socket.AF_INET, n) for n in (0, 1, 1472, 1473, 60_000)), *((socket.AF_INET6, n) for n in (0, 1, 1452))])
def test_udp(make_link: Any, life: Any, offload: bool, size: int, device: str, family: int) -> None:
    net = make_link(offload=offload, device=device)
    before = kernel.counters()
    data = bytes(i * 31 & 0xFF for i in range(size))
    theirs = life.enter_context(socket.socket(family, socket.SOCK_DGRAM))
    theirs.bind((net.linux if family == socket.AF_INET else net.linux6, 0))
    theirs.settimeout(60)
    ours = life.enter_context(net.stack.socket(family, socket.SOCK_DGRAM))
    ours.settimeout(60)
    ours.sendto(data, theirs.getsockname()[:2])
    got, sender = theirs.recvfrom(70_000)
    assert got == data
    theirs.sendto(data, sender)
    assert ours.recvfrom(70_000)[0] == data
    clean(before)


@each_device
def test_large_pieces_cross_the_device(make_link: Any, linux: Any, life: Any, device: str) -> None:
    """With offloads few frames stand for many packets, which are counted; without, each that we send is one."""
    size = 1 << 20
    frames = {}
    for offload in (True, False):
        net = make_link(offload=offload, device=device)
        before, seen = packets(net), tx_packets()
        to_linux(net, linux, life, size)
        sent = packets(net)
        frames[offload] = tx_packets() - seen
        assert size // 1460 <= sent[1] - before[1] <= size // 1448 + 200
        assert net.stack.interface(net.tap).driver.offload is offload
        net.stack.close()
        remove()
    assert frames[True] < size // 1460 // 2
    assert frames[False] >= size // 1460


def tx_packets() -> int:
    """Frames that the kernel's end has got."""
    with IPRoute() as route:
        link = route.get_links(route.link_lookup(ifname=TAP)[0])[0]
        return int(link.get_attr("IFLA_STATS64")["rx_packets"])


def remove() -> None:
    with IPRoute() as route:
        route.link("del", index=route.link_lookup(ifname=TAP)[0])


@each_device
def test_linux_sends_many_datagrams_as_one(make_link: Any, life: Any, device: str) -> None:
    net = make_link(device=device)
    ours = life.enter_context(net.stack.socket(socket.AF_INET, socket.SOCK_DGRAM))
    ours.bind((net.ip, 0))
    ours.settimeout(60)
    theirs = life.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    theirs.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
    data = bytes(i * 13 & 0xFF for i in range(10_500))
    theirs.sendto(data, ours.getsockname())
    got = [ours.recv(2000) for _ in range(11)]
    assert [len(d) for d in got] == [1000] * 10 + [500]
    assert b"".join(got) == data


@each_device
def test_switched(make_link: Any, linux: Any, life: Any, device: str) -> None:
    net = make_link(device=device)
    driver = net.stack.interface(net.tap).driver
    for on in (False, True):
        driver.set_offload(on)
        assert driver.offload is on
        to_us(net, linux, life, 1 << 20)
        to_linux(net, linux, life, 1 << 20)


@each_device
def test_opened_without(make_link: Any, device: str) -> None:
    driver = make_link(offload=False, device=device).stack.interface(TAP).driver
    driver.set_offload(False)
    with pytest.raises(OSError, match="without offloads") as caught:
        driver.set_offload(True)
    assert caught.value.errno == errno.EOPNOTSUPP


@each_device
@with_and_without
def test_a_capture_has_whole_packets(make_link: Any, linux: Any, life: Any, tmp_path: Any, device: str,
                                     offload: bool) -> None:
    """Ethernet frames, of a TUN too: from nobody to nobody."""
    net = make_link(device=device, offload=offload)
    file = tmp_path / "a.pcapng"
    capture = net.stack.capture(str(file))
    to_linux(net, linux, life, 200_000)
    capture.close()
    frames = sent_whole(file, net)
    if device == "tun":
        assert all(raw[:12] == bytes(12) for raw in frames)
    assert len(frames) >= 200_000 // 1460


@each_device
def test_linux_pings(make_link: Any, device: str) -> None:
    net = make_link(device=device)
    for address in (net.ip, net.ip6):
        done = subprocess.run(["ping", "-c", "1", "-W", "20", address], capture_output=True, check=False)
        assert done.returncode == 0


def test_a_tun_asks_nobody(make_link: Any) -> None:
    """No ARP, no neighbour discovery, no address of its own making."""
    net = make_link(device="tun")
    interface = net.stack.interface(TAP)
    assert [str(a) for a in interface.addresses] == [f"{net.ip}/24", f"{net.ip6}/64"]
    assert interface.is_ready
    assert interface.counters["tx_packets"] == 0
    with net.stack.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.sendto(b"x", ("10.0.0.99", 9))             # whoever that is: the kernel gets it
    assert interface.counters["tx_packets"] == 1


def test_other_tuns(netns: None) -> None:
    with Tun("mine%d") as first:
        assert first.name == "mine0"
        assert repr(first) == "Tun('mine0')"
        with pytest.raises(OSError, match="another program"):
            Tun("mine0")
    kernel.make_tap(TAP)
    with pytest.raises(OSError, match="no TUN interface"):
        Tun(TAP)


def test_raw_needs_an_interface(netns: None) -> None:
    with pytest.raises(OSError, match="nowhere0: No such device") as caught:
        Raw("nowhere0")
    assert caught.value.errno == errno.ENODEV


def test_raw_hears_only_what_is_for_it(make_link: Any) -> None:
    """Frames for other stations stay in the kernel."""
    net = make_link(device="raw")
    assert repr(net.stack.interface(TAP).driver) == f"Raw({FAR!r})"
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as other:
        other.bind((TAP, 0))
        mine = bytes.fromhex(net.stack.interface(TAP).mac.replace(":", ""))
        for station in (b"\x02\1\1\1\1\1", mine[:5] + bytes([mine[5] ^ 1]), bytes([mine[0] ^ 4]) + mine[1:]):
            other.send(station + bytes(6) + b"\x08\x00" + bytes(50))
        assert "IP_VERSION" not in net.stack.drops()
        other.send(mine + bytes(6) + b"\x08\x00" + bytes(50))
        other.send(b"\xff" * 6 + bytes(6) + b"\x08\x00" + bytes(50))
    assert net.stack.wait_for(lambda: net.stack.drops().get("IP_VERSION") == 2, 60)


@each_device
def test_the_device_goes(make_link: Any, device: str) -> None:
    net = make_link(device=device)
    remove()
    with net.stack.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.settimeout(1)
        with contextlib.suppress(OSError):
            ours.sendto(b"x", (net.linux, 9))
    net.stack.close()


every_device = pytest.mark.parametrize("device", ["tap", "tun", "raw"])
V4, V6 = socket.AF_INET, socket.AF_INET6


def pair(net: Any, life: Any, family: int) -> tuple[Any, Any]:
    """Two sockets, ours and the kernel's, each with an address."""
    ours = life.enter_context(net.stack.socket(family, socket.SOCK_DGRAM))
    theirs = life.enter_context(socket.socket(family, socket.SOCK_DGRAM))
    hosts = (net.ip, net.linux) if family == V4 else (net.ip6, net.linux6)
    for sock, host in zip((ours, theirs), hosts, strict=True):
        sock.bind((host, 0))
        sock.settimeout(60)
    return ours, theirs


@every_device
@with_and_without
@pytest.mark.parametrize("family", [V4, V6])
def test_we_send_many_datagrams_as_one(make_link: Any, life: Any, device: str, offload: bool, family: int) -> None:
    """UDP_SEGMENT: cut by the device or by us, the kernel has them one by one; and as one with its UDP_GRO."""
    net = make_link(device=device, offload=offload)
    ours, theirs = pair(net, life, family)
    before = kernel.counters()
    data = bytes(i * 13 & 0xFF for i in range(10_500))
    ours.sendto(b"who has", theirs.getsockname()[:2])
    theirs.recv(100)
    ours.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
    assert ours.sendto(data, theirs.getsockname()[:2]) == len(data)
    got = [theirs.recv(2000) for _ in range(11)]
    assert [len(d) for d in got] == [1000] * 10 + [500]
    assert b"".join(got) == data
    assert ours.sendmsg([data], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", 1200))], 0,
                        theirs.getsockname()[:2]) == len(data)
    assert b"".join(theirs.recv(1200) for _ in range(9)) == data
    ours.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1473 if family == V4 else 1453)
    with pytest.raises(OSError) as caught:
        ours.sendto(data, theirs.getsockname()[:2])
    assert caught.value.errno == errno.EMSGSIZE
    ours.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1472 if family == V4 else 1452)
    ours.sendto(data, theirs.getsockname()[:2])
    assert b"".join(theirs.recv(2000) for _ in range(8)) == data
    clean(before)


@every_device
@pytest.mark.parametrize("family", [V4, V6])
def test_we_take_many_datagrams_as_one(make_link: Any, life: Any, device: str, family: int) -> None:
    """UDP_GRO: what the kernel hands over as one packet we read as one, and recvmsg tells how it is to be cut."""
    net = make_link(device=device)
    ours, theirs = pair(net, life, family)
    ours.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    theirs.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
    data = bytes(i * 13 & 0xFF for i in range(10_500))
    theirs.sendto(data, ours.getsockname()[:2])
    got, told, flags, sender = ours.recvmsg(70_000, 100)
    assert (got, flags, sender[:2]) == (data, 0, theirs.getsockname()[:2])
    assert told == [(socket.IPPROTO_UDP, UDP_GRO, struct.pack("i", 1000))]
    theirs.sendto(bytes(1000), ours.getsockname()[:2])
    assert ours.recvmsg(70_000, 100)[:3] == (bytes(1000), [], 0)
