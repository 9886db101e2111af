"""Every state times every segment: RFC 9293 section 3.10.7 as a table, and each of its rows tried.

A segment is one of 32 combinations of flags, with text or without, at one of eight sequence numbers around the receive
window, with one of up to seven acknowledgment numbers.  Each scene below is a connection in one state (all 11, some of
them in two ways).  The table says what every segment does in every scene: what is sent back, which state is next, what
the application sees.

How to read it.  Rows stand in the order of the RFC's checks.  Every row whose scene and condition fit counts: effects
add up, as in the RFC, until a row of kind `drop` ends the processing.  What no row mentions does not happen: the test
compares SND.UNA, SND.WND, RCV.NXT, the state, the text, the urgent mark, the errors and what is on the wire.

The memory of a stack is copied when a scene stands and put back after each segment: "a copy of the range is a copy of
the stack" (netstack/world.py).
"""
from __future__ import annotations

import ctypes
import errno
import itertools
import socket as real
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

import netstack
from netstack import entry
from netstack.endpoint import POLLERR, POLLIN, POLLOUT, POLLRDHUP
from netstack.tcp import tcb
from tests.dialogues import codec
from tests.dialogues.link import ACK, FIN, PSH, RST, SYN, URG, Link, Seg, State

MASK = 0xFFFF_FFFF
WINDOW = 4096               # the receive buffer; RCV.WND is not much less in any scene but ZERO_WINDOW
PEER_WINDOW = 1000          # SND.WND, and MAX.SND.WND
OTHER_WINDOW = 900          # what the segments of the table offer
UP = 5                      # SEG.UP
ROUND_TRIP = 0.1            # s; so that no timer of the sender is near
DELAYED = 0.04              # s
TEXT = 10                   # bytes

# ---- segments: SEG.SEQ relative to RCV.NXT ...

SEQS = {"far below": -70_000, "old": -20, "byte before": -1, "at": 0, "inside": 100, "edge": -1, "above": 1,
        "far above": 0x7000_0000}
FROM_EDGE = ("edge", "above")       # from RCV.NXT+RCV.WND on; an empty segment may stand at that itself, as on Linux


@dataclass
class Scene:
    """A connection in some state."""

    name: str
    link: Link
    sock: Any                       # the application's; None: there is none
    index: int                      # of the Tcb; 0: there is none
    una: int = 0x1000_0000
    max: int = 0x1000_0000
    rcv_nxt: int = 0x2000_0000
    wnd: int = WINDOW
    picture: Any = None
    wl: tuple[int, int] = (0, 0)    # SND.WL1, SND.WL2

    def acks(self) -> dict[str, int]:
        """... and SEG.ACK relative to SND.UNA: `all` is SND.NXT, `some` a part of it."""
        flight = (self.max - self.una) & MASK
        found = {"ancient": -PEER_WINDOW - 1, "oldest": -PEER_WINDOW, "old": -1, "una": 0}
        found |= {"some": 10} if flight > 10 else {}
        found |= {"all": flight} if flight else {}
        return found | {"future": flight + 1}


@dataclass(frozen=True)
class Arrival:
    """A segment of the table, as its conditions see it."""

    scene: Scene = field(repr=False)
    flags: int
    text: int               # SEG.LEN without SYN and FIN
    seq: str                # of SEQS
    ack: str                # of Scene.acks, or "" without the ACK bit

    def __str__(self) -> str:
        names = [name for name, bit in (("SYN", SYN), ("FIN", FIN), ("RST", RST), ("ACK", ACK), ("URG", URG))
                 if self.flags & bit]
        return f"{'|'.join(names) or 'no flags'}, seq {self.seq}, ack {self.ack or '-'}, {self.text} bytes"

    @property
    def offset(self) -> int:
        """SEG.SEQ, from RCV.NXT on."""
        return SEQS[self.seq] + ((self.scene.wnd or WINDOW) if self.seq in FROM_EDGE else 0)

    def has(self, flags: int) -> bool:
        """Whether one of the flags is set."""
        return self.flags & flags != 0

    @property
    def len(self) -> int:
        """SEG.LEN"""
        return self.text + self.has(SYN) + self.has(FIN)

    @property
    def in_window(self) -> bool:
        """RCV.NXT =< SEG.SEQ < RCV.NXT+RCV.WND"""
        return 0 <= self.offset < self.scene.wnd

    @property
    def acceptable(self) -> bool:
        """Table 6 of the RFC.  Differs: a FIN without text is taken when the window is shut, as on Linux."""
        if self.scene.wnd == 0:
            return self.seq == "at" and (self.len == 0 or (self.len == 1 and self.flags & (FIN | SYN) == FIN))
        return self.in_window or (self.len > 0 and 0 <= self.offset + self.len - 1 < self.scene.wnd)

    @property
    def start(self) -> int:
        """Where its text begins, from RCV.NXT on; the SYN that RCV.NXT follows from stands before it."""
        return 0 if self.scene.name == "SYN_SENT" else self.offset + self.has(SYN)

    @property
    def fits(self) -> bool:
        """Its FIN is in the window."""
        return self.start + self.text < self.scene.wnd


