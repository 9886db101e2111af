"""Groups as the link is told of them (RFC 3376, RFC 3810): reports, queries, and older queriers; in virtual time."""
from __future__ import annotations

import socket
import struct

import pytest
from scapy.layers.inet import IP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6MLDMultAddrRec,
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netstack.ip import membership, multicast, setup
from netstack.ip.multicast import Mode
from netstack.ip.net import Verdict

from .host import MAC, PEER_MAC, PEER_V4, V4, Host, halves, mac_text, text

GROUP = {4: "239.1.2.3", 6: "ff05::1234"}
OTHER = {4: "239.9.9.9", 6: "ff05::99"}
SOURCES = {4: [f"198.51.100.{i}" for i in range(1, 100)], 6: [f"2001:db8::{i:x}" for i in range(1, 100)]}
ROUTER6, OURS6 = "fe80::2", "fe80::1"
IS_IN, IS_EX, TO_IN, TO_EX, ALLOW, BLOCK = range(1, 7)
FAMILIES = [4, 6]


def checked(data):
    """A message of IGMP with its checksum."""
    data = data[:2] + b"\0\0" + data[4:]
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
    return Raw(data[:2] + struct.pack(">H", ~(total % 0xFFFF) & 0xFFFF) + data[4:])


def igmp(kind, code, group=None):
    """A message of the older versions."""
    return checked(struct.pack(">BBH4s", kind, code, 0, socket.inet_aton(group or "0.0.0.0")))


def query(group=None, *sources, code=10, robustness=2, interval=125):
    """A query of version 3 (4.1)."""
    return checked(struct.pack(">BBH4sBBH", 0x11, code, 0, socket.inet_aton(group or "0.0.0.0"), robustness, interval,
                               len(sources)) + b"".join(map(socket.inet_aton, sources)))


def records(data, family=socket.AF_INET):
    """Those of a report (4.2; RFC 3810 5.2)."""
    width = 4 if family == socket.AF_INET else 16
    found = []
    at = 8
    for _ in range(int.from_bytes(data[6:8], "big")):
        kind, auxiliary, n = struct.unpack_from(">BBH", data, at)
        assert auxiliary == 0
        at += 4
        group, *sources = (socket.inet_ntop(family, data[at + width * i:][:width]) for i in range(n + 1))
        found.append((kind, group, sources))
        at += width * (n + 1)
    assert at == len(data)
    return found


