"""The servers: programs of Debian, and such in Python, which know nothing of netstack either.

    python -m tests.compat.servers NAME HOST        one in Python, until it is ended

`COMMANDS` says how each is started, in the directory COMPAT_DIR (see `prepare`).
"""
from __future__ import annotations

import asyncio
import os
import shutil
import socketserver
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import ports

HERE = Path(os.environ.get("COMPAT_DIR", "."))


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(HERE / "server.pem")
    return made


# In Python

def ftp(host: str) -> None:
    """pyftpdlib, an event loop of its own on epoll."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import TLS_FTPHandler
    from pyftpdlib.servers import FTPServer

    authorizer = DummyAuthorizer()
    authorizer.add_user("user", "password", str(HERE / "www"), perm="elradfmwMT")
    handler: Any = type("Handler", (TLS_FTPHandler,), {"certfile": str(HERE / "server.pem"), "authorizer": authorizer})
    FTPServer((host, ports.FTP), handler).serve_forever()


def smtp(host: str) -> None:
    """aiosmtpd on asyncio, which takes messages and throws them away."""
    from aiosmtpd.handlers import Sink
    from aiosmtpd.smtp import SMTP

    async def main() -> None:
        tls = context()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(Sink(), tls_context=tls, hostname="server.example"), host,
                                          ports.SMTP)
        await server.serve_forever()

    asyncio.run(main())


def websockets(host: str) -> None:
    """websockets on asyncio, with TLS and without."""
    from websockets.asyncio.server import serve

    async def back(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def main() -> None:
        async with serve(back, host, ports.WEBSOCKET), serve(back, host, ports.WEBSOCKETS, ssl=context(),
                                                             max_size=1 << 21, compression=None):
            await asyncio.Future()

    asyncio.run(main())


def aiohttp_server(host: str) -> None:
    """aiohttp: files and a small answer, with TLS too."""
    from aiohttp import web

    async def small(request: Any) -> Any:
        return web.Response(body=b"small\n")

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/small", small)
        app.router.add_static("/", HERE / "www")
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, host, ports.HTTP).start()
        await web.TCPSite(runner, host, ports.HTTPS, ssl_context=context()).start()
        await asyncio.Future()

    asyncio.run(main())


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


def threading_echo(host: str) -> None:
    """socketserver.ThreadingTCPServer."""
    with socketserver.ThreadingTCPServer((host, ports.ECHO), _Echo) as server:
        server.serve_forever()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application for uvicorn: `data` and `small`."""
    if scope["type"] != "http":
        return
    body = (HERE / "www" / scope["path"].strip("/")).read_bytes()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", b"%d" % len(body))]})
    for at in range(0, len(body), 1 << 18):
        await send({"type": "http.response.body", "body": body[at:at + (1 << 18)], "more_body": True})
    await send({"type": "http.response.body"})


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """... and for gunicorn."""
    start_response("200 OK", [("Content-Length", "6")])
    return [b"small\n"]


PYTHON: dict[str, Callable[[str], None]] = {
    "aiosmtpd": smtp, "pyftpdlib": ftp, "websockets": websockets, "aiohttp": aiohttp_server,
    "ThreadingTCPServer": threading_echo}

# As modules: `python -m ...`

MODULES: dict[str, Callable[[str], list[str]]] = {
    "http.server": lambda host: ["http.server", str(ports.HTTP), "-b", host, "-d", str(HERE / "www"),
                                 "--protocol", "HTTP/1.1"],
    "uvicorn": lambda host: ["uvicorn", "tests.compat.servers:app", "--host", host, "--port", str(ports.HTTP),
                             "--no-access-log", "--log-level", "warning"],
    "uvicorn, TLS": lambda host: ["uvicorn", "tests.compat.servers:app", "--host", host, "--port", str(ports.HTTPS),
                                  "--no-access-log", "--log-level", "warning",
                                  "--ssl-certfile", str(HERE / "server.pem"), "--ssl-keyfile", str(HERE / "key.pem")],
    "gunicorn": lambda host: ["gunicorn", "-b", f"{host}:{ports.HTTP}", "tests.compat.servers:wsgi"],
    **{name: (lambda host, name=name: ["tests.compat.servers", name, host])     # type: ignore[misc]
       for name in PYTHON},
}

