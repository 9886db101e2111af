"""ARP: RFC 826's "Packet Reception", and RFC 5227."""
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from netstack.ip import address, neighbour
from netstack.ip import arp as arp_module
from netstack.ip.address import State
from netstack.machine import SECOND

from .host import MAC, PEER_MAC, PEER_V4, V4, Host, halves, mac_text, text
from .sending import BROADCAST, add_address, arp, frames_sent, send

OTHER_MAC = 0x02_00_00_00_00_03


@pytest.fixture
def host() -> Host:
    return Host()


def known(host: Host, peer: str = PEER_V4) -> int:
    """The link address in the cache, or 0."""
    index = neighbour.find(host.net, host.index, *halves(peer))
    return neighbour.entry(host.net, index).mac if index else 0


def test_a_request_for_us_is_answered(host):
    host.receive(arp(1, PEER_V4, V4))
    [answer] = frames_sent(host)
    assert bytes(answer) == bytes(Ether(dst=mac_text(PEER_MAC), src=mac_text(MAC)) / ARP(
        op=2, hwsrc=mac_text(MAC), psrc=V4, hwdst=mac_text(PEER_MAC), pdst=PEER_V4))
    assert known(host) == PEER_MAC


def test_a_padded_frame_is_as_good(host):
    host.receive(arp(1, PEER_V4, V4) + bytes(18))
    assert len(host.sent()) == 1


def test_a_request_for_another_is_not(host):
    host.receive(arp(1, PEER_V4, "192.0.2.77"))
    assert (host.sent(), known(host), host.drops()) == ([], 0, {})


def test_merge_flag(host):
    """What is in the table already is updated, whoever is asked."""
    host.receive(arp(1, PEER_V4, V4))
    host.receive(arp(1, PEER_V4, "192.0.2.77", mac=OTHER_MAC))
    assert known(host) == OTHER_MAC


def test_an_announcement_updates_but_does_not_create(host):
    host.receive(arp(1, PEER_V4, PEER_V4))
    assert known(host) == 0
    host.receive(arp(1, PEER_V4, V4))
    host.receive(arp(1, PEER_V4, PEER_V4, mac=OTHER_MAC))
    assert known(host) == OTHER_MAC


def test_a_reply_that_nobody_asked_for_to_us_is_taken(host):
    host.receive(arp(2, PEER_V4, V4, dst=mac_text(MAC)))
    assert known(host) == PEER_MAC
    assert host.sent() == []


def test_our_own_comes_back(host):
    host.receive(arp(1, V4, "192.0.2.77", mac=MAC))
    assert (host.sent(), host.iface.conflicts) == ([], 0)


def test_several_addresses(host):
    add_address(host, "198.51.100.1/24", host.index)
    host.sent()
    host.receive(arp(1, "198.51.100.2", "198.51.100.1"))
    [answer] = frames_sent(host)
    assert (answer[ARP].psrc, answer[ARP].pdst) == ("198.51.100.1", "198.51.100.2")


def test_we_ask_from_an_address_of_the_same_subnet(host):
    add_address(host, "198.51.100.1/24", host.index)
    send(host, "198.51.100.9", src=V4)
    [request] = frames_sent(host)
    assert (request[ARP].psrc, request[ARP].pdst) == ("198.51.100.1", "198.51.100.9")