# ---- the table

SILENCE, LATER, AN_ACK, SYN_ACK, ABORT, RESET, RESET_ACK = range(7)
SENT = ("nothing",
        "an ACK after 40 ms",
        "<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>",
        "<SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>",
        "<SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>",
        "<SEQ=SEG.ACK><CTL=RST>",
        "<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>")

HANDSHAKE = "SYN_RECEIVED SYN_RECEIVED_ACTIVE"
OPEN = "ESTABLISHED ZERO_WINDOW FIN_WAIT_1 FIN_WAIT_2 ORPHAN_1 ORPHAN_2"        # the peer may still send text
ENDED = "CLOSE_WAIT CLOSING LAST_ACK TIME_WAIT"                                 # it has sent its FIN
SYNCHRONIZED = f"{OPEN} {ENDED}"
OTHERS = f"{HANDSHAKE} {SYNCHRONIZED}"
When = Callable[[Arrival], bool]


@dataclass(frozen=True)
class Row:
    """If a segment fits, this happens."""

    check: str                                  # the RFC's paragraph
    scenes: str
    when: When
    reply: int = SILENCE
    to: str = ""                                # the next scene: its name decides which of the following rows fit
    app: str = ""                               # what the application sees
    drop: bool = False                          # "drop the segment and return"
    then: str = ""                              # the check to go on with
    takes: bool = False                         # the ACK field counts
    restart: bool = False                       # "restart the 2 MSL timeout"
    why: str = ""                               # the RFC's words, or why it is different


def drop(check: str, scenes: str, when: When, reply: int = SILENCE, why: str = "", **more: Any) -> Row:
    """A row that ends the processing."""
    return Row(check, scenes, when, reply, drop=True, why=why, **more)


