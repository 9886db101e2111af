"""TFTP: files both ways, with options and without, over a bad line, between ends that misbehave."""
from __future__ import annotations

import io
import random
import socket as real
import struct
import threading

import pytest
from click.testing import CliRunner

import netstack
import netstack.cli.tftp
from netstack.apps import tftp, tftp_server
from netstack.apps.tftp import ACK, DATA, ERROR, OACK, RRQ, WRQ, ack, oack, opcode, request
from netstack.cli import main
from netstack.drivers import Impaired, Wire

from ..waiting import until

HOST = "127.0.0.1"
PATIENCE = 100      # seconds
AGAIN = {"timeout": 0.2, "attempts": 100}       # who gets a file waits some of these for a last duplicate
CONTENT = random.Random(1).randbytes(5000)


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "root"
    (made / "boot").mkdir(parents=True)
    (made / "boot" / "image").write_bytes(CONTENT)
    (tmp_path / "secret").write_bytes(b"secret")
    (made / "link").symlink_to(tmp_path / "secret")
    return made


@pytest.fixture
def server(stack, root):
    with tftp_server.Server(stack, root, writable=True, largest=100_000, **AGAIN) as made:
        yield made


def get(stack, name, **keywords):
    file = io.BytesIO()
    transfer = tftp.get(stack, HOST, name, file, **{**AGAIN, **keywords})
    return transfer, file.getvalue()


@pytest.mark.parametrize("blksize", [8, 512, 1000, 1428, 20_000])
def test_read(stack, server, blksize):
    transfer, found = get(stack, "boot/image", blksize=blksize)
    assert found == CONTENT
    assert (transfer.block, transfer.size, transfer.moved) == (blksize, 5000, 5000)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2000])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_write(stack, server, root, size, host):
    tftp.put(stack, host, "new", io.BytesIO(CONTENT[:size]), blksize=1000, **AGAIN)
    until(lambda: (root / "new").exists() and (root / "new").stat().st_size == size)
    assert (root / "new").read_bytes() == CONTENT[:size]


def test_block_numbers_go_round(stack, root):
    content = random.Random(2).randbytes(8 * 65_540)
    sock = Scripted(content)
    transfer = tftp.Transfer(sock, (HOST, 1), met=True, timeout=1, attempts=1)
    transfer.block = 8
    file = io.BytesIO()
    transfer.receive(file, ack(0))
    assert file.getvalue() == content
    assert sock.acked[65_534:65_538] == [65_534, 65_535, 0, 1]


class Scripted:
    """A socket whose peer sends a file in blocks of eight as soon as it is asked."""

    def __init__(self, content):
        self.content, self.acked, self.waiting = content, [], []

    def settimeout(self, seconds):
        pass

    def sendto(self, packet, peer):
        assert opcode(packet) == ACK
        self.acked.append(struct.unpack("!H", packet[2:])[0])
        n = len(self.acked) - 1
        self.waiting.append(struct.pack("!HH", DATA, n + 1 & 0xFFFF) + self.content[8 * n:8 * n + 8])

    def recvfrom(self, size):
        if len(self.acked) > len(self.content) // 8 + 1:
            raise TimeoutError
        return self.waiting.pop(0), (HOST, 1)


@pytest.mark.parametrize(("name", "error"), [
    ("nothing", FileNotFoundError), ("boot", FileNotFoundError), ("../secret", PermissionError),
    ("boot/../../secret", PermissionError), ("..\\secret", PermissionError), ("link", PermissionError),
    ("/", PermissionError), ("/etc/passwd", FileNotFoundError),
])
def test_refused(stack, server, name, error):
    with pytest.raises(error):
        get(stack, name)


def test_links_in_a_circle(stack, server, root):
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links|No such"):
        get(stack, "a")


def test_a_leading_slash_is_the_root_of_what_is_served(stack, server):
    assert get(stack, "/boot/image")[1] == CONTENT


def test_writing_that_is_refused(stack, server, root, tmp_path):
    with pytest.raises(FileExistsError):
        tftp.put(stack, HOST, "boot/image", io.BytesIO(b"x"))
    with pytest.raises(PermissionError):
        tftp.put(stack, HOST, "../new", io.BytesIO(b"x"))
    with pytest.raises(OSError, match="too large"):
        tftp.put(stack, HOST, "big", io.BytesIO(bytes(100_001)))         # tsize tells
    assert not (tmp_path / "new").exists()
    assert not (root / "big").exists()
    with tftp_server.Server(stack, root, port=70), pytest.raises(PermissionError):
        tftp.put(stack, HOST, "new", io.BytesIO(b"x"), port=70)
    assert not (root / "new").exists()


