"""The bench's own rules: contents are compared, and the short form fails by what tells, and only by that."""
from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netstack.services.small import PATTERN

from .bench import breakdown, short, verify
from .bench.measure import HEADLINES, MEASUREMENTS
from .bench.verify import MeasurementError


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def serve(sock: socket.socket, change: Callable[[bytes], bytes]) -> threading.Thread:
    """Echo, with a change of each block, until the end."""
    def work() -> None:
        while data := sock.recv(1 << 17):
            sock.sendall(change(data))
        sock.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_echo_is_compared(pair):
    thread = serve(pair[1], lambda data: data)
    assert verify.echoed(pair[0], 0.05) > 0
    thread.join()


@pytest.mark.parametrize("change", [
    lambda data: data[:-1],                                         # something is lost
    lambda data: bytes([data[0] ^ 1]) + data[1:],                   # something is another
    lambda data: data + b"!",                                       # there is more
])
def test_wrong_echo_is_found(pair, change):
    thread = serve(pair[1], change)
    with pytest.raises(MeasurementError, match="echo"):
        verify.echoed(pair[0], 0.05)
    thread.join()


def test_chargen_is_compared_from_where_it_is(pair):
    pair[1].setblocking(False)
    sent = pair[1].send(PATTERN)
    passed = len(pair[0].recv(1001, socket.MSG_WAITALL))
    pair[1].shutdown(socket.SHUT_WR)
    with pytest.raises(MeasurementError, match=f"after {sent:,} bytes"):        # until it ends, which it may not
        verify.generated(pair[0], passed, 1)


def test_a_byte_lost_in_the_timed_part_is_found(pair):
    pair[1].setblocking(False)
    pair[1].send(PATTERN)
    pair[0].recv(1001, socket.MSG_WAITALL)
    with pytest.raises(MeasurementError, match="after 1,002 bytes"):
        verify.generated(pair[0], 1002, 1)


def test_discard_must_take_everything(pair):
    def read_all() -> None:
        while pair[1].recv(1000):
            pass
        pair[1].close()

    thread = threading.Thread(target=read_all)
    thread.start()
    pair[0].sendall(bytes(10_000))
    assert verify.taken(pair[0]) == 0
    thread.join()


class Fake:
    """A target whose figures are given."""

    def __init__(self, figures: list[float]) -> None:
        self.figures = iter(figures)

    def cpu(self) -> float:
        return 0.0


@pytest.fixture
def judge(monkeypatch) -> Callable[..., bool]:
    """`short._judge` of a figure whose rounds are given: ours, Linux's, and the CPUs that others used in all."""
    def judged(ours: list[float], linux: list[float], others: float, *, wanted: float = 1.0) -> bool:
        now = [0.0, 0.0]                    # the clock; CPU seconds of everybody

        def figure(target: Any, seconds: float) -> dict[str, float]:
            now[0] += seconds
            now[1] += others * seconds
            return {HEADLINES["tcp in"]: next(target.figures)}

        monkeypatch.setitem(MEASUREMENTS, "tcp in", figure)
        monkeypatch.setattr(short, "_busy", lambda: now[1])
        monkeypatch.setattr(short.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(short.os, "times", lambda: short.os.times_result((0, 0, 0, 0, 0)))
        return short._judge("tcp in", wanted, Fake(ours), Fake(linux), 1000.0)

    return judged


def test_the_best_round_counts(judge, capsys):
    assert judge([1, 1, 8], [10, 9, 9], 0.0)
    assert "80 % of Linux" in capsys.readouterr().out


def test_too_low_every_time_fails(judge, capsys):
    assert not judge([5] * 15, [10] * 15, 0.0)
    assert "TOO LOW" in capsys.readouterr().out


def test_too_low_once_is_measured_again(judge):
    assert judge([5] * 3 + [9] * 3, [10] * 6, 0.0)


def test_a_busy_machine_tells_nothing(judge, capsys):
    assert judge([5] * 15, [10] * 15, 1.5)
    assert "left out" in capsys.readouterr().out


def test_an_unsteady_linux_tells_nothing(judge):
    assert judge([5] * 15, [10, 4, 4] * 5, 0.0)


def test_nor_do_we_when_we_are(judge):
    assert judge([5, 2, 2] * 5, [10] * 15, 0.0)


def test_what_cannot_be_measured_fails(judge, monkeypatch, capsys):
    def broken(*arguments: Any) -> Any:
        raise MeasurementError("the connection broke")

    def broken_once(*arguments: Any) -> Any:
        monkeypatch.setattr(short, "_measure", measure)
        raise MeasurementError("the connection broke")

    measure = short._measure
    monkeypatch.setattr(short, "_measure", broken_once)
    assert judge([9] * 3, [10] * 3, 0.0)
    monkeypatch.setattr(short, "_measure", broken)
    assert not judge([], [], 0.0)
    assert "the connection broke: TOO LOW" in capsys.readouterr().out


def test_stored_ratios_are_of_what_is_measured():
    stored = json.loads((Path(__file__).parent / "bench/stored.json").read_text())
    assert tuple(stored["ratios"]) == short.FIGURES
    assert all(ratio > 0 for ratio in stored["ratios"].values())


@pytest.mark.parametrize(("stack", "part"), [
    ([("_copy_to_iter", "[kernel.kallsyms]"), ("vfs_readv", "[kernel.kallsyms]")], "copying, in the kernel"),
    ([("tcp_ack", "[kernel.kallsyms]"), ("tcp_v4_rcv", "[kernel.kallsyms]"), ("do_writev", "[kernel.kallsyms]")],
     "Linux's own receiving, inside our write"),
    ([("tun_do_read", "[kernel.kallsyms]"), ("vfs_readv", "[kernel.kallsyms]"), ("netstack.engine.turn", "[JIT]")],
     "reading frames: system call"),
    ([("netstack.tcp.output._send", "[JIT] tid 7")], "engine: TCP"),
    ([("netstack.ip.input.receive", "/tmp/perf-7.map")], "engine: IP, Ethernet"),
    ([("__memmove_avx_unaligned", "/usr/lib/libc.so.6")], "copying, in the stack"),
    ([("_PyEval_EvalFrameDefault", "/usr/lib/libpython3.11.so.1.0")], "Python: services and socket API"),
    ([("clock_gettime", "/usr/lib/libc.so.6")], "other: libc, clock"),
])
def test_parts_of_a_profile(stack, part):
    assert breakdown.part_of(stack) == part


def test_samples_are_read():
    text = "python \n\tffffffff81 vfs_readv ([kernel.kallsyms])\n\t 0 [unknown] ([unknown])\n\n" * 2
    assert list(breakdown.samples(text)) == [[("vfs_readv", "[kernel.kallsyms]"), ("[unknown]", "[unknown]")]] * 2