TABLE = (
    # ---- 3.10.7.1  CLOSED
    drop("CLOSED", "CLOSED", lambda s: s.has(RST), SILENCE, "An incoming segment containing a RST is discarded."),
    drop("CLOSED", "CLOSED", lambda s: not s.has(ACK), RESET_ACK, "If the ACK bit is off, sequence number zero"),
    drop("CLOSED", "CLOSED", lambda s: s.has(ACK), RESET, "If the ACK bit is on"),

    # ---- 3.10.7.2  LISTEN
    drop("first", "LISTEN", lambda s: s.has(RST), SILENCE, "An incoming RST should be ignored."),
    drop("second", "LISTEN", lambda s: s.has(ACK), RESET, "Any acknowledgment is bad"),
    drop("third", "LISTEN", lambda s: s.has(SYN) and s.has(FIN), SILENCE, "Differs, as Linux: nothing honest sends it"),
    drop("third", "LISTEN", lambda s: s.has(SYN), SYN_ACK, "... changed to SYN-RECEIVED.  Differs: text that came with "
         "it is not kept, the peer sends it again", to="SYN_RECEIVED"),
    drop("fourth", "LISTEN", lambda s: True, SILENCE, "Drop the segment and return."),

    # ---- 3.10.7.3  SYN-SENT
    drop("first", "SYN_SENT", lambda s: s.has(ACK) and s.ack != "all" and s.has(RST), SILENCE,
         "(unless the RST bit is set, if so drop the segment and return)"),
    drop("first", "SYN_SENT", lambda s: s.has(ACK) and s.ack != "all", RESET,
         "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset"),
    drop("second", "SYN_SENT", lambda s: s.has(RST) and s.has(ACK), SILENCE, "If the ACK was acceptable, ... enter "
         "CLOSED state.  The error is Linux's", to="CLOSED", app="ECONNREFUSED"),
    drop("second", "SYN_SENT", lambda s: s.has(RST), SILENCE, "Otherwise (no ACK), drop the segment and return."),
    drop("fifth", "SYN_SENT", lambda s: not s.has(SYN), SILENCE, "if neither of the SYN or RST bits is set"),
    drop("fourth", "SYN_SENT", lambda s: not s.has(ACK), SYN_ACK, "Otherwise, enter SYN-RECEIVED.  Differs: text and "
         "FIN that came with it are not kept, the peer sends them again", to="SYN_RECEIVED_ACTIVE"),
    Row("fourth", "SYN_SENT", lambda s: True, AN_ACK, "ESTABLISHED", "writable", takes=True, then="sixth",
        why="If SND.UNA > ISS (our SYN has been ACKed), ... ESTABLISHED, ... continue processing at the sixth step"),

    # ---- 3.10.7.4  Other states
    # first, check sequence number
    drop("first", "TIME_WAIT", lambda s: s.flags & ~URG == SYN and s.offset > 0, SYN_ACK, "new connections can be "
         "accepted; without timestamps one that begins above RCV.NXT (MAY-2, RFC 6191 section 2)", to="SYN_RECEIVED"),
    drop("first", HANDSHAKE, lambda s: s.flags & (SYN | ACK | RST) == SYN and s.seq == "byte before", SYN_ACK,
         "the peer's SYN once more: our answer was lost"),
    Row("first", "SYN_RECEIVED_ACTIVE", lambda s: s.flags & (SYN | ACK | RST) == SYN | ACK and
        s.seq == "byte before" and s.ack == "all", SILENCE, "ESTABLISHED", "writable", takes=True, then="sixth",
        why="3.5, figure 7, line 6.  Differs: by the letter it is an old duplicate"),
    drop("first", "ZERO_WINDOW", lambda s: s.has(RST) and s.seq == "at", SILENCE, "special allowance should be made to "
         "accept valid ... RSTs", to="CLOSED", app="ECONNRESET"),
    drop("first", OTHERS, lambda s: not s.acceptable and s.has(RST), SILENCE, "unless the RST bit is set"),
    Row("first", "ZERO_WINDOW", lambda s: s.len > 0 and not s.acceptable and s.seq == "at" and
        s.ack in ("una", "some", "all"), AN_ACK, takes=True,
        why="special allowance should be made to accept valid ACKs"),
    Row("first", "ZERO_WINDOW", lambda s: s.len > 0 and not s.acceptable and s.seq == "at" and s.has(URG) and
        s.ack in ("una", "some", "all"), AN_ACK, app="urgent", why="... URGs"),
    Row("first", "TIME_WAIT", lambda s: not s.acceptable and s.has(FIN), AN_ACK, restart=True,
        why="(fifth) a retransmission of the remote FIN.  Acknowledge it, and restart the 2 MSL timeout."),
    drop("first", OTHERS, lambda s: not s.acceptable, AN_ACK, "an acknowledgment should be sent in reply"),

    # second, check the RST bit
    drop("second", OTHERS, lambda s: s.has(RST) and not s.in_window, SILENCE, "1) outside the current receive window"),
    drop("second", OTHERS, lambda s: s.has(RST) and s.seq != "at", AN_ACK, "3) a challenge ACK (RFC 5961 3.2)"),
    drop("second", "SYN_RECEIVED", lambda s: s.has(RST), SILENCE, "return this connection to LISTEN state ... The user "
         "need not be informed.", to="CLOSED"),
    drop("second", "SYN_RECEIVED_ACTIVE", lambda s: s.has(RST), SILENCE, "the connection was refused", to="CLOSED",
         app="ECONNREFUSED"),
    drop("second", "ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 ORPHAN_1 ORPHAN_2", lambda s: s.has(RST), SILENCE,
         "\"connection reset\" ... Enter the CLOSED state", to="CLOSED", app="ECONNRESET"),
    drop("second", "CLOSE_WAIT", lambda s: s.has(RST), SILENCE, "the same; the error is Linux's", to="CLOSED",
         app="EPIPE"),
    drop("second", "CLOSING LAST_ACK", lambda s: s.has(RST), SILENCE, "enter the CLOSED state.  Differs, as Linux: "
         "it is an error, for text was not acknowledged", to="CLOSED", app="ECONNRESET"),
    drop("second", "TIME_WAIT", lambda s: s.has(RST), SILENCE, "Differs: RFC 1337 section 3, fix F1"),

    # fourth, check the SYN bit
    drop("fourth", "SYN_RECEIVED", lambda s: s.has(SYN), SILENCE, "If the connection was initiated with a passive "
         "OPEN, then return this connection to the LISTEN state and return.", to="CLOSED"),
    drop("fourth", f"SYN_RECEIVED_ACTIVE {SYNCHRONIZED}", lambda s: s.has(SYN), AN_ACK,
         "irrespective of the sequence number ... a challenge ACK (RFC 5961 4.2)"),

    # fifth, check the ACK field
    drop("fifth", OTHERS, lambda s: not s.has(ACK), SILENCE, "if the ACK bit is off, drop the segment and return"),
    drop("fifth", HANDSHAKE, lambda s: s.ack != "all", RESET, "If the segment acknowledgment is not acceptable, form a "
         "reset segment"),
    Row("fifth", "SYN_RECEIVED", lambda s: True, SILENCE, "ESTABLISHED", "acceptable", takes=True,
        why="If SND.UNA < SEG.ACK =< SND.NXT, then enter ESTABLISHED state"),
    Row("fifth", "SYN_RECEIVED_ACTIVE", lambda s: True, SILENCE, "ESTABLISHED", "writable", takes=True),
    drop("fifth", SYNCHRONIZED, lambda s: s.ack == "future", AN_ACK, "If the ACK acks something not yet sent"),
    drop("fifth", SYNCHRONIZED, lambda s: s.ack == "ancient", AN_ACK, "(SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT "
         "... discarded and an ACK sent back (RFC 5961 5.2)"),
    Row("fifth", SYNCHRONIZED, lambda s: s.ack not in ("oldest", "old"), takes=True, why="set SND.UNA <- SEG.ACK ... "
        "set SND.WND <- SEG.WND; if the ACK is a duplicate (SEG.ACK < SND.UNA), it can be ignored"),
    Row("fifth", "FIN_WAIT_1", lambda s: s.ack == "all", to="FIN_WAIT_2", why="if the FIN segment is now acknowledged, "
        "then enter FIN-WAIT-2 and continue processing in that state"),
    Row("fifth", "ORPHAN_1", lambda s: s.ack == "all", to="ORPHAN_2"),
    Row("fifth", "CLOSING", lambda s: s.ack == "all", to="TIME_WAIT", why="if the ACK acknowledges our FIN, then enter "
        "the TIME-WAIT state"),
    drop("fifth", "LAST_ACK", lambda s: s.ack == "all", SILENCE, "If our FIN is now acknowledged, ... enter the CLOSED "
         "state, and return.", to="CLOSED"),

    # sixth, check the URG bit
    Row("sixth", "ESTABLISHED ZERO_WINDOW FIN_WAIT_1 FIN_WAIT_2", lambda s: s.has(URG), app="urgent",
        why="signal the user that the remote side has urgent data if the urgent pointer is in advance of ...; a read "
        "stops before the byte that it means, as on Linux (tcp(7); RFC 6093 3.4): see `reads`"),
    # (ENDED: "Ignore the URG.")

    # seventh, process the segment text
    drop("seventh", "ORPHAN_1 ORPHAN_2", lambda s: s.text > 0, RESET, "3.6.1: if new data is received after CLOSE is "
         "called, its TCP SHOULD send a RST to show that data was lost", to="CLOSED"),
    Row("seventh", "ESTABLISHED FIN_WAIT_1 FIN_WAIT_2", lambda s: s.text > 0 and s.start == 0, LATER, app="text",
        why="deliver segment data to user RECEIVE buffers; send an acknowledgment (3.8.6.3: delayed)"),
    Row("seventh", "ESTABLISHED FIN_WAIT_1 FIN_WAIT_2", lambda s: s.text > 0 and s.start == 0 and not s.has(FIN) and
        s.scene.name in HANDSHAKE.split(), AN_ACK, why="the first text of a connection is acknowledged at once, as on "
        "Linux: the peer is in slow start (quickack.py)"),
    Row("seventh", "ESTABLISHED FIN_WAIT_1 FIN_WAIT_2", lambda s: s.text > 0 and s.start < 0, AN_ACK,
        app="text", why="only the new parts are processed; the others may mean that our ACK was lost"),
    Row("seventh", "ESTABLISHED FIN_WAIT_1 FIN_WAIT_2", lambda s: s.text > 0 and s.start > 0, AN_ACK,
        why="MAY send an ACK ... in the window but not at the left window edge (MAY-13; RFC 5681 4.2: SHOULD)"),
    Row("seventh", ENDED, lambda s: s.text > 0, AN_ACK, why="Ignore the segment text.  It is answered all the same, "
        "for the peer would only send it again"),

    # eighth, check the FIN bit
    Row("eighth", "ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 ORPHAN_1 ORPHAN_2", lambda s: s.has(FIN) and s.fits and
        s.start > 0, AN_ACK, why="Segments with higher beginning sequence numbers SHOULD be held (SHLD-31)"),
    Row("eighth", "ESTABLISHED", lambda s: s.has(FIN) and s.start <= 0, LATER, app="end", why="... and send "
        "an ACK: as on Linux with what the application answers, or after the delay (quickack.py)"),
    Row("eighth", "ESTABLISHED", lambda s: s.has(FIN) and s.start <= 0 and s.text == 0 and
        s.scene.name in HANDSHAKE.split(), AN_ACK, why="no text has come that the delay could be taken from"),
    Row("eighth", "ZERO_WINDOW", lambda s: s.has(FIN) and s.start <= 0, AN_ACK, to="CLOSE_WAIT", app="end",
        why="as in ESTABLISHED; at once, since the peer may be probing our window"),
    Row("eighth", "FIN_WAIT_1 FIN_WAIT_2 ORPHAN_1 ORPHAN_2", lambda s: s.has(FIN) and s.start <= 0, AN_ACK,
        app="end", why="signal the user \"connection closing\", ... advance RCV.NXT over the FIN, and send an ACK"),
    Row("eighth", "TIME_WAIT", lambda s: s.has(FIN) and s.fits, AN_ACK, restart=True, why="Restart the 2 MSL timeout."),
    Row("eighth", ENDED, lambda s: s.has(FIN), AN_ACK, why="Remain in the ... state."),
    Row("eighth", "FIN_WAIT_1 ORPHAN_1", lambda s: s.has(FIN) and s.start <= 0, to="CLOSING", why="otherwise, enter "
        "the CLOSING state"),
    Row("eighth", "FIN_WAIT_2 ORPHAN_2", lambda s: s.has(FIN) and s.start <= 0, to="TIME_WAIT",
        why="Enter the TIME-WAIT state."),
    Row("eighth", "ESTABLISHED", lambda s: s.has(FIN) and s.start <= 0, to="CLOSE_WAIT",
        why="Enter the CLOSE-WAIT state."),
)

