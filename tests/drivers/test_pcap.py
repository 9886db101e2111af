"""Captures: what is written is what other programs read."""
from __future__ import annotations

import errno
import io
import os
import resource
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket, InterfaceDescription, SectionHeader
from scapy.utils import PcapNgReader

from netstack.drivers import CaptureFile, pcap
from netstack.drivers.pcap import Capture, Direction

from .rig import Parts, frame

pytestmark = pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")     # python-pcapng's own

EPOCH = 1_700_000_000 * 10**9


def record(cap: Capture, data: bytes, now: int, *, interface: int = 1, direction: int = Direction.INBOUND) -> None:
    parts = Parts(data[:5], b"", data[5:])
    pcap.frame(cap, interface, direction, parts.address, parts.count, parts.total, now)


def blocks(path) -> list:
    with open(path, "rb") as f:
        return list(FileScanner(f))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.pcapng"


def test_frames_times_directions_and_interfaces(path):
    cap = Capture.new()
    with CaptureFile(path, epoch=EPOCH) as file:
        file.open(cap)
        file.add_interface(1, "tap0", mac=bytes(range(2, 8)), description="to the host")
        record(cap, frame(1), 1)
        file.add_interface(7, "wire1")                                      # later, in the midst of frames
        record(cap, frame(2, 61), 1_000_000_001, interface=7, direction=Direction.OUTBOUND)
        record(cap, frame(3, 1514), 2_000_000_000, direction=Direction.OUTBOUND)
        record(cap, frame(4), 2_000_000_000, interface=9)                   # nobody described it
        assert file.counters == {"frames": 3, "bytes": 60 + 61 + 1514, "dropped": 1, "error": 0}
    section, one, first, two, second, third = blocks(path)
    assert isinstance(section, SectionHeader)
    assert section.options["shb_userappl"] == "netstack"
    assert isinstance(one, InterfaceDescription)
    assert isinstance(two, InterfaceDescription)
    assert one.options["if_name"] == "tap0"
    assert one.options["if_description"] == "to the host"
    assert one.options["if_MACaddr"] == "02:03:04:05:06:07"
    assert two.options["if_name"] == "wire1"
    assert one.link_type == two.link_type == 1
    for block, data, interface, direction, when in ((first, frame(1), 0, 1, EPOCH + 1),
                                                    (second, frame(2, 61), 1, 2, EPOCH + 1_000_000_001),
                                                    (third, frame(3, 1514), 0, 2, EPOCH + 2_000_000_000)):
        assert isinstance(block, EnhancedPacket)
        assert block.packet_data == data
        assert block.packet_len == len(data)
        assert block.interface_id == interface
        assert block.timestamp_high << 32 | block.timestamp_low == when
        assert block.timestamp_resolution == 1e-9
        assert block.options["epb_flags"].inout == ("inbound" if direction == 1 else "outbound")


def test_scapy_reads_it(path):
    cap = Capture.new()
    with CaptureFile(path, epoch=EPOCH) as file:
        file.open(cap)
        file.add_interface(1, "tap0")
        for i in range(5):
            record(cap, frame(i, 60 + i), i * 1_500_000_000, direction=1 + i % 2)
    with PcapNgReader(str(path)) as reader:
        packets = list(reader)
    assert [bytes(p) for p in packets] == [frame(i, 60 + i) for i in range(5)]
    assert [p.time for p in packets] == [1_700_000_000 + 1.5 * i for i in range(5)]
    assert [p.direction for p in packets] == [1, 2, 1, 2, 1]
    assert [p.sniffed_on for p in packets] == ["tap0"] * 5


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
def test_tcpdump_reads_it(path):
    cap = Capture.new()
    arp = bytes.fromhex("ffffffffffff020000000001 0806 0001080006040001 020000000001 0a000001 000000000000 0a000002")
    with CaptureFile(path, epoch=EPOCH) as file:
        file.open(cap)
        file.add_interface(1, "tap0")
        record(cap, arp, 123_456_789)
    run = subprocess.run(["tcpdump", "-n", "-tt", "--nano", "-r", str(path)], capture_output=True, text=True,
                         timeout=60, check=False)
    assert "1700000000.123456789 ARP, Request who-has 10.0.0.2 tell 10.0.0.1" in run.stdout, run.stderr


