"""The client's states alone, on a time that is a number: what it sends when, and what it believes."""
from __future__ import annotations

import random

import pytest

from netstack.dhcp.client import NEVER, SECOND, Client, State
from netstack.dhcp.message import BROADCAST, REPLY, Code, Message, Type

MAC = bytes.fromhex("020000000001")
SERVER, OTHER = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 9])
ADDRESS = 0x0A000005


class Middle(random.Random):
    """Dice that always show the middle: times are exact."""

    def uniform(self, a, b):
        return (a + b) / 2


class Host:
    """Writes down what the client wants."""

    def __init__(self):
        self.did = []
        self.sent = []              # (way, message)
        self.free = True

    def broadcast(self, message):
        self.sent.append(("broadcast", message))

    def unicast(self, message, server):
        self.sent.append((server, message))

    def claim(self, lease):
        self.did.append(f"claim {lease.address}")

    def is_free(self, lease):
        return self.free

    def use(self, lease):
        self.did.append(f"use {lease.address}")

    def give_up(self):
        self.did.append("give up")


class Run:
    """A client, its host and the time, in seconds."""

    def __init__(self, **options):
        self.host = Host()
        self.client = Client(self.host, MAC, Middle(1), **options)
        self.now = 0.0

    def to(self, seconds):
        """Let time pass, from deadline to deadline."""
        while self.client.deadline <= seconds * SECOND:
            self.now = max(self.now, self.client.deadline / SECOND)
            self.client.step(round(self.now * SECOND))
        self.now = seconds

    def said(self):
        """(when it will be due again is not shown) the names of what was sent since, and how; forgotten then."""
        found = [(way, Type(m.type).name) for way, m in self.host.sent]
        self.last = self.host.sent[-1][1] if self.host.sent else None
        self.host.sent.clear()
        return found

    def answer(self, type, server=SERVER, lease=1000, xid=None, **fields):
        """Give it a message of a server: whether it was of use."""
        last = self.last if not self.host.sent else self.host.sent[-1][1]
        found = {Code.TYPE: bytes([type]), Code.SERVER: server, Code.MASK: bytes([255, 255, 255, 0]),
                 Code.LEASE_TIME: lease.to_bytes(4, "big")}
        made = {"op": REPLY, "xid": last.xid if xid is None else xid, "yiaddr": ADDRESS, "chaddr": MAC,
                "options": found} | fields
        used = self.client.hear(Message(**made), round(self.now * SECOND))
        self.client.step(round(self.now * SECOND))
        return used

    def bind(self, **keywords):
        self.to(self.now)
        self.answer(Type.OFFER, **keywords)
        self.answer(Type.ACK, **keywords)
        assert self.client.state is State.BOUND
        self.said()
        self.host.did.clear()


@pytest.fixture
def run():
    return Run()


def test_the_way_to_a_lease(run):
    run.to(0)
    assert run.said() == [("broadcast", "DISCOVER")]
    discover = run.last
    assert (discover.flags, discover.ciaddr, discover.chaddr, discover.secs) == (BROADCAST, 0, MAC, 0)
    assert discover.options[Code.CLIENT] == b"\1" + MAC
    assert Code.SERVER not in discover.options and Code.ADDRESS not in discover.options
    wanted = discover.options[Code.WANTED]
    assert wanted.index(Code.ROUTES) < wanted.index(Code.ROUTER)        # RFC 3442
    assert {1, 3, 6, 15, 26, 119, 121} <= set(wanted)
    run.to(2)
    assert run.answer(Type.OFFER)
    assert run.said() == [("broadcast", "REQUEST")]
    request = run.last
    assert (request.xid, request.flags, request.ciaddr, request.secs) == (discover.xid, BROADCAST, 0, 2)
    assert (request.options[Code.SERVER], request.options[Code.ADDRESS]) == (SERVER, bytes([10, 0, 0, 5]))
    assert request.options[Code.WANTED] == wanted
    run.to(3)
    assert run.answer(Type.ACK)
    assert run.host.did == ["claim 10.0.0.5", "use 10.0.0.5"]
    assert run.client.lease.expires_at == 1002 * SECOND         # since the request was sent, not since the answer


