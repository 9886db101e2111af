"""The TCP header against scapy; and any bytes at all: nothing outside the segment is read."""
from __future__ import annotations

import ctypes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from netstack.errors import Drop
from netstack.ip import checksum
from netstack.ip.net import Incoming
from netstack.machine import memory
from netstack.tcp import header
from netstack.tcp.header import Segment

from ..dialogues.link import ADDRESSES
from ..ip.host import halves

pytestmark = pytest.mark.parsers

U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
PORT = st.integers(1, 2**16 - 1)
OPTION = st.one_of(
    st.tuples(st.just("MSS"), U16), st.tuples(st.just("WScale"), st.integers(0, 255)),
    st.just(("SAckOK", b"")), st.tuples(st.just("Timestamp"), st.tuples(U32, U32)),
    st.tuples(st.just("SAck"), st.lists(U32, min_size=2, max_size=4).filter(lambda x: len(x) % 2 == 0).map(tuple)),
    st.just(("NOP", None)))


class Parser:
    """A segment at the very end of a block of memory, and what `header.parse` makes of it."""

    def __init__(self):
        self.block = ctypes.create_string_buffer(1 << 16)
        self.base = ctypes.addressof(self.block)
        self.rx, self.seg = Incoming.new(), Segment.new()

    def parse(self, data, version=4, fix=False):
        ours, theirs = (halves(a) for a in ADDRESSES[version])
        rx, n = self.rx, len(data)
        rx.src_hi, rx.src_lo = theirs
        rx.dst_hi, rx.dst_lo = ours
        rx.length = n
        rx.payload = self.base + len(self.block) - n
        ctypes.memmove(rx.payload, bytes(data), n)
        rx.pseudo = checksum.pseudo(rx.src_hi, rx.src_lo, rx.dst_hi, rx.dst_lo, 6, n)
        if fix and n >= 18:
            ctypes.memset(rx.payload + 16, 0, 2)
            field = checksum.finish(memory.sum16(rx.payload, n, rx.pseudo))
            ctypes.memmove(rx.payload + 16, field.to_bytes(2, "big"), 2)
        memory.fence(rx.payload, rx.payload + n)
        try:
            return header.parse(self.seg, rx)
        finally:
            memory.unfence()


parser = Parser()


def dissected(packet, version):
    """Bytes of the TCP segment, as scapy writes them."""
    ours, theirs = ADDRESSES[version]
    whole = (IP(src=theirs, dst=ours) if version == 4 else IPv6(src=theirs, dst=ours)) / packet
    return bytes(whole)[20 if version == 4 else 40:]


@settings(deadline=None, max_examples=150)
@given(PORT, PORT, U32, U32, st.integers(0, 255), U16, U16, st.lists(OPTION, max_size=4), st.binary(max_size=60),
       st.sampled_from([4, 6]))
def test_parse_what_scapy_writes(sport, dport, seq, ack, flags, window, up, options, data, version):
    packet = TCP(sport=sport, dport=dport, seq=seq, ack=ack, flags=flags, window=window, urgptr=up, options=options)
    if len(bytes(packet)) > 60:
        return
    assert parser.parse(dissected(packet / data, version), version) == Drop.NONE
    seg = parser.seg
    assert (seg.src_port, seg.dst_port, seg.seq, seg.ack, seg.flags) == (sport, dport, seq, ack, flags)
    assert (seg.wnd, seg.up, seg.data_len) == (window, up, len(data))
    assert ctypes.string_at(seg.data, seg.data_len) == data
    assert seg.len == len(data) + bool(flags & 2) + bool(flags & 1)
    last = dict(options)
    syn = bool(flags & header.SYN)
    assert seg.has_mss == (syn and "MSS" in last)
    assert not seg.has_mss or seg.mss == last["MSS"]
    assert seg.has_wscale == (syn and "WScale" in last)
    assert not seg.has_wscale or seg.wscale == min(last["WScale"], 14)
    assert seg.sack_permitted == (syn and "SAckOK" in last)
    assert seg.has_ts == ("Timestamp" in last)
    assert not seg.has_ts or (seg.tsval, seg.tsecr) == last["Timestamp"]
    blocks = [x for i in range(seg.sack_count) for x in (seg.sack[i].left, seg.sack[i].right)]
    assert blocks == list(last.get("SAck", ()))


