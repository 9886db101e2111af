"""The web server: files, errors, more than one request on a connection, clients that hang up."""
from __future__ import annotations

import http.client
import socket as real

import pytest

from netstack.apps.web import Web

from ..waiting import until

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def served(stack, tmp_path):
    (tmp_path / "page.html").write_bytes(b"<p>hello")
    (tmp_path / "big").write_bytes(CONTENT)
    said = []
    with Web(stack, tmp_path, log=said.append) as server:
        yield said
    assert server.socket.fileno() == -1


@pytest.fixture
def client(stack, life, served):
    """client(host): a connection of http.client on the stack."""
    def connect(host="127.0.0.1"):
        connection = http.client.HTTPConnection(host, timeout=20)
        connection.sock = life.enter_context(stack.create_connection((host, 80), timeout=20))
        return connection

    return connect


def get(connection, path, method="GET"):
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.getheader("content-type"), answer.read()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_files_on_one_connection(client, host):
    connection = client(host)
    sock = connection.sock
    assert get(connection, "/page.html") == (200, "text/html", b"<p>hello")
    assert get(connection, "/big") == (200, "application/octet-stream", CONTENT)
    assert get(connection, "/page.html", "HEAD") == (200, "text/html", b"")
    assert b"page.html" in get(connection, "/")[2]
    assert connection.sock is sock


def test_errors(client, served):
    assert get(client(), "/nothing")[0] == 404
    assert get(client(), "/page.html", "BREW")[0] == 501
    assert get(client(), "/../../../etc/passwd")[0] == 404
    assert served == ['code 404, message File not found', '"GET /nothing HTTP/1.1" 404 -',
                      "code 501, message Unsupported method ('BREW')", '"BREW /page.html HTTP/1.1" 501 -',
                      'code 404, message File not found', '"GET /../../../etc/passwd HTTP/1.1" 404 -']


def test_what_is_no_request(stack, served):
    with stack.create_connection(("127.0.0.1", 80), timeout=20) as sock:
        sock.sendall(b"hello\r\n\r\n")
        assert b"400" in sock.recv(1000)


def test_clients_that_hang_up_are_no_errors(stack, client, served, capsys):
    with stack.create_connection(("127.0.0.1", 80)) as sock:
        sock.setsockopt(real.SOL_SOCKET, real.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        sock.sendall(b"GET /big HTTP/1.1\r\n\r\n")
    assert get(client(), "/page.html")[0] == 200
    until(lambda: not any(c.state == "ESTABLISHED" and c.remote == sock for c in stack.connections()))
    assert capsys.readouterr().err == ""
