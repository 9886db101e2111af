"""`netstack relay`: two TAPs, joined by a bad network, until a signal."""
from __future__ import annotations

import contextlib
import signal
import threading
from typing import Any

import click

from .link import refuse


@click.command()
@click.argument("a", metavar="TAP")
@click.argument("b", metavar="TAP")
@click.option("--rate", metavar="RATE", help="Such as 100mbit.")
@click.option("--queue", metavar="SIZE", help="Bytes that wait for the rate, such as 64KiB [100 ms' worth].")
@click.option("--delay", metavar="TIME", help="Of each frame, such as 25ms; the round trip takes twice as long.")
@click.option("--jitter", metavar="TIME", help="Plus or minus up to this.")
@click.option("--loss", metavar="P", help="Probability, such as 1%.")
@click.option("--reorder", metavar="P", help="... that later frames overtake one.")
@click.option("--duplicate", metavar="P")
@click.option("--corrupt", metavar="P", help="... that one bit is flipped.")
@click.option("--seed", type=int, help="The same seed does the same to the same frames.")
@click.option("--one-way", is_flag=True, help="Only to frames from the first TAP to the second.")
def command(a: str, b: str, one_way: bool, **settings: Any) -> None:
    """Join two TAPs; what passes meets the rate, delay and loss that the options say, both ways.

    The other ends of the TAPs are the kernel's: interfaces to put into other
    namespaces or on bridges.  Prints READY, and at SIGINT or SIGTERM what became of
    the frames.  docs/relay.md.
    """
    from ..drivers import Tap
    from ..lab.relay import ENDS, Relay

    given = {name: value for name, value in settings.items() if value is not None}
    if one_way:
        given = {"a_to_b": given}
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    with contextlib.ExitStack() as life:
        try:
            first, second = Tap(a, offload=False), Tap(b, offload=False)
            life.enter_context(first)
            life.enter_context(second)
            relay = life.enter_context(Relay(first.fd, second.fd, **given))
        except OSError as error:
            refuse(str(error.strerror or error))
        except ValueError as error:
            refuse(str(error), 2)
        relay.run(0)                    # what there is to compile is compiled here
        thread = threading.Thread(target=relay.run, name="relay")
        thread.start()
        click.echo("READY")
        signal.sigwait(ENDS)
        relay.stop()
        thread.join()
        for way, counters in relay.counters().items():
            shown = ", ".join(f"{name} {n}" for name, n in counters.items() if n)
            click.echo(f"{way}: {shown or 'nothing'}")
