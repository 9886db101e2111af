"""The script language: what is read, and what is said of what cannot be."""
from __future__ import annotations

import pytest

from netstack.lab.drill.parser import parse
from netstack.lab.drill.script import (
    ACK,
    AE,
    CWR,
    ECE,
    FIN,
    NS,
    PSH,
    SYN,
    At,
    Braces,
    Call,
    Clock,
    Code,
    Command,
    Dots,
    Field,
    IcmpPacket,
    Number,
    Option,
    Or,
    ScriptError,
    Several,
    TcpPacket,
    Text,
    UdpPacket,
    Unsupported,
    When,
)


def one(text, **keywords):
    """The only event of a script."""
    [event] = parse(text, **keywords).events
    return event


def packet(text):
    return one(f"0 {text}").action


@pytest.mark.parametrize(("text", "when"), [
    ("0", When(Clock.ABSOLUTE, 0)),
    ("1.25", When(Clock.ABSOLUTE, 1_250_000_000)),
    ("+0", When(Clock.RELATIVE, 0)),
    ("+.1", When(Clock.RELATIVE, NS // 10)),
    ("+0.000001", When(Clock.RELATIVE, 1000)),
    ("*", When(Clock.ANY)),
    ("1~2", When(Clock.ABSOLUTE, NS, 2 * NS)),
    ("+.1~+.2", When(Clock.RELATIVE, NS // 10, NS // 5)),
])
def test_times(text, when):
    assert one(f"{text} > . 1:1(0) ack 1").when == when


def test_duration_of_a_call():
    call = one("+0...0.200 connect(3, ..., ...) = 0").action
    assert call.until == When(Clock.RELATIVE, NS // 5)
    assert one("+.1 ... .2 close(3) = 0").action.until == When(Clock.RELATIVE, NS // 5)


@pytest.mark.parametrize(("text", "flags"), [
    ("S", SYN), ("S.", SYN | ACK), (".", ACK), ("P.", PSH | ACK), ("FP.", FIN | PSH | ACK), ("-", 0),
    ("SEW", SYN | ECE | CWR), ("SEWA", SYN | ECE | CWR | AE), (".5", ACK | AE | ECE), ("P.2", PSH | ACK | CWR),
])
def test_flags(text, flags):
    assert packet(f"> {text} 1:1(0)").flags == flags


def test_segment():
    got = packet("< [ect0] 1000 > 80 P. 1:101(100) ack 7 win 500 urg 9 <nop,nop,TS val 1 ecr 2>")
    assert got == TcpPacket(At(1, 3), True, PSH | ACK, 1, 100, 7, 500, 9,
                            (Option("nop"), Option("nop"), Option("TS", (1, 2))), got.ip, (1000, 80))
    assert got.ip.ecn == 2
    assert packet("> (tos 0x28) S 0:0(0)").ip.tos == 0x28
    assert packet("> [ce, flowlabel 0x12345] S 0:0(0)").ip.flow == 0x12345
    assert packet("> S 0:0(0) <...>").options is None
    assert packet("> S 0:0(0)").options == ()


@pytest.mark.parametrize(("text", "option"), [
    ("mss 1460", Option("mss", (1460,))), ("wscale 7", Option("wscale", (7,))), ("sackOK", Option("sackOK")),
    ("eol", Option("eol")), ("sack 1:2 3:4", Option("sack", ((1, 2), (3, 4)))), ("FO", Option("FO", (b"",))),
    ("FO 0123abcd", Option("FO", (b"\x01\x23\xab\xcd",))), ("FOEXP aa11", Option("FOEXP", (b"\xaa\x11",))),
    ("exp-fastopen aa11", Option("FOEXP", (b"\xaa\x11",))),
    ("ECN e1b 1 ceb 0 e0b 2", Option("ECN", (("e1b", 1), ("ceb", 0), ("e0b", 2)))),
])
def test_tcp_options(text, option):
    assert packet(f"> S 0:0(0) <{text}>").options == (option,)


def test_other_packets():
    assert packet("< udp (100)") == UdpPacket(At(1, 3), True, 100)
    assert packet("> udp 1 > 2 (100)").ports == (1, 2)
    assert packet("< icmp unreachable frag_needed mtu 1200 [1:1001(1000)]") == IcmpPacket(
        At(1, 3), True, "unreachable", "frag_needed", 1200, 1, 1000)
    assert packet("< icmp unreachable port_unreachable [udp (5)]").seq is None


def test_calls():
    call = one('0 write(3, "a\\n" "b", 3) = -1 EAGAIN (Resource temporarily unavailable)').action
    assert call == Call(At(1, 3), "write", (Number(At(1, 9), 3), Text(At(1, 12), b"a\nb"), Number(At(1, 23), 3)),
                        Number(At(1, 28), -1), "EAGAIN", None, call.text)
    assert call.text == 'write(3, "a\\n" "b", 3) = -1'
    call = one("0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0x802 (flags O_RDWR|O_NONBLOCK)").action
    assert isinstance(call.arguments[2], Or)
    assert call.result == Number(At(1, 42), 0x802)
    call = one("0 setsockopt(3, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0").action
    assert isinstance(call.arguments[3], Braces)
    assert set(call.arguments[3].fields()) == {"onoff", "linger"}
    call = one("0 sendmsg(3, {msg_name(...)=..., msg_iov(1)=[{..., 10}], msg_flags=0}, 0) = 10").action
    field = call.arguments[1].fields()["msg_iov"]
    assert isinstance(field, Field)
    assert isinstance(field.value, Several)
    assert isinstance(one("0 accept(3, ..., ...) = ...").action.result, Dots)


def test_comments_commands_and_code():
    script = parse("""// one
--ip_version=ipv4   # two
--define=SIZE=100
/* three
   lines */
`sysctl -q net.ipv4.tcp_sack=0`
0 %{
  x = 1
  assert x == 1
}%
+0 `echo 1 > /proc/sys/net/ipv4/tcp_sack`
+0 write(3, ..., SIZE) = SIZE
`/tmp/sysctl_restore_1.sh`
""")
    assert [(name, value) for _, name, value in script.options] == [("ip_version", "ipv4"), ("define", "SIZE=100")]
    assert script.first == Command(At(6, 1), "sysctl -q net.ipv4.tcp_sack=0")
    code, command, write = (e.action for e in script.events)
    assert isinstance(code, Code)
    assert code.text.strip() == "x = 1\nassert x == 1"
    assert command.at == At(11, 4)
    assert write.result == Number(At(12, 26), 100)
    assert script.last is not None


def test_defines():
    assert one("0 close(FD) = 0", defines={"FD": "4"}).action.arguments == (Number(At(1, 9), 4),)
    assert one("0 write(3, WHAT, 2) = 2", defines={"WHAT": '"ab"'}).action.arguments[1] == Text(At(1, 12), b"ab")


@pytest.mark.parametrize(("text", "line", "column", "message"), [
    ("", 1, 1, "expected an event, found the end of the script"),
    ("0 close(3) = 0\n+0 <", 2, 5, "expected TCP flags"),
    ("0 > S 0:0(0) mss 5", 1, 14, "expected a time in seconds, found 'mss'"),
    ("0 > S 0:0(0) <mss>", 1, 18, "expected an MSS, found '>'"),
    ("0 > S 0:0(0) <mss 1460", 1, 23, "expected '>' or ',' after a TCP option, found the end of the script"),
    ("0 > S 0:0(0) <mms 1460>", 1, 15, "expected a TCP option"),
    ("0 > S 0:0(0) <mss 70000>", 1, 19, "an MSS must be at most 65535"),
    ("0 > SX 0:0(0)", 1, 6, "found 'X'"),
    ("0 > . 1:5(5) ack 1", 1, 7, "expected 1:6(5)"),
    ("0 < . 1:1(0) ack 1 <...>", 1, 21, "<...> is for packets that the stack sends"),
    ("0 < [ect01] . 1:1(0) ack 1", 1, 6, "[ect01]"),
    ("* < . 1:1(0) ack 1", 1, 1, "'*' and ranges"),
    ("2~1 > . 1:1(0) ack 1", 1, 1, "backwards"),
    ("+1~2 > . 1:1(0)", 1, 4, "expected '+'"),
    ("0 close(3)", 1, 11, "expected '=' and the expected result"),
    ("0 close(3 = 0", 1, 11, "expected ')' or ','"),
    ("0 close(3) = -1 EBADF", 1, 22, "the error's message in parentheses"),
    ("0 close(3) = ,", 1, 14, "expected a value"),
    ("0 close", 1, 3, "a system call"),
    ("0 %{ assert 1", 1, 3, "never closed: expected }%"),
    ("/* 0 close(3) = 0", 1, 1, "never closed: expected */"),
    ("0 `true", 1, 3, "never closed"),
    ("0 $", 1, 3, "found '$'"),
    ("0 > S 0:0(0) <FO 123>", 1, 18, "hexadecimal"),
    ("0...1 > S 0:0(0)", 1, 1, "for system calls that block"),
])
def test_errors_name_line_and_column(text, line, column, message):
    with pytest.raises(ScriptError) as caught:
        parse(text)
    assert (caught.value.at.line, caught.value.at.column) == (line, column), caught.value.message
    assert message in caught.value.message


@pytest.mark.parametrize(("text", "column", "what"), [
    ("0 < ipv4 192.0.2.2 > 192.0.2.1: udp (1)", 5, "encapsulation"),
    ("0 > S 0:0(0) <mp_capable v1>", 15, "Multipath TCP"),
    ("0 < icmp echo_request id 5", 23, "ICMP echo"),
])
def test_what_is_not_supported(text, column, what):
    with pytest.raises(Unsupported) as caught:
        parse(text)
    assert caught.value.at == At(1, column)
    assert what in caught.value.message
