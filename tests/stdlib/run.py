"""Run modules of CPython's `test` package on a stack: `python -m tests.stdlib.run test_socket [name ...]`.

The stack has a loopback interface and is the current one; `netstack.patch()` comes before the first import of the
tests.  Names after the module are patterns (fnmatch) of the tests to run.  What not_run.txt lists is left out, unless
`--all` says otherwise.  Resources of the test suite ("network", "largefile" ...) are off: nothing outside is asked.

The last line on stdout is a JSON object: how many ran, what failed, what was skipped and why, what was left out.
"""
from __future__ import annotations

import argparse
import faulthandler
import fnmatch
import importlib
import json
import sys
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCAL = ("test_socketserver", "test_asyncio")      # ask for "network", and mean the loopback interface
NOT_RUN = Path(__file__).with_name("not_run.txt")


def not_run() -> dict[str, str]:
    """The list: pattern -> reason."""
    found = {}
    for line in NOT_RUN.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            pattern, _, reason = line.partition(" ")
            found[pattern] = reason.strip()
    return found


def each(suite: Any) -> Iterator[Any]:
    """The tests of a suite."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from each(item)
        else:
            yield item


class Result(unittest.TextTestResult):
    """Notes how long each test took."""

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self.began = time.monotonic()

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        print(self.errors[-1][1], file=sys.stderr, flush=True)      # at once: a later test may hang

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        print(self.failures[-1][1], file=sys.stderr, flush=True)

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        times[test.id()] = round(time.monotonic() - self.began, 3)


times: dict[str, float] = {}


def name(test: Any) -> str:
    """Module, class and method; of what could not be set up its own words."""
    return str(test.id()).removeprefix("test.")


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--limit", type=float, default=300, help="seconds, after which all threads are shown: exit 1")
    arguments = parser.parse_args()
    faulthandler.dump_traceback_later(arguments.limit, exit=True)
    sys.argv[1:] = []

    import netstack

    with netstack.Stack(name="tested") as stack:
        netstack.use(stack)
        netstack.patch()
        from test import support

        support.use_resources = ["network"] if arguments.module.partition(".")[0] in LOCAL else []
        support.verbose = False
        module: Any = importlib.import_module(f"test.{arguments.module}")
        left_out: dict[str, str] = {}
        chosen = unittest.TestSuite()
        unwanted = {} if arguments.all else not_run()
        for test in each(unittest.defaultTestLoader.loadTestsFromModule(module)):
            whole = name(test)
            short = whole.removeprefix(f"{arguments.module}.")
            if arguments.names and not any(fnmatch.fnmatchcase(short, pattern) for pattern in arguments.names):
                continue
            for pattern, reason in unwanted.items():
                if fnmatch.fnmatchcase(whole, pattern) or whole.startswith(pattern + "."):
                    left_out[whole] = reason
                    break
            else:
                chosen.addTest(test)
        runner = unittest.TextTestRunner(stream=sys.stderr, verbosity=2, resultclass=Result)
        result = runner.run(chosen)
        netstack.unpatch()
        netstack.use(None)
    print(json.dumps({
        "ran": result.testsRun,
        "failed": sorted({name(test) for test, _ in [*result.failures, *result.errors]}
                         | {name(test) for test in result.unexpectedSuccesses}),
        "skipped": {name(test): reason for test, reason in result.skipped},
        "left_out": left_out,
        "slowest": sorted(times.items(), key=lambda item: -item[1])[:12],
    }))
    sys.exit(0 if result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
