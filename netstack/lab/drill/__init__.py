"""Scripts in packetdrill's language, run on our own stack in virtual time: `netstack drill`.

    lexer, parser   text to a typed script (script.py)
    packets         segments as bytes and back
    talk            what both ends call a sequence number, a timestamp, a port; whether a packet is the expected one
    calls           system calls on netstack's sockets
    commands        the shell commands that only set a sysctl
    info            struct tcp_info, for %{ assertions }%
    run             one script from beginning to end
"""
from .run import Options, Outcome, run_file, run_text
from .script import Mismatch, ScriptError, Unsupported

__all__ = ["Mismatch", "Options", "Outcome", "ScriptError", "Unsupported", "run_file", "run_text"]
