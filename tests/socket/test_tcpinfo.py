"""struct tcp_info: the kernel's bytes and ours have the same fields in the same places."""
from __future__ import annotations

import socket as real
import threading
from contextlib import ExitStack

import netstack
from netstack import tcpinfo
from netstack.drivers import Wire
from netstack.tcp import info

RATE = 123_456_789          # bytes/s, for SO_MAX_PACING_RATE
SO_MAX_PACING_RATE = 47


def told(conn):
    return tcpinfo.unpack(conn.getsockopt(real.IPPROTO_TCP, tcpinfo.TCP_INFO, tcpinfo.SIZE))


def exchange(client, server):
    """1000 bytes there, 300 back; what both ends say then."""
    client.setsockopt(real.SOL_SOCKET, SO_MAX_PACING_RATE, RATE)
    client.sendall(bytes(1000))
    assert len(server.recv(4096)) == 1000
    server.sendall(bytes(300))
    assert len(client.recv(4096)) == 300
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    return told(client), told(server)


def check(one, two, syn):
    """Values that follow from the exchange; `syn`: the client's `bytes_acked` counts the SYN too."""
    assert one["state"] == two["state"] == 1
    assert one["options"] & 7 == two["options"] & 7 == 7
    assert (one["snd_wscale"], one["rcv_wscale"]) == (two["rcv_wscale"], two["snd_wscale"])
    assert (one["bytes_sent"], one["bytes_received"]) == (1001, 300)
    assert (two["bytes_sent"], two["bytes_received"]) == (300, 1001)
    assert (one["data_segs_out"], one["data_segs_in"]) == (2, 1)
    assert (two["data_segs_out"], two["data_segs_in"]) == (1, 2)
    assert one["bytes_acked"] in (1000 + syn, 1001 + syn)
    assert two["bytes_acked"] == 300
    assert two["delivered"] == 2                        # the SYN and one segment
    assert one["max_pacing_rate"] == RATE
    assert two["max_pacing_rate"] == (1 << 64) - 1
    assert (one["snd_cwnd"], two["snd_cwnd"]) >= (10, 10)
    assert one["snd_ssthresh"] == 0x7FFF_FFFF
    assert one["reordering"] == 3
    assert 0 < one["min_rtt"] <= one["rtt"] + 1 < 30_000_000
    assert 200_000 <= one["rto"] < 30_000_000
    assert 40_000 <= two["ato"] <= 60_000               # more if it took some time until the second segment came
    assert one["snd_mss"] <= one["advmss"] == one["pmtu"] - 52
    assert one["rcv_mss"] <= one["advmss"]
    for a, b in ((one, two), (two, one)):
        assert a["snd_wnd"] > 10_000
        assert a["rcv_wnd"] >= b["snd_wnd"] - 2000
        assert a["rcv_space"] > 0
    for name in ("ca_state", "retransmits", "probes", "backoff", "sacked", "lost", "retrans", "fackets",
                 "last_ack_sent", "total_retrans", "notsent_bytes", "rwnd_limited", "sndbuf_limited", "delivered_ce",
                 "bytes_retrans", "dsack_dups", "reord_seen", "rcv_ooopack", "total_rto", "total_rto_recoveries",
                 "total_rto_time", "fastopen_client_fail"):
        assert one.get(name, 0) == two.get(name, 0) == 0, name
    assert one["segs_in"] <= one["segs_out"] <= 6
    assert max(one["last_data_sent"], one["last_data_recv"], one["last_ack_recv"]) < 5000


def test_the_kernel():
    with ExitStack() as life:
        server = life.enter_context(real.create_server(("127.0.0.1", 0)))
        client = life.enter_context(real.create_connection(server.getsockname()))
        conn = life.enter_context(server.accept()[0])
        for sock in (client, conn):
            sock.setsockopt(real.IPPROTO_TCP, real.TCP_NODELAY, 1)
        one, two = exchange(client, conn)
        check(one, two, 1)


def test_a_stack():
    a, b = Wire.pair()
    with netstack.Stack() as left, netstack.Stack() as right, ExitStack() as life:
        left.attach(a, ip="192.0.2.1/24")
        right.attach(b, ip="192.0.2.2/24")
        server = life.enter_context(right.create_server(("192.0.2.2", 80)))
        accepted = []
        thread = threading.Thread(target=lambda: accepted.append(server.accept()[0]))
        thread.start()
        client = life.enter_context(left.create_connection(("192.0.2.2", 80)))
        thread.join()
        conn = life.enter_context(accepted[0])
        for sock in (client, conn):
            sock.setsockopt(real.IPPROTO_TCP, real.TCP_NODELAY, 1)
        one, two = exchange(client, conn)
        assert client.info().keys() == one.keys()
        check(one, two, 0)


def test_places():
    """linux/tcp.h, as far as its ABI goes today."""
    places = {"rto": 8, "snd_mss": 16, "unacked": 24, "last_data_sent": 44, "pmtu": 60, "rtt": 68, "snd_cwnd": 80,
              "rcv_space": 96, "total_retrans": 100, "pacing_rate": 104, "bytes_acked": 120, "segs_out": 136,
              "notsent_bytes": 144, "delivery_rate": 160, "busy_time": 168, "delivered": 192, "bytes_sent": 200,
              "dsack_dups": 216, "snd_wnd": 228, "rcv_wnd": 232, "rehash": 236, "total_rto": 240, "total_rto_time": 244,
              "received_ce": 248, "delivered_e1_bytes": 252, "received_ce_bytes": 272, "ecn": 276}
    fields = vars(info.Info)["_layout_"]
    assert {name: fields[name].offset for name in places} == places
    assert info.SIZE == 280
    assert info.BBR_SIZE == 20