ALIASES = {"SYN_RECEIVED_ACTIVE": State.SYN_RECEIVED, "ZERO_WINDOW": State.ESTABLISHED, "ORPHAN_1": State.FIN_WAIT_1,
           "ORPHAN_2": State.FIN_WAIT_2}
SCENES = ("CLOSED", "LISTEN", "SYN_SENT", *OTHERS.split())


def state_of(scene: str) -> State:
    """The state that a scene is in."""
    return ALIASES.get(scene) or State[scene]


@dataclass
class Outcome:
    """What a segment does."""

    reply: int = SILENCE
    state: State = State.CLOSED
    app: set[str] = field(default_factory=set)
    takes: bool = False
    restart: bool = False
    rows: list[Row] = field(default_factory=list)


def expected(s: Arrival) -> Outcome:
    """Walk the table."""
    at = s.scene.name
    found = Outcome()
    then = ""
    for row in TABLE:
        if then not in ("", row.check):
            continue
        then = ""
        if at not in row.scenes.split() or not row.when(s):
            continue
        found.rows.append(row)
        found.reply = max(found.reply, row.reply)
        found.app |= set(row.app.split())
        found.takes |= row.takes
        found.restart |= row.restart
        at, then = row.to or at, row.then
        if row.drop:
            break
    found.state = state_of(at)
    if s.scene.name.startswith("ORPHAN"):
        found.app.clear()                       # nobody is there to see it
    return found


