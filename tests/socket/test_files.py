"""makefile()."""
from __future__ import annotations

import io

import pytest

import netstack.socket as ns


def test_text_and_binary(connected):
    client, conn = connected()
    with client.makefile("w", encoding="utf-8", newline="\r\n") as out:
        out.write("first\nzweite ü\n")
    with conn.makefile("rb") as raw:
        assert raw.readline() == b"first\r\n"
        assert raw.readline().decode() == "zweite ü\r\n"
    with client.makefile("rwb") as both:
        both.write(b"x" * 10_000)
        both.flush()
        assert conn.recv(10_000, ns.MSG_WAITALL) == b"x" * 10_000
        conn.sendall(b"yes")
        assert both.read(3) == b"yes"


def test_unbuffered(connected):
    client, conn = connected()
    with client.makefile("rb", 0) as raw:
        assert isinstance(raw, ns.SocketIO)
        conn.sendall(b"abc")
        assert raw.read(10) == b"abc"
    with pytest.raises(ValueError):
        client.makefile("r", 0)
    with pytest.raises(ValueError, match="invalid mode"):
        client.makefile("rx")


def test_the_socket_stays_open_until_the_file_is_closed(connected):
    client, conn = connected()
    file = client.makefile("rb")
    client.close()
    assert client.fileno() == -1 or client.fileno() >= 0
    conn.sendall(b"still")
    assert file.read(5) == b"still"
    file.close()
    assert conn.recv(1) == b""
    assert client.fileno() == -1


def test_every_line_until_the_end(connected):
    client, conn = connected()
    conn.sendall(b"".join(b"line %d\n" % i for i in range(1000)))
    conn.close()
    with client.makefile("r", encoding="ascii") as lines:
        assert [line.rstrip() for line in lines] == [f"line {i}" for i in range(1000)]


def test_nonblocking(connected):
    client, _ = connected()
    client.setblocking(False)
    with client.makefile("rb", 0) as raw:
        assert raw.read(1) is None


def test_timeout_spoils_a_file(connected):
    client, _ = connected()
    client.settimeout(0.05)
    with client.makefile("rb") as file:
        with pytest.raises(TimeoutError):
            file.read(1)
        with pytest.raises(OSError, match="cannot read from timed out object"):
            file.read(1)


def test_detach_of_the_raw_file(connected):
    client, conn = connected()
    file = client.makefile("rb")
    raw = file.detach()
    assert isinstance(raw, io.RawIOBase)
    conn.sendall(b"x")
    assert raw.read(1) == b"x"
    raw.close()
