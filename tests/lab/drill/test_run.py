"""Running scripts: that each kind of difference is seen, and said where."""
from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from netstack.cli.drill import command
from netstack.lab.drill import Mismatch, ScriptError, Unsupported, info, run_text
from netstack.lab.drill.info import unpack
from netstack.lab.drill.script import At, Code

SCRIPTS = Path(__file__).parents[2] / "dialogues"
OPEN = """    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0 < S 0:0(0) win 20000 <mss 1000>
   +0 > S. 0:0(0) ack 1 <mss 1460>
  +.1 < . 1:1(0) ack 1 win 20000
   +0 accept(3, ..., ...) = 4
"""
LINE = OPEN.count("\n") + 1         # the first one after it


def run(text, **keywords):
    """A script on an open connection."""
    return run_text(OPEN + text, "x.pkt", **keywords)


def error(text, kind=Mismatch, line=LINE, **keywords):
    """How it fails."""
    outcome = run(text, **keywords)
    assert type(outcome.error) is kind, outcome.report()
    assert outcome.error.at.line == line
    assert outcome.status == kind.status
    return outcome.error.message


WRITE = "+0 write(4, ..., 100) = 100\n"


@pytest.mark.parametrize(("text", "message"), [
    ("+0 > F. 1:101(100) ack 1", "the flags are P., not F."),
    ("+0 > P. 1:102(101) ack 1", "the sequence numbers are 1:101(100), not 1:102(101)"),
    ("+0 > P. 2:102(100) ack 1", "the sequence numbers are 1:101(100), not 2:102(100)"),
    ("+0 > P. 1:101(100) ack 2", "ack is 1, not 2"),
    ("+0 > P. 1:101(100) ack 1 win 1", "win is 64240, not 1"),
    ("+0 > P. 1:101(100) ack 1 urg 5", "urg is 0, not 5"),
    ("+0 > P. 1:101(100) ack 1 <nop,nop,TS val 1 ecr 1>", "the options are <>, not <nop,nop,TS val 1 ecr 1>"),
    ("+0 > [ect0] P. 1:101(100) ack 1", "the ECN field is noecn, not ect0"),
    ("+0 > (tos 0x10) P. 1:101(100) ack 1", "tos is 0x0, not 0x10"),
    ("+0 > (ttl 5) P. 1:101(100) ack 1", "ttl is 64, not 5"),
    ("+0 > 8080 > 5 P. 1:101(100) ack 1", "the ports are 8080 > 50001, not 8080 > 5"),
    ("+.1 > P. 1:101(100) ack 1", "it came at 0.100000 s, not at 0.200000"),
    ("+0 > udp (100)", "it is not UDP"),
    ("+0 > icmp unreachable port_unreachable", "it is not ICMP"),
])
def test_a_packet_that_differs(text, message):
    said = error(WRITE + text, line=LINE + 1)
    assert message in said
    assert "expected: " in said
    assert "actual:   0.100000 > P. 1:101(100) ack 1 win 64240" in said


def test_no_packet():
    assert "the stack sent nothing" in error("+1 > . 1:1(0) ack 1")


def test_the_story_is_told():
    outcome = run(WRITE + "+0 > F. 1:1(0) ack 1")
    assert "x.pkt:9:1: " in outcome.report()
    assert "    0.100000 < . 1:1(0) ack 1 win 20000" in outcome.report().splitlines()


def test_tolerance():
    late = WRITE + "+0 > P. 1:101(100) ack 1\n+.300 > P. 1:101(100) ack 1\n"
    assert run(late).status == 0
    assert run(late.replace(".300", ".290")).status == 0                # an eighth of the time is let pass
    assert run(late.replace(".300", ".260")).status == 1
    for option in ("--tolerance_usecs=1000\n--tolerance_percent=0\n",):
        assert run_text(option + OPEN + late, "x.pkt").status == 0
        assert run_text(option + OPEN + late.replace(".300", ".298"), "x.pkt").status == 1
    assert run(late.replace("+.300", "+.1~+.4")).status == 0
    assert run(late.replace("+.300", "*")).status == 0


def test_relative_time_after_any_time():
    assert run(WRITE + "* > P. 1:101(100) ack 1\n* > P. 1:101(100) ack 1\n+.6 > P. 1:101(100) ack 1").status == 0


def test_segments_of_one_piece():
    text = "+0 write(4, ..., 3000) = 3000\n+0 > P. 1:3001(3000) ack 1\n"
    assert run(text).status == 0
    assert run_text("--strict_segments\n" + OPEN + text).status == 1
    assert run("+0 write(4, ..., 3000) = 3000\n+0 > P. 1:4001(4000) ack 1\n").status == 1