@settings(deadline=None, max_examples=150)
@given(PORT, PORT, U32, U32, st.integers(0, 255), U16, U16, U16, st.booleans(), st.booleans(), st.integers(-1, 14),
       U32, U32)
def test_scapy_reads_what_we_write(sport, dport, seq, ack, flags, window, up, mss, sack, ts, wscale, tsval, tsecr):
    p = parser.base
    n = header.emit_syn_options(p + 20, mss, sack, ts, tsval, tsecr, wscale)
    header.emit(p, sport, dport, seq, ack, flags, window, up, 20 + n)
    packet = TCP(ctypes.string_at(p, 20 + n))
    assert (packet.sport, packet.dport, packet.seq, packet.ack, int(packet.flags)) == (sport, dport, seq, ack, flags)
    assert (packet.window, packet.urgptr, packet.dataofs * 4, packet.chksum) == (window, up, 20 + n, 0)
    options = [o for o in packet.options if o[0] != "NOP"]
    expected = [("MSS", mss)] + [("SAckOK", b"")] * sack + [("Timestamp", (tsval, tsecr))] * ts
    assert options == expected + [("WScale", wscale)] * (wscale >= 0)


def test_scapy_reads_our_timestamp():
    assert header.emit_timestamp(parser.base + 20, 7, 8) == 12
    header.emit(parser.base, 1, 2, 3, 4, 16, 5, 6, 32)
    packet = TCP(ctypes.string_at(parser.base, 32))
    assert packet.options == [("NOP", None), ("NOP", None), ("Timestamp", (7, 8))]


WHOLE = TCP(sport=5, dport=6, flags="S", options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2)), ("NOP", None),
                                                  ("WScale", 7)]) / b"text"


@pytest.mark.parametrize("version", [4, 6])
def test_truncated_everywhere(version):
    data = dissected(WHOLE, version)
    for n in range(len(data)):
        assert parser.parse(data[:n], version) in (Drop.TCP_MALFORMED, Drop.TCP_CHECKSUM)
        result = parser.parse(data[:n], version, fix=True)
        assert result == (Drop.NONE if n >= 40 else Drop.TCP_MALFORMED)


@pytest.mark.parametrize("version", [4, 6])
def test_every_flipped_bit_is_found(version):
    data = dissected(WHOLE, version)
    for i in range(8 * len(data)):
        bad = bytearray(data)
        bad[i // 8] ^= 1 << i % 8
        assert parser.parse(bad, version) in (Drop.TCP_CHECKSUM, Drop.TCP_MALFORMED)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=100))
@example(b"")
@example(bytes(20))
def test_any_bytes(data):
    assert parser.parse(data, fix=True) in (Drop.NONE, Drop.TCP_MALFORMED)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40), st.integers(0, 255))
def test_any_options(options, flags):
    """MUST-7: an illegal length ends the list, and nothing else happens."""
    options += bytes(-len(options) % 4)
    head = bytearray(b"\0\1\0\2" + bytes(8) + bytes([(20 + len(options)) << 2, flags]) + bytes(6))
    assert parser.parse(bytes(head) + options, fix=True) == Drop.NONE
    assert parser.seg.sack_count <= 4
    assert parser.seg.wscale <= 14


@pytest.mark.parametrize("ports", [(0, 5), (5, 0)])
def test_port_zero(ports):
    data = dissected(TCP(sport=ports[0], dport=ports[1]), 4)
    assert parser.parse(data) == Drop.TCP_MALFORMED


@pytest.mark.parametrize("offset", range(16))
def test_data_offset(offset):
    data = bytearray(dissected(TCP(sport=5, dport=6) / bytes(20), 4))
    data[12] = offset << 4
    expected = Drop.NONE if 5 <= offset <= 10 else Drop.TCP_MALFORMED
    assert parser.parse(bytes(data), fix=True) == expected