class Member:
    """A host of which sockets 1, 2 ... are in groups; what it reports is read by scapy."""

    def __init__(self, version):
        self.version = version
        self.host = Host()
        assert setup.add_address(self.host.net, self.host.index, *halves(OURS6), 64, self.host.now) == 0
        self.group, self.other, self.sources = GROUP[version], OTHER[version], SOURCES[version]
        self.host.say_no_groups()
        self.host.advance(0)
        self.host.sent()

    def _changed(self, group):
        membership.on_change(self.host.net, self.host.index, *halves(group), self.host.now)

    def join(self, group, socket=1, mode=Mode.EXCLUDE, *sources):
        net = self.host.net
        assert multicast.join(net, socket, self.host.index, *halves(group), int(mode)) == 0
        for source in sources:
            self._source(group, source, socket, mode, 1)
        self._changed(group)

    def _source(self, group, source, socket, mode, add):
        assert multicast.filter_source(self.host.net, socket, self.host.index, *halves(group), int(mode), add,
                                       *halves(source)) == 0

    def source(self, group, source, mode, add=1, socket=1):
        self._source(group, source, socket, mode, add)
        self._changed(group)

    def leave(self, group, socket=1):
        assert multicast.leave(self.host.net, socket, self.host.index, *halves(group)) == 0
        self._changed(group)

    def said(self, seconds=0.0):
        """What it has sent, after so long: a list of records, or names of older messages."""
        assert self.host.advance(seconds) == []
        found = []
        for frame in map(Ether, self.host.sent()):
            found += self._read(frame)
        return found

    def _read(self, frame):
        assert frame.src == mac_text(MAC)
        if self.version == 4:
            return self._read4(frame)
        p = frame[IPv6]
        assert (p.src, p.hlim, frame.dst) == (OURS6, 1, "33:33:" + ":".join(
            f"{b:02x}" for b in halves(p.dst)[1].to_bytes(8, "big", signed=True)[4:]))
        assert [type(o) for o in p[IPv6ExtHdrHopByHop].options][:1] == [RouterAlert]
        known = bytes(p)
        message = p[IPv6ExtHdrHopByHop].payload
        del message.cksum
        assert bytes(p) == known
        if isinstance(message, ICMPv6MLReport2):
            assert p.dst == "ff02::16"
            return records(bytes(message), socket.AF_INET6)
        assert p.dst == ("ff02::2" if isinstance(message, ICMPv6MLDone) else message.mladdr)
        return [(type(message).__name__, message.mladdr)]

    def _read4(self, frame):
        p = frame[IP]
        assert (p.src, p.ttl, p.tos) == (V4, 1, 0xC0)
        assert frame.dst == "01:00:5e:" + ":".join(f"{b:02x}" for b in bytes(map(int, p.dst.split(".")[1:])))
        assert [type(o) for o in p.options] == [IPOption_Router_Alert]
        data = bytes(p.payload)
        total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
        assert total % 0xFFFF == 0
        if data[0] == 0x22:
            assert p.dst == "224.0.0.22"
            return records(data)
        assert len(data) == 8
        group = socket.inet_ntoa(data[4:])
        assert p.dst == ("224.0.0.2" if data[0] == 0x17 else group)
        return [({0x12: "v1", 0x16: "v2", 0x17: "leave"}[data[0]], group)]

    def hears(self, group=None, *sources, most=10.0, robustness=2, interval=125):
        """A router asks, in the newest version."""
        if self.version == 4:
            self.give(self.ip4(group or "224.0.0.1", [IPOption_Router_Alert()]) / query(
                group, *sources, code=round(most * 10), robustness=robustness, interval=interval))
        else:
            self.give(self.ip6(group or "ff02::1") / ICMPv6MLQuery2(
                mladdr=group or "::", mrd=round(most * 1000), QRV=robustness, QQIC=interval, sources=list(sources),
                sources_number=len(sources)))

    @staticmethod
    def ip4(dst, options=()):
        return IP(src=PEER_V4, dst=dst, ttl=1, proto=2, options=list(options))

    @staticmethod
    def ip6(dst, src=ROUTER6, hlim=1):
        return IPv6(src=src, dst=dst, hlim=hlim) / IPv6ExtHdrHopByHop(options=[RouterAlert(value=0)])

    def hears_old(self, group=None, most=10.0):
        """... in an older one: IGMPv2, MLDv1; with `most` 0 IGMPv1."""
        if self.version == 4:
            self.give(self.ip4(group or "224.0.0.1") / igmp(0x11, round(most * 10), group))
        else:
            self.give(self.ip6(group or "ff02::1") / ICMPv6MLQuery(mladdr=group or "::", mrd=round(most * 1000)))

    def hears_report(self, group):
        """Another host reports a group in an older version."""
        if self.version == 4:
            self.give(self.ip4(group) / igmp(0x16, 0, group))
        else:
            self.give(self.ip6(group) / ICMPv6MLReport(mladdr=group))

    def give(self, packet):
        dst = "01:00:5e:00:00:01" if self.version == 4 else "33:33:00:00:00:01"
        assert self.host.receive(bytes(Ether(src=mac_text(PEER_MAC), dst=dst) / packet)) == Verdict.DONE

    def groups(self):
        net = self.host.net
        return {text(g.hi, g.lo) for g in (membership.get(net, i) for i in range(1, net.groups.used + 1))
                if g.interface}


@pytest.fixture(params=FAMILIES, ids=["igmp", "mld"])
def m(request):
    return Member(request.param)


def old(m, *, leaving=False):
    """What an older report of the group is called."""
    return (("leave", "v2") if m.version == 4 else ("ICMPv6MLDone", "ICMPv6MLReport"))[not leaving], m.group


# ---- changes (RFC 3376 5.1, RFC 3810 6.1)

def test_joining_is_told_at_once_and_once_more(m):
    m.join(m.group)
    assert m.said() == [(TO_EX, m.group, [])]
    assert m.said(1) == [(TO_EX, m.group, [])]
    assert m.said(1000) == []


def test_leaving_is_told_at_once_and_once_more(m):
    m.join(m.group)
    m.said(2)
    m.leave(m.group)
    assert m.said() == [(TO_IN, m.group, [])]
    assert m.said(1) == [(TO_IN, m.group, [])]
    assert m.said(1000) == []
    assert m.groups() == set()