@pytest.mark.parametrize(("text", "message"), [
    ("+0 write(4, ..., 100) = 50", "write() returned 100, not 50"),
    ("+0 write(9, ..., 100) = 100", "write() returned -1 EBADF (Bad file descriptor), not 100"),
    ("+0 fcntl(4, F_SETFL, O_NONBLOCK) = 0\n+0 read(4, ..., 5) = 5", "read() returned -1 EAGAIN"),
    ("+0 fcntl(4, F_SETFL, O_NONBLOCK) = 0\n+0 read(4, ..., 5) = -1 EPIPE (Broken pipe)", "not -1 EPIPE (Broken pipe)"),
    ("+0 read(4, ..., 5) = 5", "read() blocks: it is to return at once"),
    ("+0 getsockopt(4, SOL_TCP, TCP_NODELAY, [1], [4]) = 0", "TCP_NODELAY is 0, not 1"),
    ("+0 ioctl(4, SIOCINQ, [5]) = 0", "it is 0, not 5"),
    ("+0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLIN}], 1, 0) = 1", "revents is POLLOUT, not POLLIN"),
])
def test_a_result_that_differs(text, message):
    assert message in error(text, line=LINE + text.count("\n"))


def test_when_a_call_returns():
    text = "+0...0.500 read(4, ..., 100) = 10\n+.{} < P. 1:11(10) ack 1 win 20000\n+.1 close(4) = 0\n"
    assert run(text.format(5)).status == 0
    assert "read() returned at 0.300000 s, not at 0.600000 s" in error(text.format(2), line=LINE)
    assert "read() has not returned" in error("+0...0.5 read(4, ..., 100) = 10\n", line=LINE)
    text = "+0...0.5 read(4, ..., 1) = -1 EAGAIN (Resource temporarily unavailable)\n+.1 close(4) = 0\n"
    text = "+0 setsockopt(4, SOL_SOCKET, SO_RCVTIMEO, {tv_sec=0, tv_usec=500000}, 16) = 0\n" + text
    assert "close() can begin only at 0.600000 s" in error(text, line=LINE + 2)


CONNECT = """    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
   +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
   +0 > S 0:0(0) <...>
"""
SYNACK = "+.1 < S. 123:123(0) ack 1 win 20000 <mss 1000,sackOK>\n"


@pytest.mark.parametrize(("text", "message"), [
    ("+0 > . 1:1(0) ack 124", "ack is 1, not 124"),
    ("+0 > . 1:1(0) ack 1\n+0 < P. 11:21(10) ack 1 win 20000\n+0 > . 1:1(0) ack 1 <sack 134:144>",
     "sack 11:21, not sack 134:144"),
    ("+0 > . 1:1(0) ack 1\n+0 < P. 124:134(10) ack 1 win 20000\n+0 > . 1:1(0) ack 11",
     "ack is 1, not 11"),
])
def test_numbers_count_from_the_peers_syn(text, message):
    outcome = run_text(CONNECT + SYNACK + text)
    assert isinstance(outcome.error, Mismatch), outcome.report()
    assert message in outcome.error.message


def test_a_synack_that_the_stack_refuses_does_not_count():
    outcome = run_text(CONNECT + "+0 < S. 500:500(0) ack 999 win 20000 <mss 1000>\n+0 > R 999:999(0)\n" + SYNACK
                       + "+0 > . 1:1(0) ack 1\n+0 < P. 1:11(10) ack 1 win 20000\n+0 > . 1:1(0) ack 11\n"
                       + "+0 read(3, ..., 100) = 10\n+0 < P. 21:31(10) ack 1 win 20000\n")
    assert outcome.status == 0, outcome.report()
    assert outcome.story[-1].endswith("> . 1:1(0) ack 11 win 64230 <sack 21:31>")


def test_an_option_is_an_int_of_c():
    assert run("+0 setsockopt(4, SOL_TCP, TCP_NOTSENT_LOWAT, [0xffffffff], 4) = 0\n"
               "+0 getsockopt(4, SOL_TCP, TCP_NOTSENT_LOWAT, [0xffffffff], [4]) = 0\n"
               "+0 getsockopt(4, SOL_TCP, TCP_NOTSENT_LOWAT, [-1], [4]) = 0").status == 0
    assert "is 0, not 1" in error("+0 getsockopt(4, SOL_TCP, TCP_NODELAY, [1], [4]) = 0", Mismatch)


def test_data_is_compared():
    assert run('+0 write(4, "hello", 5) = 5\n+0 > P. 1:6(5) ack 1').status == 0
    said = error('+0 < P. 1:6(5) ack 1 win 500\n+0 read(4, "hello", 5) = 5', line=LINE + 1)
    assert "the data is" in said


