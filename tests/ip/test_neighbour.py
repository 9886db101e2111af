"""The neighbour cache: RFC 4861 7.3, state by state."""
from __future__ import annotations

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import ARP, Ether

from netstack.errors import EHOSTUNREACH
from netstack.ip import neighbour
from netstack.ip.neighbour import State, Update
from netstack.ip.net import Verdict
from netstack.machine import SECOND

from .host import MAC, PEER_MAC, PEER_V4, PEER_V6, V4, Host, halves, mac_text, text
from .sending import arp, frames_sent, reply, send

OTHER_MAC = 0x02_00_00_00_00_03
LEARN = int(Update.CREATE | Update.OVERRIDE)
ANSWER = int(Update.SOLICITED | Update.OVERRIDE)


@pytest.fixture
def host() -> Host:
    return Host()


def entry(host: Host, peer: str = PEER_V4) -> neighbour.Neighbour | None:
    index = neighbour.find(host.net, host.index, *halves(peer))
    return neighbour.entry(host.net, index) if index else None


def state(host: Host, peer: str = PEER_V4) -> int:
    found = entry(host, peer)
    return found.state if found else State.NONE


def update(host: Host, mac: int, flags: int, peer: str = PEER_V4) -> None:
    neighbour.update(host.net, host.iface, *halves(peer), mac, flags, host.now)


def queued(host: Host) -> list[bytes]:
    """Payloads of the IPv4 packets sent."""
    return [bytes(f[IP].payload) for f in frames_sent(host) if IP in f]


# ---- INCOMPLETE --------------------------------------------------------------

def test_the_first_packet_waits_for_the_answer(host):
    assert send(host, PEER_V4, b"first...") == 0
    [request] = frames_sent(host)
    assert request.dst == "ff:ff:ff:ff:ff:ff"
    assert (request[ARP].op, request[ARP].psrc, request[ARP].pdst) == (1, V4, PEER_V4)
    assert (request[ARP].hwsrc, request[ARP].hwdst) == (mac_text(MAC), "00:00:00:00:00:00")
    assert state(host) == State.INCOMPLETE
    host.receive(reply())
    assert state(host) == State.REACHABLE
    [packet] = frames_sent(host)
    assert packet.dst == mac_text(PEER_MAC)
    assert packet.src == mac_text(MAC)
    assert bytes(packet[IP].payload) == b"first..."
    assert host.net.arena.live == 0


def test_packets_that_wait_are_sent_in_order(host):
    for i in range(10):
        assert send(host, PEER_V4, b"packet %d" % i, b"a" * i, b"b" * i) == 0
    assert len(host.sent()) == 1                        # one request for all of them
    host.receive(reply())
    assert queued(host) == [b"packet %d" % i + b"a" * i + b"b" * i for i in range(10)]


def test_the_queue_is_bounded(host):
    host.net.settings.unres_qlen = 4
    for i in range(10):
        assert send(host, PEER_V4, b"packet %d" % i) == 0
    host.receive(reply())
    assert queued(host) == [b"packet %d" % i for i in range(6, 10)]
    assert host.drops() == {"NEIGHBOUR_QUEUE": 6}
    assert host.net.arena.live == 0


def test_no_answer(host):
    send(host, PEER_V4, b"one.....")
    send(host, PEER_V4, b"two.....")
    asked = host.now
    host.sent()
    reports = []
    for second in range(1, 5):
        for verdict in host.advance(1):
            assert verdict == Verdict.ERROR
            e = host.net.error
            assert (text(e.dst_hi, e.dst_lo), e.protocol, e.errno) == (PEER_V4, 17, EHOSTUNREACH)
            reports.append(second)
    assert [f[ARP].op for f in frames_sent(host)] == [1, 1]     # mcast_solicit is 3: the first, and two more
    assert reports == [3, 3]
    assert host.now - asked == 4 * SECOND
    assert state(host) == State.FAILED
    assert host.drops() == {"NEIGHBOUR_FAILED": 2}
    assert host.net.arena.live == 0
    send(host, PEER_V4, b"again...")                    # the next packet asks again
    assert len(frames_sent(host)) == 1
    assert state(host) == State.INCOMPLETE
    host.receive(reply())
    assert queued(host) == [b"again..."]


