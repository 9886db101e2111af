"""ICMP for IPv4: every message written is read by scapy, every message read is written by it."""
from __future__ import annotations

import errno

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption_RR, TCPerror, UDPerror
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from netstack.ip import icmp, pmtu
from netstack.ip.net import Verdict
from netstack.machine import SECOND

from .host import MAC, PEER_MAC, PEER_V4, V4, Host, halves, mac_text, text

TO_US = Ether(dst=mac_text(MAC), src=mac_text(PEER_MAC))
BROADCAST = Ether(dst="ff:ff:ff:ff:ff:ff", src=mac_text(PEER_MAC))
ROUTER = "192.0.2.254"
FAR = "198.51.100.7"
UDP_PACKET = IP(src=PEER_V4, dst=V4, tos=0x2E, id=77) / UDP(sport=4000, dport=9) / Raw(b"nobody listens")


@pytest.fixture
def host():
    made = Host()
    made.learn_peer()
    return made


def only(frames):
    """The one frame that was sent, parsed; its checksums are right."""
    assert len(frames) == 1
    packet = Ether(frames[0])
    again = packet.copy()
    del again[IP].chksum
    if ICMP in again:
        del again[ICMP].chksum
    assert bytes(again) == frames[0]
    return packet


# ---- echo (RFC 792, RFC 1122 3.2.2.6) ------------------------------------------

@pytest.mark.parametrize("data", [b"", b"x", b"hello, world", bytes(range(256)) * 5 + b"odd"])
def test_echo(host, data):
    assert host.receive(TO_US / IP(src=PEER_V4, dst=V4, tos=0x10) / ICMP(id=0x1234, seq=7) / Raw(data)) == Verdict.DONE
    reply = only(host.sent())
    assert (reply.dst, reply.src) == (mac_text(PEER_MAC), mac_text(MAC))
    assert (reply[IP].src, reply[IP].dst, reply[IP].tos, reply[IP].ttl) == (V4, PEER_V4, 0x10, 64)
    assert (reply[ICMP].type, reply[ICMP].code, reply[ICMP].id, reply[ICMP].seq) == (0, 0, 0x1234, 7)
    assert bytes(reply[ICMP].payload) == data
    assert host.drops() == {}


def test_echo_of_nothing_has_a_checksum(host):
    """All words zero: the sum is zero, the field all ones; a reply computed in place would have 0 there."""
    host.receive(TO_US / IP(src=PEER_V4, dst=V4) / ICMP(id=0, seq=0) / Raw(bytes(16)))
    assert only(host.sent())[ICMP].chksum == 0xFFFF


def test_echo_with_options_in_the_header(host):
    """Options are stepped over; they are not reflected."""
    host.receive(TO_US / IP(src=PEER_V4, dst=V4, options=[IPOption_RR()]) / ICMP(id=1) / b"data")
    reply = only(host.sent())
    assert reply[IP].ihl == 5
    assert bytes(reply[ICMP].payload) == b"data"


def test_echo_to_a_neighbour_not_yet_known():
    """The reply waits for the link address: it is not lost, and its bytes are those of its time."""
    host = Host()
    host.receive(TO_US / IP(src=PEER_V4, dst=V4) / ICMP(id=5, seq=1) / b"first")
    assert ARP in Ether(host.sent()[0])
    host.receive(TO_US / ARP(op=2, hwsrc=mac_text(PEER_MAC), psrc=PEER_V4, hwdst=mac_text(MAC), pdst=V4))
    assert bytes(only(host.sent())[ICMP].payload) == b"first"


def test_broadcast_echo_is_ignored_unless_asked_for(host):
    """Setting icmp_echo_ignore_broadcasts, on by default (RFC 1122 3.2.2.6: MAY)."""
    ping = BROADCAST / IP(src=PEER_V4, dst="192.0.2.255") / ICMP(id=1, seq=1) / b"all"
    host.receive(ping)
    assert host.sent() == []
    assert host.drops() == {"ICMP_IGNORED": 1}
    host.net.settings.icmp_echo_ignore_broadcasts = 0
    host.receive(ping)
    assert only(host.sent())[IP].src == V4                  # never the broadcast address


def test_echo_ignore_all(host):
    host.net.settings.icmp_echo_ignore_all = 1
    host.receive(TO_US / IP(src=PEER_V4, dst=V4) / ICMP() / b"?")
    assert host.sent() == []


def test_echo_reply_goes_to_the_socket(host):
    assert host.receive(TO_US / IP(src=PEER_V4, dst=V4) / ICMP(type=0, id=3, seq=4) / b"data") == 1
    assert host.payload()[8:] == b"data"
    assert host.sent() == []


# ---- errors received -----------------------------------------------------------