def test_too_much_without_a_size_is_no_file(stack, server, root):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    with pytest.raises(OSError, match="too large"):
        tftp.put(stack, HOST, "big", Pipe(bytes(100_001)), blksize=20_000)
    until(lambda: not (root / "big").exists())


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 600])
def test_names_that_cannot_be_told(stack, name):
    with pytest.raises(ValueError, match="cannot be asked"):
        get(stack, name)


def test_over_a_bad_line(tmp_path):
    """Loss, duplicates and a changed order both ways."""
    left, right = Wire.pair()
    line = Impaired(left, loss="8%", duplicate="8%", delay="1ms", jitter="1ms", seed=5)
    content = random.Random(3).randbytes(40_000)
    (tmp_path / "file").write_bytes(content)
    how = {"timeout": 0.05, "attempts": 40}
    with netstack.Stack() as a, netstack.Stack() as b:
        a.attach(line, ip="192.0.2.1/24")
        b.attach(right, ip="192.0.2.2/24")
        with tftp_server.Server(b, tmp_path, writable=True, **how):
            file = io.BytesIO()
            transfer = tftp.get(a, "192.0.2.2", "file", file, blksize=1000, **how)
            assert file.getvalue() == content
            assert transfer.size == 40_000
            tftp.put(a, "192.0.2.2", "back", io.BytesIO(content), blksize=1000, **how)
            until(lambda: (tmp_path / "back").stat().st_size == 40_000)
    assert (tmp_path / "back").read_bytes() == content


class Peer:
    """The other end, by hand: says what it is told, hears what comes."""

    def __init__(self, stack, port=0):
        self.sock = stack.socket(real.AF_INET, real.SOCK_DGRAM)
        self.sock.bind((HOST, port))
        self.sock.settimeout(PATIENCE)
        self.to = (HOST, tftp.PORT)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.sock.close()

    def says(self, packet):
        self.sock.sendto(packet, self.to)

    def hears(self):
        packet, self.to = self.sock.recvfrom(70_000)
        return packet


def data(block, text):
    return struct.pack("!HH", DATA, block) + text


def test_no_sorcerers_apprentice(stack, root):
    """A duplicate ACK makes nobody send DATA again."""
    with tftp_server.Server(stack, root, timeout=PATIENCE), Peer(stack) as peer:
        peer.says(request(RRQ, "boot/image", {}))
        assert peer.hears() == data(1, CONTENT[:512])
        for _ in range(3):
            peer.says(ack(1))
        assert peer.hears() == data(2, CONTENT[512:1024])
        peer.says(ack(1))
        peer.says(ack(2))
        assert peer.hears() == data(3, CONTENT[1024:1536])      # and not block 2 again
        peer.says(tftp.failure(0, "enough"))


def test_a_duplicate_of_data_is_acknowledged_again_and_written_once(stack, root):
    with tftp_server.Server(stack, root, writable=True, timeout=PATIENCE), Peer(stack) as peer:
        peer.says(request(WRQ, "new", {}))
        assert peer.hears() == ack(0)
        peer.says(data(1, bytes(512)))
        assert peer.hears() == ack(1)
        peer.says(data(1, bytes(512)))
        assert peer.hears() == ack(1)
        peer.says(data(2, b"end"))
        assert peer.hears() == ack(2)
        peer.says(data(2, b"end"))              # our ACK was lost: the other end dallies
        assert peer.hears() == ack(2)
    assert (root / "new").read_bytes() == bytes(512) + b"end"


def test_what_is_not_answered_is_sent_again_and_then_given_up(stack, root):
    said = []
    with tftp_server.Server(stack, root, timeout=0.02, attempts=3, log=said.append), Peer(stack) as peer:
        peer.says(request(RRQ, "boot/image", {"blksize": 100, "tsize": 0, "timeout": 0}))
        assert [peer.hears() for _ in range(3)] == [oack({"blksize": 100, "tsize": 5000})] * 3
        until(lambda: said)
    assert "no answer" in said[0]


def test_a_request_sent_twice_is_served_once(stack, root):
    with tftp_server.Server(stack, root, timeout=PATIENCE) as server, Peer(stack) as peer:
        for _ in range(2):
            peer.says(request(RRQ, "boot/image", {}))
        assert peer.hears() == data(1, CONTENT[:512])
        peer.says(ack(1))
        assert peer.hears() == data(2, CONTENT[512:1024])
        assert len(server._busy) == 1


