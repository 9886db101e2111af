"""Offloads: the kernel sums and cuts for us, and hands on its own uncut; the same bytes arrive without."""
from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from netstack.lab import kernel

from . import linux as linux_side

PORT = 7779
ETH_P_ALL = 0x0003
CLEAN = ("TcpInErrs", "TcpInCsumErrors", "TcpExtPAWSEstab", "TcpExtTCPAbortOnData", "UdpInCsumErrors",
         "IpInHdrErrors")


def to_linux(net: Any, linux: Any, life: Any, size: int, address: str = "linux") -> None:
    """`size` bytes from the stack to Linux, compared by hash."""
    process = linux("listen-receive", getattr(net, address), PORT)
    assert process.stdout.readline() == "LISTENING\n"
    conn = life.enter_context(net.stack.create_connection((getattr(net, address), PORT), timeout=60))
    conn.settimeout(60)
    digest = linux_side.send(conn, size)
    conn.close()
    got = process.communicate(timeout=250)[0].split()
    assert got == [str(size), digest]


def to_us(net: Any, linux: Any, life: Any, size: int, address: str = "ip") -> None:
    """... and from Linux to the stack."""
    family = socket.AF_INET6 if address == "ip6" else socket.AF_INET
    server = life.enter_context(net.stack.create_server((getattr(net, address), PORT), family=family))
    process = linux("send", getattr(net, address), PORT, size)
    conn = life.enter_context(server.accept()[0])
    conn.settimeout(60)
    got = linux_side.receive(conn)
    conn.close()
    server.close()
    said = process.communicate(timeout=250)[0].split()
    assert [str(got[0]), got[1]] == said == [str(size), said[1]]


def packets(net: Any) -> tuple[int, int, int]:
    """Of the interface: packets in and out, and the segments of text that TCP has received."""
    counters = net.stack.interface(net.tap).counters
    return counters["rx_packets"], counters["tx_packets"], counters["tx_bytes"]


def bad_drops(net: Any) -> dict[str, int]:
    """What must not come from a kernel; TCP_UNACCEPTABLE may: it probes a window that a slow reader has closed."""
    return {k: n for k, n in net.stack.drops().items()
            if ("CHECKSUM" in k or "TCP" in k) and k != "TCP_UNACCEPTABLE"}


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("mtu", [576, 1280, 1500, 9000, 65521])
def test_every_mtu(make_link: Any, linux: Any, life: Any, mtu: int, offload: bool,
                   megabytes: Callable[[int], int]) -> None:
    net = make_link(mtu=mtu, offload=offload)
    before = kernel.counters()
    to_linux(net, linux, life, megabytes(10))
    to_us(net, linux, life, megabytes(10))
    if mtu >= 1280:
        to_linux(net, linux, life, megabytes(3), "linux6")
        to_us(net, linux, life, megabytes(3), "ip6")
    after = kernel.counters()
    assert {name: after[name] - before[name] for name in CLEAN} == dict.fromkeys(CLEAN, 0)
    assert not bad_drops(net)


def test_packets_count_as_on_the_wire(net: Any, linux: Any, life: Any) -> None:
    """An interface's counters are of segments, however large the pieces were that crossed the device."""
    size = 1 << 20
    before = packets(net)
    to_linux(net, linux, life, size)
    sent = packets(net)
    assert size // 1460 <= sent[1] - before[1] <= size // 1448 + 200
    to_us(net, linux, life, size)
    assert size // 1460 <= packets(net)[0] - sent[0] <= size // 1448 + 200


def test_switched_while_data_flows(net: Any, linux: Any, life: Any, megabytes: Callable[[int], int]) -> None:
    """ethtool -K on and off; nothing is lost."""
    tap = net.stack.interface(net.tap).driver
    assert tap.offload
    process = linux("listen-receive", net.linux, PORT)
    assert process.stdout.readline() == "LISTENING\n"
    conn = life.enter_context(net.stack.create_connection((net.linux, PORT), timeout=60))
    import hashlib
    digest = hashlib.sha256()
    size = 0
    for number, block in enumerate(linux_side.blocks(megabytes(8))):
        tap.set_offload(bool(number & 1))
        conn.sendall(block)
        digest.update(block)
        size += len(block)
    conn.shutdown(socket.SHUT_WR)
    conn.recv(1)
    conn.close()
    assert process.communicate(timeout=250)[0].split() == [str(size), digest.hexdigest()]
    tap.set_offload(False)
    to_us(net, linux, life, 1 << 20)
    tap.set_offload(True)
    to_us(net, linux, life, 1 << 20)


