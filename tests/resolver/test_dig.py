"""netstack dig: the question, the answer as dig(1) writes it, exit statuses."""
from __future__ import annotations

from contextlib import contextmanager

import dns.flags
import dns.rcode
import pytest
from click.testing import CliRunner

import netstack.cli.dig
from netstack.apps.dig import ask
from netstack.cli import main
from tests.waiting import until

from .test_servers import rcode

A, MX = 1, 15


@pytest.fixture
def dig(net, monkeypatch):
    """dig(words): the command on this test's stack; `.exit_code`, `.output`."""
    @contextmanager
    def opened(link):
        yield net.stack

    monkeypatch.setattr(netstack.cli.dig, "opened", opened)
    return lambda *words: CliRunner().invoke(main, ["dig", *words])


def test_an_answer_as_dig_writes_it(net, dig):
    net.server.add("www.test", "A", "192.0.2.7", ttl=77)
    done = dig("www.test", f"@{net.pair.b4}")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith(";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: ")
    assert lines[1] == ";; flags: qr rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0"
    assert ";www.test.\tIN\tA" in lines
    assert "www.test.\t77\tIN\tA\t192.0.2.7" in lines
    assert f";; SERVER: {net.pair.b4}#53 (UDP)" in lines
    assert any(line.startswith(";; Query time: ") for line in lines)
    assert not lines[-1].endswith(" 0")


def test_types_and_short(net, dig):
    net.server.add("test", "MX", "10 mail.test.")
    net.server.add("test", "TXT", '"two words"')
    net.server.add("7.2.0.192.in-addr.arpa", "PTR", "www.test.")
    server = f"@{net.pair.b4}"
    assert dig(server, "test", "mx", "--short").output == "10 mail.test.\n"
    assert dig("test.", "TXT", server, "--short").output == '"two words"\n'
    assert dig("-x", "192.0.2.7", "--dns", net.pair.b4, "--short").output == "www.test.\n"
    assert dig("test", "TYPE15", server, "--short").output == "10 mail.test.\n"


@pytest.mark.parametrize("code", ["NXDOMAIN", "SERVFAIL", "REFUSED"])
def test_what_else_servers_say(net, dig, code):
    net.server.tricks["*"] = lambda server, query, transport: [rcode(query, dns.rcode.from_text(code))]
    done = dig("www.test", f"@{net.pair.b4}")
    assert done.exit_code == 0
    assert f"status: {code}" in done.output


def test_tcp(net):
    net.server.add("www.test", "A", "192.0.2.7")
    assert ask(net.stack, "www.test.", A, (net.pair.b4, 53), tcp=True).transport == "TCP"

    def cut(server, query, transport):
        reply = server.answer(query)
        reply.flags |= dns.flags.TC if transport == "udp" else 0
        return [reply]

    net.server.tricks["*"] = cut
    assert ask(net.stack, "www.test.", A, (net.pair.b4, 53)).transport == "TCP"


def test_nobody_answers(net, dig):
    done = dig("www.test", f"@{net.pair.b4}#54", "--time", "30", "--tries", "2")
    assert done.exit_code == 9
    assert "does not answer: Connection refused" in done.output
    net.server.tricks["*"] = lambda server, query, transport: []
    done = dig("www.test", f"@{net.pair.b4}", "--time", "0.1", "--tries", "2")
    assert done.exit_code == 9
    assert "timed out" in done.output
    until(lambda: len(net.server.questions) == 2, "the second question")
