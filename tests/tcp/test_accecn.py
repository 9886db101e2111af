"""AccECN: the tables of RFC 9768, and the arithmetic of its counters."""
from __future__ import annotations

import ctypes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp import accecn, accecn_option, ecn
from netstack.tcp.accecn import AccEcn, Fail
from netstack.tcp.accecn_option import Seen
from netstack.tcp.accecn_option import Setting as Option
from netstack.tcp.ecn import AE, CE, CWR, ECE, ECT_0, ECT_1, NOT_ECT, Ecn, Mode, Setting


def ace(bits):
    """ "AE CWR ECE" as flags."""
    return int(bits, 2) << 6


# Table 2: what A asks for, what B is, the SYN, the SYN-ACK, A's mode
TABLE_2 = [
    ("AccECN", "AccECN", "111", "010", Mode.ACCURATE),      # no ECT on the SYN
    ("AccECN", "AccECN", "111", "011", Mode.ACCURATE),      # ECT(1)
    ("AccECN", "AccECN", "111", "100", Mode.ACCURATE),      # ECT(0)
    ("AccECN", "AccECN", "111", "110", Mode.ACCURATE),      # CE
    ("AccECN", "Nonce", "111", "101", Mode.ACCURATE),       # reserved (3.1.3)
    ("AccECN", "ECN", "111", "001", Mode.CLASSIC),
    ("AccECN", "No ECN", "111", "000", Mode.OFF),
    ("ECN", "AccECN", "011", "001", Mode.CLASSIC),
    ("No ECN", "AccECN", "000", "000", Mode.OFF),
    ("AccECN", "Broken", "111", "111", Mode.OFF),
    ("ECN", "Broken", "011", "011", Mode.OFF),
    ("ECN", "Nonce", "011", "101", Mode.CLASSIC),
]
MODES = {"AccECN": Mode.ACCURATE, "ECN": Mode.CLASSIC, "No ECN": Mode.OFF}


@pytest.mark.parametrize(("a", "b", "syn", "synack", "mode"), TABLE_2)
def test_table_2_of_the_client(a, b, syn, synack, mode):
    e = Ecn.new()
    e.asked = MODES[a]
    assert ecn.syn_flags(e) == ace(syn)
    assert ecn.agreed(e, ace(synack)) == mode


@pytest.mark.parametrize(("asked", "answer", "mode"), [
    (Mode.ACCURATE, "010", Mode.ACCURATE), (Mode.ACCURATE, "001", Mode.OFF), (Mode.ACCURATE, "000", Mode.OFF),
    (Mode.CLASSIC, "001", Mode.OFF)])
def test_an_answer_after_a_syn_without_flags(asked, answer, mode):
    """3.1.5: AccECN counts, whichever SYN it answers; classic ECN must not send ECT any more (RFC 3168 6.1.1)."""
    e = Ecn.new()
    e.asked = asked
    ecn.on_syn_again(e, 2, 1)
    assert ecn.syn_flags(e) == 0
    assert ecn.agreed(e, ace(answer)) == mode


@pytest.mark.parametrize("setting", list(Setting))
@pytest.mark.parametrize(("first", "second", "bad"), [
    ("111", "011", True), ("011", "111", True), ("011", "100", True), ("111", "111", False), ("011", "011", False),
    ("111", "000", False), ("011", "000", False), ("000", "111", False), ("000", "011", False)])
def test_two_kinds_of_syn(setting, first, second, bad):
    """3.1.5: "MUST reset the connection", by those that know AccECN."""
    e = Ecn.new()
    e.mode = ecn.answer(setting, ace(first), NOT_ECT)
    assert ecn.is_contradicted(e, setting, ace(second)) == (bad and setting >= Setting.ACCURATE)


@pytest.mark.parametrize("setting", list(Setting))
@pytest.mark.parametrize("flags", [f"{n:03b}" for n in range(8)])
def test_table_2_of_the_server(setting, flags):
    wanted = Mode.OFF
    if setting >= Setting.ACCURATE and flags not in ("000", "011"):
        wanted = Mode.ACCURATE                              # 111, and what is for the future (3.1.3)
    elif setting != Setting.OFF and flags in ("011", "111"):
        wanted = Mode.CLASSIC
    assert ecn.answer(setting, ace(flags), NOT_ECT) == wanted