LINUX = [   # icmp_err_convert in Linux's net/ipv4/icmp.c: code, errno, fatal
    (0, errno.ENETUNREACH, 0), (1, errno.EHOSTUNREACH, 0), (2, errno.ENOPROTOOPT, 1), (3, errno.ECONNREFUSED, 1),
    (4, errno.EMSGSIZE, 0), (5, errno.EOPNOTSUPP, 0), (6, errno.ENETUNREACH, 1), (7, errno.EHOSTDOWN, 1),
    (8, errno.ENONET, 1), (9, errno.ENETUNREACH, 1), (10, errno.EHOSTUNREACH, 1), (11, errno.ENETUNREACH, 0),
    (12, errno.EHOSTUNREACH, 0), (13, errno.EHOSTUNREACH, 1), (14, errno.EHOSTUNREACH, 1), (15, errno.EHOSTUNREACH, 1),
]


def quotation(protocol=17, n=8, **fields):
    """A packet of ours as a router quotes it: its header and n bytes."""
    whole = IP(src=V4, dst=FAR, proto=protocol, id=9, len=1500, **fields) / Raw(bytes(range(64)))
    return Raw(bytes(whole)[:whole.ihl * 4 if whole.ihl else 20] + bytes(range(64))[:n])


@pytest.mark.parametrize(("code", "number", "hard"), LINUX)
def test_unreachable(host, code, number, hard):
    frame = TO_US / IP(src=ROUTER, dst=V4) / ICMP(type=3, code=code, nexthopmtu=1400 if code == 4 else 0) / quotation()
    assert host.receive(frame) == Verdict.ERROR
    e = host.net.error
    assert (e.errno, e.hard, e.type, e.code, e.protocol) == (number, hard, 3, code, 17)
    assert (text(e.src_hi, e.src_lo), text(e.dst_hi, e.dst_lo), text(e.from_hi, e.from_lo)) == (V4, FAR, ROUTER)
    assert e.quoted_len == 8
    assert host.payload()[e.quoted - host.net.rx.payload:] == bytes(range(8))
    assert e.mtu == (1400 if code == 4 else 0)


@pytest.mark.parametrize(("type", "number", "hard"), [(11, errno.EHOSTUNREACH, 0), (12, errno.EPROTO, 1)])
def test_time_exceeded_and_parameter_problem(host, type, number, hard):
    assert host.receive(TO_US / IP(src=ROUTER, dst=V4) / ICMP(type=type) / quotation(n=40)) == Verdict.ERROR
    e = host.net.error
    assert (e.errno, e.hard, e.quoted_len, e.mtu) == (number, hard, 40, 0)


def test_an_unknown_code_is_dropped(host):
    assert host.receive(TO_US / IP(src=ROUTER, dst=V4) / ICMP(type=3, code=16) / quotation()) == Verdict.DONE
    assert host.drops() == {"ICMP_UNKNOWN": 1}


def test_the_quoted_header_may_have_options(host):
    whole = bytes(IP(src=V4, dst=FAR, proto=6, options=[IPOption_RR(routers=["0.0.0.0"] * 3)]) / Raw(b"12345678"))
    assert host.receive(TO_US / IP(src=ROUTER, dst=V4) / ICMP(type=3, code=1) / Raw(whole)) == Verdict.ERROR
    e = host.net.error
    assert (e.protocol, e.quoted_len) == (6, 8)
    assert host.payload()[e.quoted - host.net.rx.payload:] == b"12345678"


@pytest.mark.parametrize(("quoted", "reason"), [
    (quotation(n=7), "ICMP_MALFORMED"),                                         # RFC 792: 64 bits
    (Raw(b""), "ICMP_MALFORMED"),
    (quotation(frag=100), "ICMP_MALFORMED"),                                    # a later fragment
    (Raw(b"\x65" + bytes(quotation())[1:]), "ICMP_MALFORMED"),                  # not IPv4
    (Raw(b"\x44" + bytes(quotation())[1:]), "ICMP_MALFORMED"),                  # a header of 16 bytes
    (Raw(b"\x4f" + bytes(quotation())[1:]), "ICMP_MALFORMED"),                  # one longer than the message
    (Raw(bytes(IP(src="203.0.113.9", dst=FAR, proto=17) / Raw(bytes(8)))), "NOT_FOR_US"),
])
def test_a_quotation_that_says_nothing(host, quoted, reason):
    assert host.receive(TO_US / IP(src=ROUTER, dst=V4) / ICMP(type=3, code=3) / quoted) == Verdict.DONE
    assert host.drops() == {reason: 1}


@pytest.mark.parametrize("type", [4, 5, 9, 10, 13, 14, 15, 16, 17, 18])
def test_what_a_host_need_not_obey(host, type):
    """Source quench (RFC 6633), redirects, router discovery, timestamps."""
    assert host.receive(TO_US / IP(src=ROUTER, dst=V4) / ICMP(type=type) / quotation()) == Verdict.DONE
    assert host.drops() == {"ICMP_IGNORED": 1}
    assert host.sent() == []


