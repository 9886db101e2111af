"""Numbers with units, as people write them: "50ms", "10mbit", "64KiB", "1%"."""
from __future__ import annotations

import re

_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z%/]*)\s*")

_TIMES = {"": 1_000_000_000, "s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_RATES = {"": 1, "bit": 1, "bps": 1, "k": 10**3, "kbit": 10**3, "kbps": 10**3, "m": 10**6, "mbit": 10**6, "mbps": 10**6,
          "g": 10**9, "gbit": 10**9, "gbps": 10**9}
_SIZES = {"": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "kb": 1000, "m": 1 << 20, "mib": 1 << 20, "mb": 10**6}
LONGEST_TIME = 10**9 * 3600 * 24        # a day


def _parse(value: float | str, units: dict[str, int], what: str) -> float:
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match is None or match[2].lower() not in units:
            raise ValueError(f"not a {what}: {value!r}")
        number, unit = match.groups()
        return (float(number) if "." in number else int(number)) * units[unit.lower()]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"a {what} is a number or text, not {type(value).__name__}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"not a {what}: {value!r}")
    return value * units[""]


def duration(value: float | str) -> int:
    """Nanoseconds, from seconds or text such as "50ms"."""
    ns = round(_parse(value, _TIMES, "duration"))
    if ns > LONGEST_TIME:
        raise ValueError(f"longer than a day: {value!r}")
    return ns


def bitrate(value: float | str) -> int:
    """Bits per second, from a number or text such as "10mbit" (also "10Mbit/s")."""
    if isinstance(value, str) and value.strip().lower().endswith("/s"):
        value = value.strip()[:-2]
    rate = round(_parse(value, _RATES, "bit rate"))
    if rate > 10**12:
        raise ValueError(f"more than a terabit per second: {value!r}")
    return rate


def size(value: float | str) -> int:
    """Bytes, from a number or text such as "64KiB"."""
    return round(_parse(value, _SIZES, "size in bytes"))


def probability(value: float | str) -> float:
    """0 to 1, from a number or text such as "1%"."""
    if isinstance(value, str) and value.strip().endswith("%"):
        p = _parse(value.strip()[:-1], {"": 1}, "probability") / 100
    else:
        p = _parse(value, {"": 1}, "probability")
    if p > 1:
        raise ValueError(f"a probability is at most 1, not {value!r}")
    return p