@pytest.mark.parametrize(("codepoint", "bits"), [(NOT_ECT, "010"), (ECT_1, "011"), (ECT_0, "100"), (CE, "110")])
def test_the_handshake_tells_the_codepoint(codepoint, bits):
    assert ecn.synack_flags(Mode.ACCURATE, codepoint) == ace(bits)


def test_the_flags_are_one_field():
    assert ace("111") == AE | CWR | ECE
    assert ace("100") == AE


@pytest.mark.parametrize(("setting", "mode"), list(zip(Setting, (0, 1, 0, 2, 1, 0), strict=True)))
def test_what_is_asked_for(setting, mode):
    assert ecn.wish(setting) == mode


# ---- 3.2.2

@pytest.mark.parametrize(("bits", "broken"), [("000", 1), ("001", 0), ("010", 0), ("011", 1), ("100", 1), ("101", 0),
                                              ("110", 1), ("111", 0)])
def test_table_4_the_last_ack(bits, broken):
    """Our SYN-ACK was not ECT: 000 is zeroed; ECT or CE is mangled.  Only 000 ends the reaction to marks."""
    a, e = AccEcn.new(), Ecn.new()
    assert accecn.on_last_ack(a, e, int(bits, 2), True, True) == (bits == "110")
    assert (a.no_ect, a.deaf, a.fail) == (broken, bits == "000", Fail.ACE_RECV if broken else 0)
    assert e.delivered_ce == (1 if bits == "110" else 0)        # s.cep: 5, or 6


@pytest.mark.parametrize("bits", ["001", "010", "011", "100", "101", "110", "111"])
def test_with_data_the_last_ack_is_a_counter(bits):
    """3.2.2.1: a pure ACK only."""
    a, e = AccEcn.new(), Ecn.new()
    assert not accecn.on_last_ack(a, e, int(bits, 2), False, True)
    assert (a.no_ect, e.delivered_ce) == (0, 0)


def test_the_check_can_be_off():
    a = AccEcn.new()
    accecn.on_last_ack(a, Ecn.new(), 0b011, True, False)
    assert a.no_ect == 0


def rounds(marked, count=6, each=10):
    """`count` round trips with so many packets; `marked`: of each packet, whether it came with CE."""
    a, e = AccEcn.new(), Ecn.new()
    for i in range(1, count + 1):
        for k in range(each):
            n = marked(i, k)
            accecn.on_feedback(a, e, (e.delivered_ce + n + accecn.CEP) & 7, 1, -1, 1000)
            accecn.on_round(a, e, 1000 * i + k, 1000 * (i + 1), each * i)
    return a


def test_a_path_that_marks_everything():
    """3.2.2.3: four rounds of nothing else, and the marks mean nothing."""
    a = rounds(lambda i, k: 1)
    assert (a.no_ect, a.deaf, a.fail) == (1, 1, Fail.ACE_RECV)
    assert rounds(lambda i, k: 1, count=3).no_ect == 0
    assert rounds(lambda i, k: 1, count=4, each=1).no_ect == 0      # too few


@pytest.mark.parametrize("clean", [1, 2, 3])
def test_one_packet_without_a_mark_proves_the_path(clean):
    assert rounds(lambda i, k: 0 if (i, k) == (clean, 5) else 1, count=40).no_ect == 0


def test_marked_bytes_without_a_marked_packet():
    """3.2.3.2.5: s.ceb has grown and s.cep has not, with fewer packets out than the field counts: no ECT any more."""
    a = AccEcn.new()
    accecn.reconcile(a, 1000, 0, 8, True)               # eight packets: the field may have turned
    assert a.no_ect == 0
    accecn.reconcile(a, 1000, 1, 9, True)
    accecn.reconcile(a, 0, 0, 10, True)
    assert a.no_ect == 0
    accecn.reconcile(a, 1000, 0, 17, False)
    assert (a.no_ect, a.deaf) == (1, 0)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(1, 7), st.data())
