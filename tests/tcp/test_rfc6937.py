"""RFC 6937 section 3.1: its two figures, ACK by ACK, on the record alone.

Segments are counted instead of bytes.  "cwnd = FlightSize = pipe = 20 segments", and two more that limited transmit
has sent before the third duplicate ACK: RecoverFS is 22, ssthresh 11.  (The rows "sent" and "RB" are compared; the
row "pipe" of the first figure does not add up with them.)
"""
from __future__ import annotations

from netstack.tcp import prr
from netstack.tcp.prr import Prr

RECOVER_FS, SSTHRESH = 22, 11


def play(pipe, acks, *, progress):
    """pipe: after the ACK that begins the recovery.  What each ACK lets out, and the pipe that it found."""
    p, sent, pipes = Prr.new(), [], []
    prr.begin(p, RECOVER_FS)
    for i in range(acks):
        pipe -= 1 if i else 0
        n = prr.allowance(p, 1, pipe, SSTHRESH, 1, progress, i == 0)
        p.out += n
        pipes.append(pipe)
        sent.append(n)
        pipe += n
    return sent, pipes


def test_3_1_a_single_loss():
    """ "PRR with either of the Reduction Bound algorithms has the same behavior" """
    #              3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19
    #              R     N     N     N     N     N     N        N  N
    expected = [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1]
    assert play(18, 17, progress=False)[0] == expected
    assert play(18, 17, progress=True)[0] == expected


def test_3_1_fifteen_losses_conservative():
    """PRR-CRB: 19 19  4  4  4, sent N N R R R."""
    assert play(4, 3, progress=False) == ([1, 1, 1], [4, 4, 4])


def test_3_1_fifteen_losses_slow_start():
    """PRR-SSRB: 19 19  4  5  6, sent N N 2R 2R 2R."""
    assert play(4, 3, progress=True) == ([2, 2, 2], [4, 5, 6])