def test_the_quotation_stays_until_the_next_call(host):
    from netstack.machine import memory
    send(host, PEER_V4, b"\0\7\0\x09port")
    host.advance(4)
    # `advance` has called `expire` again since, which released the packet: what it quotes is gone, nothing leaks
    assert host.net.reported == 0
    send(host, PEER_V4, b"\0\7\0\x09port")
    from netstack.ip import timeouts
    host.now += 10 * SECOND
    while timeouts.expire(host.net, host.now) == Verdict.DONE:
        host.now += SECOND
    assert host.net.reported != 0
    assert memory.be16(host.net.error.quoted + 2) == 9


def test_an_unsolicited_word_is_enough_to_send(host):
    send(host, PEER_V4, b"waiting.")
    host.sent()
    update(host, PEER_MAC, LEARN)                       # 7.2.3: STALE, and in use at once: DELAY
    assert queued(host) == [b"waiting."]
    assert state(host) == State.DELAY


# ---- REACHABLE, STALE, DELAY, PROBE --------------------------------------------

def test_a_confirmation_lasts_for_a_random_time(host):
    seen = set()
    for i in range(2, 12):
        peer = f"192.0.2.{i}"
        update(host, PEER_MAC, LEARN | ANSWER, peer)
        lasts = entry(host, peer).reachable_until - host.now
        assert 15 * SECOND <= lasts <= 45 * SECOND
        seen.add(lasts)
    assert len(seen) > 5


def test_reachable_becomes_stale_and_is_probed_when_used(host):
    update(host, PEER_MAC, LEARN | ANSWER)
    send(host, PEER_V4)
    assert state(host) == State.REACHABLE
    host.advance(46)
    host.sent()
    send(host, PEER_V4)
    assert [f.dst for f in frames_sent(host)] == [mac_text(PEER_MAC)]       # sent at once, with what we know
    assert state(host) == State.DELAY
    host.advance(4.9)
    assert frames_sent(host) == []
    host.advance(0.2)
    [probe] = frames_sent(host)
    assert (probe.dst, probe[ARP].op, probe[ARP].pdst) == (mac_text(PEER_MAC), 1, PEER_V4)      # unicast
    assert state(host) == State.PROBE
    host.receive(reply())
    assert state(host) == State.REACHABLE


def test_probes_without_an_answer(host):
    update(host, PEER_MAC, LEARN)
    send(host, PEER_V4)
    host.sent()
    host.advance(5 + 3 + 0.5)
    assert [f.dst for f in frames_sent(host)] == [mac_text(PEER_MAC)] * 3
    assert state(host) == State.FAILED
    send(host, PEER_V4, b"to all..")
    assert [f.dst for f in frames_sent(host)] == ["ff:ff:ff:ff:ff:ff"]


def test_while_probing_packets_still_leave(host):
    update(host, PEER_MAC, LEARN)
    send(host, PEER_V4)
    host.advance(5.5)
    host.sent()
    send(host, PEER_V4, b"still...")
    assert queued(host) == [b"still..."]


@pytest.mark.parametrize("before", [State.REACHABLE, State.STALE, State.DELAY, State.PROBE])
def test_an_upper_layer_confirms(host, before):
    update(host, PEER_MAC, LEARN)
    if before >= State.DELAY:
        send(host, PEER_V4)
    if before == State.PROBE:
        host.advance(5.5)
    if before == State.REACHABLE:
        update(host, PEER_MAC, ANSWER)
        host.now += SECOND
    assert state(host) == before
    neighbour.confirm(host.net, host.index, *halves(PEER_V4), host.now)
    assert state(host) == State.REACHABLE
    assert entry(host).reachable_until >= host.now + 15 * SECOND


