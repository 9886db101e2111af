"""Shards: several worlds that are one host, on wires.  Every frame comes to the first world's queue: the worst case."""
from __future__ import annotations

import errno
import gc
import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import netstack
from netstack.drivers import Wire

MAC = "02:00:00:00:00:0a"
HOST, PEER, HOST6, PEER6 = "10.0.0.2", "10.0.0.1", "fd00::2", "fd00::1"
COUNT = 3
PORT = 7


@pytest.fixture
def hosts() -> Iterator[Any]:
    """`shards` and a plain stack `peer` on a virtual clock."""
    clock = netstack.VirtualClock(seed=3)
    queues = [Wire(MAC) for _ in range(COUNT)]
    other = Wire(name="link")
    Wire.join(other, queues[0])
    for queue in queues[1:]:
        queue._tx = other._rx                   # they all send to the same peer
    with netstack.Shards(COUNT, clock) as shards, netstack.Stack(clock) as peer:
        shards.attach(queues, ip=f"{HOST}/24", ip6=f"{HOST6}/64", dad=False, name="net0")
        peer.attach(other, ip=f"{PEER}/24", ip6=f"{PEER6}/64", dad=False)
        yield SimpleNamespace(shards=shards, peer=peer, clock=clock, wire=other)


def world_of(shards: Any, conn: Any) -> int:
    return int(shards.stacks.index(conn._stack))


def check(pairs: list[tuple[Any, Any]], size: int = 40_000) -> None:
    """Different bytes both ways through each, all at once."""
    texts = [[os.urandom(size) for _ in pair] for pair in pairs]
    for pair, text in zip(pairs, texts, strict=True):
        for sock, data in zip(pair, text, strict=True):
            sock.settimeout(30)
            sock.sendall(data)
    for pair, text in zip(pairs, texts, strict=True):
        for sock, data in zip(pair, reversed(text), strict=True):
            got = bytearray()
            while len(got) < size:
                got += sock.recv(size)
            assert got == data


@pytest.mark.parametrize(("address", "family"), [(HOST, socket.AF_INET), (HOST6, socket.AF_INET6)])
def test_a_listener_of_all_worlds(hosts, address, family):
    with hosts.shards.create_server((address, PORT), family=family) as server:
        assert server.getsockname()[:2] == (address, PORT)
        assert len(server.listeners) == COUNT
        theirs = [hosts.peer.create_connection((address, PORT)) for _ in range(16)]
        ours = {}
        for _ in theirs:
            conn, name = server.accept()
            assert name == conn.getpeername()
            ours[name[1]] = conn
        pairs = [(conn, ours[conn.getsockname()[1]]) for conn in theirs]
        assert {world_of(hosts.shards, conn) for conn in ours.values()} == set(range(COUNT))
        check(pairs)
        for pair in pairs:
            for sock in pair:
                sock.close()
    stats = hosts.shards.stats()
    assert stats["net0.taken"] == stats["net0.handed_on"] + (COUNT - 1) * stats["net0.copied"]
    assert stats["net0.handed_on"] > 100
    assert stats["net0.hand_on_drops"] == stats["net0.astray"] == 0
    assert hosts.shards.drops().get("TCP_NO_PORT", 0) == 0


def test_connections_out_go_round(hosts):
    with hosts.peer.create_server((PEER, PORT)) as server:
        pairs = []
        for _ in range(2 * COUNT):
            ours = hosts.shards.create_connection((PEER, PORT))
            pairs.append((ours, server.accept()[0]))
        assert [world_of(hosts.shards, ours) for ours, _ in pairs] == 2 * list(range(COUNT))
        assert len({ours.getsockname() for ours, _ in pairs}) == 2 * COUNT
        check(pairs)
        for pair in pairs:
            for sock in pair:
                sock.close()


@pytest.mark.parametrize(("host", "peer"), [(HOST, PEER), (HOST6, PEER6)])
def test_a_chosen_source_port_chooses_the_world(hosts, host, peer):
    worlds = set()
    with hosts.peer.create_server((peer, PORT), family=socket.AF_INET6 if ":" in peer else socket.AF_INET) as server:
        for port in range(2000, 2012):
            with hosts.shards.create_connection((peer, PORT), source_address=(host, port)) as ours, \
                    server.accept()[0] as theirs:
                assert theirs.getpeername()[:2] == (host, port)
                worlds.add(world_of(hosts.shards, ours))
                check([(ours, theirs)], 1000)
    assert worlds == set(range(COUNT))


