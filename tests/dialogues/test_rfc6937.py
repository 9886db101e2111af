"""RFC 6937: the two figures of section 3.1 as whole dialogues, ACK by ACK, and the bounds of section 4.

"cwnd = FlightSize = pipe = 20 segments", Reno, SACK, and RFC 6675's rules for what is lost, so that the third
duplicate ACK begins the recovery, as the figures have it.
"""
from __future__ import annotations

import pytest

from netstack.tcp import recovery
from netstack.tcp.congestion import Ca

from .link import ACK, SYN


def P(n):
    """The first sequence number of segment n."""
    return 1 + 1000 * n


class Path:
    """Segments 0 to 19 are out; the peer has answered none of them yet."""

    def __init__(self, make_link, more=60):
        link = self.link = make_link(4, tcp_congestion_control="reno", tcp_recovery=0, tcp_early_retrans=0)
        link.listen()
        link.peer_sends(SYN, seq=100, mss=1000, sack_ok=True, wnd=65535, wscale=4)
        link.drain()
        link.advance(0.1)
        link.peer_sends(ACK, ack=1, wnd=65535)
        self.conn = link.accept()
        t = self.t = link.tcb(self.conn)
        t.cc.cwnd, t.cc.ssthresh = 20_000, 20_000               # congestion avoidance
        self.conn.send(bytes(1000 * (20 + more)))
        self.next = 20
        assert [(seg.seq - 1) // 1000 for seg in link.drain()] == list(range(20))
        link.advance(0.1)
        self.una, self.held = 0, set()

    def arrives(self, n):
        """Segment n arrives; what the peer says to it lets out: a list of N, a new segment, and R, one sent again."""
        self.held.add(n)
        while self.una in self.held:
            self.una += 1
        blocks, left = [], None
        for i in range(self.una, max(self.held) + 2):
            if i in self.held and left is None:
                left = i
            elif i not in self.held and left is not None:
                blocks.append((left, i))
                left = None
        blocks.sort(key=lambda b: not b[0] <= n < b[1])         # the newest first (RFC 2018 4)
        self.link.peer_sends(ACK, ack=P(self.una), sack=[(P(a), P(b)) for a, b in blocks[:4]])
        self.sent = [(seg.seq - 1) // 1000 for seg in self.link.drain() if seg.data]
        kinds = "".join("N" if n >= self.next else "R" for n in self.sent)
        self.next = max([self.next, *(n + 1 for n in self.sent)])
        return kinds

    def pipe(self):
        """What is thought to be in the network, segments."""
        return recovery.pipe(self.t) // 1000


@pytest.fixture
def path(make_link):
    return Path(make_link)


def test_3_1_a_single_loss(path):
    """The figure "PRR" of page 7.

    Segments 1 to 19 arrive, 0 was lost.  (Its row "pipe" does not add up with its row "sent" where it says 18 18 18.)
    """
    #          1    2    3    4   5    6   7    8   9   10  11   12  13   14  15   16  17  18  19
    figure = ["N", "N", "R", "", "N", "", "N", "", "N", "", "N", "", "N", "", "N", "", "", "N", "N"]
    got = [path.arrives(n) for n in range(1, 20)]
    assert got == figure
    assert Ca(path.t.cc.ca_state) is Ca.RECOVERY
    assert path.t.cc.ssthresh == 11_000                         # half of FlightSize, which limited transmit made 22
    assert path.pipe() == 11
    assert path.arrives(0) == "N"                               # the hole is filled, and 20 and 21 are still out
    for n in (20, 21):
        assert len(path.arrives(n)) <= 1
    assert Ca(path.t.cc.ca_state) is Ca.OPEN
    assert path.t.cc.cwnd == 11_000                             # "PRR will converge to exactly the target window"


def test_3_1_fifteen_losses(path):
    """The figure of page 8: 0 to 14 are lost.  RFC 6675's loss detection sees them all with the third SACK.

    The rows are those of PRR-CRB (N N R R R), since a duplicate ACK does not advance SND.UNA: the newer rule that
    chooses between the two bounds (Linux since 2015; RFC 9937) keeps the slow start bound for when it does.
    """
    assert [path.arrives(n) for n in (15, 16)] == ["N", "N"]
    assert path.pipe() == 20
    got = [(path.arrives(n), path.pipe()) for n in (17, 18, 19)]
    assert got == [("R", 5), ("R", 5), ("R", 5)]
    assert path.sent == [2]


def test_3_1_fifteen_losses_slow_start(path):
    """... and the slow start bound once the copies arrive: "exactly 1 segment per ACK": two go for each that comes."""
    for n in (15, 16, 17, 18, 19):
        path.arrives(n)
    assert path.sent == [2]
    assert path.arrives(20) == "R"                              # a duplicate still
    assert path.arrives(21) == "R"
    before = path.pipe()
    for i in range(4):
        assert path.arrives(i) == "RR"
        assert path.pipe() == before + i + 1


def test_4_application_stall(make_link):
    """"... missed opportunities to send due to stalls are treated like banked voluntary window reductions"."""
    path = Path(make_link, more=0)
    got = [path.arrives(n) for n in range(1, 12)]
    assert "".join(got) == "R"
    assert path.t.prr.delivered - path.t.prr.out > 5000
    path.conn.send(bytes(60_000))
    burst = [(seg.seq - 1) // 1000 for seg in path.link.drain()]
    again = path.arrives(12)
    total = 1 + len(burst) + len(again)
    assert total <= 10 + 1
    assert path.pipe() <= 10 + 1


@pytest.mark.parametrize(("lost", "every"), [(1, 1), (3, 1), (8, 1), (12, 1), (15, 1), (3, 2), (5, 2), (8, 2), (5, 3)])
def test_4_conservation(path, lost, every):
    """"data transmitted [is] equal to or less than the amount of data delivered to the receiver" (PRR-CRB), and one
    segment more per ACK that advances SND.UNA (PRR-SSRB): nowhere a burst, and cwnd ends at ssthresh."""
    gone = set(range(0, lost * every, every))
    arriving = [n for n in range(20) if n not in gone]
    out = delivered = extra = 0
    for n in arriving:                                          # which grows
        una, pipe, was = path.una, path.pipe(), Ca(path.t.cc.ca_state)
        sent = path.arrives(n)
        arriving += path.sent                                   # the copies and the new ones all arrive, in order
        now = Ca(path.t.cc.ca_state)
        if now is Ca.RECOVERY:
            delivered += 1
            out += len(sent)
            if path.una > una and was is Ca.RECOVERY:
                extra += 1
            assert out <= delivered + extra + 1                 # + 1: the fast retransmit is always sent
            assert len(sent) <= 2
            assert path.pipe() <= pipe + 1
        elif was is Ca.RECOVERY:
            break
    assert path.link.counter("timeouts") == 0
    assert path.link.counter("fast_retransmits") == 1
    assert path.t.cc.cwnd <= path.t.cc.ssthresh + 1000
