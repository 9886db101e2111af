"""RFC 6191 section 2: a SYN for a connection in TIME-WAIT, every case of the list."""
from __future__ import annotations

import pytest

from .link import ACK, FIN, SYN, State

OLD, SAME, NEW = -1, 0, 1

# timestamps before, timestamps now, the SYN's timestamp, its sequence number; honoured?
CASES = [
    *[(True, True, NEW, number, True) for number in (OLD, SAME, NEW)],      # "greater than the last timestamp"
    (True, True, SAME, NEW, True),                  # "equal ..., and the Sequence Number ... is greater"
    (True, True, SAME, SAME, False),
    (True, True, SAME, OLD, False),
    *[(True, True, OLD, number, False) for number in (OLD, SAME, NEW)],
    (True, False, None, NEW, True),                 # "would not be enabled ..., but the Sequence Number ... is greater"
    (True, False, None, SAME, False),
    (True, False, None, OLD, False),
    *[(False, True, NEW, number, True) for number in (OLD, SAME, NEW)],     # did not use, "would be enabled ... honor"
    (False, False, None, NEW, True),
    (False, False, None, SAME, False),
    (False, False, None, OLD, False),
]


@pytest.mark.parametrize(("before", "now", "stamp", "number", "honoured"), CASES)
def test_2(each_link, before, now, stamp, number, honoured):
    """Differs: what is not honoured is not dropped in silence; as on Linux our ACK says where we are."""
    link = each_link
    conn = link.established(iss=99, ts=before)
    conn.close()
    link.expect(FIN | ACK, seq=1)
    link.peer_sends(ACK, ack=2)
    link.advance(0.01)
    link.peer_sends(FIN | ACK, ack=2)               # 100, at the last timestamp
    link.expect(ACK, seq=2, ack=101)
    last = link._peer_clock()
    ts = (last + 10 * stamp, 0) if now else None
    link.peer_sends(SYN, seq=100 + number * 50 + (1 if number == SAME else 0), mss=1460, ts=ts)
    if honoured:
        link.expect(SYN | ACK, seq=0)
        assert link.state() == State.SYN_RECEIVED
    else:
        link.expect(ACK, seq=2, ack=101)
        assert link.state() == State.TIME_WAIT


def test_2_enabled_means_that_our_syn_ack_would_have_them_too(make_link):
    """The note below the list."""
    link = make_link(tcp_timestamps=0)
    conn = link.established(iss=99)
    conn.close()
    link.expect(FIN | ACK)
    link.peer_sends(FIN | ACK)
    link.expect(ACK)
    link.peer_sends(SYN, seq=50, mss=1460, ts=(1, 0))
    link.expect(ACK, ack=101)
    assert link.state() == State.TIME_WAIT


def test_3_timestamps_of_one_pair_of_hosts_rise(link):
    """What section 3 asks of who connects: the timestamps of all connections to one host come from one clock."""
    first = link.connect(port=40000)
    one = link.expect(SYN).ts[0]
    link.advance(0.5)
    second = link.connect(port=40001)
    assert first.getsockname() != second.getsockname()
    assert link.expect(SYN).ts[0] == one + 500