def test_udp_sockets_have_a_world_each(hosts):
    with hosts.peer.socket(type=socket.SOCK_DGRAM) as theirs:
        theirs.settimeout(5)
        used = set()
        for port in (0, 0, 0, 53, 54, 55):
            with hosts.shards.udp_socket((HOST, port)) as ours:
                ours.settimeout(5)
                used.add(world_of(hosts.shards, ours))
                data = os.urandom(5000)                     # in fragments
                theirs.sendto(data, ours.getsockname())
                got, name = ours.recvfrom(6000)
                assert got == data
                ours.sendto(got[::-1], name)
                assert theirs.recv(6000) == data[::-1]
                with pytest.raises(OSError) as caught:
                    hosts.shards.udp_socket(ours.getsockname())
                assert caught.value.errno == errno.EADDRINUSE
            hosts.shards.udp_socket((HOST, port or 53)).close()
        assert used == set(range(COUNT))


def test_a_closed_port_is_refused_once(hosts):
    with pytest.raises(ConnectionRefusedError):
        hosts.peer.create_connection((HOST, 99))
    with hosts.peer.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect((HOST, 99))
        sock.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(1)


def test_each_world_hears_the_answers(hosts):
    """ARP's, which come to all, and a reset, which is one's."""
    ours = [hosts.shards.stacks[i].socket() for i in range(COUNT)]
    for sock in ours:
        sock.settimeout(5)
        with pytest.raises(ConnectionRefusedError):
            sock.connect((PEER, 99))
        sock.close()


def test_a_new_address_is_announced_once():
    clock = netstack.VirtualClock()
    queues = [Wire(MAC) for _ in range(COUNT)]
    with netstack.Shards(COUNT, clock) as shards:
        shards.attach(queues, ip=f"{HOST}/24", ip6=f"{HOST6}/64")
        shards.advance(5)
        sent = [list(iter(lambda q=queue: q.sniff(0), None)) for queue in queues]
        arp = [sum(frame[12:14] == b"\x08\x06" for frame in frames) for frames in sent]
        solicited = [sum(frame[12:14] + frame[54:55] == b"\x86\xdd\x87" for frame in frames) for frames in sent]
        assert arp[0] == 2
        assert solicited[0] == 2                            # fe80:: and fd00::2
        assert sum(arp[1:]) == sum(solicited[1:]) == 0
        assert all(interface.is_ready for stack in shards.stacks for interface in stack.interfaces)


def test_ping_is_answered_once(hosts):
    with hosts.peer.socket(type=socket.SOCK_DGRAM, proto=socket.IPPROTO_ICMP) as sock:
        sock.settimeout(1)
        sock.sendto(b"\x08\0\0\0\0\0\0\x01hello", (HOST, 0))
        assert sock.recv(100)[8:] == b"hello"
        with pytest.raises(TimeoutError):
            sock.recv(100)


@pytest.mark.parametrize("index", range(COUNT))
def test_each_world_can_ping(hosts, index):
    with hosts.shards.stacks[index].socket(type=socket.SOCK_DGRAM, proto=socket.IPPROTO_ICMP) as sock:
        sock.settimeout(1)
        sock.sendto(b"\x08\0\0\0\0\0\0\x01hello", (PEER, 0))
        assert sock.recv(100)[8:] == b"hello"


def test_any_port(hosts):
    with hosts.shards.create_server(("", 0)) as a, hosts.shards.create_server(("", 0)) as b:
        ports = [s.getsockname()[1] for s in (a, b)]
        assert ports[0] != ports[1]
        for stack in hosts.shards.stacks:
            first, last = stack.settings["net.ipv4.ip_local_port_range"]
            assert not {*ports} & {*range(first, last + 1)}
        assert len(a.listeners) == COUNT


