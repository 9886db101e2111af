"""Ladder diagrams, from captures that scapy writes."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.utils import PcapNgWriter

from netstack.observe.ladder import connections, ladder, rungs
from netstack.observe.pcapng import frames
from netstack.observe.segments import ACK, SYN, segments

A, B = ("10.0.0.1", 40000), ("10.0.0.2", 80)
START = 1_700_000_000.0


def segment(source: Any, destination: Any, flags: str, seq: int, ack: int = 0, data: bytes = b"", **tcp: Any) -> Any:
    """One frame."""
    return Ether() / IP(src=source[0], dst=destination[0]) / TCP(
        sport=source[1], dport=destination[1], flags=flags, seq=seq, ack=ack, **tcp) / data


def write(path: Path, packets: list[Any]) -> Path:
    """A capture, a millisecond between frames."""
    writer = PcapNgWriter(str(path))
    for number, packet in enumerate(packets):
        packet.time = START + number / 1000
        writer.write(packet)
    writer.close()
    return path


OPENING = [
    segment(A, B, "S", 1000, options=[("MSS", 1460), ("WScale", 7), ("SAckOK", b"")], window=64240),
    segment(B, A, "SA", 9_000, 1001, options=[("MSS", 1400)], window=1000),
    segment(A, B, "A", 1001, 9_001, window=502),
]


def states(path: Path) -> list[tuple[str, str]]:
    """The states after each segment of the first connection, where they changed."""
    return [(rung.left, rung.right) for rung in rungs(connections(path)[0])]


def test_opening_and_closing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcapng", [
        *OPENING,
        segment(A, B, "PA", 1001, 9001, b"question"),
        segment(B, A, "PA", 9001, 1009, b"answer"),
        segment(A, B, "FA", 1009, 9007),
        segment(B, A, "A", 9007, 1010),
        segment(B, A, "FA", 9007, 1010),
        segment(A, B, "A", 1010, 9008),
    ])
    assert states(path) == [
        ("SYN-SENT", "SYN-RECEIVED"), ("ESTABLISHED", ""), ("", "ESTABLISHED"), ("", ""), ("", ""),
        ("FIN-WAIT-1", "CLOSE-WAIT"), ("FIN-WAIT-2", ""), ("TIME-WAIT", "LAST-ACK"), ("", "CLOSED")]
    text = list(ladder(connections(path)[0]))
    assert "10.0.0.1:40000" in text[0]
    assert "10.0.0.2:80" in text[0]
    assert "SYN seq=0 win=64240 mss=1460 wscale=7 sack-ok" in text[2]
    assert "SYN ACK seq=0 ack=1" in text[3]
    assert f"win={502 << 7}" in text[4]
    assert "len=8" in text[5]
    assert text[5].strip().startswith("3.000")


def test_simultaneous_close(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcapng", [
        *OPENING, segment(A, B, "FA", 1001, 9001), segment(B, A, "FA", 9001, 1001),
        segment(A, B, "A", 1002, 9002), segment(B, A, "A", 9002, 1002)])
    # The observer stands on the link: it sees A's FIN arrive before B's leaves.
    assert states(path)[3:] == [("FIN-WAIT-1", "CLOSE-WAIT"), ("CLOSING", "LAST-ACK"), ("", "CLOSED"),
                                ("TIME-WAIT", "")]


def test_simultaneous_open(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcapng", [
        segment(A, B, "S", 1000), segment(B, A, "S", 9000), segment(A, B, "SA", 1000, 9001),
        segment(B, A, "SA", 9000, 1001)])
    assert states(path)[-1][0] == "ESTABLISHED"


def test_reset(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcapng", [*OPENING[:1], segment(B, A, "RA", 0, 1001)])
    assert states(path) == [("SYN-SENT", "SYN-RECEIVED"), ("CLOSED", "CLOSED")]


def test_a_fin_behind_a_hole_waits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcapng", [
        *OPENING, segment(A, B, "FA", 1006, 9001, b"world"), segment(A, B, "A", 1001, 9001, b"hello")])
    assert states(path)[3:] == [("FIN-WAIT-1", ""), ("", "CLOSE-WAIT")]


def test_a_long_connection_is_shortened(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcapng", [*OPENING, *[segment(A, B, "A", 1001 + i, 9001, b"x") for i in range(200)]])
    text = list(ladder(connections(path)[0], head=5, tail=5))
    assert len(text) == 13
    assert "193 more segments" in text[7]


def test_what_is_no_tcp_is_left_out(tmp_path: Path) -> None:
    short = Ether() / IP(src="10.0.0.1", dst="10.0.0.2", proto=6) / b"short"
    fragment = Ether() / IP(src="10.0.0.1", dst="10.0.0.2", frag=10, proto=6) / bytes(40)
    path = write(tmp_path / "a.pcapng", [Ether() / ARP(), short, fragment, Ether() / b"", OPENING[0]])
    assert len(list(frames(path))) == 5
    assert len(connections(path)) == 1


def test_ipv6_extension_headers_and_vlan(tmp_path: Path) -> None:
    packet = Ether() / Dot1Q(vlan=5) / IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrDestOpt() / TCP(
        sport=1, dport=2, flags="SA", seq=7, ack=8) / b"xyz"
    found = list(segments(frames(write(tmp_path / "a.pcapng", [packet]))))
    assert [(s.source, s.destination, s.seq, s.ack, s.flags, s.length) for s in found] == [
        (("fd00::1", 1), ("fd00::2", 2), 7, 8, SYN | ACK, 3)]


def test_a_file_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcapng", list(OPENING))
    whole = path.read_bytes()
    for length in range(28, len(whole), 7):
        path.write_bytes(whole[:length])
        assert len(list(frames(path))) <= 3


def test_not_a_capture(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("this is no capture file at all")
    with pytest.raises(ValueError, match="not a pcapng file"):
        list(frames(path))