# ---- the scenes

PROFILE = netstack.Profile(connections=8, sockets=2, runs=64, buffers=1 << 20, neighbours=4)


def converse(link: Link, conn: Any) -> None:
    """Text in both directions, all of it read and acknowledged: old numbers are really old."""
    for _ in range(3):
        conn.send(bytes(500))
        link.drain()
        link.advance(ROUND_TRIP)
        link.peer_sends(ACK, data=bytes(50))
        conn.recv(100)
        link.advance(ROUND_TRIP)
    link.drain()


def build(name: str, version: int) -> Scene:
    """Bring a connection there."""
    link = Link(version, profile=PROFILE, tcp_rmem=(4096, 2 * WINDOW, 2 * WINDOW), tcp_wmem=(4096, WINDOW, WINDOW))
    peer_closes = name in ("CLOSE_WAIT", "LAST_ACK")
    if name == "CLOSED":
        return Scene(name, link, None, 0)
    if name == "LISTEN":
        return Scene(name, link, link.listen(), 0)
    if name in ("SYN_SENT", "SYN_RECEIVED_ACTIVE"):
        sock = link.connect()
        link.expect(SYN)
        if name == "SYN_RECEIVED_ACTIVE":
            link.peer_sends(SYN, seq=999, wnd=PEER_WINDOW, mss=1460)
            link.drain()
        return Scene(name, link, sock, sock._handle & MASK)
    link.listen(SO_OOBINLINE=1)
    link.peer_sends(SYN, seq=999, wnd=PEER_WINDOW, mss=1460)
    link.expect(SYN | ACK)
    if name == "SYN_RECEIVED":
        return Scene(name, link, link.server, next(t.ep.index for t in link.tcp_tcbs()))
    link.advance(ROUND_TRIP)
    link.peer_sends(ACK, ack=1)
    conn = link.accept()
    index = conn._handle & MASK
    converse(link, conn)
    if peer_closes:
        link.peer_sends(FIN | ACK)
        link.drain()
    if name not in ("FIN_WAIT_2", "TIME_WAIT", "ORPHAN_2"):
        conn.send(bytes(20))
    if name in ("FIN_WAIT_1", "FIN_WAIT_2", "CLOSING", "LAST_ACK", "TIME_WAIT"):
        conn.shutdown(real.SHUT_WR)
    if name.startswith("ORPHAN"):
        conn.close()
        conn = None
    if name in ("FIN_WAIT_2", "TIME_WAIT", "ORPHAN_2"):
        link.drain()
        link.advance(ROUND_TRIP)
        link.peer_sends(ACK)
    if name == "CLOSING":
        link.drain()
        link.peer_sends(FIN | ACK, ack=link.talk().sent - 21)
    if name == "TIME_WAIT":
        link.peer_sends(FIN | ACK)
        link.advance(10)
    if name == "ZERO_WINDOW":
        for n in (1024,) * 4:
            link.peer_sends(ACK, data=bytes(n), ack=link.talk().sent - 20)
            link.advance(ROUND_TRIP / 10)
            link.drain()
    return Scene(name, link, conn, index)


