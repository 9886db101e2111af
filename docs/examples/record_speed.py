"""An attribute of an interpreted record: np.record against this package's (docs/one-source-two-speeds.md)."""
import timeit
from typing import Any

import numpy as np

from netstack.tcp.rto import Rto

LAYOUT = [("srtt", "i8"), ("rttvar", "i8"), ("rto", "i8"), ("min_rtt", "i8"), ("timed_at", "i8"), ("timed_seq", "u4"),
          ("measured", "u1"), ("backoffs", "u1")]


def ns(statement: str, record: Any) -> float:
    """Best of seven, nanoseconds."""
    loops, _ = timeit.Timer(statement, globals={"r": record}).autorange()
    runs = timeit.repeat(statement, globals={"r": record}, number=max(loops // 10, 1), repeat=7)
    return min(runs) / max(loops // 10, 1) * 1e9


if __name__ == "__main__":
    for name, record in (("np.record", np.zeros(1, np.dtype(LAYOUT)).view(np.recarray)[0]), ("ctypes", Rto.new())):
        print(f"{name:10} read {ns('r.srtt', record):6.0f} ns   write {ns('r.srtt = 5', record):6.0f} ns   "
              f"add {ns('r.timed_seq += 1', record):6.0f} ns")
