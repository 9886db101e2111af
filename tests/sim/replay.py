"""Tell stories again: `python -m tests.sim.replay STORY ...`, or a number for the story that is made from it.

Its log is the same in both modes (NETSTACK_JIT=0 interprets), to the nanosecond.
"""
from __future__ import annotations

import sys

from .story import Story, tell


def main(text: str) -> None:
    """Print the log of a story."""
    story = Story.parse(text)
    print(story)
    for line in tell(story):
        print(line)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        main(argument)
