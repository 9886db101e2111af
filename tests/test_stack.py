"""Stack: interfaces, addresses and routes, settings, counters, captures, its life."""
from __future__ import annotations

import contextlib
import errno
import ipaddress
import threading
import time
from typing import Any

import pytest

import netstack
import netstack.socket as ns
from netstack.config import SETTINGS
from netstack.drivers import Impaired, Wire


@pytest.fixture
def stack():
    with netstack.Stack() as made:
        yield made


def test_a_new_stack_has_a_loopback_interface(stack):
    (lo,) = stack.interfaces
    assert (lo.name, lo.index, lo.mtu) == ("lo", 1, 65535)
    assert [str(a) for a in lo.addresses] == ["127.0.0.1/8", "::1/128"]
    assert lo.is_ready
    with pytest.raises(ValueError, match="loopback interface stays"):
        lo.detach()


def test_attach_and_detach(stack):
    wire = Wire(mac="02:00:00:00:00:07")
    made = stack.attach(wire, ip=["10.0.0.2/24", "10.0.1.2/24"], ip6="fd00::2/64", gateway="10.0.0.1",
                        gateway6="fe80::1", mtu=1400, name="net0", dad=False)
    assert (made.name, made.mac, made.mtu, made.index) == ("net0", "02:00:00:00:00:07", 1400, 2)
    assert made.addresses == [ipaddress.ip_interface(a) for a in (
        "fe80::ff:fe00:7/64", "10.0.0.2/24", "10.0.1.2/24", "fd00::2/64")]
    assert stack.interface("net0") is stack.interface(2) is stack.interface(made) is made
    assert "net0" in repr(made)
    assert "net0" in repr(stack)
    routes = {(r.network, r.gateway, r.interface) for r in stack.routes}
    assert {("10.0.0.0/24", None, "net0"), ("0.0.0.0/0", "10.0.0.1", "net0"), ("::/0", "fe80::1", "net0"),
            ("fe80::/64", None, "net0"), ("127.0.0.0/8", None, "lo")} <= routes
    with stack.socket() as s:
        s.bind(("10.0.1.2", 0))
    made.detach()
    made.detach()
    assert [i.name for i in stack.interfaces] == ["lo"]
    assert not made.is_attached
    assert all(r.interface == "lo" for r in stack.routes)
    with pytest.raises(OSError, match="is detached"):
        made.addresses
    with stack.socket() as s, pytest.raises(OSError) as caught:
        s.bind(("10.0.1.2", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    with pytest.raises(OSError):
        wire.inject(bytes(60))


def test_a_device_is_attached_once(stack):
    wire = Wire()
    stack.attach(wire, ip="10.0.0.2/24")
    for other in (stack, netstack.Stack()):
        with pytest.raises(OSError, match="attached") as caught:
            other.attach(wire, name="again")
        assert caught.value.errno == errno.EBUSY
    other.close()
    assert len(stack.interfaces) == 2


@pytest.mark.parametrize(("arguments", "error", "words"), [
    ({"ip": "10.0.0.2"}, ValueError, "no prefix length"),
    ({"ip": "10.0.0.2/33"}, ValueError, "not an interface's address"),
    ({"ip": "10.0.0.300/24"}, ValueError, "not an interface's address"),
    ({"ip": "hello/24"}, ValueError, "not an interface's address"),
    ({"ip": [5]}, TypeError, "is text such as"),
    ({"ip": "fd00::2/64"}, ValueError, "give it as ip6="),
    ({"ip6": "10.0.0.2/24"}, ValueError, "give it as ip="),
    ({"ip": "224.0.0.1/24"}, ValueError, "cannot have this address"),
    ({"ip": "10.0.0.0/24"}, ValueError, "network address"),
    ({"ip": "10.0.0.255/24"}, ValueError, "broadcast address"),
    ({"ip": "10.0.0.2/24", "gateway": "10.0.1.1"}, ValueError, "in none of the interface's networks"),
    ({"ip": "10.0.0.2/24", "gateway": "nonsense"}, ValueError, "gateway"),
    ({"gateway": "10.0.0.1"}, ValueError, "it has none"),
    ({"ip": "10.0.0.2/24", "mtu": 20}, ValueError, "mtu must be"),
    ({"ip": "10.0.0.2/24", "mtu": "big"}, ValueError, "mtu must be"),
    ({"ip6": "fd00::2/64", "mtu": 1000}, ValueError, "at least 1280"),
    ({"ip": ["10.0.0.2/24", "10.0.0.2/24"]}, OSError, "has 10.0.0.2 already"),
    ({"name": "lo"}, ValueError, "there is an interface 'lo' already"),
])
def test_mistakes_of_attach(stack, arguments, error, words):
    wire = Wire()
    with pytest.raises(error, match=words):
        stack.attach(wire, **arguments)
    assert [i.name for i in stack.interfaces] == ["lo"]
    assert len(stack.routes) == 2
    with pytest.raises(TypeError, match="a driver"):
        stack.attach("tap0", ip="10.0.0.2/24")


def test_too_many_interfaces(stack):
    for _ in range(14):
        stack.attach(Wire(), dad=False)
    with pytest.raises(OSError, match="cannot add interface"):
        stack.attach(Wire())
    stack.interface(3).detach()
    stack.attach(Wire())


def test_addresses_come_and_go(stack):
    made = stack.attach(Wire(), ip="10.0.0.2/24", link_local=False)
    made.add_address("10.0.0.3/24")
    made.add_address("fd00::3/64", dad=False)
    assert made.states == {"10.0.0.2": "preferred", "10.0.0.3": "preferred", "fd00::3": "preferred"}
    made.remove_address("10.0.0.3")
    made.remove_address("fd00::3/64")
    assert [str(a) for a in made.addresses] == ["10.0.0.2/24"]
    with pytest.raises(OSError, match="no address"):
        made.remove_address("10.0.0.3")


def test_duplicate_address_detection(clock, life):
    left, right = Wire.pair()
    a, b = (life.enter_context(netstack.Stack(clock=clock)) for _ in range(2))
    first = a.attach(left, ip6="fd00::1/64", link_local=False)
    assert first.states == {"fd00::1": "tentative"}
    assert not first.is_ready
    with a.socket(ns.AF_INET6) as s, pytest.raises(OSError) as caught:
        s.bind(("fd00::1", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert a.wait_for(lambda: first.is_ready, timeout=10)
    assert first.states == {"fd00::1": "preferred"}
    second = b.attach(right, ip6="fd00::1/64", link_local=False)
    assert b.wait_for(lambda: second.is_ready, timeout=10)
    assert second.states == {"fd00::1": "duplicate"}
    assert second.counters["conflicts"] == 1


def test_routes(stack):
    stack.attach(Wire(name="w0"), ip="10.0.0.2/24", ip6="fd00::2/64", dad=False)
    stack.add_route("192.168.0.0/16", gateway="10.0.0.9", metric=5)
    stack.add_route("default6", gateway="fd00::1")
    stack.add_route("198.51.100.0/24", interface="w0", source="10.0.0.2")
    found = {r.network: r for r in stack.routes}
    assert (found["192.168.0.0/16"].gateway, found["192.168.0.0/16"].metric) == ("10.0.0.9", 5)
    assert found["198.51.100.0/24"].source == "10.0.0.2"
    assert found["::/0"].gateway == "fd00::1"
    for wrong, error, words in [
        ({"network": "192.168.0.0/16", "gateway": "10.0.0.9", "metric": 5}, OSError, "already"),
        ({"network": "192.168.0.1/16", "gateway": "10.0.0.9"}, ValueError, "not a network"),
        ({"network": "1.0.0.0/8"}, ValueError, "a gateway or an interface"),
        ({"network": "1.0.0.0/8", "gateway": "9.9.9.9"}, ValueError, "on no interface's link"),
        ({"network": "1.0.0.0/8", "gateway": "fd00::1"}, ValueError, "different families"),
        ({"network": "1.0.0.0/8", "interface": "w9"}, OSError, "no interface 'w9'")]:
        with pytest.raises(error, match=words):
            stack.add_route(**wrong)
    stack.del_route("192.168.0.0/16", gateway="10.0.0.9")
    with pytest.raises(OSError, match="no such route") as caught:
        stack.del_route("192.168.0.0/16", gateway="10.0.0.9")
    assert caught.value.errno == errno.ESRCH
    with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as s, pytest.raises(OSError) as caught:
        s.sendto(b"x", ("192.168.1.1", 9))
    assert caught.value.errno == errno.ENETUNREACH


def test_two_stacks_on_a_link(pair):
    for host, family in ((pair.b4, ns.AF_INET), (pair.b6, ns.AF_INET6)):
        with pair.b.create_server((host, 7), family=family) as server, \
                pair.a.create_connection((host, 7), timeout=10) as client:
            conn, peer = server.accept()
            with conn:
                assert peer[0] == (pair.a4 if family == ns.AF_INET else pair.a6)
                data = bytes(range(256)) * 2000
                received = bytearray()
                reader = threading.Thread(target=lambda c=conn, got=received: [got.extend(x) for x in iter(
                    lambda: c.recv(65536), b"")])
                reader.start()
                client.sendall(data)
                client.shutdown(ns.SHUT_WR)
                reader.join(20)
                assert received == data
    assert pair.a.stats()["tcp.active_opens"] == 2
    assert pair.b.stats()["tcp.passive_opens"] == 2


def test_settings(stack):
    s = stack.settings
    assert s["net.ipv4.ip_default_ttl"] == 64
    s["net.ipv4.ip_default_ttl"] = 99
    assert s["net.ipv4.ip_default_ttl"] == 99
    s["net.ipv4.tcp_fin_timeout"] = 0.5
    assert s["net.ipv4.tcp_fin_timeout"] == 0.5
    assert s["net.ipv4.ip_local_port_range"] == (32768, 60999)
    s["net.ipv4.ip_local_port_range"] = 40000, 40000
    with stack.socket() as one, stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        assert one.getsockname()[1] == two.getsockname()[1] == 40000
        with stack.socket() as three, pytest.raises(OSError) as caught:
            three.bind(("127.0.0.1", 0))
        assert caught.value.errno == errno.EADDRINUSE
    for name, wrong, error in [
        ("net.ipv4.ip_default_ttl", 0, ValueError), ("net.ipv4.ip_default_ttl", 256, ValueError),
        ("net.ipv4.ip_default_ttl", 1.5, TypeError), ("net.ipv4.tcp_sack", "1", TypeError),
        ("net.ipv4.ip_local_port_range", 5, ValueError), ("net.ipv4.ip_local_port_range", (9, 5), ValueError)]:
        with pytest.raises(error, match=name.replace(".", r"\.")):
            s[name] = wrong
    with pytest.raises(KeyError, match="did you mean net.ipv4.tcp_timestamps"):
        s["net.ipv4.tcp_timestamp"]
    with pytest.raises(KeyError, match="net.ipv4.tcp_sack"):
        s["tcp_sack"] = 1
    assert "no.such.thing" not in s
    assert set(s) == set(SETTINGS)
    assert len(s) == len(SETTINGS)
    assert all(s.describe(name) for name in s)


def test_every_setting_can_be_set_to_what_it_is():
    with netstack.Stack() as one:
        everything = dict(one.settings)
    with netstack.Stack(settings=everything) as two:
        assert dict(two.settings) == everything
    with pytest.raises(KeyError):
        netstack.Stack(settings={"nonsense": 1})


def test_stats_drops_and_connections(pair):
    assert pair.a.drops() == {} or "NOT_FOR_US" in pair.a.drops()
    with pair.b.create_server(("", 7)) as server, pair.a.create_connection((pair.b4, 7), timeout=10) as client:
        conn, _ = server.accept()
        with conn, pair.a.socket(ns.AF_INET6, ns.SOCK_DGRAM) as udp:
            udp.bind(("::", 53))
            mine = {(c.protocol, c.state): c for c in pair.a.connections()}
            assert mine["udp", ""].local == ("::", 53)
            established = mine["tcp", "ESTABLISHED"]
            assert established.remote == (pair.b4, 7)
            assert established.local == client.getsockname()
            theirs = {(c.protocol, c.state): c for c in pair.b.connections()}
            assert theirs["tcp", "LISTEN"].local == ("0.0.0.0", 7)
            assert theirs["tcp", "LISTEN"].remote is None
            client.sendall(b"12345")
            assert pair.b.wait_for(lambda: any(c.recv_queue == 5 for c in pair.b.connections()), 60)
    stats = pair.a.stats()
    assert stats["tcp.active_opens"] == 1
    assert stats[f"{pair.left.name}.tx_packets"] > 3
    with pair.a.socket(ns.AF_INET, ns.SOCK_DGRAM) as udp:
        udp.sendto(b"nobody", (pair.b4, 9999))
        assert pair.b.wait_for(lambda: pair.b.drops().get("UDP_NO_PORT") == 1, 60)


@pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")
def test_capture(virtual_pair, tmp_path):
    from pcapng import FileScanner
    from pcapng.blocks import EnhancedPacket, InterfaceDescription

    file = tmp_path / "a.pcapng"
    a, b = virtual_pair.a, virtual_pair.b
    a.capture(file)
    with b.create_server(("", 7)) as server, a.create_connection((virtual_pair.b4, 7)) as client:
        server.accept()[0].close()
        assert client.recv(1) == b""
    a.attach(Wire(name="later"), ip="10.9.9.9/24")
    a.capture(None)
    with open(file, "rb") as f:
        blocks = list(FileScanner(f))
    names = [b.options["if_name"] for b in blocks if isinstance(b, InterfaceDescription)]
    assert names == ["lo", virtual_pair.left.name, "later"]
    assert sum(isinstance(b, EnhancedPacket) for b in blocks) >= 7
    with pytest.raises(OSError):
        a.capture(tmp_path / "no" / "such" / "folder")


def test_impairments(life, clock):
    left, right = Wire.pair()
    a, b = (life.enter_context(netstack.Stack(clock=clock)) for _ in range(2))
    a.attach(Impaired(left, delay="10ms", loss=0.02, seed=1), ip="192.0.2.1/24", dad=False)
    b.attach(right, ip="192.0.2.2/24", dad=False)
    data = bytes(range(256)) * 1000
    with b.create_server(("", 7)) as server, a.create_connection(("192.0.2.2", 7)) as client:
        start = clock.time()
        conn, _ = server.accept()
        with conn:
            client.setblocking(False)
            got, sent = bytearray(), 0
            while len(got) < len(data):
                if sent < len(data):
                    with contextlib.suppress(BlockingIOError):
                        sent += client.send(data[sent:])
                got += conn.recv(65536)
            assert got == data
        assert clock.time() - start > 0.1


def test_an_impaired_device_comes_and_goes(stack):
    for _ in range(3):
        made = stack.attach(Impaired(Wire(), delay="1s"), ip="10.0.0.2/24", name="bad")
        with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as s:
            s.sendto(b"x", ("10.0.0.3", 9))
        made.detach()


def test_closing_is_quick():
    """Whatever the background thread is doing just then."""
    start = time.monotonic()
    for i in range(30):
        with netstack.Stack() as stack:
            stack.start()
            if i % 3:
                time.sleep(0.0005 * i)                  # "just then" is a moment of the clock
    assert time.monotonic() - start < 60


def test_wait_for(stack):
    assert stack.wait_for(lambda: True)
    start = time.monotonic()
    assert not stack.wait_for(lambda: False, timeout=0.05)
    assert time.monotonic() - start < 20


def test_the_real_clock_cannot_be_advanced(stack):
    with pytest.raises(ValueError, match="VirtualClock"):
        stack.advance(1)
    with pytest.raises(TypeError, match="VirtualClock"):
        netstack.Stack(clock=time)


def test_threads_come_and_go():
    before = threading.active_count()
    with netstack.Stack() as stack:
        assert threading.active_count() == before
        with stack.socket():
            assert threading.active_count() == before + 1
            (thread,) = [t for t in threading.enumerate() if t.name.startswith("netstack")]
            assert thread.daemon
    assert threading.active_count() == before


def test_signals_go_to_the_applications_threads():
    with netstack.Stack() as stack:
        stack.start()
        (thread,) = [t for t in threading.enumerate() if t.name.startswith("netstack")]
        with open(f"/proc/self/task/{thread.native_id}/status") as status:
            blocked = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
        assert blocked & 1 << (2 - 1)       # SIGINT
        assert blocked & 1 << (15 - 1)      # SIGTERM


def test_many_stacks(life):
    stacks = [life.enter_context(netstack.Stack(profile=netstack.Profile(connections=64, sockets=16,
                                                                         buffers=1 << 24))) for _ in range(20)]
    for stack in stacks:
        with stack.create_server(("127.0.0.1", 7)) as server, stack.create_connection(("127.0.0.1", 7)) as client:
            conn, _ = server.accept()
            conn.sendall(b"x")
            assert client.recv(1) == b"x"
            conn.close()


def test_table_full(life):
    stack = life.enter_context(netstack.Stack(profile=netstack.Profile(connections=8, sockets=4, buffers=1 << 24)))
    made: list[Any] = []
    with pytest.raises(OSError) as caught:
        for _ in range(20):
            made.append(stack.socket())
    assert caught.value.errno == errno.ENFILE
    for s in made:
        s.close()
    stack.socket().close()


def test_neighbours(virtual_pair):
    interface = virtual_pair.a.interfaces[1]
    virtual_pair.clock.advance(5)
    assert "192.0.2.2" not in interface.neighbours
    with virtual_pair.a.socket(ns.AF_INET, ns.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("192.0.2.9", 9))
        sock.sendto(b"x", ("192.0.2.2", 9))
        assert interface.neighbours["192.0.2.9"] == "incomplete"
        virtual_pair.clock.advance(5)
    assert {"192.0.2.2": "reachable", "192.0.2.9": "failed"}.items() <= interface.neighbours.items()
    assert "192.0.2.2" not in virtual_pair.a.interfaces[0].neighbours