def stage(name: str, version: int) -> Scene:
    """The scene, ready: its numbers, and the image of its stack."""
    scene = build(name, version)
    link = scene.link
    link.drain()
    assert link.state() == (state_of(name) if scene.index else State.CLOSED)
    if scene.index:
        t = tcb.get(link.tcp, scene.index)
        scene.una, scene.max, scene.wl = t.snd_una, t.snd_max, (t.snd_wl1, t.snd_wl2)
        if name != "SYN_SENT":
            scene.rcv_nxt, scene.wnd = t.rcv_nxt, (t.rcv_adv - t.rcv_nxt) & MASK
            assert scene.wnd == 0 if name == "ZERO_WINDOW" else WINDOW // 2 < scene.wnd <= WINDOW
            assert (t.snd_wnd, t.max_window) == (PEER_WINDOW, PEER_WINDOW)
    scene.picture = link.picture()
    return scene


def put_back(scene: Scene) -> None:
    """As if nothing had come."""
    scene.link.put_back(scene.picture)


@pytest.fixture(scope="module")
def scenes() -> Iterator[Callable[[str, int], Scene]]:
    """scenes(name, version): built once."""
    made: dict[tuple[str, int], Scene] = {}

    def find(name: str, version: int) -> Scene:
        if (name, version) not in made:
            made[name, version] = stage(name, version)
        return made[name, version]

    yield find
    for scene in made.values():
        put_back(scene)
        scene.link.close()


# ---- what happens

OUT_OF_BAND = ("SYN_SENT", "SYN_RECEIVED_ACTIVE")       # SO_OOBINLINE is off: the urgent byte leaves the stream


def reads(scene: Scene, s: Arrival, seg: Seg, waiting: bytes, text: bytes,
          want: Outcome) -> tuple[bytes, list[bytes]]:
    """What MSG_OOB gives, where SO_OOBINLINE is off, and then one recv after the other.

    SEG.UP points behind the urgent byte, as RFC 6093 section 2.2 has found it everywhere.
    """
    mark = UP - 1 - (s.text - len(text))
    if "urgent" not in want.app or s.text == 0 or s.start + UP > (scene.wnd or WINDOW):
        return b"", [x for x in [waiting + text] if x]
    if scene.name not in OUT_OF_BAND:
        return b"", [x for x in [waiting + text[:mark], text[mark:]] if x]
    byte = seg.data[UP - 1:UP]                                      # also when it stands beyond a hole
    return byte, [x for x in [waiting + text[:mark], text[mark + 1:]] if x]


def read(scene: Scene) -> tuple[bytes, list[bytes]]:
    """... what it does give."""
    found, byte = [], b""
    if scene.name in OUT_OF_BAND:
        with suppress(OSError):                                     # EINVAL: nothing is urgent
            byte = bytes(scene.sock.recv(1, real.MSG_OOB))
    with suppress(BlockingIOError):
        while got := bytes(scene.sock.recv(1 << 16)):
            found.append(got)
    scene.link.drain()
    return byte, found


def peek(scene: Scene) -> bytes:
    """The text that waits for the application."""
    try:
        return bytes(scene.sock.recv(1 << 16, real.MSG_PEEK))
    except BlockingIOError:
        return b""


