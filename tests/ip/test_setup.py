"""Tables, interfaces, addresses and routes."""
from __future__ import annotations

import ctypes

import pytest

from netstack.errors import EADDRNOTAVAIL, EEXIST, EINVAL, ENODEV, ENOSPC, ESRCH
from netstack.ip import neighbour, setup
from netstack.ip.address import LINK_LOCAL_HI, State
from netstack.ip.net import ADDRESSES, INTERFACES, ROUTES, SCRATCH, Net
from netstack.machine import addressof, arena, sizeof
from netstack.machine.timers import NEVER

from .host import PEER_MAC, PEER_V4, V4, V6, Host, halves, text
from .sending import add_address, add_interface, add_route, send


@pytest.fixture
def host() -> Host:
    return Host()


def routes(host: Host) -> list[tuple[str, int, str, int, int]]:
    """(prefix, length, gateway, interface, metric) in the order of the table."""
    found = []
    for i in range(host.net.route_count):
        r = host.net.routes[i]
        found.append((text(r.hi, r.lo), r.prefix, text(r.gateway_hi, r.gateway_lo), r.interface, r.metric))
    return found


def test_tables_do_not_overlap():
    sizes = setup.Sizes(neighbours=37)
    n = setup.space(sizes)
    memory = ctypes.create_string_buffer(b"\0" * n + b"\xa5" * 64, n + 64)
    net = Net.new()
    where = ctypes.addressof(memory)
    setup.init(net, where, 1 << 190 | 5, sizes)
    starts = [addressof(net) + net.scratch, addressof(net.neighbours) + net.neighbours.data,
              addressof(net) + net.neighbour_buckets, addressof(net.reassemblies) + net.reassemblies.data,
              addressof(net.path_mtus) + net.path_mtus.data, addressof(net.memberships) + net.memberships.data,
              addressof(net.groups) + net.groups.data, addressof(net.timers) + net.timers.nodes]
    lengths = [SCRATCH, 38 * sizeof(neighbour.Neighbour), 4 * (net.neighbour_mask + 1),
               net.reassemblies.capacity * net.reassemblies.stride, net.path_mtus.capacity * net.path_mtus.stride,
               net.memberships.capacity * net.memberships.stride, net.groups.capacity * net.groups.stride, 1]
    assert starts[0] == where
    for start, length, following in zip(starts, lengths, [*starts[1:], where + n], strict=True):
        assert start + length <= following
    assert net.neighbour_mask + 1 >= 37
    assert (net.neighbour_mask + 1) & net.neighbour_mask == 0
    assert net.neighbours.capacity <= net.reassembly_slot < net.interface_slot
    assert net.interface_slot + INTERFACES == net.group_slot
    assert net.group_slot + INTERFACES == net.timers.capacity
    memory2 = ctypes.create_string_buffer(1 << 16)
    arena.init(net.arena, ctypes.addressof(memory2), 1 << 16)
    for i in range(60):
        neighbour.create(net, 1, 0, i + 1, i)
    assert memory.raw[n:] == b"\xa5" * 64


def test_random_numbers_come_from_the_seed():
    def made(seed: int) -> tuple[int, int, int]:
        memory = ctypes.create_string_buffer(setup.space() + 64)
        net = Net.new()
        setup.init(net, (ctypes.addressof(memory) + 63) & -64, seed)
        return net.key.k0, net.key.k1, net.rng.state
    assert made(7) == made(7)
    assert made(0x11 << 128 | 0x22 << 64 | 0x33) == (0x33, 0x22, 0x11)
    assert made(2**192 - 1) == (-1, -1, -1)


def test_the_loopback_interface_is_there(host):
    lo = host.net.interfaces[1]
    assert (lo.index, lo.up, lo.ethernet, lo.mtu) == (1, 1, 0, 65535)
    assert [text(lo.addresses[i].hi, lo.addresses[i].lo) for i in range(lo.address_count)] == ["127.0.0.1", "::1"]
    assert all(lo.addresses[i].state == State.PREFERRED for i in range(2))
    assert setup.remove_interface(host.net, 1) == -ENODEV


def test_routes_are_in_order(host):
    assert add_route(host, "0.0.0.0/0", PEER_V4, metric=2) == 0
    assert add_route(host, "0.0.0.0/0", "192.0.2.3", metric=1) == 0
    assert add_route(host, "10.0.0.0/8", "192.0.2.3") == 0
    assert add_route(host, "10.0.0.1/32", "192.0.2.3") == 0
    assert routes(host) == [
        ("::1", 128, "::", 1, 0), ("10.0.0.1", 128, "192.0.2.3", 2, 0),
        ("192.0.2.0", 120, "::", 2, 0), ("127.0.0.0", 104, "::", 1, 0), ("10.0.0.0", 104, "192.0.2.3", 2, 0),
        ("0.0.0.0", 96, "192.0.2.3", 2, 1), ("0.0.0.0", 96, PEER_V4, 2, 2), ("2001:db8::", 64, "::", 2, 0)]


def test_routes_that_cannot_be(host):
    assert add_route(host, "10.0.0.1/8", PEER_V4) == -EINVAL            # bits beyond the prefix
    assert add_route(host, "2001:db8::1/64", index=2) == -EINVAL
    assert add_route(host, "10.0.0.0/8", "203.0.113.1") == -EINVAL      # the gateway is on no link of ours
    assert add_route(host, "10.0.0.0/8") == -ENODEV
    assert add_route(host, "10.0.0.0/8", index=9) == -ENODEV
    assert add_route(host, "10.0.0.0/8", index=2, metric=-1) == -EINVAL
    assert setup.add_route(host.net, 0, 0, 129, 0, 0, 2, 0) == -EINVAL
    assert add_route(host, "10.0.0.0/8", PEER_V4) == 0
    assert add_route(host, "10.0.0.0/8", PEER_V4) == -EEXIST
    assert add_route(host, "11.0.0.0/8", "10.0.0.1") == -EINVAL         # through another gateway


