"""ICMPv6: every message written is read by scapy, every message read is written by it."""
from __future__ import annotations

import errno

import pytest
from scapy.layers.inet import UDP, UDPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    ICMPv6Unknown,
    IPerror6,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netstack.ip import icmp, icmpv6, pmtu
from netstack.ip.net import Verdict
from netstack.machine import SECOND

from .host import MAC, PEER_MAC, PEER_V6, V6, Host, halves, mac_text, text

TO_US = Ether(dst=mac_text(MAC), src=mac_text(PEER_MAC))
ALL_NODES = Ether(dst="33:33:00:00:00:01", src=mac_text(PEER_MAC))
ROUTER = "2001:db8::fe"
FAR = "2001:db8:5::7"


@pytest.fixture
def host():
    made = Host()
    made.learn_peer()
    return made


def only(frames):
    """The one frame that was sent, parsed; scapy finds the same checksum."""
    assert len(frames) == 1
    packet = Ether(frames[0])
    again = packet.copy()
    del again[IPv6].payload.cksum
    assert bytes(again) == frames[0]
    return packet


# ---- echo (4.1, 4.2) -----------------------------------------------------------

@pytest.mark.parametrize("data", [b"", b"x", b"hello, world", bytes(range(256)) * 5 + b"odd"])
def test_echo(host, data):
    ping = TO_US / IPv6(src=PEER_V6, dst=V6, tc=0x20) / ICMPv6EchoRequest(id=0x1234, seq=7, data=data)
    assert host.receive(ping) == Verdict.DONE
    reply = only(host.sent())
    assert (reply.dst, reply[IPv6].src, reply[IPv6].dst) == (mac_text(PEER_MAC), V6, PEER_V6)
    assert (reply[IPv6].hlim, reply[IPv6].tc) == (64, 0x20)
    echo = reply[ICMPv6EchoReply]
    assert (echo.code, echo.id, echo.seq, echo.data) == (0, 0x1234, 7, data)
    assert host.drops() == {}


def test_echo_to_all_nodes_is_answered_from_a_unicast_address(host):
    """RFC 4443 4.2, 2.2 (b)."""
    host.receive(ALL_NODES / IPv6(src=PEER_V6, dst="ff02::1") / ICMPv6EchoRequest(id=1, data=b"all"))
    reply = only(host.sent())
    assert reply[IPv6].src == V6
    assert reply[ICMPv6EchoReply].data == b"all"


def test_echo_behind_extension_headers(host):
    host.receive(TO_US / IPv6(src=PEER_V6, dst=V6) / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
                 / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))]) / ICMPv6EchoRequest(id=9, data=b"data"))
    assert only(host.sent())[ICMPv6EchoReply].data == b"data"


def test_echo_reply_goes_to_the_socket(host):
    assert host.receive(TO_US / IPv6(src=PEER_V6, dst=V6) / ICMPv6EchoReply(id=3, seq=4, data=b"data")) == 58
    assert host.payload()[8:] == b"data"


def test_echo_ignore_all(host):
    host.net.settings.icmp_echo_ignore_all = 1
    host.receive(TO_US / IPv6(src=PEER_V6, dst=V6) / ICMPv6EchoRequest())
    assert host.sent() == []
    assert host.drops() == {"ICMP_IGNORED": 1}


def test_the_checksum_covers_the_addresses(host):
    """RFC 4443 2.3: the same bytes from another source are wrong."""
    frame = bytearray(bytes(TO_US / IPv6(src=PEER_V6, dst=V6) / ICMPv6EchoRequest(data=b"data")))
    frame[14 + 8 + 15] ^= 4
    host.receive(bytes(frame))
    assert host.drops() == {"ICMP_CHECKSUM": 1}


def test_too_short(host):
    host.receive(TO_US / IPv6(src=PEER_V6, dst=V6, nh=58) / Raw(bytes(7)))
    assert host.drops() == {"ICMP_MALFORMED": 1}


# ---- errors received -----------------------------------------------------------

LINUX = [   # icmpv6_err_convert in Linux's net/ipv6/icmp.c
    (0, errno.ENETUNREACH, 0), (1, errno.EACCES, 1), (2, errno.EHOSTUNREACH, 0), (3, errno.EHOSTUNREACH, 0),
    (4, errno.ECONNREFUSED, 1), (5, errno.EACCES, 1), (6, errno.EACCES, 1), (7, errno.EPROTO, 1),
]
QUOTED = IPv6(src=V6, dst=FAR, nh=17, plen=1000) / Raw(bytes(range(16)))