def act(scene: Scene, s: Arrival) -> tuple[list[str], Outcome]:
    """Let the segment arrive: what is wrong, and what was expected."""
    link, want, wrong = scene.link, expected(s), []
    held = scene.sock is not None and scene.name in SYNCHRONIZED
    waiting = peek(scene) if held else b""
    before = entry.poll(scene.sock._world, scene.sock._handle) if scene.sock is not None else 0
    linger = tcb.get(link.tcp, scene.index).clocks.linger if scene.index else 0
    seg = arrival(scene, s)
    link.inject(codec.build(seg, codec.address(link.theirs), codec.address(link.ours)))

    # what was sent back
    advanced = 0
    if "text" in want.app:
        advanced = s.text + s.start
    text = bytes((seg.seq + s.has(SYN) + s.text - advanced + i) & 0xFF for i in range(advanced))
    in_syn = scene.name in ("SYN_SENT", "LISTEN") or (want.reply == SYN_ACK and scene.name == "TIME_WAIT")
    nxt = seg.seq + 1 if in_syn else scene.rcv_nxt
    nxt = (nxt + advanced + (1 if want.state in FIN_SEEN and scene.name not in ENDED else 0)) & MASK
    wrong += check_reply(scene, seg, want, nxt)

    # the state and the variables
    states = set(link.states().values()) - {State.LISTEN, State.CLOSED}
    if states != ({want.state} if want.state not in (State.CLOSED, State.LISTEN) else set()):
        wrong.append(f"state is {states}, not {want.state.name}")
    if scene.index and want.state != State.CLOSED and not (in_syn and scene.name == "TIME_WAIT"):
        wrong += check_variables(scene, seg, want, nxt)
        t = tcb.get(link.tcp, scene.index)
        restarted = scene.name == "TIME_WAIT" and t.clocks.linger != linger
        if restarted != want.restart and scene.name == "TIME_WAIT":
            wrong.append(f"2 MSL timeout {'re' if restarted else 'not '}started")

    # the application
    if scene.sock is not None:
        wrong += check_application(scene, s, seg, want, before, waiting, text)
    return wrong, want


FIN_SEEN = (State.CLOSE_WAIT, State.CLOSING, State.TIME_WAIT)


def arrival(scene: Scene, s: Arrival) -> Seg:
    """The segment itself.  Each byte of its text tells its sequence number."""
    seq = (scene.rcv_nxt + s.offset) & MASK
    ack = (scene.una + scene.acks()[s.ack]) & MASK if s.ack else 0x7777_7777
    text = bytes((seq + s.has(SYN) + i) & 0xFF for i in range(s.text))
    return Seg(scene.link.peer_port, scene.link.port, seq, ack, s.flags | (PSH if s.text else 0), OTHER_WINDOW,
               UP if s.has(URG) else 0, text)


def check_reply(scene: Scene, seg: Seg, want: Outcome, nxt: int) -> list[str]:
    """What the stack sends, and that it sends nothing more."""
    link = scene.link
    at_once = list(link.queue)
    link.queue.clear()
    link.advance(DELAYED)
    later = list(link.queue)
    link.queue.clear()
    if want.reply == LATER:
        at_once, later = later, at_once
    sent = at_once + later
    if want.reply == SILENCE or len(sent) != 1 or later:
        return [] if want.reply == SILENCE and not sent else [f"sent {[str(x) for x in sent]}, not {SENT[want.reply]}"]
    got = sent[0]
    fields = (got.flags & ~PSH, got.seq, got.ack)
    wanted = {
        LATER: (ACK, scene.max, nxt), AN_ACK: (ACK, scene.max, nxt), ABORT: (RST | ACK, scene.max, nxt),
        SYN_ACK: (SYN | ACK, got.seq if scene.name in ("LISTEN", "TIME_WAIT") else scene.una, nxt),
        RESET: (RST, seg.ack, 0), RESET_ACK: (RST | ACK, 0, (seg.end & MASK)),
    }[want.reply]
    if scene.name == "TIME_WAIT" and want.reply == SYN_ACK and not 0 < (got.seq - scene.max) & MASK < 1 << 31:
        return [f"the new ISS {got.seq} is not beyond {scene.max}"]
    return [] if fields == wanted else [f"sent {got}, not {SENT[want.reply]} with (flags, seq, ack) {wanted}"]


