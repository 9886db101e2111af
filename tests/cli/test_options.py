"""What the command line refuses, in what words; without a device or a stack."""
from __future__ import annotations

import pytest
from click.testing import CliRunner

from netstack.cli import COMMANDS, main

WRONG = [
    (["serve"], "which link?"),
    (["serve", "--queues", "2"], "which TAP?"),
    (["serve", "--queues", "2", "--tap", "tap0", "--ip", "10.0.0.2/24", "--http", "."], "one queue only"),
    (["serve", "--queues", "17", "--tap", "tap0", "--ip", "10.0.0.2/24"], "not in the range"),
    (["serve", "--ip", "10.0.0.2/24"], "--ip without --tap"),
    (["serve", "--tap", "tap0"], "needs an address"),
    (["serve", "--raw", "eth0"], "--raw needs an address"),
    (["serve", "--tap", "tap0", "--tun", "tun0", "--ip", "10.0.0.2/24"], "--tap and --tun: one link"),
    (["serve", "--tap", "tap0", "--ip", "10.0.0.2"], "no prefix length"),
    (["serve", "--tap", "tap0", "--ip", "10.0.0.300/24"], "not an IPv4 address"),
    (["serve", "--tap", "tap0", "--ip", "fd00::2/64"], "not an IPv4 address"),
    (["serve", "--tap", "tap0", "--ip6", "10.0.0.2/24"], "not an IPv6 address"),
    (["serve", "--tap", "tap0", "--ip", "10.0.0.2/24", "--gateway", "here"], "not an IP address"),
    (["serve", "--tap", "tap0", "--ip", "10.0.0.2/24", "--mtu", "10"], "not in the range"),
    (["serve", "--tap", "tap0", "--ip6", "fd00::2/64", "--mtu", "1000"], "at least 1280"),
    (["serve", "--ip", "dhcp"], "--ip without --tap"),
    (["serve", "--tap", "tap0", "--ip6", "dhcp"], "no prefix length"),
    (["serve", "--tun", "tun0", "--ip", "dhcp"], "needs Ethernet"),
    (["serve", "--tap", "tap0", "--ip", "dhcp", "--gateway", "10.0.0.1"], "which the router is"),
    (["serve", "--queues", "2", "--tap", "tap0", "--ip", "dhcp"], "one queue only"),
    (["serve", "--tap", "a name too long for Linux", "--ip", "10.0.0.2/24"], "1 to 15 bytes"),
    (["serve", "--tap", "tap0", "--ip", "10.0.0.2/24", "--http", "/nowhere"], "does not exist"),
    (["run"], "which program?"),
    (["run", "-m"], "which program?"),
    (["ping"], "Missing argument"),
    (["ping", "-6", "127.0.0.1"], "not an IPv6 address"),
    (["ping", "example"], "not known"),
    (["ping", "-c", "-1", "127.0.0.1"], "not in the range"),
    (["ping", "--dns", "here", "127.0.0.1"], "not the address of a name server"),
    (["dig"], "Missing argument"),
    (["dig", "www.test"], "which server?"),
    (["dig", "www.test", "@here"], "not the address of a name server"),
    (["dig", "www.test", "NONSENSE", "@127.0.0.1"], "not a type of DNS records"),
    (["dig", "www.test", "A", "MX", "@127.0.0.1"], "one name and one type"),
    (["dig", "-x", "here", "@127.0.0.1"], "not an IP address"),
    (["dig", "a..b", "@127.0.0.1"], "not a name"),
    (["tftp", "serve", "."], "which link?"),
    (["tftp", "get", "127.0.0.1"], "Missing argument"),
    (["tftp", "get", "--blksize", "7", "127.0.0.1", "name"], "not in the range"),
    (["tftp", "put", "127.0.0.1", "/nowhere"], "does not exist"),
    (["chat"], "which link?"),
    (["echo", "serve"], "which link?"),
    (["echo", "ask"], "Missing argument"),
    (["balance", "--port", "80"], "Missing argument"),
    (["balance", "127.0.0.1:80"], "Missing option '--port'"),
    (["balance", "--port", "80", "127.0.0.1"], "not HOST:PORT"),
    (["balance", "--port", "80", "fd00::1:80"], "not HOST:PORT"),
    (["balance", "--port", "80", "127.0.0.1:65536"], "not HOST:PORT"),
    (["balance", "--port", "80", "[fd00::1]:80"], "which link?"),
    (["relay", "tap0"], "Missing argument"),
    (["nonsense"], "No such command"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_refused(words: list[str], message: str) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_script_that_is_not_there() -> None:
    result = CliRunner().invoke(main, ["run", "nowhere.py"])
    assert result.exit_code == 2
    assert "nowhere.py" in result.output


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, text in COMMANDS.items():
        assert name in result.output
        assert text.split()[0] in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage:")


@pytest.mark.parametrize(("words", "ours", "program"), [
    (["x.py", "-v", "--tap", "t"], {}, ["x.py", "-v", "--tap", "t"]),
    (["--tap", "t", "--ip", "10.0.0.2/24", "-m", "http.server", "--bind", "1.2.3.4"], {"tap": "t"},
     ["-m", "http.server", "--bind", "1.2.3.4"]),
    (["--tap=t", "--ip=10.0.0.2/24", "--no-offload", "x.py"], {"tap": "t", "offload": False}, ["x.py"]),
    (["--", "-odd.py", "a"], {}, ["-odd.py", "a"]),
])
def test_where_the_program_begins(words: list[str], ours: dict[str, object], program: list[str]) -> None:
    from netstack.cli.run import command

    context = command.make_context("run", words)
    assert context.params["program"] == program
    assert {name: context.params[name] for name in ours} == ours


def test_ping_looks_names_up() -> None:
    result = CliRunner().invoke(main, ["ping", "-c", "1", "localhost"])
    assert result.exit_code == 0
    assert result.output.startswith("PING localhost")
    assert "--- localhost ping statistics ---" in result.output


def test_ping_of_ipv6_alone() -> None:
    result = CliRunner().invoke(main, ["ping", "-6", "-c", "1", "localhost"])
    assert result.exit_code == 0
    assert result.output.startswith("PING localhost(::1)")
