"""TLS on the stack's sockets: ssl.SSLContext.wrap_socket after patch, netstack.tls without, asyncio's own."""
from __future__ import annotations

import asyncio
import contextlib
import http.client
import http.server
import os
import select
import socket as real
import ssl
import sys
import threading

import pytest

import netstack
import netstack.socket as ns
from netstack import tls

from ..waiting import until

trustme = pytest.importorskip("trustme")

HOST = "127.0.0.1"
BIG = 400_000


@pytest.fixture(scope="module")
def ca():
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(ca):
    return ca.issue_cert("server.example", HOST)


@pytest.fixture
def server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def client_context(ca):
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture
def patched(stack):
    netstack.patch()
    yield stack
    netstack.unpatch()


@pytest.fixture
def secured(patched, connected, spawn, life, server_context, client_context):
    """secured(**keywords of the client's wrap_socket) -> client's and server's end after the handshake."""
    def make(**keywords):
        client, conn = connected()
        serving = spawn(server_context.wrap_socket, conn, True)
        client = client_context.wrap_socket(client, **{"server_hostname": "server.example", **keywords})
        return life.enter_context(client), life.enter_context(serving.result())
    return make


def test_it_is_an_sslsocket(secured):
    client, server = secured()
    for sock in (client, server):
        assert isinstance(sock, ssl.SSLSocket)
        assert isinstance(sock, ns.socket)
        assert sock.version() == "TLSv1.3"
        assert sock.cipher()[1] == "TLSv1.3"
    assert (client.server_side, server.server_side) == (False, True)
    assert client.server_hostname == "server.example"
    assert ("DNS", "server.example") in client.getpeercert()["subjectAltName"]
    assert client.getpeercert(True) == ssl.PEM_cert_to_DER_cert(ssl.DER_cert_to_PEM_cert(client.getpeercert(True)))
    assert server.getpeercert() is None
    assert server.shared_ciphers()
    assert client.compression() is None
    assert not client.session_reused
    assert client.get_channel_binding() is not None


def test_every_method_of_the_standard_library_is_there():
    names = {name for name in dir(tls.SystemSSLSocket) if not name.startswith("_")}
    assert {name for name in names if not hasattr(tls.SSLSocket, name)} <= {"sendmsg_afalg"}


def test_text_both_ways(secured):
    client, server = secured()
    client.sendall(b"question")
    assert server.recv(100) == b"question"
    assert server.send(b"answer") == 6
    buffer = bytearray(10)
    assert client.recv_into(buffer) == 6
    assert buffer[:6] == b"answer"
    client.write(b"abc")
    assert server.read(2) == b"ab"
    assert server.pending() == 1
    assert server.read(10) == b"c"
    with client.makefile("rwb") as file:
        file.write(b"a line\nanother\n")
        file.flush()
        assert server.recv(100) == b"a line\nanother\n"
        server.sendall(b"one\ntwo\n")
        assert [file.readline(), file.readline()] == [b"one\n", b"two\n"]
    for what in ("recvmsg", "sendmsg", "recv_view", "send_view"):
        with pytest.raises(NotImplementedError):
            getattr(client, what)(1)
    with pytest.raises(ValueError, match="sendto"):
        client.sendto(b"x", (HOST, 1))
    with pytest.raises(ValueError, match="flags"):
        client.recv(1, ns.MSG_PEEK)


def test_much_text_and_both_directions_at_once(secured, spawn):
    """One thread reads while another writes on the same connection."""
    client, server = secured()
    content = os.urandom(BIG)

    def read(sock):
        got = bytearray()
        while len(got) < BIG:
            got += sock.recv(65536)
        return got

    tasks = [spawn(read, client), spawn(read, server), spawn(client.sendall, content), spawn(server.sendall, content)]
    assert [t.result() for t in tasks] == [content, content, None, None]


def test_wrong_name_and_unknown_issuer(patched, connected, spawn, server_context, client_context):
    strangers = ssl.create_default_context()
    for context, name, reason in ((client_context, "other.example", "Hostname mismatch"),
                                  (strangers, "server.example", "unable to get local issuer|self.signed")):
        client, conn = connected()

        def serve(conn=conn):
            with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
                server_context.wrap_socket(conn, True)

        serving = spawn(serve)
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            context.wrap_socket(client, server_hostname=name)
        serving.result()


