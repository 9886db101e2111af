"""The layers, read from the sources: who may import whom, where numba is, what the data path's functions are."""
from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "netstack"
FILES = {str(p.relative_to(ROOT).with_suffix("")).replace("/", "."): p for p in sorted(ROOT.rglob("*.py"))}

# From the ground up; a file imports from its own layer and from those below it.
LAYERS = (
    ("errors", "machine"),
    ("drivers",),
    ("ip",),
    ("endpoint", "tcp", "exchange", "answer"),
    ("datagram", "udp", "ping", "raw", "packet"),
    ("world",),
    ("handles", "watch"),
    ("engine", "options", "calling"),
    ("drive",),
    ("entry",),
    ("simulate",),
)
# Above them is Python that does nothing for each packet.
DATA_PATH = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# Mechanisms of TCP know nothing but numbers and each other: the record of each stands by itself.
MECHANISMS = {
    "accecn",
    "accecn_option",
    "acked",
    "arrivals",
    "bbr",
    "challenge",
    "congestion",
    "cookies",
    "cubic",
    "cwv",
    "defer",
    "dsack",
    "ecn",
    "eor",
    "hystart",
    "isn",
    "mtu_probe",
    "memory",
    "newreno",
    "orphan",
    "pacing",
    "prr",
    "rack",
    "ranges",
    "rate",
    "reno",
    "rto",
    "runs",
    "sack",
    "seq",
    "stats",
    "timestamps",
    "tlp",
    "undo",
    "frto",
    "space",
    "drs",
    "fastopen",
    "fastopen_client",
    "quickack",
    "urgent",
    "usertimeout",
}
# What prepares or describes, in Python, beside the data path's own functions.
PYTHON_TOO = {"engine.set_units", "warm", "ip.setup", "world", "tcp.algorithms", "entry.door"}
COMPILED = {"compiled", "entered", "unit", "call", "held_call"}        # decorators
STANDARD = {"__future__", "typing", "enum", "errno", "collections", "dataclasses", "ctypes", "mmap", "os"}


@cache
def tree(module):
    return ast.parse(FILES[module].read_text())


def type_checking(node):
    """Whether it is the body of `if TYPE_CHECKING`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def statements(node):
    """Every statement but those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if not type_checking(child):
            yield child
            yield from statements(child)


@cache
def imports(module):
    """The modules of this package that a module imports when it runs."""
    package = module.split(".")[:-1]
    found = set()
    for node in statements(tree(module)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = package[:len(package) - node.level + 1]
        name = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
        for alias in node.names:
            whole = f"{name}.{alias.name}".strip(".")
            found.add(whole if whole in FILES else name)
    return found - {""}


@cache
def foreign(module):
    """... and from elsewhere."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


def data_path():
    return [m for m in FILES if m.partition(".")[0] in DATA_PATH]


@pytest.mark.parametrize("module", data_path())
def test_imports_go_down(module):
    mine = DATA_PATH[module.partition(".")[0]]
    for other in imports(module):
        top = other.partition(".")[0]
        assert top in DATA_PATH, f"{module} is of the data path and imports {other}, which is not"
        assert DATA_PATH[top] <= mine, f"{module} imports {other}, which stands above it"


@pytest.mark.parametrize("module", sorted(MECHANISMS))
def test_mechanisms_know_only_each_other(module):
    allowed = {f"tcp.{m}" for m in MECHANISMS}
    assert {m for m in imports(f"tcp.{module}") if not m.startswith("machine")} <= allowed


def test_the_tcb_knows_only_mechanisms():
    known = {m for m in imports("tcp.tcb") if not m.startswith("machine")}
    assert known <= {f"tcp.{m}" for m in MECHANISMS} | {"tcp.header", "endpoint", "ip.ipv4_options"}


@pytest.mark.parametrize("module", ["arrives", "ack", "receive", "listen", "calls", "timeouts", "icmp", "demux"])
def test_receiving_never_sends(module):
    """Style rule 15: what is owed is noted in the Tcb; `output.transmit` sends."""
    assert not {"tcp.output", "ip.output"} & imports(f"tcp.{module}")


def test_transmit_has_one_caller():
    callers = [m for m in FILES for node in ast.walk(tree(m)) if isinstance(node, ast.Attribute)
               and node.attr == "transmit" and isinstance(node.value, ast.Name) and node.value.id == "output"]
    assert callers == ["engine"]


def test_state_changes_through_one_door():
    """Style rule 16: `tcb.enter`; a new entry begins in CLOSED."""
    doors = set()
    for m in FILES:
        if m.startswith("tcp."):
            for function in ast.walk(tree(m)):
                if isinstance(function, ast.FunctionDef):
                    for node in ast.walk(function):
                        targets = node.targets if isinstance(node, ast.Assign) else []
                        doors |= {f"{m}.{function.name}" for t in targets if isinstance(t, ast.Attribute)
                                  and t.attr == "state"}
    assert doors - {"tcp.info.fill"} == {"tcp.tcb.enter", "tcp.listen.create"}       # that one only tells it


def test_one_file_reads_a_clock():
    """Everybody else is told what time it is."""
    readers = {m for m in data_path() if not m.startswith("machine") for node in ast.walk(tree(m))
               if isinstance(node, ast.Attribute) and node.attr.startswith("monotonic")}
    assert {m for m in readers if not m.startswith("drivers")} == {"drive"}     # drivers: for Python, that waits


@pytest.mark.parametrize("module", FILES)
def test_numba_is_in_the_machine_only(module):
    if not module.startswith("machine"):
        assert not foreign(module) & {"numba", "llvmlite", "numpy"}


@pytest.mark.parametrize("module", [m for m in data_path() if not m.startswith(("machine", "drivers"))])
def test_data_path_needs_little_of_the_standard_library(module):
    assert foreign(module) <= STANDARD


def functions(module):
    return [node for node in tree(module).body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("module", [m for m in data_path() if not m.startswith(("machine", "drivers"))])
def test_data_path_is_compiled(module):
    """Each function is @compiled, a @unit or a @call, and says what it is for unless it is private."""
    for f in functions(module):
        names = {d.id for d in f.decorator_list if isinstance(d, ast.Name)}
        names |= {d.func.id for d in f.decorator_list if isinstance(d, ast.Call) and isinstance(d.func, ast.Name)}
        where = f"{module}.{f.name}"
        assert names & COMPILED or {module, where} & PYTHON_TOO, f"{where} is not compiled"
        assert f.name.startswith("_") or ast.get_docstring(f), f"{where} does not say what it is for"


@pytest.mark.parametrize("module", FILES)
def test_every_file_says_what_it_is_for(module):
    text = ast.get_docstring(tree(module))
    assert text, f"{module} has no docstring"
    assert len(text.splitlines()[0]) <= 120