def test_discover_is_repeated(run):
    """4, 8, 16, 32, 64, 64 ... s (RFC 2131 4.1)."""
    times = []
    for _ in range(8):
        run.to(run.client.deadline / SECOND)
        times.append(run.now)
    assert times == [0, 4, 12, 28, 60, 124, 188, 252]
    assert run.said() == [("broadcast", "DISCOVER")] * 8
    assert run.last.secs == 252


def test_what_is_random(run):
    """One second more or less."""
    delays = set()
    for seed in range(50):
        client = Client(Host(), MAC, random.Random(seed))
        client.step(0)
        delays.add(client.deadline)
    assert len(delays) == 50
    assert 3 * SECOND <= min(delays) < 3.5 * SECOND < 4.5 * SECOND < max(delays) <= 5 * SECOND


def test_a_server_that_offers_and_is_gone(run):
    run.to(0)
    run.answer(Type.OFFER)
    run.to(59)
    assert run.said() == [("broadcast", "DISCOVER"), *[("broadcast", "REQUEST")] * 4]
    run.to(60)
    assert run.said() == [("broadcast", "DISCOVER")]


@pytest.mark.parametrize("fields", [
    {"xid": 5}, {"op": 1}, {"chaddr": bytes(6)}, {"chaddr": b""}, {"yiaddr": 0}, {"options": {}},
    {"options": {Code.TYPE: b"\2"}}, {"server": b"\1"}, {"lease": 0},
])
@pytest.mark.parametrize("type", [Type.OFFER, Type.ACK])
def test_is_not_believed(run, type, fields):
    run.to(0)
    if type == Type.ACK:
        run.answer(Type.OFFER)
    before = run.client.state
    assert not run.answer(type, **fields)
    assert run.client.state is before


def test_not_in_this_state(run):
    run.to(0)
    assert not run.answer(Type.ACK)
    assert not run.answer(Type.NAK)
    assert not run.answer(9)
    run.answer(Type.OFFER)
    assert not run.answer(Type.OFFER)
    assert not run.answer(Type.ACK, server=OTHER)
    assert not run.answer(Type.NAK, server=OTHER)
    assert not run.answer(Type.ACK, yiaddr=ADDRESS + 1)
    run.answer(Type.ACK)
    for type in (Type.OFFER, Type.ACK, Type.NAK):
        assert not run.answer(type)
    assert run.client.state is State.BOUND


def test_renewing(run):
    run.bind()
    run.to(498)
    assert run.said() == []
    run.to(500)
    assert run.said() == [("10.0.0.1", "REQUEST")]
    assert (run.last.ciaddr, run.last.flags, run.last.yiaddr) == (ADDRESS, 0, 0)
    assert Code.SERVER not in run.last.options and Code.ADDRESS not in run.last.options
    xid = run.last.xid
    assert run.client.state is State.RENEWING
    run.to(510)
    assert not run.answer(Type.ACK, yiaddr=ADDRESS + 1)
    assert not run.answer(Type.ACK, server=OTHER)
    assert not run.answer(Type.ACK, xid=xid + 1)
    run.to(690)                             # half of what is left until T2
    assert run.said() == [("10.0.0.1", "REQUEST")]
    assert run.last.xid != xid
    assert not run.answer(Type.ACK, xid=xid)
    assert run.answer(Type.ACK)
    assert run.client.state is State.BOUND
    assert run.host.did == ["use 10.0.0.5"]
    assert SECOND * 1680 < run.client.lease.expires_at < SECOND * 1690


def test_rebinding_with_another_server(run):
    run.bind()
    run.to(876)
    run.said()
    assert run.client.state is State.REBINDING
    run.to(940)
    assert run.said() == [("broadcast", "REQUEST")]
    assert (run.last.ciaddr, run.last.flags) == (ADDRESS, 0)
    assert Code.SERVER not in run.last.options
    assert run.answer(Type.ACK, server=OTHER)
    assert run.client.lease.server == "10.0.0.9"
    assert "give up" not in run.host.did


def test_times_of_the_requests(run):
    """T1, half of the rest ... but not more often than once a minute; T2, the same; the end (RFC 2131 4.4.5)."""
    run.bind()
    times = []
    while run.client.lease is not None:
        run.to(run.client.deadline / SECOND)
        times.append(run.now)
    assert [round(t) for t in times] == [500, 687, 781, 841, 875, 938, 998, 1000]
    assert run.host.did == ["give up"]
    assert run.said()[-1] == ("broadcast", "DISCOVER")
    assert run.last.options[Code.ADDRESS] == bytes([10, 0, 0, 5])       # it would like the same one again


