"""A process with the image: no compiler in it, the engine at full speed from the start or from some moment on."""
from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from netstack import image, warm
from netstack.machine.mode import BOUNDSCHECK, JIT

pytestmark = pytest.mark.skipif(not JIT or BOUNDSCHECK, reason="the compiled run has what an image is made of")
LIMIT = 250
TIMES = 5           # that a conversation is tried, in which a busy machine may let a timer run out

COMMON = """
import sys, threading
from netstack.machine import loaded
loaded._looked = NOT_YET            # as on a machine where nothing is compiled yet
import netstack
from netstack import entry, sockdata, warm

def is_machine_code():
    return isinstance(entry.recv, type(len)) and isinstance(sockdata._recv, type(len))
"""


@pytest.fixture(scope="module", autouse=True)
def written() -> Path:
    """The image of what this process runs."""
    warm.ensure_compiled(quiet=True)
    return warm.write_image()


def run(program: str, not_yet: bool = False, **environment: str) -> str:
    """What a program prints that runs in a process of its own with NETSTACK_JIT=image."""
    text = COMMON.replace("NOT_YET", str(not_yet)) + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, timeout=LIMIT,
                          check=False,
                          env={**os.environ, "NETSTACK_JIT": "image", "PYTHONPATH": os.pathsep.join(sys.path),
                               **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_it_is_written_once(written: Path) -> None:
    before = written.stat()
    assert warm.write_image() == written
    assert written.stat().st_ino == before.st_ino


def test_no_compiler_is_needed() -> None:
    assert run("""
        with netstack.Stack() as stack, stack.create_server(("127.0.0.1", 7)) as server:
            assert is_machine_code()
            with stack.create_connection(("127.0.0.1", 7)) as near, server.accept()[0] as far:
                near.sendall(b"hello")
                print(far.recv(100))
        print("numba" in sys.modules)
    """) == "b'hello'\nFalse\n"


def test_changing_over_in_the_middle() -> None:
    """Threads that are inside calls, a transfer under way, timers: all go on, and nothing is sent twice."""
    program = """
        warm._start_maker = lambda quiet: None
        assert not is_machine_code() and not loaded.is_there()

        half, go = threading.Event(), threading.Event()
        DATA = bytes(i * 7 & 0xFF for i in range(1009)) * 400

        def echo(conn):
            with conn:
                while data := conn.recv(10_000):
                    conn.sendall(data)

        no_probes = {"net.ipv4.tcp_early_retrans": 0}
        with netstack.Stack(settings=no_probes) as stack, stack.create_server(("127.0.0.1", 7)) as server:
            near = stack.create_connection(("127.0.0.1", 7))
            serving = threading.Thread(target=echo, args=server.accept()[:1])
            def wait():                                 # blocked all the time
                with server.accept()[0] as conn:
                    print(conn.recv(5))
            waiting = threading.Thread(target=wait)
            serving.start()
            waiting.start()

            def write():
                near.sendall(DATA[:100_000])
                go.wait()
                near.sendall(DATA[100_000:])
            writing = threading.Thread(target=write)
            writing.start()
            got = bytearray()
            while len(got) < 50_000:
                got += near.recv(10_000)
            from netstack import image
            assert image.load()
            warm.change_over()
            assert is_machine_code()
            go.set()
            while len(got) < len(DATA):
                got += near.recv(1_000_000)
            assert got == DATA
            near.close()
            with stack.create_connection(("127.0.0.1", 7)) as other:
                other.sendall(b"later")
                waiting.join(60)
            writing.join(60)
            serving.join(60)
            assert not any(t.is_alive() for t in (waiting, writing, serving))
            print(stack.stats()["tcp.retrans_segs"])
    """
    for _ in range(TIMES):
        said = run(program, not_yet=True)
        if said == "b'later'\n0\n":
            break
    assert said == "b'later'\n0\n"


def test_changing_over_while_a_stack_is_made() -> None:
    """It was not there to be changed over, and has the old units already."""
    assert run("""
        from netstack import engine, image
        warm._start_maker = lambda quiet: None
        set_units = engine.set_units

        def then_change(record):
            set_units(record)
            engine.set_units = set_units
            old.append(record.units.receive)
            assert image.load()
            warm.change_over()

        old = []
        engine.set_units = then_change
        with netstack.Stack() as stack:
            units = stack._record.units
            print(units.receive != old[0], units.receive == loaded.address(loaded.name_of(engine.receive_unit)))
    """, not_yet=True) == "True True\n"


def test_a_child_of_a_process_that_waits_for_the_compiler() -> None:
    """The thread that waits is not in it; it has one of its own."""
    said = run("""
        import os
        sys.executable = "/bin/false"
        with netstack.Stack():
            first = warm._maker
            first.join(60)
            if os.fork() == 0:
                with netstack.Stack():
                    warm._maker.join(60)
                    os._exit(0 if warm._maker is not first else 1)
            assert os.wait()[1] == 0
    """, not_yet=True)
    assert said.count("goes on interpreted") == 2


def test_what_a_user_has_compiled(tmp_path: Path) -> None:
    """A handler and a congestion control, @compiled: numba comes into the process for them."""
    (tmp_path / "own.py").write_text(textwrap.dedent("""
        from netstack.exchange import Exchange
        from netstack.handlers import compiled, consume, send_back
        from netstack.machine import compiled as compiled_hook
        from netstack.tcp.congestion import Congestion

        @compiled
        def echo(x: Exchange) -> None:
            consume(x, send_back(x, 0, x.length))

        @compiled_hook
        def eager(c: Congestion, now: int) -> None:
            c.cwnd += c.acked
    """))
    assert run("""
        import own
        from netstack.tcp.algorithms import register
        from netstack.machine import unit
        register("eager", on_ack=own.eager)
        with netstack.Stack(settings={"net.ipv4.tcp_congestion_control": "eager"}) as stack:
            with stack.create_server(("127.0.0.1", 7)) as server:
                server.set_handler(own.echo)
                with stack.create_connection(("127.0.0.1", 7)) as near:
                    near.sendall(bytes(100_000))
                    got = 0
                    while got < 100_000:
                        got += len(near.recv(100_000))
        print(got, "numba" in sys.modules)
    """, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path])) == "100000 True\n"


