"""Neighbour discovery and duplicate address detection, with scapy at the other end."""
from __future__ import annotations

import pytest
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netstack.ip import ndp, neighbour, setup
from netstack.ip.address import State
from netstack.ip.neighbour import State as Nud

from .host import MAC, PEER_MAC, PEER_V6, V6, Host, halves, mac_text

US, PEER = mac_text(MAC), mac_text(PEER_MAC)
GROUP, GROUP_MAC = "ff02::1:ff00:1", "33:33:ff:00:00:01"        # solicited-node address of V6 (RFC 4291 2.7.1)
OTHER_MAC = "02:00:00:00:00:77"
OTHER = "2001:db8::77"


@pytest.fixture
def host():
    return Host()


def ns(src=PEER_V6, dst=GROUP, mac=GROUP_MAC, target=V6, option=PEER, sender=PEER, **fields):
    """A neighbour solicitation as the peer sends it."""
    packet = IPv6(src=src, dst=dst, hlim=fields.pop("hlim", 255))
    frame = Ether(dst=mac, src=sender) / packet / ICMPv6ND_NS(tgt=target, **fields)
    return frame / ICMPv6NDOptSrcLLAddr(lladdr=option) if option else frame


def na(target=PEER_V6, dst=V6, mac=US, option=PEER, src=None, sender=PEER, hlim=255, **fields):
    """A neighbour advertisement as the peer sends it."""
    frame = Ether(dst=mac, src=sender) / IPv6(src=src or target, dst=dst, hlim=hlim) / ICMPv6ND_NA(tgt=target, **fields)
    return frame / ICMPv6NDOptDstLLAddr(lladdr=option) if option else frame


def only(frames):
    """The one frame that was sent, parsed; scapy finds the same checksum and lengths."""
    assert len(frames) == 1
    packet = Ether(frames[0])
    again = packet.copy()
    del again[IPv6].payload.cksum, again[IPv6].plen
    assert bytes(again) == frames[0]
    return packet


def entry(host, address=PEER_V6):
    index = neighbour.find(host.net, host.index, *halves(address))
    return neighbour.entry(host.net, index) if index else None


# ---- being asked (RFC 4861 7.2.3, 7.2.4) ---------------------------------------

def test_a_solicitation_is_answered(host):
    host.receive(ns())
    answer = only(host.sent())
    assert (answer.dst, answer.src) == (PEER, US)
    assert (answer[IPv6].src, answer[IPv6].dst, answer[IPv6].hlim) == (V6, PEER_V6, 255)
    message = answer[ICMPv6ND_NA]
    assert (message.tgt, message.R, message.S, message.O) == (V6, 0, 1, 1)
    assert answer[ICMPv6NDOptDstLLAddr].lladdr == US
    assert entry(host).mac == PEER_MAC
    assert entry(host).state == Nud.STALE
    assert host.drops() == {}


def test_a_unicast_solicitation_without_an_option(host):
    """7.2.3: the cache learns nothing; the answer goes where the frame came from."""
    host.receive(ns(dst=V6, mac=US, option=None))
    answer = only(host.sent())
    assert answer.dst == PEER
    assert answer[ICMPv6ND_NA].S == 1
    assert entry(host) is None


def test_a_solicitation_changes_the_cached_address(host):
    host.learn_peer()
    assert entry(host).state == Nud.REACHABLE
    host.receive(ns(option=OTHER_MAC, sender=OTHER_MAC))
    assert (entry(host).mac, entry(host).state) == (0x02_00_00_00_00_77, Nud.STALE)


def test_a_probe_for_our_address_is_told_to_everybody(host):
    """7.2.4: the answer to an unspecified source is multicast, not solicited."""
    host.receive(ns(src="::", option=None))
    answer = only(host.sent())
    assert (answer.dst, answer[IPv6].src, answer[IPv6].dst) == ("33:33:00:00:00:01", V6, "ff02::1")
    assert (answer[ICMPv6ND_NA].S, answer[ICMPv6ND_NA].O) == (0, 1)
    assert answer[ICMPv6NDOptDstLLAddr].lladdr == US


def test_unknown_options_are_stepped_over(host):
    frame = ns(option=None) / ICMPv6NDOptMTU() / Raw(b"\xc8\x02" + bytes(14)) / ICMPv6NDOptSrcLLAddr(lladdr=PEER)
    host.receive(frame)
    assert only(host.sent())[ICMPv6ND_NA].tgt == V6
    assert entry(host).mac == PEER_MAC


