"""`netstack dig`: ask a name server, as dig(1) does."""
from __future__ import annotations

import ipaddress
import sys

import click

from ..resolver.config import server as parse_server
from ..resolver.failure import Failure
from .link import Link, link_options, opened, refuse

NO_REPLY = 9        # dig(1)'s exit status


@click.command()
@link_options
@click.option("-x", "reverse", metavar="ADDRESS", help="The names of an address, in place of NAME and TYPE.")
@click.option("--tcp", is_flag=True, help="Over TCP from the beginning.")
@click.option("--short", is_flag=True, help="Only what the records say.")
@click.option("--time", "timeout", type=click.FloatRange(min=0.001), default=5.0, metavar="SECONDS",
              help="For an answer [5].")
@click.option("--tries", type=click.IntRange(min=1), default=3, metavar="COUNT", help="How often to ask [3].")
@click.argument("words", nargs=-1, metavar="NAME [TYPE] [@SERVER]")
def command(link: Link, reverse: str | None, tcp: bool, short: bool, timeout: float, tries: int,
            words: tuple[str, ...]) -> None:
    """Ask SERVER (or that of --dns) for the records of TYPE [A] that NAME has.

    Exit status: 0 if an answer came, whatever it says, 9 if none did, 2 for a mistake in the words.
    """
    from ..apps.dig import ask

    name, type = _question(reverse, [word for word in words if not word.startswith("@")])
    given = [word[1:] for word in words if word.startswith("@")] or list(link.dns[:1])
    if not given:
        raise click.UsageError("which server?  Give @SERVER, or --dns.")
    try:
        server = parse_server(given[-1])
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    with opened(link) as stack:
        try:
            answer = ask(stack, name, type, server, tcp=tcp, timeout=timeout, attempts=tries)
        except Failure:
            refuse(f"{name!r} is not a name: a label has 1 to 63 letters", 2)
        except OSError as error:
            refuse(f"{server[0]}#{server[1]} does not answer: {error.strerror or error}", NO_REPLY)
    for line in answer.short() if short else answer.lines():
        click.echo(line)
    sys.exit(0)


def _question(reverse: str | None, words: list[str]) -> tuple[str, int]:
    """The absolute name, and the number of the type."""
    from ..resolver.query import type_of

    if reverse is not None:
        try:
            name = ipaddress.ip_address(reverse).reverse_pointer
        except ValueError:
            raise click.UsageError(f"{reverse!r} is not an IP address.") from None
        words = [name, *(words or ["PTR"])]
    if not words:
        raise click.UsageError("Missing argument: which name?")
    if len(words) > 2:
        raise click.UsageError("one name and one type, please.")
    try:
        return words[0].rstrip(".") + ".", type_of(words[1] if len(words) == 2 else "A")
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
