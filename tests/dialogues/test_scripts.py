"""The scripts beside this file, each over IPv4, IPv6 and v4-mapped addresses, unless it says which itself."""
from __future__ import annotations

from pathlib import Path

import pytest

import netstack
from netstack.lab.drill import run_file
from netstack.lab.drill.run import VERSIONS

SCRIPTS = sorted(Path(__file__).parent.glob("*.pkt"))

TCP = Path(netstack.__file__).parent / "tcp"
# Files of netstack/tcp that are no mechanism of a connection, but what all share: the records, the ways in and out.
SHARED = set("""
    acked algorithms arrives calls congestion demux foresee gro header inplace output ranges receive recovery runs seq
    stats tcb timeouts
""".split())         # noqa: SIM905 - a table
MECHANISMS = {
    "accecn": ["accecn"], "accecn_option": ["accecn"], "ack": ["sack_overtaken"], "arrivals": ["time_of_arrival"],
    "bbr": ["bbr"],
    "challenge": ["reset_blind"], "cookies": ["syn_cookies"], "cubic": ["cubic"],
    "cwv": ["restart_after_idle", "slow_start_unused"], "defer": ["defer_accept"], "disconnect": ["disconnect"],
    "drs": ["window_growth"], "dsack": ["dsack_sent"], "ecn": ["ecn_sender", "ecn_receiver", "ecn_fallback", "abe"],
    "eor": ["records"], "fastopen": ["fastopen_server"], "fastopen_client": ["fastopen_client", "fastopen_connect"],
    "frto": ["frto"], "hystart": ["slow_start_paced"], "icmp": ["open_icmp_error", "path_mtu"],
    "info": ["info_recovery", "info_slow_start", "info_timeout"], "isn": ["initial_numbers"],
    "listen": ["open_passive", "accept_queue"], "memory": ["memory"], "mtu_probe": ["mtu_probe"],
    "newreno": ["newreno"], "orphan": ["orphan_retries", "fin_wait_2"], "pacing": ["pacing"],
    "path": ["path_mtu", "mss_clamp"], "prr": ["prr"], "quickack": ["quickack", "delayed_ack"],
    "rack": ["rack_lost_retransmission"], "rate": ["bbr"], "reno": ["reno", "limited_transmit_reno"],
    "rto": ["retransmission_timeout", "retransmission_limit"], "sack": ["sack_recovery", "sack_order", "reneging"],
    "space": ["window_fixed", "write_blocking"], "synack": ["open_synack_retransmission", "syn_cookies"],
    "timestamps": ["timestamps_echo", "timestamps_clock", "paws", "time_wait_reuse"],
    "tlp": ["tail_loss_probe", "tail_loss_probe_new"], "undo": ["undo_timestamps", "undo_dsack"], "urgent": ["urgent"],
    "usertimeout": ["user_timeout"], "window": ["receive_window", "window_clamp", "zero_window"],
}


def runs():
    for script in SCRIPTS:
        text = script.read_text()
        versions = [v for v in VERSIONS if f"--ip_version={v}\n" in text] or VERSIONS
        yield from (pytest.param(script, v, id=f"{script.stem}-{v}") for v in versions)


@pytest.mark.parametrize(("script", "version"), list(runs()))
def test_script(script, version):
    outcome = run_file(script, ip_version=version)
    assert outcome.ip_version == version
    assert outcome.error is None, outcome.report()
    assert not outcome.notes


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.stem)
def test_script_says_what_it_is_about(script):
    assert script.read_text().startswith("// ")


def test_each_mechanism_has_its_script():
    files = {path.stem for path in TCP.glob("*.py")} - SHARED - {"__init__"}
    assert files == set(MECHANISMS)
    scripts = {script.stem for script in SCRIPTS}
    assert {name for names in MECHANISMS.values() for name in names} <= scripts