def test_a_port_for_outgoing_connections_is_one_worlds(hosts):
    _, last = hosts.shards.stacks[2].settings["net.ipv4.ip_local_port_range"]
    with hosts.shards.create_server(("", last)) as server:
        assert [world_of(hosts.shards, s) for s in server.listeners] == [2]
        with hosts.peer.create_connection((HOST, last)) as theirs, server.accept()[0] as ours:
            check([(ours, theirs)], 1000)


def test_a_port_that_is_taken(hosts):
    with hosts.shards.stacks[1].create_server(("", PORT)), pytest.raises(OSError) as caught:
        hosts.shards.create_server(("", PORT))
    assert caught.value.errno == errno.EADDRINUSE
    hosts.shards.create_server(("", PORT)).close()          # nothing of the failed one is left


def test_accept_waits_as_it_is_told(hosts):
    with hosts.shards.create_server(("", PORT)) as server:
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
        server.settimeout(2)
        before = hosts.clock.now
        with pytest.raises(TimeoutError):
            server.accept()
        assert hosts.clock.now - before == 2_000_000_000
    with pytest.raises(OSError) as caught:
        server.accept()
    assert caught.value.errno == errno.EBADF


def test_accept_on_the_real_clock(spawn):
    queues = [Wire(MAC) for _ in range(2)]
    other = Wire()
    Wire.join(other, queues[0])
    queues[1]._tx = other._rx
    with netstack.Shards(2) as shards, netstack.Stack() as peer:
        shards.attach(queues, ip=f"{HOST}/24", dad=False, link_local=False)
        peer.attach(other, ip=f"{PEER}/24", dad=False, link_local=False)
        with shards.create_server(("", PORT)) as server:
            used: set[int] = set()
            for _ in range(64):                         # the world is chosen by a secret hash of the ports
                if used == {0, 1}:
                    break
                task = spawn(server.accept)
                with peer.create_connection((HOST, PORT), timeout=10) as theirs, \
                        task.result()[0] as ours:
                    used.add(world_of(shards, ours))
                    theirs.sendall(b"hello")
                    ours.settimeout(10)
                    assert ours.recv(5) == b"hello"
            assert used == {0, 1}
            task = spawn(server.accept)
            server.close()
            with pytest.raises(OSError):
                task.result()


def test_close_ends_all():
    shards = netstack.Shards(2)
    queues = [Wire(MAC), Wire(MAC)]
    made = shards.attach(queues, ip=f"{HOST}/24")
    assert [i.stack for i in made] == list(shards.stacks)
    shards.close()
    shards.close()
    assert all(stack.closed for stack in shards.stacks)
    gc.collect()


def test_what_is_refused():
    with pytest.raises(ValueError, match="1 to 16"):
        netstack.Shards(0)
    with pytest.raises(ValueError, match="too small"):
        netstack.Shards(4, settings={"net.ipv4.ip_local_port_range": (40000, 40003)})
    with netstack.Shards(2) as shards:
        with pytest.raises(ValueError, match="1 queues for 2 worlds"):
            shards.attach([Wire()])
        with pytest.raises(ValueError, match="one MAC address"):
            shards.attach([Wire(), Wire()])
        with pytest.raises(ValueError, match="mtu"):
            shards.attach([Wire(MAC), Wire(MAC)], mtu=1)
        assert [i.name for stack in shards.stacks for i in stack.interfaces] == ["lo", "lo"]
        assert "shard/0" in repr(shards)


def test_one_key_for_cookies(hosts):
    """A client that comes with another port may find another world; its Fast Open cookie is good there, too."""
    keys = {stack.settings["net.ipv4.tcp_fastopen_key"] for stack in hosts.shards.stacks}
    assert len(keys) == 1
    assert keys != {hosts.peer.settings["net.ipv4.tcp_fastopen_key"]}


def test_statistics_are_the_sum(hosts):
    with hosts.shards.create_server(("", PORT)) as server:
        theirs = [hosts.peer.create_connection((HOST, PORT)) for _ in range(8)]
        ours = [server.accept()[0] for _ in theirs]
        assert hosts.shards.stats()["tcp.passive_opens"] == 8
        states = [c.state for c in hosts.shards.connections()]
        assert (states.count("ESTABLISHED"), states.count("LISTEN")) == (8, COUNT)
        for sock in (*ours, *theirs):
            sock.close()