def test_a_tap_without(make_link: Any) -> None:
    net = make_link(offload=False)
    tap = net.stack.interface(net.tap).driver
    assert not tap.offload
    tap.set_offload(False)
    with pytest.raises(OSError, match="without offloads") as caught:
        tap.set_offload(True)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_linux_sees_valid_packets(net: Any, linux: Any, life: Any) -> None:
    """What `tcpdump -vv` shows on the kernel's side: IP headers whose checksum is right, lengths that fit, and
    a transport checksum that the kernel takes for good (PACKET_AUXDATA says so)."""
    sniffer = life.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
    sniffer.bind((net.tap, 0))
    sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sniffer.settimeout(5)
    to_linux(net, linux, life, 300_000)
    seen = large = 0
    sniffer.setblocking(False)
    while True:
        try:
            frame = sniffer.recv(70_000)
        except BlockingIOError:
            break
        if frame[12:14] != b"\x08\x00" or frame[26:30] != socket.inet_aton(net.ip):
            continue
        header = frame[14:34]
        total = sum(struct.unpack(">10H", header))
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
        assert int.from_bytes(header[2:4], "big") == len(frame) - 14 or len(frame) == 60
        seen += 1
        large += len(frame) > 1514
    assert large > 3
    assert seen < 300_000 // 1448


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("size", [0, 1, 1000, 1472, 1473, 9000, 60_000])
def test_udp(make_link: Any, life: Any, offload: bool, size: int) -> None:
    """Datagrams, whole and in fragments: their checksums are right, and taken for right."""
    net = make_link(offload=offload)
    before = kernel.counters()
    data = bytes(i * 31 & 0xFF for i in range(size))
    theirs = life.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    theirs.bind((net.linux, 0))
    theirs.settimeout(60)
    ours = life.enter_context(net.stack.socket(socket.AF_INET, socket.SOCK_DGRAM))
    ours.settimeout(60)
    ours.sendto(data, theirs.getsockname())
    got, sender = theirs.recvfrom(70_000)
    assert got == data
    theirs.sendto(data, sender)
    assert ours.recvfrom(70_000)[0] == data
    after = kernel.counters()
    assert {name: after[name] - before[name] for name in CLEAN} == dict.fromkeys(CLEAN, 0)


def test_linux_sends_many_datagrams_as_one(net: Any, life: Any) -> None:
    """UDP_SEGMENT: the kernel hands us one packet, and each datagram arrives by itself."""
    udp_segment = 103
    ours = life.enter_context(net.stack.socket(socket.AF_INET, socket.SOCK_DGRAM))
    ours.bind((net.ip, 0))
    ours.settimeout(60)
    theirs = life.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    theirs.setsockopt(socket.IPPROTO_UDP, udp_segment, 1000)
    data = bytes(i * 13 & 0xFF for i in range(10_500))
    theirs.sendto(data, ours.getsockname())
    got = [ours.recv(2000) for _ in range(11)]
    assert [len(d) for d in got] == [1000] * 10 + [500]
    assert b"".join(got) == data


def sent_whole(file: Any, net: Any) -> list[bytes]:
    """The TCP frames in a capture that the stack has sent; each must be whole, and its checksums right."""
    from scapy.layers.inet import IP, TCP
    from scapy.utils import rdpcap

    found = []
    for frame in rdpcap(str(file)):
        if IP not in frame or TCP not in frame or frame[IP].src != net.ip:
            continue
        raw = bytes(frame)
        assert len(raw) <= 1514
        again = type(frame)(raw)
        del again[TCP].chksum, again[IP].chksum
        assert bytes(again) == raw
        found.append(raw)
    return found


def test_a_capture_has_whole_packets(net: Any, linux: Any, life: Any, tmp_path: Any) -> None:
    """While somebody looks, what we send is cut and summed by us."""
    file = tmp_path / "a.pcapng"
    capture = net.stack.capture(str(file))
    to_linux(net, linux, life, 200_000)
    capture.close()
    assert len(sent_whole(file, net)) >= 200_000 // 1460