def test_a_second_member_shows_nobody_anything(m):
    m.join(m.group)
    m.said(2)
    m.join(m.group, socket=2)
    assert m.said(10) == []
    m.leave(m.group, socket=1)
    assert m.said(10) == []
    m.leave(m.group, socket=2)
    assert m.said(10) == [(TO_IN, m.group, [])] * 2


def test_leaving_before_the_second_report_of_joining(m):
    m.join(m.group)
    assert m.said() == [(TO_EX, m.group, [])]
    m.leave(m.group)
    assert m.said() == [(TO_IN, m.group, [])]
    assert m.said(10) == [(TO_IN, m.group, [])]


def test_changes_of_several_groups_are_one_report(m):
    m.join(m.group)
    m.join(m.other)
    assert m.said() == [(TO_EX, m.group, []), (TO_EX, m.other, [])]


def test_sources_of_one_who_includes(m):
    a, b = m.sources[:2]
    m.join(m.group, 1, Mode.INCLUDE, a)
    assert m.said(10) == [(ALLOW, m.group, [a])] * 2
    m.source(m.group, b, Mode.INCLUDE)
    assert m.said(10) == [(ALLOW, m.group, [b])] * 2
    m.source(m.group, a, Mode.INCLUDE, 0)
    assert m.said(10) == [(BLOCK, m.group, [a])] * 2
    m.source(m.group, b, Mode.INCLUDE, 0)
    assert m.said(10) == [(BLOCK, m.group, [b])] * 2
    assert m.groups() == set()


def test_sources_of_one_who_excludes(m):
    a = m.sources[0]
    m.join(m.group)
    m.said(10)
    m.source(m.group, a, Mode.EXCLUDE)
    assert m.said(10) == [(BLOCK, m.group, [a])] * 2
    m.source(m.group, a, Mode.EXCLUDE, 0)
    assert m.said(10) == [(ALLOW, m.group, [a])] * 2


def test_each_source_is_told_as_often_as_it_must_be(m):
    """A change while another is told merges with it; each has two reports."""
    a, b = m.sources[:2]
    m.join(m.group, 1, Mode.INCLUDE, a)
    assert m.said() == [(ALLOW, m.group, [a])]
    m.source(m.group, b, Mode.INCLUDE)
    assert m.said() == [(ALLOW, m.group, [a, b])]
    assert m.said(10) == [(ALLOW, m.group, [b])]


def test_what_sockets_want_together(m):
    """(3.2) One who excludes wins; of what two exclude only what both do is excluded, and nothing that one includes."""
    a, b, c = m.sources[:3]
    m.join(m.group, 1, Mode.INCLUDE, a, b)
    m.said(10)
    m.join(m.group, 2, Mode.EXCLUDE, b, c)
    assert m.said(10) == [(TO_EX, m.group, [c])] * 2
    m.join(m.group, 3, Mode.EXCLUDE, b)
    assert m.said(10) == [(ALLOW, m.group, [c])] * 2
    m.leave(m.group, 3)
    assert m.said(10) == [(BLOCK, m.group, [c])] * 2
    m.leave(m.group, 2)
    assert m.said(10) == [(TO_IN, m.group, [a, b])] * 2