def check_variables(scene: Scene, seg: Seg, want: Outcome, nxt: int) -> list[str]:
    """SND.UNA, SND.WND, RCV.NXT."""
    t = tcb.get(scene.link.tcp, scene.index)
    una, wnd = scene.una, PEER_WINDOW
    if want.takes and seg.flags & ACK:
        una = seg.ack
        newer = (seg.seq - scene.wl[0]) & MASK
        if 0 < newer < 1 << 31 or (newer == 0 and (seg.ack - scene.wl[1]) & MASK < 1 << 31):
            wnd = OTHER_WINDOW
    if scene.name in ("SYN_SENT", *HANDSHAKE.split()):
        wnd = t.snd_wnd                                 # a SYN sets it in any case
    found = {"SND.UNA": (t.snd_una, una), "SND.WND": (t.snd_wnd, wnd)}
    if scene.name != "SYN_SENT" or want.reply in (SYN_ACK, AN_ACK):
        found["RCV.NXT"] = (t.rcv_nxt, nxt)
    return [f"{name} is {is_}, not {shall}" for name, (is_, shall) in found.items() if is_ != shall]


def check_application(scene: Scene, s: Arrival, seg: Seg, want: Outcome, before: int, waiting: bytes,
                      text: bytes) -> list[str]:
    """What the socket shows that it did not show before."""
    sock = scene.sock
    bits = entry.poll(sock._world, sock._handle)
    new = bits & ~before
    saw = set()
    if sock is scene.link.server:
        saw |= {"acceptable"} if new & POLLIN else set()
        want.app -= {"text", "urgent", "end"}           # the child's; nobody has it yet
    else:
        error = sock.getsockopt(real.SOL_SOCKET, real.SO_ERROR)
        if bits & POLLERR and not error:
            saw.add("POLLERR without an error")
        if error:
            saw.add(errno.errorcode[error])
        if scene.name in ("SYN_SENT", "SYN_RECEIVED_ACTIVE"):
            saw |= {"writable"} if new & POLLOUT and not error else set()
            waiting = b""
        one = tcb.get(scene.link.tcp, scene.index)
        saw |= {"urgent"} if scene.index and tcb.rare(one).urgent.mark else set()
        saw |= {"end"} if new & POLLRDHUP and want.state != State.CLOSED else set()
        if not error and want.state != State.CLOSED:
            got, due = read(scene), reads(scene, s, seg, waiting, text, want)
            saw |= {"text"} if len(b"".join(got[1])) > len(waiting) else set()
            if got != due:
                return [f"the application reads {got}, not {due}"]
    return [] if saw == want.app else [f"the application sees {sorted(saw)}, not {sorted(want.app)}"]


# ---- the tests

FLAGS = [sum(bits) for n in range(6) for bits in itertools.combinations((SYN, FIN, RST, ACK, URG), n)]


def arrivals(scene: Scene, flags: int) -> Iterator[Arrival]:
    """Every segment with these flags."""
    for text, seq, ack in itertools.product((0, TEXT), SEQS, scene.acks() if flags & ACK else ("",)):
        yield Arrival(scene, flags, text, seq, ack)


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("name", SCENES)
def test_every_segment(scenes, name, version):
    scene = scenes(name, version)
    problems = []
    for flags in FLAGS if version == 4 else [f for f in FLAGS if not f & URG]:     # the rows are the same: a sample
        for s in arrivals(scene, flags):
            put_back(scene)
            wrong, want = act(scene, s)
            if wrong:
                rows = "; ".join(f"{row.check}: {row.why}" for row in want.rows) or "no row"
                problems.append(f"{s}\n    {', '.join(wrong)}\n    {rows}")
    assert not problems, f"{len(problems)} segments in {name}, the first:\n" + "\n".join(problems[:12])


def test_every_row_is_needed(scenes):
    """Every row of the table, in each of its scenes, says something of some segment."""
    used = set()
    for name in SCENES:
        scene = scenes(name, 4)
        for flags in FLAGS:
            for s in arrivals(scene, flags):
                used |= {id(row) for row in expected(s).rows}
    assert not [f"{row.scenes} {row.check}: {row.why}" for row in TABLE if id(row) not in used]


def test_every_state_is_there():
    assert {state_of(name) for name in SCENES} == set(State)


def test_a_copy_of_the_range_is_a_copy_of_the_stack(scenes):
    """What this file stands on: after a segment and `put_back` the memory is what it was, and time as well."""
    scene = scenes("ESTABLISHED", 4)
    put_back(scene)
    memory = scene.link.stack._memory
    before = ctypes.string_at(memory.address, memory.size)
    wrong, _ = act(scene, Arrival(scene, RST, 0, "at", ""))
    assert not wrong
    assert scene.link.state() == State.CLOSED
    put_back(scene)
    assert ctypes.string_at(memory.address, memory.size) == before
    assert scene.link.state() == State.ESTABLISHED