def test_snaplen(path):
    cap = Capture.new()
    with CaptureFile(path, snaplen=96) as file:
        file.open(cap)
        file.add_interface(1, "tap0")
        record(cap, frame(1, 1514), 0)
        record(cap, frame(2, 60), 0)
    _, one, first, second = blocks(path)
    assert one.snaplen == 96
    assert (first.packet_data, first.packet_len) == (frame(1, 1514)[:96], 1514)
    assert (second.packet_data, second.packet_len) == (frame(2), 60)


@given(st.lists(st.integers(14, 65550), min_size=1, max_size=30))
def test_any_sizes_across_flushes(tmp_path_factory, sizes):
    path = tmp_path_factory.mktemp("capture") / "a.pcapng"
    cap = Capture.new()
    with CaptureFile(path) as file:
        file.open(cap)
        file.add_interface(1, "tap0")
        for i, n in enumerate(sizes):
            record(cap, frame(i, n), i)
    assert [b.packet_data for b in blocks(path)[2:]] == [frame(i, n) for i, n in enumerate(sizes)]


def test_flush_makes_it_visible(path):
    cap = Capture.new()
    with CaptureFile(path) as file:
        assert len(blocks(path)) == 1               # the header is there at once
        file.open(cap)
        file.add_interface(1, "tap0")
        record(cap, frame(1), 0)
        assert len(blocks(path)) == 1
        pcap.flush(cap)
        assert len(blocks(path)) == 3
    record(cap, frame(2), 0)                        # closed: nothing happens
    assert len(blocks(path)) == 3
    assert cap.snapshot() == bytes(len(cap.snapshot()))
    file.close()
    with pytest.raises(OSError, match="closed"):
        file.open(cap)


def test_real_time_by_default(path):
    file = CaptureFile(path)
    assert abs(file._capture.epoch + time.monotonic_ns() - time.time_ns()) < 10**9
    file.close()


def test_a_file_that_cannot_be_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        CaptureFile(tmp_path / "no" / "such")
    with pytest.raises(OSError, match="No space left") as caught:
        CaptureFile("/dev/full")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(ValueError, match="snaplen"):
        CaptureFile(tmp_path / "a", snaplen=-1)
    with CaptureFile(tmp_path / "a") as file, pytest.raises(ValueError, match="below 32"):
        file.add_interface(32, "x")


LIMIT = 600_000

DISK_FULL = f"""
import resource, sys
sys.path[:0] = {sys.path!r}
from tests.drivers.test_pcap import *
resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
cap = Capture.new()
file = CaptureFile(sys.argv[1])
file.open(cap)
file.add_interface(1, "tap0")
for i in range(1000):
    record(cap, frame(i, 1514), i)
assert cap.on == 0 and cap.error == errno.EFBIG, cap.describe()
assert cap.frames + cap.dropped == 1000 and cap.dropped > 500
try:
    file.close()
except OSError as error:
    assert error.errno == errno.EFBIG
else:
    raise AssertionError("close did not tell")
assert file.counters["error"] == errno.EFBIG
print(file.counters["frames"])
"""


def test_a_full_disk_ends_the_capture_with_a_whole_block(path):
    run = subprocess.run([sys.executable, "-c", DISK_FULL, str(path)], check=True, timeout=250, stdout=subprocess.PIPE)
    seen = [b.packet_data for b in blocks(path) if isinstance(b, EnhancedPacket)]
    assert 0 < path.stat().st_size <= LIMIT
    assert seen == [frame(i, 1514) for i in range(len(seen))]
    assert len(seen) == int(run.stdout) > 100
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != LIMIT


def test_a_slow_reader_of_a_pipe_costs_frames_not_blocks():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    cap = Capture.new()
    file = CaptureFile(writer)
    file.open(cap)
    file.add_interface(1, "tap0")
    for i in range(1000):
        record(cap, frame(i, 1514), i)
    dropped = file.counters["dropped"]
    assert cap.on
    assert dropped > 0
    data = b""
    for i in range(1000, 1010):
        while chunk := _read(reader):
            data += chunk
        record(cap, frame(i, 1514), i)
        pcap.flush(cap)
    data += _read(reader)
    file.close()
    os.close(writer)                                # not the file's to close
    data += _read(reader)
    os.close(reader)
    seen = [int.from_bytes(b.packet_data[:14], "big") for b in FileScanner(io.BytesIO(data))
            if isinstance(b, EnhancedPacket)]
    assert seen == [*range(1000 - dropped), *range(1000, 1010)]


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 20)
    except BlockingIOError:
        return b""