def test_alpn_and_sni(patched, secured, ca, server_context, client_context):
    seen = []
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("other.example").configure_cert(other)
    other.set_alpn_protocols(["h2", "http/1.1"])
    server_context.set_alpn_protocols(["h2", "http/1.1"])
    client_context.set_alpn_protocols(["http/1.1"])

    def choose(sock, name, context):
        seen.append((isinstance(sock, ssl.SSLSocket), name, context is server_context))
        if name == "other.example":
            sock.context = other

    server_context.sni_callback = choose
    for name in ("server.example", "other.example"):
        client, server = secured(server_hostname=name)
        assert client.selected_alpn_protocol() == server.selected_alpn_protocol() == "http/1.1"
        assert ("DNS", name) in client.getpeercert()["subjectAltName"]
    assert server.context is other
    assert seen == [(True, "server.example", True), (True, "other.example", True)]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_used_again(secured, client_context, version):
    client_context.maximum_version = version
    client, server = secured()
    server.sendall(b"x")
    assert client.recv(1) == b"x"           # with it, or before it, come the tickets of TLS 1.3
    again, server = secured(session=client.session)
    assert again.session_reused
    server.sendall(b"y")
    assert again.recv(1) == b"y"


def test_without_blocking(patched, connected, life, server_context, client_context):
    client, conn = connected()
    client.setblocking(False)
    conn.setblocking(False)
    with pytest.raises(ValueError, match="do_handshake_on_connect"):
        client_context.wrap_socket(_nonblocking(connected), server_hostname="server.example")
    client = life.enter_context(client_context.wrap_socket(client, server_hostname="server.example",
                                                           do_handshake_on_connect=False))
    server = life.enter_context(server_context.wrap_socket(conn, True, do_handshake_on_connect=False))
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    waiting = {client: client.do_handshake, server: server.do_handshake}
    while waiting:
        for sock, step in list(waiting.items()):
            try:
                step()
            except ssl.SSLWantReadError:
                assert select.select([sock] if len(waiting) == 1 else list(waiting), [], [], 10)[0]
            else:
                del waiting[sock]
    with pytest.raises(ssl.SSLWantReadError):
        server.recv(1)
    content, sent, refused = os.urandom(1 << 22), 0, 0
    got = bytearray()
    while len(got) < len(content):
        try:
            while sent < len(content):
                sent += client.send(content[sent:sent + 300_000])
        except ssl.SSLWantWriteError:
            refused += 1
        assert select.select([server], [], [], 10)[0]
        try:
            while True:
                got += server.recv(1 << 20)
        except ssl.SSLWantReadError:
            pass
    assert got == content
    assert refused > 0


def _nonblocking(connected):
    client, _ = connected()
    client.setblocking(False)
    return client


def test_select_tells_of_every_record(secured):
    """Nothing is read ahead: what was not decrypted is still with the socket."""
    client, server = secured()
    server.sendall(b"first")
    server.sendall(b"second")
    for text in (b"first", b"second"):
        assert select.select([client], [], [], 10)[0] == [client]
        assert client.recv(100) == text
    until(lambda: select.select([client], [], [], 0)[0] == [])


def test_timeouts(patched, connected, client_context, secured):
    client, _conn = connected()
    client.settimeout(0.05)
    with pytest.raises(TimeoutError, match="handshake operation timed out"):
        client_context.wrap_socket(client, server_hostname="server.example")
    client, server = secured()
    server.sendall(b"x")
    assert client.recv(1) == b"x"
    client.settimeout(0.05)
    with pytest.raises(TimeoutError, match="read operation timed out"):
        client.recv(1)
    content = os.urandom(1 << 22)
    with pytest.raises(TimeoutError, match="write operation timed out"):
        client.write(content)
    server.settimeout(100)
    got = bytearray()
    thread = threading.Thread(target=lambda: (client.settimeout(100), client.write(content), client.close()))
    thread.start()                                      # the same text once more goes on where it stood
    while data := server.recv(1 << 16):
        got += data
    thread.join()
    assert got == content


def test_unwrap(secured, spawn):
    """TLS ends, the connection goes on in plain text, of which nothing was swallowed."""
    client, server = secured()

    def leave():
        with server.unwrap() as plain:
            assert plain is server
            plain.sendall(b"plain")
            assert plain.recv(100) == b"text"

    leaving = spawn(leave)
    plain = client.unwrap()
    assert plain.recv(100) == b"plain"
    assert plain.version() is plain.cipher() is None
    plain.sendall(b"text")
    leaving.result()
    with pytest.raises(ValueError, match="No SSL wrapper"):
        client.unwrap()