@pytest.mark.parametrize("frame", [
    ns(hlim=254),                                                   # 7.1.1, in its order
    ns(code=1),
    Ether(dst=GROUP_MAC, src=PEER) / IPv6(src=PEER_V6, dst=GROUP, hlim=255, nh=58)
    / Raw(bytes(ICMPv6ND_NS(tgt=V6))[:20]),
    ns(target="ff02::1"),
    ns(option=None) / Raw(b"\x01\x00" + bytes(6)),                  # an option of length 0
    ns(option=None) / Raw(b"\x01\x02" + bytes(6)),                  # ... beyond the end
    ns(option=None) / Raw(b"\x01"),
    ns(option=None) / Raw(b"\x01\x02" + bytes(14)),                 # no Ethernet address
    ns(option="ff:ff:ff:ff:ff:ff"),
    ns(src="::", dst=V6, mac=US, option=None),                      # unspecified, but not to the group
    ns(src="::"),                                                   # ... with a link-layer address
    ns(target="::ffff:192.0.2.1"),
], ids=range(12))
def test_malformed_solicitations(host, frame):
    frame = fixed(frame)
    host.receive(frame)
    assert host.sent() == []
    assert host.drops() == {"NDP_MALFORMED": 1}
    assert entry(host) is None


def fixed(frame):
    """The frame's bytes; the ICMPv6 checksum of a raw payload computed."""
    from scapy.layers.inet6 import in6_chksum
    raw = bytearray(bytes(frame))
    raw[54] = 135
    raw[56:58] = b"\0\0"
    raw[56:58] = in6_chksum(58, IPv6(bytes(raw[14:])), bytes(raw[54:])).to_bytes(2, "big")
    return bytes(raw)


def test_somebody_elses_address(host):
    """Another address of the same solicited-node group."""
    host.receive(ns(target="2001:db8::5:0:1"))
    assert host.sent() == []
    assert host.drops() == {"NOT_FOR_US": 1}


def test_in_fragments_it_is_ignored(host):
    """RFC 6980 5."""
    from scapy.layers.inet6 import IPv6ExtHdrFragment
    inner = bytes(ns())[54:]
    def fragment(m, offset, data):
        return (Ether(dst=GROUP_MAC, src=PEER) / IPv6(src=PEER_V6, dst=GROUP, hlim=255)
                / IPv6ExtHdrFragment(nh=58, m=m, offset=offset, id=3) / Raw(data))
    host.receive(fragment(1, 0, inner[:16]))
    host.receive(fragment(0, 2, inner[16:]))
    assert host.sent() == []
    assert host.drops() == {"NDP_MALFORMED": 1}


# ---- asking (7.2.2, 7.2.5) -----------------------------------------------------

def test_resolution(host):
    """A packet for an unknown neighbour: a solicitation to its group, and the packet when the answer is there."""
    host.receive(Ether(dst=US, src=PEER) / IPv6(src=PEER_V6, dst=V6) / ICMPv6EchoRequest(id=1, data=b"data"))
    question = only(host.sent())
    assert (question.dst, question[IPv6].src, question[IPv6].dst) == ("33:33:ff:00:00:02", V6, "ff02::1:ff00:2")
    assert (question[IPv6].hlim, question[ICMPv6ND_NS].tgt) == (255, PEER_V6)
    assert question[ICMPv6NDOptSrcLLAddr].lladdr == US
    assert entry(host).state == Nud.INCOMPLETE
    host.receive(na(R=0, S=1, O=1))
    reply = only(host.sent())
    assert (reply.dst, reply[ICMPv6EchoReply].data) == (PEER, b"data")
    assert entry(host).state == Nud.REACHABLE


def test_unicast_solicitation(host):
    """7.3.3: a probe goes to the address we know."""
    ndp.solicit(host.net, host.iface, *halves(PEER_V6), PEER_MAC, *halves(V6), host.now)
    question = only(host.sent())
    assert (question.dst, question[IPv6].dst, question[ICMPv6ND_NS].tgt) == (PEER, PEER_V6, PEER_V6)


@pytest.mark.parametrize(("fields", "option", "mac", "state"), [
    ({"S": 1, "O": 0}, OTHER_MAC, PEER_MAC, Nud.STALE),                 # I a
    ({"S": 0, "O": 0}, PEER, PEER_MAC, Nud.REACHABLE),                  # II: the same address
    ({"S": 0, "O": 1}, OTHER_MAC, 0x02_00_00_00_00_77, Nud.STALE),
    ({"S": 1, "O": 1}, OTHER_MAC, 0x02_00_00_00_00_77, Nud.REACHABLE),
    ({"S": 1, "O": 0}, None, PEER_MAC, Nud.REACHABLE),                  # no option
])
def test_an_advertisement_about_a_reachable_neighbour(host, fields, option, mac, state):
    """The table of 7.2.5."""
    host.learn_peer()
    host.receive(na(option=option, R=0, **fields))
    assert (entry(host).mac, entry(host).state) == (mac, state)


