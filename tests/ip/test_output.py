"""A packet's whole way down."""
from __future__ import annotations

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether

from netstack.errors import EACCES, EADDRNOTAVAIL, ENETUNREACH, ENOBUFS
from netstack.ip import output

from .host import MAC, PEER_MAC, PEER_V4, PEER_V6, V4, V6, Host, halves, mac_text
from .sending import BROADCAST, add_address, add_interface, add_route, frames_sent, open_loopback, reply, send


@pytest.fixture
def host() -> Host:
    made = Host()
    made.learn_peer()
    return made


def test_ipv4_as_scapy_writes_it(host):
    assert send(host, PEER_V4, b"header", b"piece", b"another", protocol=6, ttl=3, tos=8, dont_fragment=1) == 0
    assert host.sent() == [bytes(Ether(dst=mac_text(PEER_MAC), src=mac_text(MAC)) / IP(
        src=V4, dst=PEER_V4, proto=6, ttl=3, tos=8, flags="DF", id=0) / b"headerpieceanother")]


def test_ipv6_as_scapy_writes_it(host):
    assert send(host, PEER_V6, b"header", b"piece", b"another", protocol=6, ttl=3, tos=8) == 0
    assert host.sent() == [bytes(Ether(dst=mac_text(PEER_MAC), src=mac_text(MAC)) / IPv6(
        src=V6, dst=PEER_V6, nh=6, hlim=3, tc=8) / b"headerpieceanother")]


def test_defaults(host):
    send(host, PEER_V4)
    send(host, PEER_V6)
    assert [f.payload.ttl if IP in f else f.payload.hlim for f in frames_sent(host)] == [64, 64]
    host.net.settings.ip_default_ttl = 99
    send(host, PEER_V4)
    assert frames_sent(host)[0][IP].ttl == 99


def test_through_a_gateway(host):
    add_route(host, "0.0.0.0/0", PEER_V4)
    add_route(host, "::/0", PEER_V6)
    assert send(host, "8.8.8.8") == 0
    assert send(host, "2600::1") == 0
    first, second = frames_sent(host)
    assert (first.dst, first[IP].dst, second.dst, second[IPv6].dst) == (
        mac_text(PEER_MAC), "8.8.8.8", mac_text(PEER_MAC), "2600::1")


def test_no_route_and_no_source(host):
    assert send(host, "8.8.8.8") == -ENETUNREACH
    assert send(host, PEER_V4, src="192.0.2.77") == -EADDRNOTAVAIL
    assert host.drops() == {"NO_ROUTE": 1, "NO_SOURCE": 1}


def test_ipv6_neighbours_are_solicited(host):
    assert send(host, "2001:db8::9", b"waiting.") == 0
    [request] = frames_sent(host)
    assert (request.dst, request[IPv6].dst, request[IPv6].src) == ("33:33:ff:00:00:09", "ff02::1:ff00:9", V6)
    assert request[ICMPv6ND_NS].tgt == "2001:db8::9"


def test_a_link_local_neighbour_is_asked_from_a_link_local_address(host):
    add_address(host, "fe80::1/64", host.index)
    assert send(host, "fe80::9", interface=host.index) == 0
    assert frames_sent(host)[0][IPv6].src == "fe80::1"


@pytest.mark.parametrize("dst", ["255.255.255.255", "192.0.2.255"])
def test_broadcast(host, dst):
    assert send(host, dst) == -EACCES
    assert host.sent() == []
    assert send(host, dst, broadcast=1) == 0
    [f] = frames_sent(host)
    assert (f.dst, f[IP].dst, f[IP].ttl) == (BROADCAST, dst, 64)


@pytest.mark.parametrize(("dst", "mac"), [("224.0.0.251", "01:00:5e:00:00:fb"), ("ff02::fb", "33:33:00:00:00:fb")])
def test_multicast(host, dst, mac):
    assert send(host, dst, interface=host.index) == 0
    assert send(host, dst, interface=host.index, ttl=5) == 0
    first, second = frames_sent(host)
    assert first.dst == second.dst == mac
    assert [f.payload.ttl if IP in f else f.payload.hlim for f in (first, second)] == [1, 5]


def test_a_host_without_an_address_asks_everybody(host):
    host.iface.address_count = 0
    assert send(host, "255.255.255.255", broadcast=1, interface=host.index) == 0
    assert frames_sent(host)[0][IP].src == "0.0.0.0"


def test_to_ourselves(host):
    queue = open_loopback(host)
    for dst in (V4, V6, "127.0.0.1", "::1"):
        assert send(host, dst) == 0
    assert (queue.frames, host.sent()) == (4, [])
    assert host.net.interfaces[1].tx_packets == 4


def test_the_way_back_through_loopback(host):
    from netstack.ip import input, link, reassembly
    open_loopback(host)
    lo = host.net.interfaces[1]
    for dst in (V4, V6, "127.0.0.1", "127.1.1.1", "::1"):
        assert send(host, dst, b"to self!") == 0
        n = link.receive(host.net, lo, host.now)
        assert input.receive(host.net, lo, lo.device.frame, n, host.now) == 17
        assert host.payload() == b"to self!"
        assert (host.net.rx.dst_hi, host.net.rx.dst_lo) == halves(dst)
        reassembly.release(host.net)
        link.done(lo)
    assert host.drops() == {}


def test_has_room(host):
    open_loopback(host)

    def room(dst: str, n: int) -> bool:
        return bool(output.has_room(host.net, *halves(dst), n))
    assert room(PEER_V4, 1500)
    assert room(V4, 65535)
    assert room("8.8.8.8", 1500)                    # no route: `send` will say so
    while send(host, V4, b"x" * 60000) == 0:
        pass
    assert not room(V4, 60000)
    assert not room("127.0.0.1", 60000)
    assert room(PEER_V4, 1500)


def test_a_full_device(host):
    while (error := send(host, PEER_V4, b"x" * 1400)) == 0:
        pass
    assert error == -ENOBUFS
    assert host.drops() == {"TX_QUEUE": 1}


def test_no_memory_for_a_packet_that_has_to_wait(host):
    host.net.arena.limit = 0
    assert send(host, "192.0.2.99") == -ENOBUFS
    assert host.drops() == {"NO_MEMORY": 1}
    host.net.arena.limit = 1 << 20
    assert send(host, "192.0.2.99", b"now.....") == 0
    assert len(host.sent()) == 1


def test_each_interface_has_its_own_address_and_neighbours(host):
    other = add_interface(host, "198.51.100.1/24")
    assert send(host, "198.51.100.2") == 0
    [f] = frames_sent(host)
    assert f.src == mac_text(host.net.interfaces[other].mac)
    assert (f[ARP].psrc, f[ARP].pdst) == ("198.51.100.1", "198.51.100.2")
    host.receive(reply(sender="198.51.100.2"))      # on the first interface: does not count
    assert host.sent() == []


def test_the_source_is_told(host):
    from .sending import packet
    p = packet(PEER_V4, b"headers.")
    assert output.send(host.net, p, host.now) == 0
    assert (p.src_hi, p.src_lo) == halves(V4)
