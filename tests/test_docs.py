"""The documents are true: examples run, links lead somewhere, tables say what the code's tables say.

A Python block that follows the line `<!-- runs -->` is run, in this process and mode; if a block follows it that
`<!-- prints -->` stands before, that is what it prints.
"""
from __future__ import annotations

import contextlib
import io
import re
import runpy
import socket
import sys
from pathlib import Path

import pytest

import netstack
from netstack import groups, sockopt
from netstack.config import SETTINGS
from netstack.tcp import algorithms

from .check_docs import FENCE, ROOT, documents, wrong_code, wrong_links

DOCUMENTS = [*documents(), ROOT / "vm" / "README.md"]
RUNS = re.compile(r"^<!-- runs -->\n```python\n(.*?)^```\n(?:\n<!-- prints -->\n```text\n(.*?)^```\n)?",
                  re.MULTILINE | re.DOTALL)
EXAMPLES = [(d, m) for d in DOCUMENTS for m in RUNS.finditer(d.read_text())]
ALL = sockopt.ALL
LEVELS = {"SO_": socket.SOL_SOCKET, "TCP_": socket.IPPROTO_TCP, "IP_": socket.IPPROTO_IP, "IPV6_": socket.IPPROTO_IPV6,
          "UDP_": socket.IPPROTO_UDP, "MCAST_": socket.IPPROTO_IP,
          "PACKET_": 263, "ICMP_": 255, "ICMP6_": socket.IPPROTO_ICMPV6}


def name_of(document: Path) -> str:
    """As a reader knows it."""
    return str(document.relative_to(ROOT))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples write their files into a directory of the test's, stop at no breakpoint, and register for themselves."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONBREAKPOINT", "0")
    monkeypatch.setattr(algorithms, "_known", list(algorithms._known))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_and_syntax(document: Path):
    assert [*wrong_links(document), *wrong_code(document)] == []


@pytest.mark.parametrize(("document", "match"), EXAMPLES,
                         ids=[f"{name_of(d)}:{d.read_text()[:m.start()].count(chr(10)) + 1}" for d, m in EXAMPLES])
def test_example(document: Path, match: re.Match[str]):
    said = io.StringIO()
    module = sys.modules["__main__"].__class__("example")       # a record looks its module up
    sys.modules["example"] = module
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(match[1], name_of(document), "exec", dont_inherit=True), vars(module))
    finally:
        del sys.modules["example"]
    if match[2] is not None:
        assert said.getvalue() == match[2]


def test_there_are_examples():
    assert {name_of(d) for d, _ in EXAMPLES} >= {"README.md", "docs/sockets.md", "docs/drivers.md", "docs/settings.md"}


def test_readme_example_is_short_and_works(capsys):
    match = RUNS.search((ROOT / "README.md").read_text())
    assert match
    body = match[1][match[1].index("left, right"):]             # the imports apart
    assert len(body.splitlines()) <= 15
    exec(compile(match[1], "README.md", "exec", dont_inherit=True), {"__name__": "example"})
    assert capsys.readouterr().out == "b'HELLO'\n"


def test_debugger_program(capsys):
    runpy.run_path(str(ROOT / "docs/examples/one_segment.py"), run_name="__main__")
    assert capsys.readouterr().out == "b'hello'\nb'HELLO'\n"


def test_speed_program(capsys):
    runpy.run_path(str(ROOT / "docs/examples/two_speeds.py"), run_name="__main__")
    assert "segments" in capsys.readouterr().out


def test_compiled_congestion_control(capsys):
    """The document's code is the program's, and the program runs."""
    program = (ROOT / "docs/examples/patient.py").read_text()
    text = (ROOT / "docs/congestion.md").read_text()
    block = re.search(r"^```python\n(.*?)^```", text[text.index("## The same, compiled"):], re.MULTILINE | re.DOTALL)
    assert block
    functions = block[1][block[1].index("@compiled"):]
    assert functions in program
    runpy.run_path(str(ROOT / "docs/examples/patient.py"), run_name="__main__")
    assert capsys.readouterr().out == "200,000 bytes have come\n"


def test_compiled_handler(capsys):
    """The document's function is the compiled program's, which runs and prints the same."""
    text = (ROOT / "docs/handlers.md").read_text()
    match = RUNS.search(text)
    assert match
    body = match[1][match[1].index("    start = 0"):match[1].index("clock =")]
    assert body.rstrip() in (ROOT / "docs/examples/handler.py").read_text()
    runpy.run_path(str(ROOT / "docs/examples/handler.py"), run_name="__main__")
    assert capsys.readouterr().out == match[2]


def test_tables_of_handlers():
    """Functions, fields, events and counters are those that there are."""
    from netstack import answer, exchange, handlers

    def told(heading):
        return {name for row in rows("docs/handlers.md", heading) for name in re.findall(r"`(\w+)", row[0])}

    assert told("## When it is called") == set(exchange.Event.__members__)
    fields = told("## What it may do") | set("bcdefg")
    assert fields == set(exchange.Exchange._layout_)
    assert told("## What it has done") == set(handlers.COUNTERS)
    text = (ROOT / "docs/handlers.md").read_text()
    functions = set(re.findall(r"^\| `(\w+)\(x", text, re.MULTILINE))
    assert functions == {f.__name__ for f in handlers.FUNCTIONS if f.__module__ == answer.__name__}