@pytest.mark.parametrize(("text", "what"), [
    ("+0 `ip route add default dev tun0`", "the shell command 'ip route add default dev tun0'"),
    ("+0 `tc qdisc add dev tun0 root fq`", "the shell command"),
    ("+0 `rm -rf /tmp/x`", "the shell command"),
    ("+0 `echo 1 > /tmp/x`", "the shell command"),
    ("+0 `dd if=/dev/sda of=/tmp/x count=1`", "the shell command"),
    ('+0 open("/etc/passwd", O_RDWR) = 5', "open() for anything but reading"),
    ("+0 splice(4, 5, 6) = 0", "the system call splice"),
    ("+0 setsockopt(4, SOL_TCP, TCP_ULP, [1], 4) = 0", "the socket option TCP_ULP"),
    ("+0 send(4, ..., 10, MSG_ZEROCOPY) = 10", "flags"),
    ("+0 send(4, ..., 10, MSG_WHATEVER) = 10", "the symbol MSG_WHATEVER"),
    ("+0 < icmp whatever [1:1(0)]", "the ICMP message whatever"),
])
def test_unsupported(text, what):
    assert what in error(text, Unsupported)


@pytest.mark.parametrize("text", [
    "+0 write(4, ..., 99999999999) = 1", "+0 read(4, ..., -1) = 0", "+2000000 close(4) = 0",
    "+0 sendmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 99999999999}], msg_flags=0}, 0) = 1",
    "+0 close(4) = -1 ENOSUCH (No such error)", "+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 4",
    "+0 shutdown(4, 99999999999) = 0", "+0 close() = 0", "+0 write(4, ..., ...) = 0", "0 close(4) = 0",
])
def test_mistakes(text):
    error(text, ScriptError)


def test_whatever_is_written_there_is_an_answer():
    """A script with holes, words exchanged and numbers too large ends as one of three."""
    rng = random.Random(5)
    texts = [f.read_text() for f in sorted(SCRIPTS.glob("*.pkt"))]
    odd = ["0", "-1", "99999999999", "...", "[",
           "{", "}", "*", "+", "x", "SOCK_DGRAM", "AF_UNIX", "65536", '"s"', "`", "%{"]
    statuses = set()
    for _ in range(400):
        words = re.findall(r"\s+|\w+|\W", rng.choice(texts))
        for _ in range(rng.randint(1, 3)):
            i = rng.randrange(len(words))
            change = rng.randrange(3)
            if change == 0:
                del words[i:i + rng.randint(1, 3)]
            else:
                words[i] = rng.choice(odd) if change == 1 else rng.choice(words)
        statuses.add(run_text("".join(words)).status)
    assert statuses == {0, 1, 2}


def test_option_lines():
    for text, kind in (("--wire_client\n", Unsupported), ("--nothing=1\n", Unsupported), ("--mtu=x\n", ScriptError),
                       ("--ip_version=ipv5\n", ScriptError)):
        outcome = run_text(text + OPEN, "x.pkt")
        assert type(outcome.error) is kind
        assert outcome.error.at.line == 1
    assert run_text("--bind_port=99\n--local_ip=192.168.0.7\n--mtu=1400\n" + OPEN.replace("1460", "1360")).status == 0


def settings(script, **keywords):
    """The notes of a script that only sets things."""
    return run_text(script + "\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n", "x.pkt", **keywords)


@pytest.mark.parametrize("text", [
    "sysctl -q net.ipv4.tcp_syn_retries=1", "sysctl -w net.ipv4.tcp_syn_retries=1",
    "sysctl -q -w net/ipv4/tcp_syn_retries=1", "echo 1 > /proc/sys/net/ipv4/tcp_syn_retries",
    "../common/defaults.sh\n../common/set_sysctls.py /proc/sys/net/ipv4/tcp_syn_retries=1",
    "./set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0 /proc/sys/net/ipv4/tcp_syn_retries=1",
    "true; sysctl -q net.ipv4.tcp_syn_retries=1 && true",
])
def test_commands_that_set(text):
    outcome = run_text(f"""`{text}`
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0...3 connect(3, ..., ...) = -1 ETIMEDOUT (Connection timed out)
+0 > S 0:0(0) <...>
+1 > S 0:0(0) <...>
`/tmp/sysctl_restore_${{PPID}}.sh`
""", "x.pkt")
    assert outcome.status == 0, outcome.report()
    assert outcome.notes == []


@pytest.mark.parametrize(("where", "seconds"), [(".", (1, 1, 1)), ("../../common", (1, 2, 4))])
def test_the_defaults_of_each_project(where, seconds):
    """The kernel's are of its day: four SYNs a second apart before the timeout grows; packetdrill's are older."""
    lines = "".join(f"+{s} > S 0:0(0) <...>\n" for s in (0, *seconds))
    outcome = run_text(f"`{where}/defaults.sh`\n0 socket(..., SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 3\n"
                       f"+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)\n{lines}", "x.pkt")
    assert outcome.status == 0, outcome.report()


