"""Reassembly: against a bytearray, in any order, with duplicates and overlaps; its bounds and its timeouts."""
from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP, IPerror, IPOption_RR, fragment
from scapy.layers.inet6 import (
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    PadN,
    fragment6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netstack.ip import icmp, reassembly
from netstack.machine import SECOND

from .host import ARENA, MAC, PEER_MAC, PEER_V4, PEER_V6, V4, V6, Host, mac_text

LINK = Ether(dst=mac_text(MAC), src=mac_text(PEER_MAC))
UDP_LEN = 8


@pytest.fixture
def host():
    made = Host()
    made.learn_peer()
    return made


def piece(offset, data, more, id=7, **fields):
    """An IPv4 fragment: `data` at byte `offset` (a multiple of 8) of a UDP datagram."""
    header = IP(src=PEER_V4, dst=V4, proto=17, id=id, flags=1 if more else 0, frag=offset // 8, **fields)
    return bytes(LINK / header / Raw(data))


def piece6(offset, data, more, id=7, nh=17, **fields):
    """The same for IPv6."""
    return bytes(LINK / IPv6(src=PEER_V6, dst=V6, **fields)
                 / IPv6ExtHdrFragment(nh=nh, offset=offset // 8, m=1 if more else 0, id=id) / Raw(data))


def is_empty(host):
    """Nothing is held for reassembly: no entry, no block, no deadline."""
    net = host.net
    deadlines = net.timers.count - net.neighbours.live
    return (net.reassemblies.live, net.fragment_bytes, net.arena.live, deadlines) == (0, 0, 0, 0)


# ---- whole datagrams -----------------------------------------------------------

@pytest.mark.parametrize("size", [9, 1473, 4000, 65507])
@pytest.mark.parametrize("order", ["forward", "backward"])
def test_what_scapy_fragments(host, size, order):
    """Up to the largest datagram there is."""
    data = bytes(i * 7 % 251 for i in range(size))
    whole = IP(src=PEER_V4, dst=V4, id=99, tos=0x10, ttl=33) / UDP(sport=1, dport=2) / Raw(data)
    frames = [bytes(LINK / f) for f in fragment(whole, 8 if size == 9 else 1480)]
    if order == "backward":
        frames.reverse()
    for frame in frames[:-1]:
        assert host.receive(frame) == 0
    assert host.receive(frames[-1], release=False) == 17
    rx = host.net.rx
    assert (rx.length, rx.tos, rx.ttl, rx.protocol, rx.fragment) == (size + UDP_LEN, 0x10, 33, 17, 0)
    assert host.payload() == bytes(whole)[20:]
    header = IP(host.header())          # as if it had never been in fragments: what an ICMP error will quote
    assert (header.len, header.flags, header.frag, header.id) == (len(whole), 0, 0, 99)
    assert bytes(header) == bytes(whole)[:20]
    reassembly.release(host.net)
    assert is_empty(host)
    assert host.drops() == {}


@pytest.mark.parametrize("size", [9, 1473, 4000, 65527])
@pytest.mark.parametrize("order", ["forward", "backward"])
def test_ipv6(host, size, order):
    data = bytes(i * 7 % 251 for i in range(size))
    whole = IPv6(src=PEER_V6, dst=V6, tc=0x10, hlim=33) / UDP(sport=1, dport=2) / Raw(data)
    payload = bytes(whole)[40:]
    step = 8 if size == 9 else 1440
    frames = [piece6(i, payload[i:i + step], i + step < len(payload), tc=0x10, hlim=33)
              for i in range(0, len(payload), step)]
    if order == "backward":
        frames.reverse()
    for frame in frames[:-1]:
        assert host.receive(frame) == 0
    assert host.receive(frames[-1], release=False) == 17
    assert host.payload() == payload
    assert host.header() == bytes(whole)[:40]
    assert (host.net.rx.tos, host.net.rx.ttl, host.net.rx.pointer) == (0x10, 33, 6)
    reassembly.release(host.net)
    assert is_empty(host)


def test_headers_of_the_first_fragment_are_kept(host):
    """RFC 8200 4.5: without the fragment header, and with the protocol that it named; the walk goes on behind."""
    options = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))])
    payload = bytes(IPv6ExtHdrDestOpt(nh=17, options=[PadN(optdata=bytes(4))]) / UDP(sport=5, dport=6) / Raw(bytes(32)))
    whole = (IPv6(src=PEER_V6, dst=V6) / options / IPv6ExtHdrFragment(id=9, nh=60) / Raw(payload))
    frames = [bytes(LINK / f) for f in fragment6(whole, 40 + 16 + 8 + 24)]
    assert len(frames) > 1
    for frame in frames[:-1]:
        assert host.receive(frame) == 0
    assert host.receive(frames[-1], release=False) == 17
    assert host.payload() == payload[8:]
    expected = IPv6(src=PEER_V6, dst=V6) / options / Raw(payload)
    expected[IPv6ExtHdrDestOpt].nh = 60
    assert host.header() == bytes(expected)[:40 + 16 + 8]
    assert host.net.rx.pointer == 56