def test_a_compiler_that_fails_is_told(tmp_path: Path) -> None:
    said = run("""
        sys.executable = "/bin/false"
        with netstack.Stack() as stack, stack.create_server(("127.0.0.1", 7)) as server:
            with stack.create_connection(("127.0.0.1", 7)) as near, server.accept()[0] as far:
                near.sendall(b"hello")
                print(far.recv(100))
            warm._maker.join(60)
            assert not is_machine_code()
    """, NETSTACK_CACHE_DIR=str(tmp_path))
    assert "b'hello'" in said
    assert "interpreted until" in said
    assert "goes on interpreted; it could not be compiled: exit code 1" in said


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1],
                                    lambda data: data[:5000] + b"x" + data[5001:]])
def test_one_that_is_not_whole_is_no_image(tmp_path: Path, written: Path, damage: Callable[[bytes], bytes]) -> None:
    folder = tmp_path / written.parent.name
    folder.mkdir()
    (folder / written.name).write_bytes(damage(written.read_bytes()))
    said = run("""
        sys.executable = "/bin/false"
        with netstack.Stack():
            assert not is_machine_code()
            warm._maker.join(60)
    """, NETSTACK_CACHE_DIR=str(tmp_path))
    assert "interpreted until" in said
    assert list(folder.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = run("""
        with netstack.Stack():
            warm._maker.join(60)
    """, NETSTACK_CACHE_DIR=str(tmp_path / "file"))
    assert "goes on interpreted" in said
    assert "NETSTACK_CACHE_DIR says where to keep it" in said


def test_an_image_of_another_source_is_not_taken(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image.sources, "digest", lambda file: "another")
    assert image.path() != written
    assert image.path().parent == written.parent
