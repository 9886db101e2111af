"""The notes of a frame: struct virtio_net_hdr, and what it says."""
from __future__ import annotations

import ctypes
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from netstack.drivers import offload
from netstack.drivers.offload import Gso, Offload

HEADER = struct.Struct("<BBHHHH")       # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset


def parsed(header: bytes, n: int) -> Offload:
    held = ctypes.create_string_buffer(header, len(header))
    notes = Offload.new()
    offload.parse(notes, ctypes.addressof(held), n, 0)
    return notes


def emitted(notes: Offload) -> tuple[int, ...]:
    held = ctypes.create_string_buffer(offload.HEADER)
    offload.emit(notes, ctypes.addressof(held), 0)
    return HEADER.unpack(held.raw)


def fields(o: Offload) -> tuple[int, ...]:
    return o.start, o.field, o.size, o.gso, o.checked


def test_a_frame_without_notes() -> None:
    assert emitted(Offload.new()) == (0, 0, 0, 0, 0, 0)
    assert fields(parsed(bytes(10), 60)) == (0, 0, 0, 0, 0)


def test_what_is_written_is_read() -> None:
    notes = Offload.new()
    notes.start, notes.field, notes.size, notes.gso, notes.headers = 34, 16, 1448, Gso.TCPV4, 66
    raw = HEADER.pack(*emitted(notes))
    assert HEADER.unpack(raw) == (offload.NEEDS_CSUM, Gso.TCPV4, 66, 1448, 34, 16)
    assert fields(parsed(raw, 3000)) == (34, 16, 1448, Gso.TCPV4, 1)


@pytest.mark.parametrize(("header", "n", "want"), [
    (HEADER.pack(2, 0, 0, 0, 0, 0), 60, (0, 0, 0, 0, 1)),                       # DATA_VALID: summed by hardware
    (HEADER.pack(1, 0, 0, 0, 34, 16), 52, (34, 16, 0, 0, 1)),
    (HEADER.pack(1, 0, 0, 0, 34, 16), 51, (0, 0, 0, 0, 0)),                     # the field would be behind the frame
    (HEADER.pack(1, 0, 0, 0, 0xFFFF, 0xFFFF), 0xFFFF, (0, 0, 0, 0, 0)),
    (HEADER.pack(1, Gso.TCPV6 | offload.ECN, 0, 1428, 54, 16), 9000, (54, 16, 1428, Gso.TCPV6, 1)),
    (HEADER.pack(0, 0, 0, 1448, 0, 0), 9000, (0, 0, 0, 0, 0)),                  # a size without a type means nothing
])
def test_what_the_device_says(header: bytes, n: int, want: tuple[int, ...]) -> None:
    notes = parsed(header, n)
    if want[0] == 0:
        notes.field = 0
    assert fields(notes) == want


@settings(deadline=None)        # the first call may compile
@given(st.binary(min_size=10, max_size=10), st.integers(14, 65550))
def test_no_header_leads_out_of_the_frame(header: bytes, n: int) -> None:
    notes = parsed(header, n)
    assert notes.start == 0 or notes.start + notes.field + 2 <= n
    frame = ctypes.create_string_buffer(bytes(n), n)
    assert offload.count(notes, ctypes.addressof(frame), n) >= 1
    offload.complete(notes, ctypes.addressof(frame), n)
    assert notes.start == 0


@pytest.mark.parametrize("size", [0, 1, 1447, 3001])
def test_a_checksum_is_completed(size: int) -> None:
    text = bytes(i * 7 & 0xFF for i in range(size))
    wanted = bytes(Ether() / IP(src="192.0.2.1", dst="192.0.2.2") / TCP(sport=1, dport=2, flags="A") / text)
    total = 6 + 20 + size + sum(struct.unpack(">4H", wanted[26:34]))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    partial = bytearray(wanted)
    partial[50:52] = total.to_bytes(2, "big")
    held = ctypes.create_string_buffer(bytes(partial), len(partial))
    notes = Offload.new()
    notes.start, notes.field = 34, 16
    offload.complete(notes, ctypes.addressof(held), len(partial))
    assert held.raw == wanted


@pytest.mark.parametrize(("text", "size", "count"), [(1, 0, 1), (1448, 1448, 1), (1449, 1448, 2), (44 * 1448, 1448, 44),
                                                    (0, 1448, 1)])
def test_how_many_segments_it_stands_for(text: int, size: int, count: int) -> None:
    raw = bytes(Ether() / IP() / TCP(options=[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))])) + bytes(text)
    held = ctypes.create_string_buffer(raw, len(raw))
    notes = Offload.new()
    notes.start, notes.size, notes.gso = 34, size, Gso.TCPV4
    assert offload.count(notes, ctypes.addressof(held), len(raw)) == count