def test_options_of_the_first_fragment(host):
    assert host.receive(piece(8, b"second..", False)) == 0
    assert host.receive(piece(0, b"first...", True, options=[IPOption_RR()]), release=False) == 17
    assert host.net.rx.options_len == len(host.header()) - 20 > 0
    assert host.payload() == b"first...second.."


def test_a_fragment_alone_is_a_datagram(host):
    """RFC 6946: whatever else has the same identification."""
    host.receive(piece6(8, b"second..", False))
    assert host.receive(piece6(0, b"atomic", False), release=False) == 17
    assert host.payload() == b"atomic"
    reassembly.release(host.net)
    assert host.receive(piece6(0, b"first...", True), release=False) == 17
    assert host.payload() == b"first...second.."


def test_many_at_once_are_kept_apart(host):
    """By source, destination, protocol and identification (RFC 791 3.2)."""
    for i in range(20):
        host.receive(piece(8, b"%08d" % i, False, id=i))
        host.receive(piece6(8, b"%08d" % (i + 100), False, id=i))
    assert host.net.reassemblies.live == 40
    other = bytes(LINK / IP(src="192.0.2.3", dst=V4, proto=17, id=3, flags=1) / Raw(b"another "))
    assert host.receive(other) == 0
    icmp_part = bytes(LINK / IP(src=PEER_V4, dst=V4, proto=1, id=3, flags=1) / Raw(b"another "))
    assert host.receive(icmp_part) == 0
    for i in reversed(range(20)):
        assert host.receive(piece(0, b"number: ", True, id=i), release=False) == 17
        assert host.payload() == b"number: %08d" % i
        reassembly.release(host.net)
        assert host.receive(piece6(0, b"number: ", True, id=i), release=False) == 17
        assert host.payload() == b"number: %08d" % (i + 100)
        reassembly.release(host.net)
    assert host.net.reassemblies.live == 2


def test_a_fragmented_ping_is_answered(host):
    frames = [bytes(LINK / f) for f in fragment(IP(src=PEER_V4, dst=V4) / ICMP(id=1) / Raw(bytes(3000)), 1480)]
    for frame in frames:
        host.receive(frame)
    replies = [IP(frame[14:]) for frame in host.sent()]
    assert [(r.frag * 8, int(r.flags)) for r in replies] == [(0, 1), (1480, 1), (2960, 0)]
    assert len({r.id for r in replies}) == 1
    joined = b"".join(bytes(r.payload) for r in replies)
    echo = ICMP(joined)
    assert (echo.type, echo.id, bytes(echo.payload)) == (0, 1, bytes(3000))
    assert is_empty(host)


def test_an_error_about_a_reassembled_datagram(host):
    """It quotes the datagram as it was sent, headers and data in one."""
    whole = IP(src=PEER_V4, dst=V4, id=5) / UDP(sport=1, dport=2) / Raw(bytes(range(200)))
    for frame in fragment(whole, 104):
        host.receive(bytes(LINK / frame), release=False)
    icmp.unreachable(host.net, host.now)
    frame = host.sent()[0]
    assert Ether(frame)[IPerror].len == len(whole)
    assert frame[14 + 20 + 8:] == bytes(whole)


# ---- against a bytearray -------------------------------------------------------

class Naive:
    """RFC 791 with a bytearray and a set of the bytes that are there; RFC 5722 for overlaps."""

    def __init__(self):
        self.data = bytearray(70_000)
        self.there: set[int] = set()
        self.total = None
        self.end = 0
        self.refused = False

    def add(self, offset, data, more):
        """The datagram when it is whole, else None."""
        end = offset + len(data)
        if offset == 0 and not more:
            return bytes(data)              # not a fragment
        if not data or (more and len(data) % 8):
            return None                     # this one is dropped, no more
        if self.refused:
            return None
        span = set(range(offset, end))
        if (self.total is not None and end > self.total) or (not more and end < self.end):
            self.refused = True
        elif span & self.there:
            self.refused = not (span <= self.there and self.data[offset:end] == data)
        else:
            self.there |= span
            self.data[offset:end] = data
            self.end = max(self.end, end)
            if not more:
                self.total = end
        if self.refused or self.total is None or len(self.there) < self.total:
            return None
        whole = bytes(self.data[:self.total])
        self.__init__()
        return whole


HOSTS: list[Host] = []