def test_few_packets_are_never_ambiguous(before, packets, data):
    marked = data.draw(st.integers(0, packets))
    a, e = AccEcn.new(), Ecn.new()
    a.checked = 1
    e.delivered_ce = before
    assert accecn.on_feedback(a, e, (before + marked + accecn.CEP) & 7, packets, -1, 1000) == marked
    assert e.delivered_ce == before + marked


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(8, 100), st.data())
def test_an_option_says_how_often_the_field_has_wrapped(before, packets, data):
    marked = data.draw(st.integers(0, packets))
    a, e = AccEcn.new(), Ecn.new()
    a.checked = 1
    e.delivered_ce = before
    assert accecn.on_feedback(a, e, (before + marked + accecn.CEP) & 7, packets, marked * 1000, 1000) == marked


def test_without_an_option_the_worst_is_assumed():
    """The appendix: 3.2.2.5.2, unless ACKs are for many packets as a rule."""
    a, e = AccEcn.new(), Ecn.new()
    a.checked = 1
    for _ in range(50):
        accecn.on_feedback(a, e, accecn.CEP, 2, -1, 1000)
    assert accecn.on_feedback(a, e, accecn.CEP + 1, 20, -1, 1000) == 17
    a, e = AccEcn.new(), Ecn.new()
    a.checked = 1
    assert accecn.on_feedback(a, e, accecn.CEP + 1, 20, -1, 1000) == 1


def test_marks_on_packets_without_data():
    """3.2.2.5.2: more marks than packets: "consider the ACE counter to be correct"."""
    a, e = AccEcn.new(), Ecn.new()
    assert accecn.on_feedback(a, e, 7, 0, -1, 1000) == 2
    assert accecn.on_feedback(a, e, 2, 1, -1, 1000) == 3


@pytest.mark.parametrize(("field", "packets", "marked", "n"), [
    (0, 8, 1460, 8), (2, 10, 1460, 2), (7, 15, 10200, 7), (1, 20, 2 * 1460, 9), (0, 9, 0, 0)])
def test_the_examples_of_the_appendix(field, packets, marked, n):
    """A.2.2, with an MSS of 1460; the fourth: as few turns as these bytes need."""
    a, e = AccEcn.new(), Ecn.new()
    assert accecn.on_feedback(a, e, (accecn.CEP + field) & 7, packets, marked, 1460) == n


@pytest.mark.parametrize(("packets", "n"), [(9, 2), (10, 10)])
def test_the_examples_without_an_option(packets, n):
    """A.2.1"""
    a, e = AccEcn.new(), Ecn.new()
    a.per_ack = 2 << accecn.PRECISION
    assert accecn.on_feedback(a, e, accecn.CEP + 2, packets, -1, 1000) == n


def test_a_zeroed_field():
    a, e = AccEcn.new(), Ecn.new()
    """3.2.2.4: in the first feedback, unless three marks explain it."""
    assert accecn.on_feedback(a, e, 0, 1, -1, 1000) == 0
    assert (a.no_ect, a.deaf) == (1, 1)
    a = AccEcn.new()
    assert accecn.on_feedback(a, e, 0, 3, -1, 1000) == 3
    assert a.no_ect == 0


# ---- 3.2.3

counters = st.integers(0, 1 << 40)


@settings(deadline=None)
@given(counters, counters, counters, st.sampled_from([8, 12]))
def test_options_there_and_back(zero, one, marked, length):
    """The counters go over 24 bits; the other side follows them, in 32."""
    a, b = AccEcn.new(), AccEcn.new()
    a.received, a.received_e1, a.received_ce = zero, one, marked
    near = [max(n - 1000, 0) for n in (zero, one, marked)]
    b.option_seen = Seen.COUNTERS
    b.delivered, b.delivered_e1, b.delivered_ce = near
    room = ctypes.create_string_buffer(16)
    accecn_option.emit(a, ctypes.addressof(room), length, 5)
    raw = room.raw[:length].lstrip(b"\1")
    assert raw[1] == len(raw)
    fields = [int.from_bytes(raw[i:i + 3], "big") for i in range(2, len(raw), 3)]
    gained = accecn_option.take(b, raw[0], len(fields), *[*fields, 0, 0, 0][:3])
    assert gained == marked - near[2]
    assert b.delivered_ce == marked % (1 << 32)
    if length == 12:
        assert (b.delivered, b.delivered_e1) == (zero % (1 << 32), one % (1 << 32))


