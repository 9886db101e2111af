"""Any two applications over any link: every byte once and in order, or both are told; and everything comes back."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netstack.machine.mode import BOUNDSCHECK, JIT

from .story import CALLS, LINKS, SETTINGS, SIZES, WAITS, Step, Story, Told, tell

ROOT = Path(__file__).resolve().parents[2]


def chosen(table):
    """One value for each name."""
    return st.tuples(*(st.tuples(st.just(name), st.sampled_from(values)) for name, values in table.items()))


steps = st.builds(Step, st.sampled_from(WAITS), st.sampled_from("ab"), st.sampled_from(CALLS), st.sampled_from(SIZES))
stories = st.builds(Story, st.integers(0, 2**32), chosen(LINKS), chosen(SETTINGS),
                    st.lists(steps, max_size=40).map(tuple))


@given(stories)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_story(story):
    tell(story)


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_stories_by_number(first):
    """The same ones every time."""
    for number in range(first, first + 50):
        tell(Story.random(number))


@pytest.mark.parametrize("text", [
    # both applications write to a full window while nobody reads, and then all at once
    "1/rtt=0.02,mtu=1500/0:a.pause.1/50:b.pause.1/0:a.send.100000/0:b.send.100000/0:a.send.100000/10000:a.shutdown.1",
    # one gives up while its text is on the way
    "2/rtt=0.2,rate=300000,mtu=576/1000:a.send.100000/1000:a.abort.1",
    # closing with text unread resets
    "3/rtt=0.02,mtu=1500/100:b.pause.1/0:a.send.3000/200:b.close.1",
    # the link dies, and never comes back
    "4/rtt=0.02,mtu=1500/100:a.send.20000/5:a.loss.3/0:b.send.500",
    # what is written last is not acknowledged before the peer has gone
    "5/rtt=0.02,mtu=1500,tcp_retries2=5/100:b.pause.1/0:b.send.100000/5:a.loss.3",
])
def test_a_known_story(text):
    story = Story.parse(text)
    assert Story.parse(str(story)) == story
    assert tell(story) == tell(story)


def test_two_shut_windows_do_not_start_a_war_of_acks():
    """Both ends have text and a shut window, and probe: some hundred segments in twenty minutes, not two hundred
    thousand."""
    story = Story.parse("1/rtt=0.02,mtu=1500/0:a.pause.1/50:b.pause.1/0:a.send.100000/0:b.send.100000/0:a.send.100000"
                        "/10000:a.shutdown.1")
    told = Told(story)
    with told.sim:
        told.tell()
        assert sum(stack.stats()["tcp.out_segs"] for stack in told.sim.stacks) < 2000


def replay(jit, *texts):
    environment = {**os.environ, "NETSTACK_JIT": jit}
    done = subprocess.run([sys.executable, "-m", "tests.sim.replay", *texts], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not JIT or BOUNDSCHECK, reason="compares the two modes: done in the compiled run")
def test_both_modes_tell_the_same():
    numbers = [str(number) for number in range(5, 30)]
    interpreted, compiled = (replay(jit, *numbers) for jit in ("0", "1"))
    assert interpreted == compiled
    texts = [line for line in compiled.splitlines() if "/" in line]
    assert len(texts) == len(numbers)
    assert replay("1", *texts) == compiled, "the text is not the story"


def test_a_failure_says_how_to_see_it_again(monkeypatch):
    def judge(self):
        raise AssertionError("this is not how it should have ended")

    monkeypatch.setattr(Told, "judge", judge)
    with pytest.raises(AssertionError) as caught:
        tell(Story.random(6))
    assert "python -m tests.sim.replay 6/" in str(caught.value)