def test_strangers_are_sent_away_and_disturb_nothing(stack, root, server):
    with Peer(stack) as peer, Peer(stack) as stranger:
        peer.says(request(RRQ, "boot/image", {}))
        peer.hears()
        stranger.to = peer.to
        stranger.says(ack(1))
        assert stranger.hears()[:4] == struct.pack("!HH", ERROR, tftp.UNKNOWN_TID)
        peer.says(tftp.failure(0, "enough"))


@pytest.mark.parametrize("packet", [b"", b"\0", b"\0\1a", request(RRQ, "boot/image", {})[:-1],
                                    b"\0\1boot/image\0netascii\0", b"\0\1" + b"a" * 600 + b"\0octet\0",
                                    bytes(range(256))])
def test_requests_that_are_none(stack, root, packet):
    said = []
    with tftp_server.Server(stack, root, log=said.append), Peer(stack) as peer:
        peer.says(packet)
        peer.to = (HOST, tftp.PORT)
        peer.says(request(RRQ, "nothing", {}))
        kind, code = struct.unpack("!HH", peer.hears()[:4])
        assert kind == ERROR
        assert code in (tftp.ILLEGAL, tftp.NOT_FOUND)
        until(lambda: said)


@pytest.fixture
def scripted(stack):
    """scripted(script): a server that answers with what `script(peer)` does; an error there fails the test."""
    threads, errors = [], []

    def start(script):
        peer = Peer(stack, tftp.PORT)

        def run():
            try:
                with peer:
                    script(peer)
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=run))
        threads[0].start()

    yield start
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_server_without_options(stack, scripted):
    def script(peer):
        assert opcode(peer.hears()) == RRQ
        peer.says(data(1, bytes(512)))
        assert peer.hears() == ack(1)
        peer.says(data(2, b"end"))
        assert peer.hears() == ack(2)

    scripted(script)
    transfer, found = get(stack, "any", timeout=5)
    assert found == bytes(512) + b"end"
    assert transfer.block == 512


def test_a_server_whose_options_have_no_end(stack, scripted):
    def script(peer):
        peer.hears()
        peer.says(oack({"blksize": 1000})[:-1])
        assert opcode(peer.hears()) == ERROR

    scripted(script)
    with pytest.raises(OSError, match="without an end"):
        get(stack, "any", timeout=60)


@pytest.mark.parametrize("options", [{"blksize": 1429}, {"blksize": 7}, {"blksize": 0}])
def test_a_server_that_makes_up_options(stack, scripted, options):
    def script(peer):
        peer.hears()
        peer.says(oack(options))
        assert peer.hears()[:4] == struct.pack("!HH", ERROR, tftp.OPTIONS)

    scripted(script)
    with pytest.raises(OSError, match="not asked for"):
        get(stack, "any", timeout=60)


def test_a_server_that_ends_while_it_waits_for_a_duplicate_has_the_file(stack, root):
    with tftp_server.Server(stack, root, writable=True, timeout=PATIENCE):
        tftp.put(stack, HOST, "new", io.BytesIO(b"all"))
    assert (root / "new").read_bytes() == b"all"


def test_options_as_words():
    assert tftp.options_of(["BLKSIZE", "100", "tsize", "-1", "windowsize", "4", "timeout"]) == {"blksize": 100}
    assert tftp.strings(oack({"tsize": 3})) == ["tsize", "3"]
    assert opcode(oack({"tsize": 3})) == OACK


def test_nobody_there(stack):
    with pytest.raises(TimeoutError):
        get(stack, "any", timeout=0.01, attempts=2)


def test_the_command(stack, server, root, tmp_path, monkeypatch):
    from contextlib import nullcontext

    monkeypatch.setattr(netstack.cli.tftp, "opened", lambda link: nullcontext(stack))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["tftp", "get", "--time", "0.2", HOST, "boot/image"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "image").read_bytes() == CONTENT
    assert "5000 bytes in blocks of 1428" in done.output
    done = CliRunner().invoke(main, ["tftp", "put", HOST, "image", "copy"])
    assert done.exit_code == 0, done.output
    until(lambda: (root / "copy").read_bytes() == CONTENT)
    done = CliRunner().invoke(main, ["tftp", "get", HOST, "nothing"])
    assert (done.exit_code, done.output) == (1, f"netstack: {HOST}: No such file or directory\n")
    assert not list(tmp_path.glob("*.part"))
