"""Files over HTTP: the standard library's `http.server` on a stack, without `netstack.patch`.

    with Web(stack, "directory"):
        ...

`socketserver` asks little of its socket: accept, recv, sendall, makefile and a
descriptor to wait on.  Ours has them, so all that there is to do is to hand it over.
"""
from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from ..stack import Stack

PORT = 80
IDLE = 60.0             # seconds that a connection may be silent


class Web(ThreadingHTTPServer):
    """A server of a directory's files, of IPv4 and IPv6, with a thread for each connection; runs within `with`."""

    daemon_threads = True

    def __init__(self, stack: Stack, directory: str | os.PathLike[str], host: str = "::", port: int = PORT, *,
                 log: Callable[[str], None] | None = None) -> None:
        handler = partial(Files, directory=directory, log=log or (lambda line: None))
        super().__init__((host, port), handler, bind_and_activate=False)
        self.socket.close()                         # the system's, which nobody has used
        six = ":" in host
        self.socket = stack.create_server((host, port), family=socket.AF_INET6 if six else socket.AF_INET,  # type: ignore[assignment]
                                          dualstack_ipv6=six)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = host, self.server_address[1]       # its name could take long to find
        self._thread = threading.Thread(target=self.serve_forever, name="http", daemon=True)
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is nobody's error."""


class Files(SimpleHTTPRequestHandler):
    """One connection.  HTTP/1.1: it stays for more than one request."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE

    def __init__(self, *arguments: Any, log: Callable[[str], None], **keywords: Any) -> None:
        self._log = log
        super().__init__(*arguments, **keywords)

    def log_message(self, format: str, *args: Any) -> None:
        """To whom the server was told, not to stderr."""
        self._log(format % args)