# Of the system

NGINX = """
daemon off; master_process off; pid {here}/nginx.pid; error_log {here}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off; keepalive_requests 1000000; client_body_temp_path {here}/tmp; proxy_temp_path {here}/tmp;
    fastcgi_temp_path {here}/tmp; uwsgi_temp_path {here}/tmp; scgi_temp_path {here}/tmp;
    server {{
        listen {host}:80; listen {host}:443 ssl http2; root {here}/www;
        ssl_certificate {here}/server.pem; ssl_certificate_key {here}/key.pem;
    }}
}}
"""
SSHD = """
ListenAddress {host}:22
HostKey {here}/host_key
AuthorizedKeysFile {here}/ssh_key.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
"""


def nginx(host: str) -> list[str]:
    """nginx, HTTP/1.1 and HTTP/2."""
    (HERE / "nginx.conf").write_text(NGINX.format(host=host, here=HERE))
    return [_there("nginx"), "-c", str(HERE / "nginx.conf"), "-p", str(HERE), "-e", str(HERE / "nginx.log")]


def redis(host: str) -> list[str]:
    """redis-server."""
    return [_there("redis-server"), "--bind", host, "--port", str(ports.REDIS), "--save", "", "--appendonly", "no",
            "--protected-mode", "no", "--dir", str(HERE)]


def dnsmasq(host: str) -> list[str]:
    """dnsmasq, which knows every name under .example."""
    return [_there("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
            f"--listen-address={host}", "--bind-interfaces", "--address=/example/10.9.8.7", "--pid-file=",
            "--user=root", "--cache-size=0"]


def sshd(host: str) -> list[str]:
    """OpenSSH's server."""
    for name in ("host_key", "ssh_key"):
        if not (HERE / name).exists():
            subprocess.run([_there("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(HERE / name)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    (HERE / "sshd.conf").write_text(SSHD.format(host=host, here=HERE))
    return [_there("sshd"), "-D", "-f", str(HERE / "sshd.conf"), "-E", str(HERE / "sshd.log")]


def postgresql(host: str) -> list[str]:
    """PostgreSQL; it does not run as root."""
    here, ours = HERE / "pg", []
    if os.geteuid() == 0:
        shutil.chown(HERE, "nobody")
        ours = [_there("setpriv"), "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    if not here.exists():
        subprocess.run([*ours, _there("initdb"), "-D", str(here), "-U", "postgres", "-A", "trust", "--no-sync"],
                       check=True, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
        with (here / "pg_hba.conf").open("a") as file:
            file.write("host all all all trust\n")
    return [*ours, _there("postgres"), "-D", str(here), "-h", host, "-k", str(here), "-F"]


def _there(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/postgresql/15/bin")
    if found is None:
        raise FileNotFoundError(f"{program} is not installed")
    return found


SYSTEM: dict[str, Callable[[str], list[str]]] = {
    "nginx": nginx, "redis": redis, "dnsmasq": dnsmasq, "sshd": sshd, "PostgreSQL": postgresql}


def prepare(size: int) -> None:
    """Fill the directory: certificates, and a file of `size` bytes."""
    import trustme

    ca = trustme.CA()
    certificate = ca.issue_cert("server.example", "10.0.0.1", "10.0.0.2")
    ca.cert_pem.write_to_path(HERE / "ca.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(HERE / "server.pem")
    certificate.private_key_pem.write_to_path(HERE / "key.pem")
    (HERE / "www").mkdir()
    (HERE / "tmp").mkdir()
    (HERE / "data").write_bytes(os.urandom(size))
    shutil.copy(HERE / "data", HERE / "www" / "data")
    (HERE / "www" / "small").write_bytes(b"small\n")


if __name__ == "__main__":
    PYTHON[sys.argv[1]](sys.argv[2])