def test_ragged_end(secured):
    for suppress in (True, False):
        client, server = secured(suppress_ragged_eofs=suppress)
        server.sendall(b"x")
        assert client.recv(1) == b"x"
        server.shutdown(ns.SHUT_RDWR)           # without close_notify
        if suppress:
            assert client.recv(1) == b""
            assert client.recv_into(bytearray(1)) == 0
        else:
            with pytest.raises(ssl.SSLEOFError):
                client.recv(1)


def test_tickets_that_nobody_has_read_are_no_reason_for_a_reset(secured):
    """A client that closes without a read: the server sees the end, and all that was sent.  Unread text is one."""
    client, server = secured()
    until(lambda: select.select([client], [], [], 0)[0])        # the tickets
    client.sendall(b"last words")
    client.close()
    assert server.recv(100) == b"last words"
    assert server.recv(100) == b""
    client, server = secured()
    server.sendall(b"x")
    assert client.recv(1) == b"x"                               # and the tickets before it
    server.sendall(b"text")
    until(lambda: select.select([client], [], [], 0)[0])
    client.close()
    with pytest.raises(ConnectionResetError):
        server.recv(100)


def test_an_alert_arrives(patched, connected, spawn, ca, server_context, client_context):
    """The server refuses the client's certificate while more of the client's handshake is unread."""
    server_context.verify_mode = ssl.CERT_REQUIRED
    client, conn = connected()

    def serve():
        with pytest.raises(ssl.SSLError, match="(?i)peer did not return a certificate"):
            server_context.wrap_socket(conn, True)

    serving = spawn(serve)
    with client_context.wrap_socket(client, server_hostname="server.example") as client:
        serving.result()
        with pytest.raises(ssl.SSLError, match="(?i)alert"):
            client.recv(1)


def test_what_is_no_tls(patched, connected, server_context):
    client, conn = connected()
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(ssl.SSLError, match=r"(?i)http.request"):
        server_context.wrap_socket(conn, True)


def test_a_record_that_would_be_too_long_is_refused_at_its_header(secured):
    client, server = secured()
    ns.socket.sendall(client, b"\x17\x03\x03\xff\xff")              # the connection, without its TLS
    with pytest.raises(ssl.SSLError, match=r"(?i)record.*(length|long)|length"):
        server.recv(1)
    with contextlib.suppress(ssl.SSLError):                     # and no read waits any more
        assert server.recv(1) == b""


def test_a_read_without_room_does_not_wait(secured):
    """Also when OpenSSL has nothing left, after a read."""
    client, server = secured()
    client.sendall(b"hello")
    assert server.recv(100) == b"hello"
    assert server.read(0) == b""
    assert server.recv_into(bytearray()) == 0
    assert server.read(5, bytearray()) == 0
    client.sendall(b"more")
    assert server.recv(2) == b"mo"
    assert server.pending() == 2
    assert server.recv(100) == b"re"
    client.close()
    assert server.recv(100) == server.recv(100) == b""