@pytest.mark.parametrize(("code", "number", "hard"), LINUX)
def test_unreachable(host, code, number, hard):
    assert host.receive(TO_US / IPv6(src=ROUTER, dst=V6) / ICMPv6DestUnreach(code=code) / QUOTED) == Verdict.ERROR
    e = host.net.error
    assert (e.errno, e.hard, e.type, e.code, e.protocol, e.mtu) == (number, hard, 1, code, 17, 0)
    assert (text(e.src_hi, e.src_lo), text(e.dst_hi, e.dst_lo), text(e.from_hi, e.from_lo)) == (V6, FAR, ROUTER)
    assert host.payload()[e.quoted - host.net.rx.payload:] == bytes(range(16))
    assert e.quoted_len == 16


@pytest.mark.parametrize(("message", "number", "hard"), [
    (ICMPv6TimeExceeded(code=0), errno.EHOSTUNREACH, 0), (ICMPv6TimeExceeded(code=1), errno.EHOSTUNREACH, 0),
    (ICMPv6ParamProblem(code=1, ptr=40), errno.EPROTO, 1),
    (ICMPv6Unknown(type=100, msgbody=bytes(4)), errno.EPROTO, 0),          # 2.4 (a): passed on
])
def test_other_errors(host, message, number, hard):
    assert host.receive(TO_US / IPv6(src=ROUTER, dst=V6) / message / QUOTED) == Verdict.ERROR
    assert (host.net.error.errno, host.net.error.hard) == (number, hard)


def test_extension_headers_in_the_quotation(host):
    quoted = (IPv6(src=V6, dst=FAR) / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
              / IPv6ExtHdrRouting(type=2, addresses=["2001:db8::99"]) / IPv6ExtHdrFragment(m=1, id=5, nh=60)
              / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))]) / UDP(sport=77, dport=88))
    assert host.receive(TO_US / IPv6(src=ROUTER, dst=V6) / ICMPv6DestUnreach(code=4) / quoted) == Verdict.ERROR
    e = host.net.error
    assert (e.protocol, e.quoted_len) == (17, 8)
    assert host.payload()[e.quoted - host.net.rx.payload:][:4] == b"\0\x4d\0\x58"


@pytest.mark.parametrize(("quoted", "reason"), [
    (Raw(bytes(QUOTED)[:47]), "ICMP_MALFORMED"),
    (Raw(b""), "ICMP_MALFORMED"),
    (Raw(b"\x45" + bytes(QUOTED)[1:]), "ICMP_MALFORMED"),
    (IPv6(src=V6, dst=FAR) / IPv6ExtHdrFragment(offset=9, id=5, nh=17) / Raw(bytes(8)), "ICMP_MALFORMED"),
    (IPv6(src=V6, dst=FAR, nh=60) / Raw(b"\x11\xff" + bytes(14)), "ICMP_MALFORMED"),    # a header beyond the end
    (IPv6(src="2001:db8::77", dst=FAR, nh=17) / Raw(bytes(8)), "NOT_FOR_US"),
    (IPv6(src="::ffff:192.0.2.1", dst="::ffff:192.0.2.2", nh=17) / Raw(bytes(8)), "ICMP_MALFORMED"),
])
def test_a_quotation_that_says_nothing(host, quoted, reason):
    assert host.receive(TO_US / IPv6(src=ROUTER, dst=V6) / ICMPv6DestUnreach(code=4) / quoted) == Verdict.DONE
    assert host.drops() == {reason: 1}


@pytest.mark.parametrize("message", [ICMPv6ND_RA(), ICMPv6ND_RS(), ICMPv6ND_Redirect(tgt="fe80::1", dst=FAR),
                                     ICMPv6MLReport2()])
def test_what_we_do_not_listen_to(host, message):
    assert host.receive(TO_US / IPv6(src="fe80::1", dst=V6, hlim=255) / message) == Verdict.DONE
    assert host.drops() == {"ICMP_IGNORED": 1}
    assert host.sent() == []


@pytest.mark.parametrize("type", [144, 160, 200, 255])
def test_unknown_informational_messages(host, type):
    """2.4 (b): silently discarded."""
    host.receive(TO_US / IPv6(src=PEER_V6, dst=V6) / ICMPv6Unknown(type=type, msgbody=bytes(20)))
    assert host.drops() == {"ICMP_UNKNOWN": 1}
    assert host.sent() == []


# ---- packet too big (RFC 8201) -------------------------------------------------

def too_big(host, mtu, nh=17):
    return host.receive(TO_US / IPv6(src=ROUTER, dst=V6) / ICMPv6PacketTooBig(mtu=mtu)
                        / IPv6(src=V6, dst=FAR, nh=nh, plen=1460) / Raw(bytes(16)))


def known(host):
    return pmtu.lookup(host.net, *halves(FAR), host.now)


def test_packet_too_big(host):
    assert too_big(host, 1400) == Verdict.ERROR
    e = host.net.error
    assert (e.mtu, e.errno, e.hard, known(host)) == (1400, errno.EMSGSIZE, 0, 1400)


def test_but_for_tcp_only_by_tcp(host):
    assert too_big(host, 1400, nh=6) == Verdict.ERROR
    assert (host.net.error.mtu, known(host)) == (1400, 0)