@pytest.mark.parametrize("type", [1, 2, 7, 19, 43, 255])
def test_unknown_types_are_silently_discarded(host, type):
    """RFC 1122 3.2.2."""
    assert host.receive(TO_US / IP(src=ROUTER, dst=V4) / ICMP(type=type) / quotation()) == Verdict.DONE
    assert host.drops() == {"ICMP_UNKNOWN": 1}
    assert host.sent() == []


def test_a_wrong_checksum(host):
    frame = bytearray(bytes(TO_US / IP(src=PEER_V4, dst=V4) / ICMP() / b"data"))
    frame[-1] ^= 1
    host.receive(bytes(frame))
    assert host.drops() == {"ICMP_CHECKSUM": 1}
    assert host.sent() == []


def test_too_short(host):
    host.receive(TO_US / IP(src=PEER_V4, dst=V4, proto=1) / Raw(bytes(7)))
    assert host.drops() == {"ICMP_MALFORMED": 1}


# ---- fragmentation needed (RFC 1191) -------------------------------------------

def too_big(host, mtu, quoted):
    return host.receive(TO_US / IP(src=ROUTER, dst=V4) / ICMP(type=3, code=4, nexthopmtu=mtu) / quoted)


def known(host, destination=FAR):
    return pmtu.lookup(host.net, *halves(destination), host.now)


def test_fragmentation_needed_is_learned(host):
    assert too_big(host, 1300, quotation()) == Verdict.ERROR
    assert known(host) == host.net.error.mtu == 1300


def test_but_for_tcp_only_by_tcp(host):
    """RFC 5927 7.2: only TCP can tell whether the quoted segment is outstanding."""
    assert too_big(host, 1300, quotation(protocol=6)) == Verdict.ERROR
    assert host.net.error.mtu == 1300
    assert known(host) == 0


def test_a_router_that_does_not_say(host):
    """Section 5: the plateau below the length of the packet."""
    too_big(host, 0, quotation())
    assert known(host) == 1492
    too_big(host, 0, Raw(bytes(IP(src=V4, dst=FAR, proto=17, len=1492) / Raw(bytes(8)))))
    assert known(host) == 1006


def test_a_router_of_4_2_bsd(host):
    """Section 5: it adds the header length to the total length."""
    host.receive(TO_US / IP(src=ROUTER, dst=V4) / ICMP(type=3, code=4, nexthopmtu=1006) / quotation())
    too_big(host, 0, Raw(bytes(IP(src=V4, dst=FAR, proto=17, len=1006 + 20) / Raw(bytes(8)))))
    assert host.net.error.mtu == 508


def test_an_absurd_mtu(host):
    assert too_big(host, 20, quotation()) == Verdict.ERROR
    assert host.net.error.mtu == 68
    assert known(host) == 552


# ---- errors sent (RFC 1122 3.2.2) ----------------------------------------------

def test_port_unreachable(host):
    assert host.receive(TO_US / UDP_PACKET, release=False) == 17
    icmp.unreachable(host.net, host.now)
    error = only(host.sent())
    assert (error[IP].src, error[IP].dst) == (V4, PEER_V4)
    assert error[IP].tos == 0xC0 | 0x0E                     # RFC 1812 4.3.2.5: Internetwork Control, the TOS kept
    assert (error[ICMP].type, error[ICMP].code, error[ICMP].unused) == (3, 3, b"")
    assert bytes(error[ICMP])[4:8] == bytes(4)
    quoted = bytes(UDP_PACKET)
    assert bytes(error[ICMP])[8:] == quoted                 # all of it: it fits
    assert (error[UDPerror].sport, error[UDPerror].dport) == (4000, 9)


def test_the_quotation_makes_576_bytes(host):
    """RFC 1812 4.3.2.3."""
    long = IP(src=PEER_V4, dst=V4) / UDP(sport=1, dport=2) / Raw(bytes(1000))
    host.receive(TO_US / long)
    icmp.unreachable(host.net, host.now)
    error = only(host.sent())
    assert error[IP].len == 576
    assert bytes(error[ICMP])[8:] == bytes(long)[:548]


def test_protocol_unreachable(host):
    host.receive(TO_US / IP(src=PEER_V4, dst=V4, proto=200) / Raw(b"12345678"))
    error = only(host.sent())
    assert (error[ICMP].type, error[ICMP].code) == (3, 2)
    assert host.drops() == {"IP_PROTOCOL": 1}


def composed(host, packet, link=TO_US):
    """What `send_error` does about a packet that was received."""
    host.receive(link / packet)
    host.sent()
    icmp.unreachable(host.net, host.now)
    return host.sent()


