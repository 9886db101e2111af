"""What is due: duplicate address detection, announcements, and the slots of all owners."""
from __future__ import annotations

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from netstack.ip import address, timeouts
from netstack.ip.address import State
from netstack.ip.net import Verdict
from netstack.machine import SECOND
from netstack.machine.timers import NEVER

from .host import MAC, PEER_MAC, PEER_V4, PEER_V6, V6, Host, halves, mac_text
from .sending import add_address, frames_sent, send, v4

NEW = "2001:db8::7"


def state(host: Host, name: str = NEW) -> int:
    return host.iface.addresses[address.on_interface(host.iface, *halves(name))].state


def test_nothing_to_do():
    host = Host()
    assert timeouts.next_deadline(host.net) == NEVER
    assert timeouts.expire(host.net, host.now) == Verdict.DONE


# ---- RFC 4862 5.4 --------------------------------------------------------------

@pytest.fixture
def probing() -> Host:
    host = Host(dad=True)
    host.advance(3)
    host.sent()
    assert add_address(host, NEW + "/64", host.index) == 0
    return host


def test_detection(probing):
    host = probing
    assert state(host) == State.TENTATIVE
    assert timeouts.next_deadline(host.net) == host.now
    host.advance(0)
    [f] = frames_sent(host)
    assert (f.dst, f[IPv6].src, f[IPv6].dst, f[IPv6].hlim) == ("33:33:ff:00:00:07", "::", "ff02::1:ff00:7", 255)
    assert f[ICMPv6ND_NS].tgt == NEW
    assert ICMPv6NDOptSrcLLAddr not in f
    host.advance(0.9)
    assert state(host) == State.TENTATIVE
    host.advance(0.2)
    assert state(host) == State.PREFERRED
    assert host.sent() == []
    assert timeouts.next_deadline(host.net) == NEVER


@pytest.mark.parametrize("transmits", [2, 5])
def test_several_probes(transmits):
    host = Host()
    host.net.settings.dad_transmits = transmits
    host.net.settings.retrans_time = 3 * SECOND
    add_address(host, NEW + "/64", host.index)
    host.advance(3 * transmits - 0.1)
    assert len(frames_sent(host)) == transmits
    assert state(host) == State.TENTATIVE
    host.advance(0.2)
    assert state(host) == State.PREFERRED


def test_a_tentative_address_is_not_used(probing):
    assert send(probing, PEER_V6, src=NEW) < 0


NA = (Ether(src=mac_text(PEER_MAC), dst="33:33:00:00:00:01") / IPv6(src=NEW, dst="ff02::1", hlim=255)
      / ICMPv6ND_NA(tgt=NEW, S=0, O=1, R=0) / ICMPv6NDOptDstLLAddr(lladdr=mac_text(PEER_MAC)))
NS = (Ether(src=mac_text(PEER_MAC), dst="33:33:ff:00:00:07") / IPv6(src="::", dst="ff02::1:ff00:7", hlim=255)
      / ICMPv6ND_NS(tgt=NEW))


@pytest.mark.parametrize("objection", [NA, NS], ids=["taken", "wanted"])
def test_a_duplicate(probing, objection):
    host = probing
    host.advance(0.5)
    host.sent()
    host.receive(bytes(objection))
    assert state(host) == State.DUPLICATE
    assert host.iface.conflict_mac == PEER_MAC
    host.advance(10)
    assert state(host) == State.DUPLICATE
    assert (host.sent(), timeouts.next_deadline(host.net)) == ([], NEVER)
    assert send(host, PEER_V6, src=NEW) < 0


def test_our_own_probe_comes_back(probing):
    host = probing
    host.advance(0)
    [probe] = host.sent()
    host.receive(probe)
    assert (state(host), host.iface.conflicts) == (State.TENTATIVE, 0)


def test_two_addresses_at_once(probing):
    host = probing
    host.advance(0.5)
    add_address(host, "2001:db8::8/64", host.index)
    host.advance(0.6)
    assert (state(host), state(host, "2001:db8::8")) == (State.PREFERRED, State.TENTATIVE)
    host.advance(0.5)
    assert state(host, "2001:db8::8") == State.PREFERRED
    assert len(frames_sent(host)) == 2


# ---- all together -----------------------------------------------------------------

def test_every_owner_has_its_slot():
    host = Host()
    host.net.settings.arp_announcements = 1
    add_address(host, "192.0.2.50/24", host.index)              # announced
    assert send(host, PEER_V4) == 0                             # resolved
    host.receive(v4(bytes(8), flags="MF", id=3))                # put together
    host.sent()
    verdicts = host.advance(60)
    # The neighbour never answers: neither for the packet, nor later for the "time exceeded" about its fragment.
    assert verdicts == [Verdict.ERROR] * 2
    assert [f[ARP].psrc for f in frames_sent(host)].count("192.0.2.50") == 1
    assert host.drops() == {"NEIGHBOUR_FAILED": 2, "FRAGMENT_TIMEOUT": 1}
    host.advance(200)
    assert (host.net.arena.live, host.net.neighbours.live, host.net.reassemblies.live) == (0, 0, 0)
    assert timeouts.next_deadline(host.net) == NEVER


def test_a_neighbour_that_is_gone_asks_for_nothing():
    from netstack.ip import neighbour
    host = Host()
    send(host, PEER_V4)
    neighbour.release(host.net, neighbour.find(host.net, host.index, *halves(PEER_V4)))
    host.sent()
    host.advance(10)
    assert host.sent() == []
    assert host.drops() == {"NEIGHBOUR_QUEUE": 1}
    assert MAC != PEER_MAC
    assert state(host, V6) == State.PREFERRED