def test_routes_are_removed(host):
    before = routes(host)
    add_route(host, "10.0.0.0/8", PEER_V4, metric=7)
    add_route(host, "10.0.0.0/8", "192.0.2.3")
    hi, lo = halves("10.0.0.0")
    assert setup.remove_route(host.net, hi, lo, 104, *halves(PEER_V4), 0) == 0
    assert setup.remove_route(host.net, hi, lo, 104, *halves(PEER_V4), 0) == -ESRCH
    assert setup.remove_route(host.net, hi, lo, 104, *halves("192.0.2.3"), 1) == -ESRCH
    assert setup.remove_route(host.net, hi, lo, 104, *halves("192.0.2.3"), 2) == 0
    assert routes(host) == before


def test_the_route_table_is_bounded(host):
    errors = [add_route(host, f"10.{i >> 8}.{i & 255}.0/24", PEER_V4) for i in range(ROUTES)]
    assert errors.count(0) == ROUTES - 4
    assert set(errors) == {0, -ENOSPC}
    assert host.net.route_count == ROUTES


def test_addresses(host):
    assert add_address(host, V4 + "/24", host.index) == -EEXIST
    assert add_address(host, "192.0.2.9/24", 9) == -ENODEV
    for bad in ("224.0.0.1/4", "0.0.0.0/0", "ff02::1/8", "::/0"):
        assert add_address(host, bad, host.index) == -EINVAL
    assert setup.add_address(host.net, host.index, *halves("192.0.2.9"), 24, host.now) == -EINVAL
    errors = [add_address(host, f"192.0.2.{10 + i}/24", host.index) for i in range(ADDRESSES)]
    assert errors == [0] * (ADDRESSES - 2) + [-ENOSPC] * 2


def test_a_connected_route_stays_while_an_address_needs_it(host):
    add_address(host, "192.0.2.9/24", host.index)
    prefixes = [r[0] for r in routes(host)]
    assert prefixes.count("192.0.2.0") == 1
    assert setup.remove_address(host.net, host.index, *halves(V4)) == 0
    assert [r[0] for r in routes(host)] == prefixes
    assert text(0, host.iface.addresses[0].lo) != V4
    assert setup.remove_address(host.net, host.index, *halves(V4)) == -EADDRNOTAVAIL
    assert setup.remove_address(host.net, host.index, *halves("192.0.2.9")) == 0
    assert "192.0.2.0" not in [r[0] for r in routes(host)]
    left = [host.iface.addresses[i] for i in range(host.iface.address_count)]
    assert [text(a.hi, a.lo) for a in left] == [V6]


def test_a_host_address_has_no_connected_route(host):
    n = host.net.route_count
    assert add_address(host, "203.0.113.5/32", host.index) == 0
    assert add_address(host, "2001:db9::5/128", host.index) == 0
    assert host.net.route_count == n
    assert setup.remove_address(host.net, host.index, *halves("203.0.113.5")) == 0


def test_interfaces(host):
    assert setup.add_interface(host.net, 67, PEER_MAC, True) == -EINVAL
    assert setup.add_interface(host.net, 65536, PEER_MAC, True) == -EINVAL
    indexes = [setup.add_interface(host.net, 1500, PEER_MAC, True) for _ in range(INTERFACES)]
    assert indexes == [*range(3, INTERFACES), *[-ENOSPC] * 3]
    assert host.net.interface_count == INTERFACES - 1
    assert setup.remove_interface(host.net, 5) == 0
    assert setup.remove_interface(host.net, 5) == -ENODEV
    assert setup.add_interface(host.net, 1500, PEER_MAC, True) == 5
    for i in reversed(range(3, INTERFACES)):
        assert setup.remove_interface(host.net, i) == 0
    assert host.net.interface_count == 2


def test_ipv6_needs_its_mtu(host):
    small = setup.add_interface(host.net, 1279, PEER_MAC, True)
    assert add_address(host, "fe80::1/64", small) == -EINVAL
    assert add_address(host, "198.51.100.1/24", small) == 0


def test_an_interface_goes_with_all_it_has(host):
    before = routes(host)
    host.net.settings.arp_announcements = 2
    other = add_interface(host, "198.51.100.1/24", "fe80::1/64")
    add_route(host, "10.0.0.0/8", "198.51.100.9")
    send(host, "198.51.100.2", b"waiting.")
    send(host, PEER_V4)
    assert host.net.neighbours.live == 2
    assert setup.remove_interface(host.net, other) == 0
    assert (routes(host), host.net.neighbours.live) == (before, 1)
    assert host.drops() == {"NEIGHBOUR_QUEUE": 1}
    host.sent()
    host.advance(100)
    from netstack.ip import timeouts
    assert timeouts.next_deadline(host.net) == NEVER


def test_link_local_address():
    # RFC 4291 appendix A, its example: 34-56-78-9A-BC-DE -> 36-56-78-FF-FE-9A-BC-DE
    assert text(LINK_LOCAL_HI, setup.link_local(0x3456789ABCDE)) == "fe80::3656:78ff:fe9a:bcde"
    assert text(LINK_LOCAL_HI, setup.link_local(0x02_00_00_00_00_01)) == "fe80::ff:fe00:1"
    assert text(LINK_LOCAL_HI, setup.link_local(0xFE_FF_FF_FF_FF_FF)) == "fe80::fcff:ffff:feff:ffff"
