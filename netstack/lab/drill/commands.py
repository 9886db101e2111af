"""Shell commands of a script: those that only set a sysctl are mapped to the stack's settings, all others refused.

No shell is ever started.
"""
from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from .script import At, Command, Unsupported

PROC = "/proc/sys/"
HYSTART = "/sys/module/tcp_cubic/parameters/hystart_detect"
HYSTART_BITS = {"0": "0", "1": "2", "2": "1", "3": "3"}         # trains and delay have each other's bit here
DEFAULTS = ("defaults.sh",)                         # published scripts begin with it
SETTERS = ("set_sysctls.py", "set_sysctl.py")
RESTORE = re.compile(r"/tmp/sysctl_restore_\S*\.sh$")
ARITHMETIC = re.compile(r"\$\(\(([\d\s*+]+)\)\)")
FLAGS = {"-q", "-w", "-qw", "-wq", "-e", "-n", "--quiet", "--write"}

# What a stack begins with in published scripts: the production values that their defaults.sh stands for
COMMON: dict[str, str] = {
    "net.ipv4.tcp_rmem": "4096 540000 15728640",
    "net.ipv4.tcp_wmem": "4096 262144 4194304",
    "net.ipv4.tcp_timestamps": "1",
    "net.ipv4.tcp_syn_retries": "5",
    "net.ipv4.tcp_syn_linear_timeouts": "4",
    "net.ipv4.tcp_synack_retries": "5",
    "net.ipv4.tcp_frto": "2",
    "net.ipv4.tcp_sack": "1",
    "net.ipv4.tcp_dsack": "1",
    "net.ipv4.tcp_reordering": "3",
    "net.ipv4.tcp_congestion_control": "cubic",
    "net.ipv4.tcp_slow_start_after_idle": "0",
    "net.ipv4.tcp_early_retrans": "4",
    "net.ipv4.tcp_recovery": "1",
    "net.ipv4.tcp_ecn": "0",
    "net.ipv4.tcp_pacing_ss_ratio": "200",
    "net.ipv4.tcp_pacing_ca_ratio": "120",
    "net.ipv4.tcp_notsent_lowat": "4294967295",
    "net.ipv4.tcp_fastopen": "0x3",
    "net.ipv4.tcp_fastopen_key": "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4",
    "net.ipv4.tcp_syncookies": "1",
}

# ... and that of packetdrill's own scripts, which lies in a directory beside theirs
BESIDE = {"net.ipv4.tcp_fastopen": "0x70403", "net.ipv4.tcp_syn_linear_timeouts": "0"}

# What is no sysctl, as keys of `assignments`
FLUSH = "ip tcp_metrics flush all"
FILE = "dd"                                         # the value: a size and a path; or rm's, only a path
NSTAT = "nstat"                                     # the value: a counter that must have grown since the last time


def assignments(command: Command) -> Iterator[tuple[At, str, str, bool]]:
    """(where, sysctl, value, whether the script names it itself) of a command.  Unsupported: it does more."""
    for at, words in _commands(command):
        yield from _one(at, words)


def _commands(command: Command) -> Iterator[tuple[At, list[str]]]:
    """Its simple commands, as words."""
    column = command.at.column + 1
    for i, line in enumerate(command.text.replace("\\\n", "  ").split("\n")):
        position = 0
        for piece in re.split(r"(;|&&|\|\|)", line):
            text = piece.strip()
            start = position + len(piece) - len(piece.lstrip())
            position += len(piece)
            if not text or text in (";", "&&", "||") or text.startswith("#"):
                continue
            at = At(command.at.line + i, (column if i == 0 else 1) + start)
            try:
                yield at, shlex.split(ARITHMETIC.sub(_sum, text), comments=True)
            except (ValueError, ArithmeticError) as error:
                raise Unsupported(at, f"the shell command {text!r} ({error})") from None


def _sum(match: re.Match[str]) -> str:
    """$((15*1024*1024)): sums and products of numbers."""
    total = 0
    for term in match.group(1).split("+"):
        product = 1
        for factor in term.split("*"):
            product *= int(factor, 0)
        total += product
    return str(total)


