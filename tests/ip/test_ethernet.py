"""Ethernet headers, and where multicast goes."""
from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import Ether

from netstack.ip import ethernet

from .host import halves, mac_text

MACS = st.integers(0, 2**48 - 1)


@given(MACS, MACS, st.integers(1501, 0xFFFF))
def test_header(dst, src, kind):
    memory = ctypes.create_string_buffer(ethernet.HEADER_LEN)
    p = ctypes.addressof(memory)
    ethernet.emit(p, dst, src, kind)
    assert memory.raw == bytes(Ether(dst=mac_text(dst), src=mac_text(src), type=kind))
    assert (ethernet.destination(p), ethernet.source(p), ethernet.ethertype(p)) == (dst, src, kind)
    assert bool(ethernet.is_group(dst)) == bool(dst >> 40 & 1)


@pytest.mark.parametrize(("group", "mac"), [
    ("224.0.0.1", "01:00:5e:00:00:01"),
    ("239.129.2.3", "01:00:5e:01:02:03"),       # RFC 1112 6.4: the low 23 bits
    ("224.128.0.5", "01:00:5e:00:00:05"),
    ("ff02::1", "33:33:00:00:00:01"),           # RFC 2464 7: the low 32
    ("ff02::1:ff0e:8c6c", "33:33:ff:0e:8c:6c"),
])
def test_multicast(group, mac):
    assert mac_text(ethernet.multicast(*halves(group))) == mac
