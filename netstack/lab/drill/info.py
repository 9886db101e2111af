"""struct tcp_info, and the Python in a script that looks at it.

linux/tcp.h.  A shorter structure has fewer fields: names that are not there are unsupported, not 0.
"""
from __future__ import annotations

import ast
import traceback
from typing import Any

from ... import tcpinfo
from .script import Code, Mismatch, ScriptError, Unsupported

LENGTH = 512

CONSTANTS = {
    "TCP_CA_Open": 0, "TCP_CA_Disorder": 1, "TCP_CA_CWR": 2, "TCP_CA_Recovery": 3, "TCP_CA_Loss": 4,
    "TCP_ESTABLISHED": 1, "TCP_SYN_SENT": 2, "TCP_SYN_RECV": 3, "TCP_FIN_WAIT1": 4, "TCP_FIN_WAIT2": 5,
    "TCP_TIME_WAIT": 6, "TCP_CLOSE": 7, "TCP_CLOSE_WAIT": 8, "TCP_LAST_ACK": 9, "TCP_LISTEN": 10, "TCP_CLOSING": 11,
    "TCP_INFINITE_SSTHRESH": 0x7FFF_FFFF,
    "TCPI_OPT_TIMESTAMPS": 1, "TCPI_OPT_SACK": 2, "TCPI_OPT_WSCALE": 4, "TCPI_OPT_ECN": 8, "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32, "TCPI_OPT_USEC_TS": 64, "TCPI_OPT_TFO_CHILD": 128,
}


def unpack(raw: bytes) -> dict[str, int]:
    """The fields, by the names that scripts use (tcpi_snd_cwnd ...); as many as there are."""
    found = {f"tcpi_{name}": value for name, value in tcpinfo.unpack(raw).items()}
    for short, full in (("tcpi_cwnd", "tcpi_snd_cwnd"), ("tcpi_ssthresh", "tcpi_snd_ssthresh")):
        if full in found:
            found[short] = found[full]
    return found


def run(code: Code, path: str, raw: bytes, scope: dict[str, Any]) -> None:
    """Run a script's Python.  An assertion that does not hold is a Mismatch.

    `scope`: the variables that it has set so far, and sets.
    """
    try:
        tree = ast.parse(code.text + "\n\n", path)         # a backslash may be the last character
    except SyntaxError as error:
        raise ScriptError(code.at, f"the Python in %{{ }}%: {error.msg}") from None
    ast.increment_lineno(tree, code.at.line - 1)
    fields = unpack(raw)
    names = {**CONSTANTS, **scope, **fields}
    used = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id.startswith("tcpi_")})
    for name in used:
        if name not in names:
            raise Unsupported(code.at, f"{name}: the stack's TCP_INFO has no such field")
    try:
        variables = dict(names)
        exec(compile(tree, path, "exec"), variables)
        scope.update((name, value) for name, value in variables.items() if name not in fields)
    except Exception as error:
        frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path and f.lineno]
        lines = code.text.splitlines()
        index = frames[-1] - code.at.line if frames else 0
        source = lines[index].strip() if 0 <= index < len(lines) else code.text
        values = ", ".join(f"{name} = {names[name]}" for name in used)
        raise Mismatch(code.at, f"{'' if isinstance(error, AssertionError) else f'{type(error).__name__}: {error}: '}"
                                f"{source}" + (f"\n  {values}" if values else "")) from None
