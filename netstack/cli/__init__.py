"""The `netstack` command, one file per sub-command; a file is imported when its command is used."""
from __future__ import annotations

import importlib

import click

COMMANDS = {    # name: the first line of its help
    "demo": "Linux's ping and curl against this stack, in a namespace made for it.",
    "serve": "Echo, discard, daytime and chargen on a TAP; files with --http.",
    "run": "Run an unmodified Python program on this stack.",
    "ping": "Send ICMP echo requests.",
    "dig": "Ask a name server, and show what it says.",
    "echo": "Ask an echo server, or be one.",
    "tftp": "Files over UDP: get, put, serve.",
    "balance": "A TCP load balancer before some servers.",
    "monitor": "The sockets of processes that run a stack, as a live table.",
    "chat": "A chat for whoever connects.",
    "relay": "Join two TAPs by a bad network.",
    "drill": "Run scripts in packetdrill's language, in virtual time.",
    "warm": "Compile the engine now instead of at first use.",
}


class _Lazy(click.Group):
    """A group that imports a sub-command's file when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __name__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Lazy, name="netstack", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="netstack")
def main() -> None:
    """A TCP/IP stack in Python: try it, serve with it, run your program on it."""
