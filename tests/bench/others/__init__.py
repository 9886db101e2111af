"""Stacks of others, served as ours is: a command that, given a TAP's name and addresses, serves the bench's ports.

Each function returns such a command, with {tap}, {address} and {gateway} in it for the bench to fill in
(`peers.stack_on_tap`), or raises NotThereError with the reason.
"""
from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LWIP_HEADERS = Path("/usr/include/lwip")
PYTCP = "PyTCP==2.7.6"          # the last release; 3.0 has pre-releases


class NotThereError(Exception):
    """Another stack cannot be measured here; says why."""


def lwip(directory: Path) -> str:
    """lwIP from Debian's liblwip-dev, with services of our own, built in `directory`."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NotThereError("no C compiler")
    if not (LWIP_HEADERS / "lwipopts.h").exists():
        raise NotThereError("no liblwip-dev (Debian: apt-get install liblwip-dev)")
    program = directory / "lwip_services"
    built = subprocess.run([compiler, "-std=gnu11", "-O2", f"-I{LWIP_HEADERS}", str(HERE / "lwip_services.c"),
                            "-o", str(program), "-llwip"], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise NotThereError(f"does not build: {built.stderr.strip().splitlines()[0]}")
    return shlex.join([str(program), "{tap}", "{address}", "{gateway}"])


def pytcp_python() -> Path:
    """The interpreter of PyTCP's own environment, which may not be there yet."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "netstack-bench" / "pytcp" / "bin" / "python"


def install_pytcp() -> None:
    """Make that environment, once, from the package index; needs the network.  CalledProcessError if it fails."""
    python = pytcp_python()
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
    if subprocess.run([python, "-c", "import pytcp"], capture_output=True, check=False).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PYTCP], check=True)


def pytcp() -> str:
    """PyTCP, with services of our own on its sockets, in its environment."""
    python = pytcp_python()
    if not python.exists():
        raise NotThereError("not installed")
    # -O: its log calls stand behind `__debug__`
    return shlex.join([str(python), "-O", str(HERE / "pytcp_services.py"), "{tap}", "{address}", "{gateway}"])