@pytest.mark.parametrize(("link", "packet"), [
    (TO_US, IP(src=PEER_V4, dst=V4) / ICMP(type=3, code=1) / quotation()),              # about an error
    (TO_US, IP(src=PEER_V4, dst=V4) / ICMP(type=11) / quotation()),
    (TO_US, IP(src=PEER_V4, dst=V4) / ICMP(type=99) / Raw(bytes(8))),                   # that may be one
    (BROADCAST, IP(src=PEER_V4, dst="192.0.2.255") / UDP() / b"everybody"),
    (BROADCAST, IP(src=PEER_V4, dst="255.255.255.255") / UDP() / b"everybody"),
    (BROADCAST, IP(src=PEER_V4, dst=V4) / UDP() / b"a link-layer broadcast"),
    (Ether(dst="01:00:5e:00:00:01", src=mac_text(PEER_MAC)), IP(src=PEER_V4, dst="224.0.0.1") / UDP() / b"a group"),
    (BROADCAST, IP(src="0.0.0.0", dst="255.255.255.255") / UDP() / b"no source"),
])
def test_when_no_error_may_be_sent(host, link, packet):
    """RFC 1122 3.2.2: never about an error, a broadcast, a multicast or a source that is not one host."""
    assert composed(host, packet, link) == []
    assert "ICMP_LIMITED" not in host.drops()


@pytest.mark.parametrize("source", ["0.0.0.0", "255.255.255.255", "192.0.2.255", "224.0.0.5", "240.0.0.1"])
def test_no_error_to_such_a_source(host, source):
    """Even if input let it pass."""
    host.receive(TO_US / UDP_PACKET)
    host.net.rx.src_hi, host.net.rx.src_lo = halves(source)
    icmp.unreachable(host.net, host.now)
    assert host.sent() == []


def test_no_error_about_a_later_fragment(host):
    host.receive(TO_US / UDP_PACKET)
    host.net.rx.frag_offset = 8
    icmp.unreachable(host.net, host.now)
    assert host.sent() == []


def test_an_error_about_an_echo_request_is_allowed(host):
    assert len(composed(host, IP(src=PEER_V4, dst=V4) / ICMP(type=0) / b"reply")) == 1


# ---- the rate of errors (RFC 1812 4.3.2.8) -------------------------------------

def errors(host, n, source=PEER_V4):
    """How many of n packets from a source are answered with an error now."""
    count = 0
    for _ in range(n):
        host.receive(TO_US / IP(src=source, dst=V4) / UDP() / b"x")
        icmp.unreachable(host.net, host.now)
        count += len(host.sent())
    return count


def test_one_destination_gets_six_at_once_and_one_a_second(host):
    assert errors(host, 20) == 6
    assert host.drops()["ICMP_LIMITED"] == 14
    host.now += SECOND
    assert errors(host, 5) == 1
    host.now += 100 * SECOND
    assert errors(host, 20) == 6


def test_another_destination_is_not_held_up(host):
    from netstack.ip import neighbour
    assert errors(host, 10) == 6
    neighbour.update(host.net, host.iface, *halves("192.0.2.77"), PEER_MAC, neighbour.Update.CREATE, host.now)
    assert errors(host, 10, "192.0.2.77") == 6


def test_all_together_are_limited(host):
    host.net.settings.icmp_msgs_per_sec = 10
    host.net.settings.icmp_msgs_burst = 4
    host.net.settings.icmp_ratelimit = 0
    assert errors(host, 10) == 4
    host.now += SECOND // 10
    assert errors(host, 10) == 1
    host.now += 3600 * SECOND
    assert errors(host, 10) == 4


def test_the_limits_are_bounded(host):
    """A thousand forged sources: 64 are remembered."""
    from netstack.ip import icmp_limit
    host.net.settings.icmp_msgs_per_sec = 10**6
    host.net.settings.icmp_msgs_burst = 10**6
    for i in range(1000):
        assert icmp_limit.allow(host.net, 0, halves("198.51.0.0")[1] + i, host.now)
    assert len(host.net.icmp_limits) == icmp_limit.DESTINATIONS


def test_time_that_does_not_move(host):
    """At virtual time 0, where a clock may start, the limits hold too."""
    host.now = 0
    assert errors(host, 20) == 6


def test_quoted_tcp_is_read_back_by_scapy(host):
    from scapy.layers.inet import TCP
    segment = IP(src=PEER_V4, dst=V4) / TCP(sport=5, dport=6, seq=7)
    host.receive(TO_US / segment)
    icmp.unreachable(host.net, host.now)
    error = only(host.sent())
    assert (error[TCPerror].sport, error[TCPerror].dport, error[TCPerror].seq) == (5, 6, 7)


