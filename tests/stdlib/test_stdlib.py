"""CPython's own tests with netstack in the place of `socket`: all pass but those that not_run.txt lists.

In a process each, since `patch` is for ever there.  With the image, as users have it: interpreted the engine is too
slow for the tests' own timeouts.
"""
from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from netstack.machine.mode import IMAGE

from ..waiting import until
from .run import not_run

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 500         # seconds that a module may take on a slow machine; here the slowest takes 40
WAIT = 1800         # ... and that a test may wait for its module's turn
BESIDE = 2          # modules at a time: they sleep most of the time

MODULES = {         # and how many tests run at least, so that none of them is empty by mistake
    "test_socket": 400,
    "test_asynchat": 20,
    "test_asyncio.test_base_events": 90,
    "test_asyncio.test_buffered_proto": 1,
    "test_asyncio.test_events": 150,
    "test_asyncio.test_selector_events": 90,
    "test_asyncio.test_sendfile": 40,
    "test_asyncio.test_server": 2,
    "test_asyncio.test_sock_lowlevel": 30,
    "test_asyncio.test_ssl": 15,
    "test_asyncio.test_sslproto": 15,
    "test_asyncio.test_streams": 50,
    "test_asyncio.test_unix_events": 90,
    "test_asyncore": 80,
    "test_docxmlrpc": 8,
    "test_epoll": 8,
    "test_ftplib": 80,
    "test_httplib": 90,
    "test_httpservers": 50,
    "test_imaplib": 70,
    "test_logging": 150,
    "test_nntplib": 50,
    "test_poll": 5,
    "test_poplib": 60,
    "test_select": 4,
    "test_selectors": 60,
    "test_smtplib": 60,
    "test_socketserver": 12,
    "test_ssl": 150,
    "test_telnetlib": 15,
    "test_urllib": 80,
    "test_urllib2": 60,
    "test_urllib2_localnet": 15,
    "test_wsgiref": 30,
    "test_xmlrpc": 70,
}
NOT = {             # those that live on sockets too, and do not run
    "test_multiprocessing_fork": "its sockets go to other processes: the system's",
    "test_smtpnet": "asks the Internet",
    "test_timeout": "asks the Internet",
    "test_urllib2net": "asks the Internet",
    "test_urllibnet": "asks the Internet",
}

pytestmark = pytest.mark.skipif(not IMAGE, reason="runs as users have it: with the image")


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """results(module): what `run` has told of it.  All that were selected run, from the beginning, in processes."""
    there = tmp_path_factory.mktemp("stdlib")
    selected = [item.callspec.params["module"] for item in request.session.items
                if getattr(item, "callspec", None) and item.module is request.module]
    installed = [module for module in selected if is_installed(f"test.{module}")]
    all = subprocess.Popen([sys.executable, "-m", "tests.stdlib.several", str(there), str(BESIDE), str(LIMIT),
                            *installed], cwd=ROOT)

    def result(module):
        until(lambda: (there / f"{module}.done").exists() or all.poll() not in (None, 0), module, WAIT)
        return json.loads((there / f"{module}.done").read_text())

    yield result
    all.terminate()
    all.wait()


@pytest.mark.timeout(WAIT + 30)
@pytest.mark.parametrize("module", MODULES)
def test_of_the_standard_library(module, results):
    if not is_installed(f"test.{module}"):
        pytest.skip(f"test.{module} is not installed")      # Debian packs it apart; some modules are gone in 3.12
    told = results(module)
    assert not told["failed"], f"{told['failed']}\n{told['report']}"
    assert told["status"] == 0, told["report"]
    assert told["ran"] - len(told["skipped"]) >= MODULES[module]


def is_installed(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:             # the package that it would be in
        return False


def test_the_list_has_reasons_and_modules():
    for pattern, reason in not_run().items():
        assert reason, pattern
        assert any(pattern.startswith(f"{module}.") for module in MODULES), pattern
    assert not NOT.keys() & MODULES.keys()
