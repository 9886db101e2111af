"""The bench: `make bench`, or `python -m tests.bench --help`.

The load comes from this process, over sockets of the Linux kernel, in a network
namespace made for it; the other side is a process that serves echo (7),
discard (9) and chargen (19).  `--also NAME=COMMAND` measures another stack: a
command that, given the name of a TAP and its address, serves these ports.

`--only paths`: transfers over impaired paths (`paths.py`, docs/relay.md).
"""