def shared():
    """One host for all examples: each ends with its time over."""
    if not HOSTS:
        HOSTS.append(Host())
        HOSTS[0].net.settings.gc_stale_time = 10**8 * SECOND
        HOSTS[0].net.settings.base_reachable_time = 10**8 * SECOND
        HOSTS[0].learn_peer()
    return HOSTS[0]


def check(make, pieces):
    host, naive = shared(), Naive()
    for offset, data, more in pieces:
        verdict = host.receive(make(offset, data, more), release=False)
        expected = naive.add(offset, data, more)
        assert (verdict == 17) == (expected is not None)
        if expected is not None:
            assert host.payload() == expected
        reassembly.release(host.net)
    host.advance(31)
    host.sent()
    assert (host.net.reassemblies.live, host.net.fragment_bytes, host.net.arena.live) == (0, 0, 0)


@st.composite
def shuffled(draw):
    """A datagram cut at random multiples of 8, the pieces in any order, some of them twice."""
    data = draw(st.binary(min_size=9, max_size=400))
    cuts = sorted(draw(st.sets(st.integers(1, (len(data) - 1) // 8), min_size=1, max_size=12)))
    ends = [0, *(8 * c for c in cuts), len(data)]
    pieces = [(a, data[a:b], b < len(data)) for a, b in itertools.pairwise(ends)]
    twice = draw(st.lists(st.sampled_from(pieces), max_size=4))
    return draw(st.permutations(pieces + twice))


@settings(deadline=None, max_examples=150)
@given(shuffled())
def test_any_order_with_duplicates(pieces):
    check(piece, pieces)


@settings(deadline=None, max_examples=80)
@given(shuffled())
def test_any_order_with_duplicates_ipv6(pieces):
    check(piece6, pieces)


EIGHTS = st.integers(0, 12).map(lambda n: 8 * n)
PIECE = st.tuples(EIGHTS, st.one_of(EIGHTS, st.integers(0, 40)), st.booleans(), st.integers(0, 3))


@settings(deadline=None, max_examples=250)
@given(st.lists(PIECE, max_size=14))
def test_anything_at_all(steps):
    """Overlaps, two ends, holes, wrong lengths: whole exactly when the naive one is, with the same bytes."""
    source = bytes(range(1, 255))
    check(piece, [(offset, bytes(b ^ (different == 3) for b in source[offset:offset + n]), more)
                  for offset, n, more, different in steps])


# ---- what is refused -----------------------------------------------------------

def test_an_overlap_refuses_all_of_it(host):
    """RFC 5722 4: those that have come, and those still to come."""
    host.receive(piece(0, bytes(16), True))
    host.receive(piece(8, bytes(16), True))
    assert host.drops() == {"FRAGMENT_OVERLAP": 1}
    assert host.net.fragment_bytes == 0
    host.receive(piece(24, bytes(8), False))
    host.receive(piece(0, bytes(24), True))
    assert host.drops() == {"FRAGMENT_OVERLAP": 3}
    host.advance(31)
    assert host.sent() == []                # and no error is sent about it (RFC 8200 4.5)
    assert host.net.reassemblies.live == 0
    assert host.receive(piece(0, bytes(8), True)) == 0
    assert host.receive(piece(8, b"again", False)) == 17


def test_an_exact_duplicate_is_not_an_overlap(host):
    """RFC 8200 4.5; with other bytes it is one."""
    for _ in range(3):
        host.receive(piece6(8, b"12345678", True))
    assert host.drops() == {}
    host.receive(piece6(8, b"1234567!", True))
    assert host.drops() == {"FRAGMENT_OVERLAP": 1}


@pytest.mark.parametrize("frames", [
    [piece(8, bytes(8), True), piece(16, bytes(8), False), piece(24, bytes(8), True)],     # beyond the last
    [piece(32, bytes(8), True), piece(16, bytes(8), False)],                                # the last is not the last
    [piece(16, bytes(8), False), piece(16, bytes(4), False)],
])
def test_two_ends(host, frames):
    for frame in frames:
        host.receive(frame)
    assert set(host.drops()) <= {"FRAGMENT_MALFORMED", "FRAGMENT_OVERLAP"}
    assert sum(host.drops().values()) == 1
    assert host.net.fragment_bytes == 0


def test_a_length_that_is_not_a_multiple_of_8(host):
    host.receive(piece(0, bytes(13), True))
    assert host.drops() == {"FRAGMENT_MALFORMED": 1}
    assert is_empty(host)
    assert host.sent() == []


def test_ping_of_death(host):
    """A fragment that ends beyond 65,535 bytes."""
    host.receive(piece(65528, bytes(100), False))
    host.receive(piece(65512, bytes(8), False))         # with the header: 65,540
    assert host.drops() == {"FRAGMENT_MALFORMED": 2}
    assert is_empty(host)


def test_ipv6_senders_are_told(host):
    """RFC 8200 4.5: parameter problem, code 0, and where."""
    host.receive(piece6(0, bytes(13), True))
    host.receive(piece6(65528, bytes(100), False))
    problems = [Ether(f)[ICMPv6ParamProblem] for f in host.sent()]
    assert [(p.code, p.ptr) for p in problems] == [(0, 4), (0, 42)]
    assert host.drops() == {"FRAGMENT_MALFORMED": 2}


def test_an_empty_fragment(host):
    host.receive(piece(8, b"", False))
    host.receive(piece(8, b"", True))
    assert host.drops() == {"FRAGMENT_MALFORMED": 2}
    assert is_empty(host)


# ---- congestion marks (RFC 3168 5.3) -------------------------------------------

@pytest.mark.parametrize(("first", "second", "whole"), [
    (0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3), (2, 3, 3), (3, 2, 3), (1, 3, 3), (3, 1, 3), (0, 3, None), (3, 0, None),
])
def test_congestion_marks(host, first, second, whole):
    host.receive(piece(0, bytes(8), True, tos=0x20 | first))
    verdict = host.receive(piece(8, bytes(8), False, tos=0x20 | second), release=False)
    if whole is None:
        assert verdict == 0
        assert host.drops() == {"FRAGMENT_MALFORMED": 1}
    else:
        assert (verdict, host.net.rx.tos) == (17, 0x20 | whole)
    reassembly.release(host.net)
    assert is_empty(host)


# ---- bounds --------------------------------------------------------------------

def test_the_number_of_datagrams_is_bounded(host):
    for i in range(300):
        host.receive(piece(0, bytes(8), True, id=i))
    assert host.net.reassemblies.live == reassembly.CAPACITY - 1
    assert host.drops() == {"FRAGMENT_LIMIT": 300 - (reassembly.CAPACITY - 1)}
    assert host.receive(piece(8, bytes(8), False, id=0)) == 17      # those that are in get finished
    host.receive(piece(0, bytes(8), True, id=299))
    assert host.net.reassemblies.live == reassembly.CAPACITY - 1


def test_the_bytes_are_bounded(host):
    host.net.settings.ipfrag_high_thresh = 100_000
    for i in range(100):
        host.receive(piece(0, bytes(1400), True, id=i))
        host.receive(piece(8000, bytes(1400), True, id=i))
        assert host.net.fragment_bytes <= 100_000
        assert host.net.fragment_bytes == host.net.arena.live
    assert host.drops()["FRAGMENT_LIMIT"] > 0


def test_no_memory(host):
    host.net.arena.limit = 4096
    assert ARENA > 4096
    host.receive(piece(0, bytes(8), True))
    host.receive(piece(4000, bytes(8), False))
    assert host.drops() == {"FRAGMENT_LIMIT": 1}
    assert host.net.arena.live == 0


# ---- timeouts (RFC 1122 3.3.2) -------------------------------------------------

def test_time_exceeded(host):
    """The first fragment was there: its sender is told, with its header and data."""
    first = piece(0, bytes(range(32)), True, tos=0x10)
    host.receive(first)
    host.receive(piece(64, bytes(8), False))
    host.advance(29.9)
    host.receive(piece(32, bytes(8), True))             # does not buy time
    assert host.sent() == []
    host.advance(0.2)
    assert host.drops()["FRAGMENT_TIMEOUT"] == 1
    error = Ether(next(f for f in host.sent() if f[12:14] == b"\x08\0"))
    assert (error[IP].dst, error[IP].tos, error[ICMP].type, error[ICMP].code) == (PEER_V4, 0xD0, 11, 1)
    assert bytes(error[ICMP])[8:] == first[14:]
    assert (host.net.reassemblies.live, host.net.arena.live) == (0, 0)


def test_without_the_first_fragment_nobody_is_told(host):
    host.receive(piece(8, bytes(8), True))
    host.advance(31)
    assert host.drops() == {"FRAGMENT_TIMEOUT": 1}
    assert [f for f in host.sent() if f[12:14] == b"\x08\0"] == []


def test_time_exceeded_ipv6(host):
    first = piece6(0, bytes(range(32)), True)
    host.receive(first)
    host.advance(31)
    error = next(Ether(f) for f in host.sent() if ICMPv6TimeExceeded in Ether(f))
    assert (error[IPv6].dst, error[ICMPv6TimeExceeded].code) == (PEER_V6, 1)
    assert bytes(error[ICMPv6TimeExceeded])[8:] == first[14:]


def test_what_was_delivered_has_no_deadline(host):
    host.receive(piece(0, bytes(8), True))
    host.receive(piece(8, bytes(8), False))
    host.advance(40)
    assert host.drops() == {}
    assert host.net.reassemblies.live == 0
