"""Asking neighbours."""
from __future__ import annotations

import pytest
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP

from netstack.ip import neighbour, solicit

from .host import MAC, PEER_MAC, PEER_V4, PEER_V6, V4, V6, Host, halves, mac_text
from .sending import BROADCAST, frames_sent


@pytest.fixture
def host() -> Host:
    made = Host()
    made.learn_peer()
    return made


def ask(host: Host, peer: str, unicast: bool) -> object:
    solicit.send(host.net, neighbour.find(host.net, host.index, *halves(peer)), unicast, host.now)
    frames = frames_sent(host)
    assert len(frames) <= 1
    return frames[0] if frames else None


@pytest.mark.parametrize(("unicast", "dst"), [(False, BROADCAST), (True, mac_text(PEER_MAC))])
def test_arp(host, unicast, dst):
    f = ask(host, PEER_V4, unicast)
    assert (f.dst, f[ARP].op, f[ARP].psrc, f[ARP].pdst, f[ARP].hwsrc) == (dst, 1, V4, PEER_V4, mac_text(MAC))


@pytest.mark.parametrize(("unicast", "dst", "to"), [
    (False, "33:33:ff:00:00:02", "ff02::1:ff00:2"), (True, mac_text(PEER_MAC), PEER_V6)])
def test_ndp(host, unicast, dst, to):
    f = ask(host, PEER_V6, unicast)
    assert (f.dst, f[IPv6].src, f[IPv6].dst, f[ICMPv6ND_NS].tgt) == (dst, V6, to, PEER_V6)
    assert f[ICMPv6NDOptSrcLLAddr].lladdr == mac_text(MAC)


def test_without_an_address(host):
    host.iface.address_count = 0
    assert ask(host, PEER_V4, False)[ARP].psrc == "0.0.0.0"
    assert ask(host, PEER_V6, False) is None            # it would claim the address for ourselves