@pytest.mark.parametrize("field", [{"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}, {"op": 0}, {"op": 3},
                                   {"hwsrc": "00:00:00:00:00:00"}, {"hwsrc": "01:00:5e:00:00:01"}, {"hwsrc": BROADCAST},
                                   {"psrc": "127.0.0.1"}, {"psrc": "224.0.0.1"}, {"psrc": "255.255.255.255"}])
def test_malformed(host, field):
    fields = {"op": 1, "hwsrc": mac_text(PEER_MAC), "psrc": PEER_V4, "pdst": V4, **field}
    # scapy fits the address fields to the lengths; the frame must have them all
    host.receive(bytes(Ether(src=mac_text(PEER_MAC), dst=BROADCAST) / ARP(**fields)) + bytes(40))
    assert host.drops() == {"ARP_MALFORMED": 1}
    assert host.sent() == []


@pytest.mark.parsers
def test_truncated_everywhere(host):
    whole = arp(1, PEER_V4, V4)
    with host.fenced():
        for n in range(len(whole)):
            host.receive(whole[:n])
    assert host.drops() == {"TRUNCATED": len(whole)}
    assert host.sent() == []


@pytest.mark.parsers
@given(st.binary(max_size=60))
def test_any_bytes(data):
    host = Host()
    with host.fenced():
        host.receive(bytes(Ether(dst=BROADCAST, src=mac_text(PEER_MAC), type=0x806)) + data)


# ---- RFC 5227 ------------------------------------------------------------------

def test_an_ordinary_probe_is_answered(host):
    host.receive(arp(1, "0.0.0.0", V4))
    [answer] = frames_sent(host)
    assert (answer[ARP].op, answer[ARP].psrc, answer.dst) == (2, V4, mac_text(PEER_MAC))
    assert (host.iface.conflicts, host.net.neighbours.live) == (0, 0)


def test_a_new_address_is_announced_twice(host):
    host.net.settings.arp_announcements = 2
    add_address(host, "192.0.2.3/24", host.index)
    host.advance(1)
    host.advance(2)
    announced = frames_sent(host)
    assert len(announced) == 2
    for f in announced:
        assert (f.dst, f[ARP].op, f[ARP].psrc, f[ARP].pdst) == (BROADCAST, 1, "192.0.2.3", "192.0.2.3")
    host.advance(100)
    assert host.sent() == []


def test_a_conflict_is_counted_and_the_address_defended_once(host):
    for _ in range(3):
        host.receive(arp(2, V4, "192.0.2.9", mac=OTHER_MAC))
    assert host.drops() == {"ARP_CONFLICT": 3}
    assert (host.iface.conflicts, host.iface.conflict_mac) == (3, OTHER_MAC)
    assert text(host.iface.conflict_hi, host.iface.conflict_lo) == V4
    [defence] = frames_sent(host)
    assert (defence.dst, defence[ARP].op, defence[ARP].psrc, defence[ARP].pdst) == (BROADCAST, 1, V4, V4)
    assert host.net.neighbours.live == 0
    host.now += 9 * SECOND
    host.receive(arp(1, V4, V4, mac=OTHER_MAC))
    assert host.sent() == []
    host.now += 2 * SECOND
    host.receive(arp(1, V4, V4, mac=OTHER_MAC))
    assert len(host.sent()) == 1
    assert host.receive(arp(1, PEER_V4, V4)) == 0       # still ours
    assert len(host.sent()) == 1


def probing(host: Host) -> object:
    host.net.settings.arp_probes = 3
    host.net.settings.arp_announcements = 2
    add_address(host, "192.0.2.3/24", host.index)
    return host.iface.addresses[address.on_interface(host.iface, *halves("192.0.2.3"))]


def test_probing(host):
    a = probing(host)
    assert a.state == State.TENTATIVE
    times = []
    start = host.now
    while a.state == State.TENTATIVE:
        host.advance(0.1)
        for f in frames_sent(host):
            assert (f.dst, f[ARP].op, f[ARP].pdst) == (BROADCAST, 1, "192.0.2.3")
            times.append((f[ARP].psrc, (host.now - start) / SECOND))
    assert [t[0] for t in times] == ["0.0.0.0"] * 3 + ["192.0.2.3"]
    gaps = [b[1] - a[1] for a, b in pairwise(times)]
    assert all(0.9 <= g <= 2.1 for g in gaps[:2])
    assert 1.9 <= gaps[2] <= 2.1                        # ANNOUNCE_WAIT
    host.advance(2)
    assert [f[ARP].psrc for f in frames_sent(host)] == ["192.0.2.3"]


@pytest.mark.parametrize("objection", [
    arp(1, "192.0.2.3", "192.0.2.9", mac=OTHER_MAC),    # it is in use
    arp(2, "192.0.2.3", "0.0.0.0", mac=OTHER_MAC),
    arp(1, "0.0.0.0", "192.0.2.3", mac=OTHER_MAC),      # somebody else probes for it
])
def test_a_probed_address_is_taken(host, objection):
    a = probing(host)
    host.advance(0.5)
    host.sent()
    host.receive(objection)
    assert a.state == State.DUPLICATE
    assert host.iface.conflict_mac == OTHER_MAC
    host.advance(20)
    assert host.sent() == []                            # neither probed nor announced any more
    host.receive(arp(1, PEER_V4, "192.0.2.3"))
    assert host.sent() == []


def test_a_tentative_address_is_not_used(host):
    probing(host)
    host.advance(0.5)
    host.sent()
    host.receive(arp(1, PEER_V4, "192.0.2.3"))
    assert host.sent() == []
    assert send(host, PEER_V4, src="192.0.2.3") < 0


@pytest.mark.parametrize(("op", "spa", "tha", "tpa"), [
    (1, "192.0.2.1", 0, "192.0.2.9"), (2, "10.0.0.1", PEER_MAC, "1.2.3.4")])
def test_sent_as_scapy_writes_it(host, op, spa, tha, tpa):
    to = [address.v4(halves(x)[1]) for x in (spa, tpa)]
    arp_module.send(host.net, host.iface, op, to[0], tha, to[1], PEER_MAC, host.now)
    assert host.sent() == [bytes(Ether(dst=mac_text(PEER_MAC), src=mac_text(MAC)) / ARP(
        op=op, hwsrc=mac_text(MAC), psrc=spa, hwdst=mac_text(tha), pdst=tpa))]