def test_the_router_flag(host):
    host.learn_peer()
    host.receive(na(R=1, S=1, O=1))
    assert entry(host).router == 1
    host.receive(na(R=0, S=1, O=1))
    assert entry(host).router == 0


def test_an_advertisement_nobody_asked_for(host):
    """7.2.5: "no need to create an entry"."""
    host.receive(na(target=OTHER, R=0, S=0, O=1))
    assert entry(host, OTHER) is None


@pytest.mark.parametrize("frame", [
    na(hlim=64, S=1), na(code=1, S=1), na(target="ff02::1", src=PEER_V6, S=1),
    na(dst="ff02::1", mac="33:33:00:00:00:01", S=1, O=1),           # 7.1.2: solicited, but multicast
    na(option=None) / Raw(b"\x02\x00" + bytes(6)),
], ids=range(5))
def test_malformed_advertisements(host, frame):
    host.learn_peer()
    host.receive(frame)
    assert host.drops() == {"NDP_MALFORMED": 1}


# ---- duplicate address detection (RFC 4862 5.4) --------------------------------

@pytest.fixture
def probing():
    """A host whose IPv6 address is tentative, its first probe sent."""
    host = Host(dad=True)
    host.advance(0)
    return host


def state(host, address=V6):
    addresses = list(host.iface.addresses)[:host.iface.address_count]
    return next(a.state for a in addresses if (a.hi, a.lo) == halves(address))


def test_the_probe(probing):
    probe = only(probing.sent())
    assert (probe.dst, probe[IPv6].src, probe[IPv6].dst) == (GROUP_MAC, "::", GROUP)
    assert probe[ICMPv6ND_NS].tgt == V6
    assert ICMPv6NDOptSrcLLAddr not in probe
    assert state(probing) == State.TENTATIVE
    probing.advance(1.1)
    assert state(probing) == State.PREFERRED


@pytest.mark.parametrize("frame", [
    ns(src="::", option=None),                                          # 5.4.3: another host probes for it
    na(target=V6, dst="ff02::1", mac="33:33:00:00:00:01", S=0, O=1),    # 5.4.4: another host has it
])
def test_a_duplicate_is_found(probing, frame):
    probing.sent()
    probing.receive(frame)
    assert state(probing) == State.DUPLICATE
    assert probing.drops() == {"ARP_CONFLICT": 1}
    assert (probing.iface.conflicts, probing.iface.conflict_mac) == (1, PEER_MAC)
    assert (probing.iface.conflict_hi, probing.iface.conflict_lo) == halves(V6)
    probing.advance(10)
    assert state(probing) == State.DUPLICATE
    assert probing.sent() == []
    probing.receive(ns())
    assert probing.sent() == []                                         # nor is it answered for


def test_a_tentative_address_is_never_answered_for(probing):
    """5.4.3: address resolution by somebody else."""
    probing.sent()
    probing.receive(ns())
    assert probing.sent() == []
    assert state(probing) == State.TENTATIVE
    assert entry(probing) is None


def test_our_own_probe_come_back(probing):
    """5.4.3: not a duplicate."""
    probing.receive(probing.sent()[0])
    assert state(probing) == State.TENTATIVE


def test_an_assigned_address_is_kept(host):
    """5.4.4, 2: noted, no more."""
    host.receive(na(target=V6, src=PEER_V6, dst="ff02::1", mac="33:33:00:00:00:01", S=0, O=1))
    assert state(host) == State.PREFERRED
    assert host.iface.conflicts == 1


def test_announce(host):
    """7.2.6."""
    ndp.announce(host.net, host.iface, *halves(V6), host.now)
    message = only(host.sent())
    assert (message.dst, message[IPv6].src, message[IPv6].dst) == ("33:33:00:00:00:01", V6, "ff02::1")
    advertisement = message[ICMPv6ND_NA]
    assert (advertisement.tgt, advertisement.R, advertisement.S, advertisement.O) == (V6, 0, 0, 1)


def test_a_link_local_address(host):
    """Asked by a link-local neighbour for a link-local address."""
    lo = setup.link_local(MAC)
    from netstack.ip.address import LINK_LOCAL_HI
    setup.add_address(host.net, host.index, LINK_LOCAL_HI, lo, 64, host.now)
    target = "fe80::ff:fe00:1"
    assert halves(target) == (LINK_LOCAL_HI, lo)
    host.receive(ns(src="fe80::2", target=target, dst="ff02::1:ff00:1"))
    answer = only(host.sent())
    assert (answer[IPv6].src, answer[IPv6].dst) == (target, "fe80::2")
    host.receive(Ether(dst=US, src=PEER) / IPv6(src="fe80::2", dst=target) / ICMPv6EchoRequest(id=1, data=b"local"))
    assert only(host.sent())[ICMPv6EchoReply].data == b"local"