def test_confirmation_cannot_make_up_an_address(host):
    send(host, PEER_V4)
    neighbour.confirm(host.net, host.index, *halves(PEER_V4), host.now)
    assert state(host) == State.INCOMPLETE
    neighbour.confirm(host.net, host.index, *halves("192.0.2.99"), host.now)
    assert entry(host, "192.0.2.99") is None


def test_a_packet_confirms(host):
    update(host, PEER_MAC, LEARN)
    send(host, PEER_V4, confirm=1)
    assert state(host) == State.REACHABLE


# ---- 7.2.5, receipt of advertisements --------------------------------------------

def test_no_entry_is_made_for_an_answer_nobody_asked_for(host):
    update(host, PEER_MAC, ANSWER)
    assert entry(host) is None
    update(host, 0, LEARN)
    assert entry(host) is None


@pytest.mark.parametrize(("flags", "mac", "after", "then"), [
    (0, OTHER_MAC, State.STALE, PEER_MAC),                              # I a: not updated, but doubted
    (Update.SOLICITED, OTHER_MAC, State.STALE, PEER_MAC),
    (Update.OVERRIDE, OTHER_MAC, State.STALE, OTHER_MAC),               # II: updated; unsolicited: STALE
    (Update.OVERRIDE | Update.SOLICITED, OTHER_MAC, State.REACHABLE, OTHER_MAC),
    (Update.OVERRIDE, PEER_MAC, State.REACHABLE, PEER_MAC),             # the same again changes nothing
    (Update.SOLICITED, 0, State.REACHABLE, PEER_MAC),                   # no option: confirms what is known
    (0, 0, State.REACHABLE, PEER_MAC),
])
def test_advertisements_for_a_reachable_neighbour(host, flags, mac, after, then):
    update(host, PEER_MAC, LEARN | ANSWER)
    update(host, mac, int(flags) | Update.ADVERTISEMENT)
    assert (state(host), entry(host).mac) == (after, then)


def test_stale_ignores_what_does_not_override(host):
    update(host, PEER_MAC, LEARN)
    update(host, OTHER_MAC, int(Update.ADVERTISEMENT | Update.SOLICITED))
    assert (state(host), entry(host).mac) == (State.STALE, PEER_MAC)


def test_incomplete_needs_an_address(host):
    send(host, PEER_V4)
    update(host, 0, ANSWER | Update.ADVERTISEMENT)
    assert state(host) == State.INCOMPLETE


def test_routers(host):
    update(host, PEER_MAC, LEARN, PEER_V6)
    assert entry(host, PEER_V6).router == 0
    update(host, PEER_MAC, int(Update.ADVERTISEMENT | Update.ROUTER), PEER_V6)
    assert entry(host, PEER_V6).router == 1
    update(host, PEER_MAC, LEARN, PEER_V6)              # a solicitation says nothing of it
    assert entry(host, PEER_V6).router == 1
    update(host, PEER_MAC, int(Update.ADVERTISEMENT), PEER_V6)
    assert entry(host, PEER_V6).router == 0


# ---- when an entry is made, and when it goes -----------------------------------------

def test_unused_entries_go(host):
    update(host, PEER_MAC, LEARN)
    host.advance(59)
    assert state(host) == State.STALE
    host.advance(2)
    assert entry(host) is None
    assert host.net.neighbours.live == 0


def test_entries_in_use_stay(host):
    update(host, PEER_MAC, LEARN | ANSWER)
    for _ in range(20):
        host.advance(10)
        send(host, PEER_V4)
        neighbour.confirm(host.net, host.index, *halves(PEER_V4), host.now)
    assert state(host) == State.REACHABLE


def test_a_request_heard_is_remembered_only_if_it_is_for_us(host):
    host.receive(arp(1, PEER_V4, "192.0.2.77"))
    assert entry(host) is None
    host.receive(arp(1, PEER_V4, V4))
    assert (state(host), entry(host).mac) == (State.STALE, PEER_MAC)
    assert Ether in frames_sent(host)[0]
