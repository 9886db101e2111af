"""Scripts in packetdrill's language, run on our own stack in virtual time: `netstack drill`.

    script          what a script is, and what may be wrong with it
    lexer, cursor, parse_packets, parse_calls, parser
                    text to a script
    packets         segments as bytes and back
    talk            what both ends call a sequence number, a timestamp, a port; whether a packet is the expected one
    arguments, lifecycle, transfer, modes, readiness, calls
                    system calls on netstack's sockets
    commands        the shell commands that only set a sysctl
    info            struct tcp_info, for %{ assertions }%
    configure       a script's options
    bench, peer, expect
                    a stack, its clock and its conversations; what is sent to it; what it is to send
    run             one script from beginning to end
"""
from .run import Options, Outcome, run_file, run_text
from .script import Mismatch, ScriptError, Unsupported

__all__ = ["Mismatch", "Options", "Outcome", "ScriptError", "Unsupported", "run_file", "run_text"]