def test_functions_in_follow_one_packet_exist():
    """Every frame of the debugger's stack, and every breakpoint, names a function of the file it is in."""
    text = (ROOT / "docs/follow-one-packet.md").read_text()
    found = re.findall(r"^>?\s*(netstack/[\w/]+\.py)\(\d+\)(\w+)\(\)", text, re.MULTILINE)
    assert len(found) > 20
    for file, function in found:
        assert f"def {function}(" in (ROOT / file).read_text(), f"{file} has no {function}"
    for file, line in re.findall(r"^>?\s*(netstack/[\w/]+\.py)\(\d+\).*\n-> (.*)$", text, re.MULTILINE):
        assert line.strip() in (ROOT / file).read_text(), f"{file} has no line {line!r}"


def rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    text = (ROOT / document).read_text()
    section = text[text.index(f"{heading}\n"):]
    table = re.search(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert table, f"{document}: no table under {heading}"
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[1].splitlines()]


def test_table_of_options():
    told = {}
    for name, value, access, sockets, meaning in rows("docs/sockets.md", "## Options"):
        number = next((getattr(m, name) for m in (socket, sockopt, groups) if hasattr(m, name)), None)
        assert number is not None, name
        level = LEVELS["IPV6_" if name.startswith("MCAST_") and sockets == "AF_INET6" else
                       next(prefix for prefix in LEVELS if name.startswith(prefix))]
        told[int(level), int(number)] = (value, access, sockets, meaning)
    assert told == {
        (int(level), int(number)): (
            option.form.name.lower(), "read" if not option.writable else "both" if option.readable else "set",
            "AF_INET6" if option.six else "all" if option.kinds == ALL
            else "/".join(kind.name for kind in option.kinds), option.meaning)
        for (level, number), option in sockopt.OPTIONS.items()}


def test_table_of_settings(clock):
    told = {name.strip("`"): (default, span, meaning)
            for name, default, span, meaning, _ in rows("docs/settings.md", "# Settings")}
    with netstack.Stack(clock=clock) as stack:
        for name, setting in SETTINGS.items():
            if setting.form is not None:
                assert told.pop(name, None) == ("random", "text", setting.meaning)
                continue
            value = stack.settings[name]
            text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            most = f" to {setting.most}" if setting.most != (1 << 31) - 1 else " or more"
            assert told.pop(name, None) == (text, f"{setting.least}{most}", setting.meaning), name
    assert told == {}


def test_table_of_sizes():
    fields = netstack.Profile.__dataclass_fields__
    assert {name.strip("`"): default for name, default, _ in rows("docs/settings.md", "## Sizes")} == {
        name: str(field.default) for name, field in fields.items()}


def test_table_of_impairments():
    from netstack.drivers import Gilbert, Wire
    from netstack.drivers.impaired import NAMES, Impaired

    told = set()
    for name, example, _ in rows("docs/drivers.md", "## Impaired"):
        told.add(name.strip("`"))
        settings = eval(f"dict({example.strip('`')})", {"Gilbert": Gilbert})
        Impaired(Wire(), **settings)                            # each example is one that works
    assert told - {""} == set(NAMES)


def test_table_of_commands():
    from netstack.cli import COMMANDS

    text = (ROOT / "docs/cli.md").read_text()
    assert set(re.findall(r"^## netstack (\w+)$", text, re.MULTILINE)) == set(COMMANDS)


def test_table_of_link_options():
    from netstack.cli.ping import command

    told = {name for row in rows("docs/cli.md", "## The link") for name in re.findall(r"--[\w-]+", row[0])}
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("--")}
    assert told == known - {"--help"}


def test_every_rfc_of_the_table_is_cited_where_it_says():
    """The first file of each row cites one of the row's RFCs (or drafts)."""
    text = (ROOT / "docs/rfc.md").read_text()
    for row in re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|", text, re.MULTILINE):
        numbers = set(re.findall(r"\b(\d{3,4})\b", row[0]))
        files = re.findall(r"\]\(\.\./([^)]+)\)", row[1])
        if not numbers or not files:
            continue
        cited = {n for f in files for n in re.findall(r"RFC (\d+)", (ROOT / f).read_text())}
        assert numbers & cited, f"{row[0]}: not cited in {files}"


def test_documents_name_no_machine():
    """No path of somebody's machine."""
    for document in DOCUMENTS:
        assert not re.search(r"(?<![\w.~$])/(?:work|home|root|opt|tmp)/", FENCE.sub("", document.read_text())), document


def test_every_page_is_in_the_index_and_in_the_site():
    pages = {d.relative_to(ROOT / "docs").as_posix() for d in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    index, site = (ROOT / "docs/index.md").read_text(), (ROOT / "mkdocs.yml").read_text()
    assert {p for p in pages if f"]({p})" not in index} == set()
    assert {p for p in pages if f": {p}\n" not in site} == set()
