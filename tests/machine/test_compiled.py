"""The compile cache: found again, and never stale."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netstack.machine.compiled import PACKAGE, _Sources, cache_root, prune
from netstack.machine.mode import JIT

only_compiled = pytest.mark.skipif(not JIT, reason="nothing is compiled")

LEAF = "from .machine import compiled\n\n@compiled\ndef leaf(x):\n    return x + {}\n"
BRANCH = "from .machine import compiled\nfrom .twig import twig\n\n@compiled\ndef branch(x):\n    return twig(x) * 2\n"
TWIG = "from .machine import compiled\nfrom . import leaf\n\n@compiled\ndef twig(x):\n    return leaf.leaf(x) * 10\n"
SIBLING = "from .machine import compiled\n\n@compiled\ndef sibling(x):\n    return x - 1\n"
OUTSIDE = ("from netstack.machine import compiled\nfrom netstack.leaf import leaf\n\n"
           "@compiled\ndef outside(x):\n    return leaf(x)\n")
PROGRAM = """
import sys
from netstack import branch, sibling
import outside
from netstack.machine.compiled import DISPATCHERS, is_cached
print(is_cached(branch.branch), is_cached(sibling.sibling), is_cached(outside.outside))
print(branch.branch(1), sibling.sibling(1), outside.outside(1))
stats = [d.stats for d in DISPATCHERS]
print(sum(sum(s.cache_hits.values()) for s in stats), sum(sum(s.cache_misses.values()) for s in stats))
"""


@pytest.fixture
def copy(tmp_path):
    """A package `netstack` of its own: the machine layer, and three files that call each other."""
    root = tmp_path / "netstack"
    root.mkdir()
    (root / "__init__.py").write_text("")
    shutil.copytree(PACKAGE / "machine", root / "machine", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "leaf.py").write_text(LEAF.format(1))
    (root / "twig.py").write_text(TWIG)
    (root / "branch.py").write_text(BRANCH)
    (root / "sibling.py").write_text(SIBLING)
    (tmp_path / "outside.py").write_text(OUTSIDE)
    return tmp_path


def run(path, **more):
    """Run PROGRAM there in a process of its own: its three lines."""
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_BOUNDSCHECK"} | {"NETSTACK_JIT": "1"}
    env |= {"PYTHONPATH": str(path), "NETSTACK_CACHE_DIR": str(path / "cache"), "PYTHONDONTWRITEBYTECODE": "1", **more}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, cwd=path, capture_output=True, text=True,
                          timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    cached, values, counts = done.stdout.splitlines()
    hits, misses = map(int, counts.split())
    return cached.split(), [int(v) for v in values.split()], hits, misses


@only_compiled
def test_an_edit_in_a_leaf_recompiles_its_dependants_and_nothing_else(copy):
    assert run(copy)[:2] == (["False", "False", "False"], [40, 0, 2])
    cached, values, _hits, misses = run(copy)
    assert (cached, values, misses) == (["True", "True", "True"], [40, 0, 2], 0)
    before = os.stat(copy / "netstack" / "leaf.py")
    (copy / "netstack" / "leaf.py").write_text(LEAF.format(7))
    os.utime(copy / "netstack" / "leaf.py", ns=(before.st_atime_ns, before.st_mtime_ns))    # not by its date
    cached, values, _hits, _misses = run(copy)
    assert values == [160, 0, 8]
    assert cached == ["False", "True", "False"]


@only_compiled
def test_checked_code_is_kept_apart(copy):
    """NUMBA_BOUNDSCHECK=1 compiles other code from the same text."""
    run(copy)
    assert run(copy, NUMBA_BOUNDSCHECK="1")[0] == ["False", "False", "False"]
    assert run(copy)[0] == ["True", "True", "True"]


def test_interpreted_needs_no_cache(copy):
    assert run(copy, NETSTACK_JIT="0")[1] == [40, 0, 2]
    assert not (copy / "cache").exists()


def digest(path, file):
    return _Sources().digest(path / file)


def test_the_digest_covers_what_is_imported(copy):
    """Directly or not, in every form of import that the package uses."""
    package = copy / "netstack"
    before = {f: digest(package, f) for f in ("leaf.py", "twig.py", "branch.py", "sibling.py")}
    (package / "leaf.py").write_text(LEAF.format(2))
    after = {f: digest(package, f) for f in before}
    assert {f for f in before if before[f] != after[f]} == {"leaf.py", "twig.py", "branch.py"}
    (package / "machine" / "memory.py").write_text("# changed\n")
    assert {f for f in before if digest(package, f) != after[f]} == set(before)


@pytest.mark.parametrize("line", [
    "from .leaf import leaf", "from . import leaf", "from . import sibling, leaf",
    "from . import (\n    sibling,\n    leaf,\n)",
    "from .leaf import (  # a comment\n    leaf,\n)", "from . import leaf as other", "from .deep import inner",
    "from .deep.inner import leaf", "from . import deep",
])
def test_forms_of_import(copy, line):
    package = copy / "netstack"
    (package / "deep").mkdir()
    (package / "deep" / "__init__.py").write_text("from ..leaf import leaf\n")
    (package / "deep" / "inner.py").write_text("from ..leaf import leaf\n")
    (package / "user.py").write_text(line + "\n")
    before = digest(package, "user.py")
    (package / "leaf.py").write_text(LEAF.format(3))
    assert digest(package, "user.py") != before


def test_every_import_inside_the_package_is_one_the_digest_sees():
    """The digest reads imports with a regular expression: nothing may be imported in a form that it does not know."""
    import ast
    missed = []
    for file in PACKAGE.rglob("*.py"):
        seen = _Sources()._imports(file)
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.level:
                base = file.parents[node.level - 1]
                target = base.joinpath(*(node.module or "").split(".")) if node.module else base
                wanted = [target.with_suffix(".py"), target / "__init__.py"]
                for name in node.names:
                    wanted += [target / f"{name.name}.py", target / name.name / "__init__.py"]
                missed += [f"{file.name}: {w.name}" for w in wanted if w.is_file() and w not in seen]
            elif isinstance(node, ast.Import) and any(a.name.split(".")[0] == "netstack" for a in node.names):
                missed.append(f"{file.name}: import netstack")
    assert missed == []


@only_compiled
def test_prune_removes_what_nobody_uses(tmp_path, monkeypatch):
    monkeypatch.setenv("NETSTACK_CACHE_DIR", str(tmp_path))
    for name in ("old", "new"):
        (tmp_path / "flavour" / name).mkdir(parents=True)
        (tmp_path / "flavour" / name / "code.nbc").write_bytes(b"x")
    now = time.time()
    os.utime(tmp_path / "flavour" / "old", (now - 8 * 86400, now - 8 * 86400))
    assert prune(now) == 1
    assert sorted(p.name for p in (tmp_path / "flavour").iterdir()) == ["new"]


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("NETSTACK_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "netstack"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "netstack"
    monkeypatch.setenv("NETSTACK_CACHE_DIR", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    assert isinstance(cache_root(), Path)
