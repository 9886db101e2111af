"""The Internet checksum: RFC 1071's examples, scapy as a second opinion, and the sum as it is defined."""
from __future__ import annotations

import ctypes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.utils import checksum as scapy_checksum

from netstack.ip import checksum

from .host import halves

RFC_1071 = bytes.fromhex("0001f203f4f5f6f7")


def at(data: bytes):
    buffer = ctypes.create_string_buffer(data, max(len(data), 1))
    return buffer, ctypes.addressof(buffer)


def test_example_of_rfc_1071():
    buffer, p = at(RFC_1071)
    assert checksum.finish(checksum.add(0, p, 8, 0)) == 0xFFFF - 0xDDF2
    acc = 0
    for start, n in ((0, 3), (3, 2), (5, 3)):           # section 3: "second and third group swapped"
        acc = checksum.add(acc, p + start, n, start & 1)
    assert acc == 0xDDF2
    del buffer


@settings(deadline=None)
@given(pieces=st.lists(st.binary(max_size=20), min_size=1, max_size=4), acc=st.integers(0, 0xFFFF))
def test_pieces_add_up_to_the_whole(pieces, acc):
    whole, w = at(b"".join(pieces))
    expected = checksum.add(acc, w, sum(map(len, pieces)), 0)
    held = [at(piece) for piece in pieces]
    pairs = [v for (_, p), piece in zip(held, pieces, strict=True) for v in (p, len(piece))]
    iov = (ctypes.c_int64 * len(pairs))(*pairs)
    assert checksum.gather(acc, ctypes.addressof(iov), len(pieces)) == expected
    del whole


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=64))
def test_finish_as_scapy_does(data):
    buffer, p = at(data)
    assert checksum.finish(checksum.add(0, p, len(data), 0)) == scapy_checksum(data)
    del buffer


@settings(deadline=None)
@given(st.binary(min_size=4, max_size=40).filter(lambda d: len(d) % 2 == 0))
def test_what_was_finished_is_valid(data):
    body = data[:2] + b"\0\0" + data[4:]
    buffer, p = at(body)
    field = checksum.finish(checksum.add(0, p, len(body), 0))
    buffer, p = at(data[:2] + field.to_bytes(2, "big") + data[4:])
    assert checksum.is_valid(0, p, len(data))
    wrong = bytearray(buffer.raw[:len(data)])
    wrong[0] ^= 1
    buffer, p = at(bytes(wrong))
    assert not checksum.is_valid(0, p, len(data))


@pytest.mark.parametrize(("src", "dst"), [("192.0.2.1", "255.255.255.255"), ("0.0.0.0", "224.0.0.1"),
                                          ("2001:db8::1", "ff02::1:ff00:2"), ("::", "::1"),
                                          ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::1")])
@pytest.mark.parametrize("length", [0, 8, 1480, 65535])
def test_pseudo_header(src, dst, length):
    """RFC 9293 3.1 for IPv4, RFC 8200 8.1 for IPv6."""
    if ":" in src:
        header = bytes(IPv6(src=src, dst=dst))[8:40] + length.to_bytes(4, "big") + b"\0\0\0\x11"
    else:
        header = bytes(IP(src=src, dst=dst))[12:20] + b"\0\x11" + length.to_bytes(2, "big")
    assert checksum.finish(checksum.pseudo(*halves(src), *halves(dst), 17, length)) == scapy_checksum(header)


def test_pseudo_header_of_a_super_segment():
    """Beyond 64 KiB the length is 32 bits (RFC 8200 8.1)."""
    acc = checksum.pseudo(*halves("::1"), *halves("::1"), 6, 0x1_2345)
    assert acc == 1 + 1 + 6 + 1 + 0x2345


def test_update_of_rfc_1624():
    """Section 4: the example that equation 2 of RFC 1141 gets wrong."""
    assert checksum.update(0xDD2F, 0x5555, 0x3285) == 0x0000


@settings(deadline=None)
@given(words=st.lists(st.integers(0, 0xFFFF), min_size=2, max_size=10), new=st.integers(0, 0xFFFF))
def test_update_is_the_checksum_of_the_new_words(words, new):
    def field(values):
        return scapy_checksum(b"".join(v.to_bytes(2, "big") for v in values))
    changed = [new, *words[1:]]
    if any(words) and any(changed):         # all zero has two checksums
        assert checksum.update(field(words), words[0], new) == field(changed)