def test_a_setting_that_the_stack_has_not():
    outcome = settings("`sysctl -q net.ipv4.tcp_nothing=1\n sysctl -q net.ipv4.tcp_nothing=1`")
    assert outcome.status == 0
    assert outcome.notes[0] == ("x.pkt:1:2: net.ipv4.tcp_nothing=1 has no effect: "
                                "the stack has no setting net.ipv4.tcp_nothing")


def test_a_value_out_of_range():
    assert "must be" in settings("`sysctl -q net.ipv4.tcp_syn_retries=9999`").notes[0]


def test_the_command_that_is_refused_is_named():
    outcome = run_text("`true\n  sysctl -q net.ipv4.tcp_sack=0; ip link set x up`\n0 close(3) = 0", "x.pkt")
    assert isinstance(outcome.error, Unsupported)
    assert (outcome.error.at.line, outcome.error.at.column) == (2, 34)


def test_tcp_info_by_name():
    raw = bytes([1, 2, 3, 4, 5, 6, 0x78, 1]) + b"".join(i.to_bytes(4, "little") for i in range(24))
    got = unpack(raw)
    assert got["tcpi_state"] == 1
    assert got["tcpi_snd_wscale"] == 8
    assert got["tcpi_rcv_wscale"] == 7
    assert got["tcpi_rto"] == 0
    assert got["tcpi_snd_cwnd"] == 18
    assert got["tcpi_total_retrans"] == 23
    assert "tcpi_pacing_rate" not in got
    assert unpack(raw + (9).to_bytes(8, "little"))["tcpi_pacing_rate"] == 9


def code(text):
    """Run Python on a TCP_INFO whose congestion window is 18."""
    raw = bytes(8) + b"".join(i.to_bytes(4, "little") for i in range(24))
    info.run(Code(At(5, 1), text), "x.pkt", raw, {})


def test_assertions():
    code("assert tcpi_snd_cwnd == 18, tcpi_snd_cwnd; \\\n  assert tcpi_ca_state == TCP_CA_Open")
    with pytest.raises(Mismatch) as caught:
        code("x = 1\nassert tcpi_snd_cwnd == 10, tcpi_snd_cwnd")
    assert caught.value.message == "assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd\n  tcpi_snd_cwnd = 18"
    with pytest.raises(Mismatch, match="ZeroDivisionError"):
        code("1 / 0")
    with pytest.raises(Unsupported, match="tcpi_nothing"):
        code("assert tcpi_nothing == 0")
    with pytest.raises(Unsupported, match="tcpi_pacing_rate"):
        code("assert tcpi_pacing_rate == 0")
    with pytest.raises(ScriptError, match="the Python"):
        code("assert (")


# ---- the command

@pytest.fixture
def cli(tmp_path):
    def invoke(*arguments, **scripts):
        for name, text in scripts.items():
            (tmp_path / f"{name}.pkt").write_text(text)
        return CliRunner().invoke(command, [*arguments, *(str(tmp_path / f"{name}.pkt") for name in scripts)])
    return invoke


def test_exit_status(cli):
    good, bad, wrong, foreign = OPEN, OPEN + "+0 close(9) = 0\n", "0 what\n", "0 `reboot`\n"
    assert cli(a=good).exit_code == 0
    assert cli(a=bad).exit_code == 1
    assert cli(a=wrong).exit_code == 2
    assert cli(a=foreign).exit_code == 2
    assert cli(a=good, b=foreign).exit_code == 2
    assert cli(a=good, b=foreign, c=bad).exit_code == 1


def test_summary(cli):
    result = cli("--ip-version", "all", a=OPEN, b="--ip_version=ipv6\n" + OPEN, c=OPEN + "+0 close(9) = 0\n")
    assert result.output.splitlines()[-1] == "7 runs: 4 ok, 3 failed, 0 that cannot be run"


def test_messages_name_the_place(cli):
    result = cli(a=OPEN + "+0 what\n")
    assert f"a.pkt:{LINE}:4: expected a packet" in result.output


def test_verbose(cli):
    assert "0.100000 < . 1:1(0) ack 1 win 20000" in cli("-v", a=OPEN).output.splitlines()


def test_defines(cli):
    assert cli("-D", "PORT=5", a=OPEN + "+0 close(PORT) = 0\n").exit_code == 1
    assert cli("--define", "PORT=4", a=OPEN + "+0 close(PORT) = 0\n").exit_code == 0
    assert cli("-D", "PORT", a=OPEN).exit_code == 2
