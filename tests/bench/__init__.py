"""The bench: `make bench`, or `python -m tests.bench --help`; docs/performance.md.

The load comes from this process, over sockets of the Linux kernel, in a network
namespace made for it; the other side is a process that serves echo (7),
discard (9) and chargen (19).  `--also NAME=COMMAND` measures another stack: a
command that, given the name of a TAP and its address, serves these ports, as
`others/` has it for lwIP and PyTCP.  What comes back is compared with what was
sent, in the same run (`verify.py`).

`--check tests/bench/stored.json`: a short form, for CI (`short.py`).
`--only paths`: transfers over impaired paths (`paths.py`, docs/relay.md).
`python -m tests.bench.breakdown`: where the time goes.  `python -m tests.bench.plot`: a picture of a result.
"""
