"""The small servers on this stack, with a map of its machine code for perf: `breakdown.py` measures it.

    python -m tests.bench.profiled TAP ADDRESS [--no-offload]

perf finds the names of code that no file holds in /tmp/perf-PID.map (Linux tools/perf/Documentation/jit-interface.txt).
"""
from __future__ import annotations

import os
import re
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numba.core.codegen import JITCodeLibrary

_loaded: list[tuple[Any, bytes]] = []
_keep = JITCodeLibrary._set_compiled_object


def _set_compiled_object(library: Any, code: bytes) -> None:
    _loaded.append((library, code))
    _keep(library, code)


JITCodeLibrary._set_compiled_object = _set_compiled_object      # before any code comes from the cache

SYMTAB, FUNCTION = 2, 2         # ELF: sh_type, and the low half of st_info


def _functions(code: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, place in its section and size of each function of an object file (64 bits, as this machine is)."""
    start, = struct.unpack_from("Q", code, 0x28)
    size, count = struct.unpack_from("HH", code, 0x3A)
    sections = [struct.unpack_from("IIQQQQIIQQ", code, start + i * size) for i in range(count)]
    for section in sections:
        if section[1] != SYMTAB:
            continue
        names = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, info, _, where, value, length = struct.unpack_from("IBBHQQ", code, at)
            if info & 15 == FUNCTION and where != 0 and length > 0:
                end = code.index(b"\0", names + name)
                yield code[names + name:end].decode(), value, length


def short_name(symbol: str) -> str:
    """netstack.tcp.output._send of what numba made of it."""
    found = symbol.find("_ZN")
    rest, parts = symbol[found + 3:] if found >= 0 else "", []
    while match := re.match(r"\d+", rest):
        n = int(match[0])
        rest = rest[len(match[0]):]
        parts.append(rest[:n])
        rest = rest[n:]
    return ".".join(parts) or symbol


def write_map() -> None:
    """Names of everything that was loaded, for perf."""
    lines = []
    for library, code in _loaded:
        known = [(name, value, size) for name, value, size in _functions(code)]
        base = next((library.get_pointer_to_function(name) - value for name, value, _ in known
                     if library.get_pointer_to_function(name)), 0)
        lines += [f"{base + value:x} {size:x} {short_name(name)}" for name, value, size in known if base]
    Path(f"/tmp/perf-{os.getpid()}.map").write_text("\n".join(lines) + "\n")


def main(tap: str, address: str, *options: str) -> None:
    """Serve until a signal."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    import netstack
    from netstack.drivers import Tap
    from netstack.services.small import SmallServers
    from netstack.warm import prepare

    prepare()
    with netstack.Stack() as stack:
        stack.attach(Tap(tap, offload="--no-offload" not in options), ip=f"{address}/24")
        write_map()
        with SmallServers(stack):
            print("READY", flush=True)
            signal.sigwait(signals)
    os.unlink(f"/tmp/perf-{os.getpid()}.map")


if __name__ == "__main__":
    main(*sys.argv[1:])