@pytest.mark.parametrize("mtu", [0, 68, 1279])
def test_less_than_the_minimum_mtu_is_discarded(host, mtu):
    """RFC 8201 4."""
    assert too_big(host, mtu) == Verdict.DONE
    assert known(host) == 0
    assert host.drops() == {"ICMP_MALFORMED": 1}


def test_an_absurdly_large_mtu_changes_nothing(host):
    too_big(host, 1400)
    too_big(host, 0xFFFF_FFFF)
    assert known(host) == 1400


# ---- errors sent ---------------------------------------------------------------

DATAGRAM = IPv6(src=PEER_V6, dst=V6, tc=0x2E) / UDP(sport=4000, dport=9) / Raw(b"nobody listens")


def test_port_unreachable(host):
    assert host.receive(TO_US / DATAGRAM) == 17
    icmp.unreachable(host.net, host.now)
    error = only(host.sent())
    assert (error[IPv6].src, error[IPv6].dst) == (V6, PEER_V6)
    assert (error[ICMPv6DestUnreach].code, error[ICMPv6DestUnreach].unused) == (4, 0)
    assert bytes(error[IPerror6]) == bytes(DATAGRAM)
    assert error[UDPerror].dport == 9


def test_the_quotation_makes_1280_bytes(host):
    """2.4 (c)."""
    long = IPv6(src=PEER_V6, dst=V6) / UDP(sport=1, dport=2) / Raw(bytes(1400))
    host.receive(TO_US / long)
    icmp.unreachable(host.net, host.now)
    frame = host.sent()[0]
    assert len(frame) == 14 + 1280
    assert frame[14 + 40 + 8:] == bytes(long)[:1232]


def test_an_unknown_next_header(host):
    """RFC 8200 4: parameter problem, code 1, pointing to the field."""
    host.receive(TO_US / IPv6(src=PEER_V6, dst=V6) / IPv6ExtHdrDestOpt(nh=200, options=[PadN(optdata=bytes(4))])
                 / Raw(b"12345678"))
    error = only(host.sent())
    assert (error[ICMPv6ParamProblem].code, error[ICMPv6ParamProblem].ptr) == (1, 40)


def composed(host, packet, link=TO_US, type=1, code=4):
    """What `send_error` says about a packet that was received."""
    host.receive(link / packet)
    host.sent()
    icmpv6.send_error(host.net, type, code, 0, host.now)
    return host.sent()


@pytest.mark.parametrize(("link", "packet"), [
    (TO_US, IPv6(src=PEER_V6, dst=V6) / ICMPv6DestUnreach(code=1) / QUOTED),                        # (e.1)
    (TO_US, IPv6(src=PEER_V6, dst=V6) / ICMPv6Unknown(type=100, msgbody=bytes(60))),
    (TO_US, IPv6(src=PEER_V6, dst=V6, hlim=255) / ICMPv6ND_Redirect(tgt="fe80::1", dst=FAR)),       # (e.2)
    (ALL_NODES, IPv6(src=PEER_V6, dst="ff02::1") / UDP() / b"everybody"),                           # (e.3)
    (ALL_NODES, IPv6(src=PEER_V6, dst=V6) / UDP() / b"a link-layer multicast"),                     # (e.4)
])
def test_when_no_error_may_be_sent(host, link, packet):
    """RFC 4443 2.4 (e)."""
    assert composed(host, packet, link) == []
    assert "ICMP_LIMITED" not in host.drops()


@pytest.mark.parametrize(("type", "code"), [(2, 0), (4, 2)])
def test_the_exceptions_for_multicast(host, type, code):
    """(e.3): packet too big, and an unrecognised option; from a unicast address of ours (2.2 b)."""
    frames = composed(host, IPv6(src=PEER_V6, dst="ff02::1") / UDP() / b"everybody", ALL_NODES, type, code)
    error = only(frames)
    assert error[IPv6].src == V6
    assert (error[IPv6].payload.type, error[IPv6].payload.code) == (type, code)


@pytest.mark.parametrize("source", ["::", "ff02::1"])
def test_no_error_to_such_a_source(host, source):
    """(e.6), even if input let it pass."""
    host.receive(TO_US / DATAGRAM)
    host.net.rx.src_hi, host.net.rx.src_lo = halves(source)
    icmp.unreachable(host.net, host.now)
    assert host.sent() == []


def test_an_error_about_an_echo_reply_is_allowed(host):
    assert len(composed(host, IPv6(src=PEER_V6, dst=V6) / ICMPv6EchoReply(data=b"x"))) == 1


def test_the_rate_is_limited(host):
    """2.4 (f): a token bucket, which traceroute gets along with."""
    def errors(n):
        return sum(len(composed(host, DATAGRAM)) for _ in range(n))
    assert errors(20) == 6
    host.now += SECOND
    assert errors(5) == 1