def _one(at: At, words: list[str]) -> Iterator[tuple[At, str, str, bool]]:
    name = words[0].rpartition("/")[2]
    rest = _without_redirections(words[1:])
    if name == "sysctl":
        values = [w for w in rest if w not in FLAGS]
        if values and all("=" in w for w in values):
            for word in values:
                key, _, value = word.partition("=")
                yield at, key.strip().replace("/", "."), value.strip(), True
            return
    elif name in DEFAULTS and not rest:
        values_of = COMMON if words[0] == "./defaults.sh" else {**COMMON, **BESIDE}
        for key, value in values_of.items():
            yield at, key, value, False
        return
    elif name in SETTERS and rest:
        if all(w.startswith(PROC) and "=" in w for w in rest):
            for word in rest:
                key, _, value = word.partition("=")
                yield at, _dotted(key), value, True
            return
    elif name == "echo" and len(rest) >= 3 and rest[-2] == ">" and rest[-1].startswith(PROC):
        yield at, _dotted(rest[-1]), " ".join(rest[:-2]), True
        return
    elif name == "echo" and rest[1:] == [">", HYSTART] and rest[0] in HYSTART_BITS:
        yield at, "netstack.tcp_hystart", HYSTART_BITS[rest[0]], True
        return
    elif RESTORE.match(words[0]) or words in (["true"], [":"]):
        return                                      # each script has a stack of its own: nothing to restore
    elif [name, *rest] == FLUSH.split():
        yield at, FLUSH, "", True
        return
    elif name == NSTAT and (not rest or (len(rest) == 3 and rest[:2] == ["|", "grep"])):
        yield at, NSTAT, rest[2] if rest else "", True
        return
    elif name == "dd" and (file := _zeros(rest)) is not None:
        yield at, FILE, file, True
        return
    elif name == "rm" and len(rest) == 2 and rest[0] == "-f":
        yield at, FILE, rest[1], True
        return
    elif name == "ethtool" and rest[:1] in (["-K"], ["--offload"]) and rest[3:] and set(rest[3::2]) == {"off"}:
        return                                      # nothing is offloaded here
    raise Unsupported(at, f"the shell command {' '.join(words)!r}: only commands that set a sysctl are carried out "
                          "(sysctl, echo ... > /proc/sys/..., set_sysctls.py, defaults.sh)")


def _zeros(words: list[str]) -> str | None:
    """dd if=/dev/zero of=PATH bs=N count=N: "SIZE PATH", or None."""
    given = dict(w.partition("=")[::2] for w in words)
    if given.pop("if", "") != "/dev/zero" or not given.get("of") or given.keys() - {"of", "bs", "count", "status"}:
        return None
    numbers = given.get("bs", "512"), given.get("count", "")
    if not all(n.isdecimal() for n in numbers):
        return None
    return f"{int(numbers[0]) * int(numbers[1])} {given['of']}"


def _without_redirections(words: list[str]) -> list[str]:
    """What is left when nothing is to be seen of the output."""
    words = [w for w in words if w not in (">/dev/null", "&>/dev/null", "2>&1")]
    while len(words) > 1 and words[-2] in (">", "2>", "&>") and words[-1] == "/dev/null":
        words = words[:-2]
    return words


def _dotted(path: str) -> str:
    return path.removeprefix(PROC).replace("/", ".")


def apply(settings: Any, key: str, text: str) -> str | None:
    """Set one.  None: done; else why not."""
    values: list[Any] = []
    for word in text.split():
        try:
            values.append(int(word, 0))
        except ValueError:
            values.append(word)
    if key not in settings:
        return f"the stack has no setting {key}"
    before = settings[key]
    value: Any = values[0] if len(values) == 1 else tuple(values) or ""
    try:
        settings[key] = value
    except (TypeError, ValueError) as error:
        return f"{error} (it stays {before})"
    return None