def test_an_old_option_takes_nothing_back():
    a = AccEcn.new()
    assert accecn_option.take(a, accecn_option.ACCECN0, 3, 1001, 500, 1) == 500
    assert accecn_option.take(a, accecn_option.ACCECN0, 3, 901, 400, 1) == 0
    assert (a.delivered, a.delivered_ce) == (1000, 500)


@pytest.mark.parametrize("fields", [(0, 0, 1), (1, 0, 0), (0, 0, 0)])
def test_a_zeroed_option_is_not_believed(fields):
    """3.2.3.2.4: e0b and e1b begin with 1."""
    a = AccEcn.new()
    assert accecn_option.take(a, accecn_option.ACCECN0, 3, *fields) == -1
    assert accecn_option.take(a, accecn_option.ACCECN0, 3, 1000, 1000, 1000) == -1
    assert (a.option_seen, a.fail) == (Seen.ZEROED, Fail.OPTION_RECV)


def test_an_empty_option_says_that_they_get_through():
    """Table 5"""
    a = AccEcn.new()
    assert accecn_option.take(a, accecn_option.ACCECN0, 0, 0, 0, 0) == -1
    assert a.option_seen == Seen.EMPTY
    assert accecn_option.take(a, accecn_option.ACCECN0, 1, 1001, 0, 0) == -1
    assert (a.option_seen, a.delivered) == (Seen.COUNTERS, 1000)


def test_a_first_option_that_comes_too_late():
    """Its counters may have gone over half of 24 bits."""
    a = AccEcn.new()
    accecn_option.on_none(a, (1 << 23) - 2)
    assert a.fail == 0
    accecn_option.on_none(a, (1 << 23) - 1)
    assert a.fail == Fail.OPTION_RECV
    assert accecn_option.take(a, accecn_option.ACCECN0, 3, 1001, 500, 1) == -1


# ---- 3.2.3.3

@pytest.mark.parametrize(("grown", "room", "length"), [
    ((), 12, 12), ((), 11, 8), ((), 7, 0),
    ((ECT_0,), 8, 8), ((ECT_0, CE), 8, 8), ((ECT_1,), 8, 8), ((ECT_1, CE), 8, 8),
    ((ECT_0, ECT_1), 8, 0), ((ECT_0, ECT_1), 12, 12)])
def test_an_option_leaves_out_what_has_not_changed_or_is_not_sent(grown, room, length):
    a, e = AccEcn.new(), Ecn.new()
    for codepoint in grown:
        accecn.on_segment(a, e, codepoint, 10, False)
    assert accecn_option.length(a, room) == length
    raw = ctypes.create_string_buffer(12)
    if length:
        accecn_option.emit(a, ctypes.addressof(raw), length, 0)
        assert accecn_option.length(a, 8) == 8                  # all is told


@pytest.mark.parametrize(("setting", "failed", "seen", "owed", "due"), [
    (Option.NEVER, False, True, True, False), (Option.SPARE, False, True, False, False),
    (Option.SPARE, False, True, True, True), (Option.OFTEN, False, True, False, True),
    (Option.OFTEN, True, True, True, False), (Option.ALWAYS, True, True, False, True),
    (Option.ALWAYS, False, False, True, False)])
def test_when_an_option_is_due(setting, failed, seen, owed, due):
    """Linux's tcp_ecn_option."""
    a = AccEcn.new()
    a.fail = Fail.OPTION_SEND if failed else 0
    a.option_seen = Seen.COUNTERS if seen else Seen.NONE
    a.owed = 1 if owed else 0
    assert accecn_option.is_due(a, setting, 0, 1000, 5000) == due


def test_the_beacon():
    """tcp_ecn_option_beacon: so often in a round trip."""
    a = AccEcn.new()
    a.option_seen = Seen.COUNTERS
    assert not accecn_option.is_due(a, Option.SPARE, 3, 900, 299)
    assert accecn_option.is_due(a, Option.SPARE, 3, 900, 300)


def test_four_megabytes_are_told_at_the_latest():
    a, e = AccEcn.new(), Ecn.new()
    a.last_data = ECT_0
    a.received = (1 << 22) - 10
    accecn.on_segment(a, e, ECT_0, 9, False)
    assert a.owed == 0
    accecn.on_segment(a, e, ECT_0, 1, False)
    assert a.owed == 1
