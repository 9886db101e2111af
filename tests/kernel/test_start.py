"""A stack that starts interpreted, because nothing is compiled yet, and changes over while Linux talks to it."""
from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys

import pytest

from netstack import warm
from netstack.machine.mode import BOUNDSCHECK, JIT

from .test_ping import linux_ping

pytestmark = pytest.mark.skipif(not JIT or BOUNDSCHECK, reason="the compiled run has what an image is made of")
TIMES = 5           # that it is tried
PROGRAM = """
import sys, threading
from netstack.machine import loaded
loaded._looked = True                       # as on a machine where nothing is compiled yet
from netstack import Stack, entry, image, warm
from netstack.drivers import Tap

warm._start_maker = lambda quiet: None      # no compiler in the background: the test says when it has finished

def echo(server):
    with server.accept()[0] as conn:
        while data := conn.recv(100_000):
            conn.sendall(data)

with Stack(settings={"net.ipv4.tcp_early_retrans": 0}) as stack:    # no tail loss probes while Linux is slow
    stack.attach(Tap("tap0"), ip="10.0.0.2/24")
    with stack.create_server(("", 7)) as server:
        thread = threading.Thread(target=echo, args=(server,))
        thread.start()
        print("READY", flush=True)
        sys.stdin.readline()
        assert not loaded.is_there() and image.load()
        warm.change_over()
        assert isinstance(entry.recv, type(len))
        print("CHANGED", flush=True)
        thread.join()
    print(stack.stats()["tcp.retrans_segs"], flush=True)
"""


def exactly(sock: socket.socket, n: int) -> bytes:
    """n bytes."""
    got = bytearray()
    while len(got) < n and (piece := sock.recv(n - len(got))):
        got += piece
    return bytes(got)


@pytest.mark.skipif(shutil.which("ping") is None, reason="ping(8) is not installed")
def test_change_over(bare_tap: str) -> None:
    """Nothing is lost, of pings and of a conversation; nor sent twice, unless a busy machine lets a timer run out."""
    warm.ensure_compiled(quiet=True)
    warm.write_image()
    assert bare_tap == "tap0"
    assert any(_sent_twice() == 0 for _ in range(TIMES))


def _sent_twice() -> int:
    """Change over while Linux talks to the stack: how many segments it has retransmitted."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, env={**os.environ, "NETSTACK_JIT": "image",
                                               "PYTHONPATH": os.pathsep.join(sys.path)})
    with process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "READY\n"
        assert "3 received, 0% packet loss" in linux_ping("-c", 3, "-i", 0.01, "-W", 20, "10.0.0.2")
        with socket.create_connection(("10.0.0.2", 7), timeout=20) as sock:
            sock.sendall(b"before")
            assert exactly(sock, 6) == b"before"
            ping = subprocess.Popen(["ping", "-n", "-c", "50", "-i", "0.01", "-W", "20", "10.0.0.2"],
                                    stdout=subprocess.PIPE, text=True)
            process.stdin.write("\n")
            process.stdin.flush()
            data = bytes(i * 7 & 0xFF for i in range(1009)) * 20
            for _ in range(20):
                sock.sendall(data)
                assert exactly(sock, len(data)) == data
            assert process.stdout.readline() == "CHANGED\n"
            said = ping.communicate(timeout=60)[0]
            assert "50 packets transmitted, 50 received, 0% packet loss" in said
        again = int(process.stdout.readline())
        assert process.wait(60) == 0
        return again