def test_text_before_the_handshake_is_no_tls(patched, connected, server_context):
    """Closed with a reset before the handshake: what the peer had sent in plain text is not taken for the client's."""
    client, conn = connected()
    client.sendall(b"DELETE / HTTP/1.0\r\n\r\n")
    assert conn.recv(1, ns.MSG_PEEK)
    client.setsockopt(ns.SOL_SOCKET, ns.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    with pytest.raises(OSError):
        server_context.wrap_socket(conn, True)


def test_connect_and_accept(patched, spawn, server_context, client_context):
    """A listener that is wrapped, and a client that is wrapped before it connects."""
    with server_context.wrap_socket(ns.create_server((HOST, 0)), True) as listener:
        def serve():
            conn, peer = listener.accept()
            with conn:
                conn.sendall(conn.recv(100).upper())
                return peer

        serving = spawn(serve)
        with client_context.wrap_socket(ns.socket(), server_hostname="server.example") as client:
            client.connect(listener.getsockname())
            client.sendall(b"abc")
            assert client.recv(100) == b"ABC"
            assert serving.result() == client.getsockname()


def test_sendfile(secured, spawn, tmp_path):
    client, server = secured()
    content = os.urandom(BIG)
    (tmp_path / "file").write_bytes(content)

    def send():
        with (tmp_path / "file").open("rb") as f:
            assert server.sendfile(f, 1000) == BIG - 1000
        server.close()

    sending = spawn(send)
    with client.makefile("rb") as file:
        assert file.read() == content[1000:]
    sending.result()


def test_the_system_s_sockets_keep_their_own(patched, spawn, server_context, client_context):
    a, b = real.socketpair()
    serving = spawn(server_context.wrap_socket, b, True)
    with client_context.wrap_socket(a, server_hostname="server.example") as client, serving.result() as server:
        assert type(client) is type(server) is tls.SystemSSLSocket
        assert isinstance(client, ssl.SSLSocket)
        client.sendall(b"x")
        assert server.recv(1) == b"x"


def test_an_object_that_stands_for_a_socket(patched, connected, spawn, life, server_context, client_context):
    """Programs wrap sockets in objects of their own."""
    class Wrapper:
        def __init__(self, sock):
            self.__sock = sock

        def __getattr__(self, name):
            return getattr(self.__sock, name)

    client, conn = connected()
    conn.settimeout(30)
    serving = spawn(server_context.wrap_socket, Wrapper(conn), True)
    with client_context.wrap_socket(client, server_hostname="server.example") as client, serving.result() as server:
        assert isinstance(server, ns.socket)
        assert server.gettimeout() == 30
        client.sendall(b"x")
        assert server.recv(1) == b"x"


def test_without_patch(stack, connected, spawn, server_context, client_context):
    client, conn = connected()
    serving = spawn(lambda: tls.wrap(conn, server_context, server_side=True))
    client_context.sslsocket_class = tls.SSLSocket
    with client_context.wrap_socket(client, server_hostname="server.example") as client, serving.result() as server:
        client.sendall(b"x")
        assert server.recv(1) == b"x"


def test_secure_connect(stack, ca, spawn, server_context, tmp_path):
    """With a CA of one's own: as bytes and as a file; against the system's it fails."""
    server_context.set_alpn_protocols(["two"])
    pem = ca.cert_pem.bytes()
    (tmp_path / "ca.pem").write_bytes(pem)
    with stack.create_server((HOST, 0)) as listener:
        def serve(times):
            for _ in range(times):
                conn, _ = listener.accept()
                try:
                    with tls.wrap(conn, server_context, server_side=True) as sock:
                        sock.sendall(b"secure")
                except ssl.SSLError:
                    conn.close()

        serving = spawn(serve, 4)
        address = listener.getsockname()
        with stack.secure_connect(address, ca=pem, server_hostname="server.example", alpn=["one", "two"]) as sock:
            assert sock.recv(100) == b"secure"
            assert sock.selected_alpn_protocol() == "two"
        with stack.secure_connect(address, ca=tmp_path / "ca.pem") as sock:         # the address is in it, too
            assert sock.recv(100) == b"secure"
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            stack.secure_connect(address, ca=pem, server_hostname="other.example")
        with pytest.raises(ssl.SSLCertVerificationError):
            stack.secure_connect(address)
        serving.result()
    with pytest.raises(ValueError, match="either"):
        stack.secure_connect(address, ca=pem, context=ssl.create_default_context())


def test_https(patched, tmp_path, server_context, client_context):
    content = os.urandom(BIG)
    (tmp_path / "file").write_bytes(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.socket = server_context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            connection = http.client.HTTPSConnection(HOST, server.server_address[1], timeout=30, context=client_context)
            for _ in range(2):
                connection.request("GET", "/file")
                assert connection.getresponse().read() == content
            connection.close()
        finally:
            server.shutdown()
            thread.join()


def test_asyncio(patched, server_context, client_context):
    """ssl= of start_server and open_connection; start_tls (Python 3.11)."""
    content = os.urandom(BIG)

    async def serve(reader, writer):
        writer.write(await reader.readexactly(BIG))
        writer.close()
        await writer.wait_closed()

    async def upgrade(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.drain()
        await writer.start_tls(server_context)
        await serve(reader, writer)

    async def main():
        server = await asyncio.start_server(serve, HOST, 0, ssl=server_context)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=client_context,
                                                           server_hostname="server.example")
            assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
            writer.write(content)
            assert await reader.read() == content
            writer.close()
            await writer.wait_closed()
        if sys.version_info >= (3, 11):
            server = await asyncio.start_server(upgrade, HOST, 0)
            async with server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"STARTTLS\n")
                assert await reader.readline() == b"go\n"
                await writer.start_tls(client_context, server_hostname="server.example")
                writer.write(content)
                assert await reader.read() == content
                writer.close()
                await writer.wait_closed()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_asyncio_refuses_an_sslsocket(secured):
    client, _ = secured()
    client.setblocking(False)

    async def main():
        with pytest.raises(TypeError, match="SSLSocket"):
            await asyncio.get_running_loop().sock_recv(client, 1)

    asyncio.run(main())
