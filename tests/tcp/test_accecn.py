"""AccECN: the tables of RFC 9768, and the arithmetic of its counters."""
from __future__ import annotations

import ctypes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp import accecn, ecn
from netstack.tcp.accecn import AccEcn
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
    assert ecn.syn_flags(MODES[a]) == ace(syn)
    assert ecn.agreed(MODES[a], ace(synack)) == mode


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
    """Our SYN-ACK was not ECT: 000 is zeroed; ECT or CE is mangled."""
    a = AccEcn.new()
    accecn.on_last_ack(a, int(bits, 2), True, True)
    assert a.no_ect == broken


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


def test_nothing_is_told_where_nothing_arrived():
    a, e = AccEcn.new(), Ecn.new()
    assert accecn.on_feedback(a, e, 7, 0, -1, 1000) == 0
    assert (e.delivered_ce, a.no_ect) == (0, 0)


def test_a_zeroed_field():
    a, e = AccEcn.new(), Ecn.new()
    assert accecn.on_feedback(a, e, 0, 1, -1, 1000) == 0
    assert a.no_ect == 1


# ---- 3.2.3

counters = st.integers(0, 1 << 40)


@settings(deadline=None)
@given(counters, counters, counters, st.sampled_from([8, 12]))
def test_options_there_and_back(zero, one, marked, length):
    """The counters go over 24 bits; the other side follows them."""
    a, b = AccEcn.new(), AccEcn.new()
    a.received, a.received_e1, a.received_ce = zero, one, marked
    near = [max(n - 1000, 0) for n in (zero, one, marked)]
    b.option_seen = 1
    b.delivered, b.delivered_e1, b.delivered_ce = near
    room = ctypes.create_string_buffer(16)
    accecn.emit_option(a, ctypes.addressof(room), length, 5)
    raw = room.raw[:length].lstrip(b"\1")
    assert raw[1] == len(raw)
    fields = [int.from_bytes(raw[i:i + 3], "big") for i in range(2, len(raw), 3)]
    gained = accecn.take_option(b, raw[0], len(fields), *[*fields, 0, 0, 0][:3])
    assert gained == marked - near[2]
    assert b.delivered_ce == marked
    if length == 12:
        assert (b.delivered, b.delivered_e1) == (zero, one)


def test_an_old_option_takes_nothing_back():
    a = AccEcn.new()
    assert accecn.take_option(a, accecn.ACCECN0, 3, 1001, 500, 1) == 500
    assert accecn.take_option(a, accecn.ACCECN0, 3, 901, 400, 1) == 0
    assert (a.delivered, a.delivered_ce) == (1000, 500)


@pytest.mark.parametrize("fields", [(0, 0, 1), (1, 0, 0), (0, 0, 0)])
def test_a_zeroed_option_is_not_believed(fields):
    """3.2.3.2.4: e0b and e1b begin with 1."""
    a = AccEcn.new()
    assert accecn.take_option(a, accecn.ACCECN0, 3, *fields) == -1
    assert accecn.take_option(a, accecn.ACCECN0, 3, 1000, 1000, 1000) == -1