def test_too_many_sources_are_all_sources(m):
    limit = multicast.SOURCES_V4 if m.version == 4 else multicast.SOURCES
    for k in range(multicast.SOURCES // limit):
        m.join(m.group, k + 1, Mode.INCLUDE, *m.sources[k * limit:(k + 1) * limit])
    m.said(100)
    rest = m.sources[multicast.SOURCES // limit * limit:]
    m.join(m.group, 60, Mode.INCLUDE, *rest[:limit])
    assert m.said(10) == ([(TO_EX, m.group, [])] * 2)
    m.leave(m.group, 60)
    found = m.said(10)
    assert len(found) == 2 and found[0][0] == TO_IN and len(found[0][2]) == multicast.SOURCES // limit * limit


def test_a_robust_querier_is_told_more_often(m):
    m.join(m.other)
    m.said(10)
    m.hears(robustness=4)
    m.said(20)
    m.join(m.group)
    assert m.said(10) == [(TO_EX, m.group, [])] * 4


def test_groups_that_are_nobody_s_business(m):
    for group in ("224.0.0.1",) if m.version == 4 else ("ff02::1", "ff01::1"):
        m.join(group)
    assert m.said(100) == []


def test_closing_a_socket_leaves_its_groups(m):
    m.join(m.group)
    m.join(m.other)
    m.said(10)
    membership.leave_all(m.host.net, 1, m.host.now)
    assert m.said() == [(TO_IN, m.group, []), (TO_IN, m.other, [])]


def test_many_groups_are_several_reports(m):
    groups = [f"239.2.{i // 250}.{i % 250}" if m.version == 4 else f"ff05::2:{i:x}" for i in range(1, 251)]
    for i, group in enumerate(groups):
        m.join(group, socket=1 + i // 10)
    m.host.advance(0)
    frames = [Ether(f) for f in m.host.sent()]
    assert len(frames) > 1 and all(len(f) <= 1514 for f in frames)
    found = [r for f in frames for r in m._read(f)]
    assert found == [(TO_EX, group, []) for group in groups]


def test_an_interface_that_is_removed_has_no_groups(m):
    m.join(m.group)
    assert setup.remove_interface(m.host.net, m.host.index) == 0
    assert m.groups() == set()


# ---- queries (5.2, RFC 3810 6.2)

def test_a_general_query_is_answered_within_its_time(m):
    a = m.sources[0]
    m.join(m.group)
    m.join(m.other, 1, Mode.INCLUDE, a)
    m.said(10)
    m.hears(most=10)
    assert m.said() == []                                       # not at once
    assert m.said(10) == [(IS_EX, m.group, []), (IS_IN, m.other, [a])]
    assert m.said(1000) == []


def test_a_query_about_a_group(m):
    m.join(m.group)
    m.join(m.other)
    m.said(10)
    m.hears(m.group, most=1)
    assert m.said(1) == [(IS_EX, m.group, [])]


def test_a_query_about_a_group_that_is_not_ours(m):
    m.join(m.group)
    m.said(10)
    m.hears(m.other, most=1)
    assert m.said(10) == []


@pytest.mark.parametrize("mode", list(Mode))
def test_a_query_about_sources(m, mode):
    """(5.2) Those of them that are heard, whatever the mode; none is no answer."""
    a, b, c = m.sources[:3]
    m.join(m.group, 1, mode, a, b)
    m.said(10)
    m.hears(m.group, b, c, most=1)
    assert m.said(10) == [(IS_IN, m.group, [b if mode == Mode.INCLUDE else c])]
    m.hears(m.group, *((c,) if mode == Mode.INCLUDE else (a, b)), most=1)
    assert m.said(10) == []


def test_queries_about_sources_gather(m):
    """(5.2, rule 5)"""
    a, b, c = m.sources[:3]
    m.join(m.group)
    m.said(10)
    for source in (a, b, a, c):
        m.hears(m.group, source, most=1)
    assert m.said(10) == [(IS_IN, m.group, [a, b, c])]


def test_a_query_about_the_group_beats_one_about_sources(m):
    """(rule 4), in both orders."""
    m.join(m.group)
    m.said(10)
    for first, second in (((), m.sources[:1]), (m.sources[:1], ())):
        m.hears(m.group, *first, most=1)
        m.hears(m.group, *second, most=1)
        assert m.said(10) == [(IS_EX, m.group, [])]


def test_more_sources_than_we_remember_are_the_group(m):
    m.join(m.group)
    m.said(10)
    m.hears(m.group, *m.sources[:membership.QUERIED + 1], most=1)
    assert m.said(10) == [(IS_EX, m.group, [])]


def test_an_answer_to_all_is_one_to_each(m):
    """(rule 1) What is asked while a general query's answer is due sooner."""
    m.join(m.group)
    m.said(10)
    m.hears(most=0.1)
    m.hears(m.group, most=25)                                   # with this seed it would be later
    found = m.said(30)
    assert found[0] == (IS_EX, m.group, []) and len(found) <= 2


def test_answers_are_at_random_times(m):
    m.join(m.group)
    m.said(10)
    times = set()
    for _ in range(8):
        m.hears(most=10)
        for step in range(100):
            if m.said(0.1):
                times.add(step)
                break
        else:
            raise AssertionError("no answer")
    assert len(times) > 2                                       # all of eight in two places of a hundred: 1 in 10**10


def test_a_long_time_is_told_as_a_floating_point_number(m):
    """(4.1.1; RFC 3810 5.1.3)"""
    from netstack.ip import mld
    eight = [membership.exponential(code) for code in (0, 127, 128, 0x8F, 0x9A, 0xFF)]
    assert eight == [0, 127, 128, 248, 26 << 4, 31744]
    assert [mld.exponential(code) for code in (0, 0x7FFF, 0x8000, 0xFFFF)] == [0, 32767, 32768, 8387584]


def test_a_switch_that_asks_may_have_no_address():
    """RFC 4541 2.1.1: its queries come from 0.0.0.0."""
    m = Member(4)
    m.join(m.group)
    m.said(10)
    m.give(IP(src="0.0.0.0", dst="224.0.0.1", ttl=1, proto=2) / query())
    assert m.said(10) == [(IS_EX, m.group, [])]
    m.give(IP(src="0.0.0.0", dst="224.0.0.1", ttl=1, proto=17) / Raw(bytes(8)))
    assert m.host.drops() == {"IP_SOURCE": 1}


# ---- older queriers (7.2.1, RFC 3810 8.2.1)

def test_an_older_querier_gets_older_reports(m):
    m.join(m.group)
    m.said(10)
    m.hears_old()
    assert m.said(10) == [old(m)]
    m.hears_old(m.group, most=1)
    assert m.said(1) == [old(m)]


def test_an_older_querier_is_told_of_changes(m):
    m.hears_old()
    m.join(m.group)
    assert m.said() == [old(m)]
    assert m.said(10) == [old(m)]
    m.leave(m.group)
    assert m.said() == [old(m, leaving=True)]
    assert m.said(100) == []
    assert m.groups() == set()


def test_another_host_s_report_is_enough(m):
    """RFC 2236 3, RFC 2710 4: nothing is said twice; and who was not the last to report does not say that it leaves."""
    m.hears_old()
    m.join(m.group)
    m.said(10)
    m.hears_old()
    m.hears_report(m.group)
    assert m.said(10) == []
    m.leave(m.group)
    assert m.said(10) == []


def test_an_older_querier_that_is_heard_no_more(m):
    """(8.12) Robustness Variable times the query interval, and the time of an answer."""
    m.join(m.group)
    m.said(10)
    m.hears_old(most=10)
    assert m.said(259) == [old(m)]
    m.hears(m.group, most=1)
    assert m.said(1) == [old(m)]
    m.said(2)
    m.hears(m.group, most=1)
    assert m.said(1) == [(IS_EX, m.group, [])]


def test_a_change_of_version_cancels_what_was_to_be_said(m):
    m.join(m.group)
    assert m.said() == [(TO_EX, m.group, [])]
    m.hears_old()
    assert m.said(10) == [old(m)]                               # the answer; no second change


def test_a_querier_of_version_1():
    m = Member(4)
    m.join(m.group)
    m.said(10)
    m.hears_old(most=0)
    assert m.said(10) == [("v1", m.group)]
    m.leave(m.group)
    assert m.said(10) == []                                     # it knows no leaving


# ---- what is refused

@pytest.mark.parametrize("damage", [lambda d: d[:7], lambda d: d[:2] + b"\0\0" + d[4:], lambda d: d[:11]])
def test_malformed_queries_of_igmp(damage):
    m = Member(4)
    m.join(m.group)
    m.said(10)
    m.give(m.ip4("224.0.0.1") / Raw(damage(bytes(query()))))
    assert m.said(30) == []
    assert sum(m.host.drops().values()) == 1


def test_sources_that_are_not_there():
    m = Member(4)
    m.join(m.group)
    m.said(10)
    whole = bytes(query(m.group, "192.0.2.9", "192.0.2.10"))
    m.give(m.ip4(m.group) / checked(whole[:-4]))
    assert m.said(30) == []
    assert m.host.drops() == {"IGMP_MALFORMED": 1}


@pytest.mark.parametrize("head", [
    Member.ip6("ff02::1", src="2001:db8::2"),                   # not of the link
    Member.ip6("ff02::1", hlim=2),
    IPv6(src=ROUTER6, dst="ff02::1", hlim=1),                   # no router alert
    IPv6(src=ROUTER6, dst="ff02::1", hlim=1) / IPv6ExtHdrHopByHop(),
    Member.ip6(OURS6),                                          # a general query is for all
])
def test_queries_of_mld_that_are_not_what_they_must_be(head):
    """RFC 3810 6.2"""
    m = Member(6)
    m.join(m.group)
    m.said(10)
    frame = Ether(src=mac_text(PEER_MAC), dst="33:33:00:00:00:01") / head / ICMPv6MLQuery2(mladdr="::", mrd=10)
    if head.dst == OURS6:
        frame.dst = mac_text(MAC)
    m.host.receive(bytes(frame))
    assert m.said(30) == []
    assert m.host.drops() == {"MLD_MALFORMED": 1}


def test_reports_of_others_in_the_newest_version_are_for_routers():
    m = Member(4)
    m.join("224.0.0.22")
    m.said(10)
    m.give(m.ip4("224.0.0.22") / checked(struct.pack(">BBHHHBBH4s", 0x22, 0, 0, 0, 1, 4, 0, 0,
                                                     socket.inet_aton(m.group))))
    m6 = Member(6)
    m6.join("ff02::16")
    m6.said(10)
    m6.give(Member.ip6("ff02::16") / ICMPv6MLReport2(records=[ICMPv6MLDMultAddrRec(rtype=4, dst=m6.group)]))
    for member in (m, m6):
        assert member.said(10) == []
        assert member.host.drops() == {"ICMP_IGNORED": 1}


# ---- the groups of our own addresses (RFC 4291 2.7.1, RFC 4861 7.2.1)

def solicited(*addresses):
    return [(TO_EX, f"ff02::1:ff00:{a}", []) for a in addresses]


def reported(host, seconds=0.0):
    """(source, records) of each report since the last call; other frames are left out."""
    host.advance(seconds)
    found = []
    for frame in map(Ether, host.sent()):
        if ICMPv6MLReport2 in frame:
            found.append((frame[IPv6].src, records(bytes(frame[ICMPv6MLReport2]), socket.AF_INET6)))
    return found


def test_the_groups_of_our_own_addresses_are_told():
    """A switch that forwards to members only would let no neighbour solicitation through."""
    host = Host()
    assert setup.add_address(host.net, host.index, *halves("fe80::9"), 64, host.now) == 0
    assert setup.add_address(host.net, host.index, *halves("2001:db8::8"), 64, host.now) == 0
    assert reported(host) == [("fe80::9", solicited(9, 8))]
    assert reported(host, 10) == [("fe80::9", solicited(9, 8))]
    assert setup.remove_address(host.net, host.index, *halves("2001:db8::8"), host.now) == 0
    assert reported(host, 10) == [("fe80::9", [(TO_IN, "ff02::1:ff00:8", [])])] * 2


def test_two_addresses_with_one_group():
    host = Host()
    for text_of in ("fe80::9", "2001:db8::9"):
        assert setup.add_address(host.net, host.index, *halves(text_of), 64, host.now) == 0
    assert reported(host, 10) == [("fe80::9", solicited(9))] * 2
    assert setup.remove_address(host.net, host.index, *halves("2001:db8::9"), host.now) == 0
    assert reported(host, 10) == []


def test_what_is_told_while_the_address_is_probed_is_told_again():
    """RFC 3590 4: from the unspecified address, for switches; then, for routers, from the link-local one."""
    host = Host(dad=True)
    assert setup.add_address(host.net, host.index, *halves("fe80::9"), 64, host.now) == 0
    assert reported(host) == [("::", solicited(9))]
    found = reported(host, 10)
    assert found[-2:] == [("fe80::9", solicited(9))] * 2
    assert {source for source, _ in found[:-2]} <= {"::"}


def test_a_socket_in_the_group_of_an_address_changes_nothing():
    host = Host()
    assert setup.add_address(host.net, host.index, *halves("fe80::9"), 64, host.now) == 0
    reported(host, 10)
    group = halves("ff02::1:ff00:9")
    assert multicast.join(host.net, 1, host.index, *group, int(Mode.INCLUDE)) == 0
    assert multicast.filter_source(host.net, 1, host.index, *group, int(Mode.INCLUDE), 1, *halves("fe80::2")) == 0
    membership.on_change(host.net, host.index, *group, host.now)
    membership.leave_all(host.net, 1, host.now)
    assert reported(host, 10) == []