def test_a_short_lease(run):
    run.bind(lease=8)
    run.to(4)
    assert run.said() == [("10.0.0.1", "REQUEST")]
    run.to(7)
    assert run.said() == [("broadcast", "REQUEST")]
    run.to(8)
    assert run.host.did == ["give up"]


def test_a_lease_without_end(run):
    run.bind(lease=0xFFFFFFFF)
    assert run.client.deadline == NEVER


@pytest.mark.parametrize("at", [500, 876])
def test_nak_ends_a_lease(run, at):
    run.bind()
    run.to(at)
    run.said()
    assert run.answer(Type.NAK, yiaddr=0)
    assert run.host.did == ["give up"]
    assert run.said() == [("broadcast", "DISCOVER")]                    # at once
    assert Code.ADDRESS not in run.last.options                         # not this one


def test_a_server_that_always_refuses(run):
    """Offer, request, NAK: not as fast as the link is."""
    run.to(0)
    times = []
    while len(times) < 9:
        if run.client.state is State.SELECTING:
            run.answer(Type.OFFER)
            assert run.answer(Type.NAK)
            times.append(run.now)
        else:
            run.to(run.client.deadline / SECOND)
    assert times == [0, 0, 1, 3, 7, 15, 31, 63, 127]
    run.to(run.client.deadline / SECOND)
    run.answer(Type.OFFER)
    run.answer(Type.ACK)
    run.to(run.client.deadline / SECOND)
    run.answer(Type.NAK)
    assert run.client.state is State.SELECTING          # a lease in between: at once


def test_an_address_that_somebody_has(run):
    run.host.free = None
    run.to(0)
    run.answer(Type.OFFER)
    run.answer(Type.ACK)
    run.to(3)
    assert run.client.state is State.CHECKING
    assert run.host.did == ["claim 10.0.0.5"]
    run.said()
    run.host.free = False
    run.to(4)
    assert run.said() == [("broadcast", "DECLINE")]
    assert (run.last.ciaddr, run.last.flags, run.last.secs) == (0, 0, 0)
    assert (run.last.options[Code.ADDRESS], run.last.options[Code.SERVER]) == (bytes([10, 0, 0, 5]), SERVER)
    assert not {Code.WANTED, Code.LARGEST, Code.VENDOR} & set(run.last.options)         # table 5
    assert run.host.did == ["claim 10.0.0.5", "give up"]
    run.to(13)
    assert run.said() == []
    run.to(13.2)                            # ten seconds after
    assert run.said() == [("broadcast", "DISCOVER")]


@pytest.mark.parametrize("release", [False, True])
def test_stop(run, release):
    run.bind()
    run.client.stop(release)
    assert run.said() == ([("10.0.0.1", "RELEASE")] if release else [])
    if release:
        assert (run.last.ciaddr, run.last.options[Code.SERVER]) == (ADDRESS, SERVER)
        assert not {Code.WANTED, Code.LARGEST, Code.VENDOR, Code.ADDRESS} & set(run.last.options)
    run.to(5000)
    assert run.said() == []


def test_stop_before_there_is_a_lease(run):
    run.to(0)
    run.said()
    run.client.stop(True)
    run.to(5000)
    assert run.said() == []


def test_what_it_is_told():
    run = Run(host_name=b"me", client_id=b"\0mine", largest=576, address=ADDRESS + 1)
    run.to(0)
    run.said()
    options = run.last.options
    assert (options[Code.HOST_NAME], options[Code.CLIENT], options[Code.LARGEST], options[Code.ADDRESS]) == (
        b"me", b"\0mine", bytes([2, 64]), bytes([10, 0, 0, 6]))


def test_time_that_jumps(run):
    """A process that was stopped: what is past is not done step by step."""
    run.bind()
    run.now = 950
    run.client.step(950 * SECOND)
    assert run.said() == [("broadcast", "REQUEST")]
    run.now = 5000
    run.client.step(5000 * SECOND)
    assert run.host.did == ["give up"]
    assert run.said() == [("broadcast", "DISCOVER")]


def test_a_host_that_cannot(run):
    run.to(0)
    run.answer(Type.OFFER)
    run.client.fail(0)
    run.said()
    run.to(63)
    assert run.said() == []
    run.to(64)
    assert run.said() == [("broadcast", "DISCOVER")]
