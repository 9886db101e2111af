"""`netstack drill`: scripts in packetdrill's language, in virtual time."""
from __future__ import annotations

import sys
from pathlib import Path

import click

from .link import refuse

VERSIONS = ("ipv4", "ipv6", "ipv4-mapped-ipv6")


def _defined(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", ctx, param)
        found[name] = value
    return found


@click.command()
@click.option("--ip-version", "--ip_version", "version", type=click.Choice([*VERSIONS, "all"]), default="ipv4",
              show_default=True, help="For scripts that do not say which; all: each of the three.")
@click.option("-D", "--define", "defines", multiple=True, metavar="NAME=VALUE", callback=_defined,
              help="Replace a symbol in the scripts.")
@click.option("-v", "--verbose", is_flag=True, help="Print packets and calls as they happen.")
@click.argument("scripts", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False),
                metavar="SCRIPT.pkt...")
def command(version: str, defines: dict[str, str], verbose: bool, scripts: tuple[str, ...]) -> None:
    """Run scripts in packetdrill's language on this stack, in virtual time.

    Each script gets a stack and a clock of its own; docs/drill.md describes the
    language.  The Python in %{ }% is executed: run only scripts that you trust.
    Shell commands are never executed.

    Exit status: 0 if every script went as it says, 1 if the stack did something
    else, 2 if a script cannot be run (the message names line and column).
    """
    from ..lab.drill import run_file

    versions = VERSIONS if version == "all" else (version,)
    statuses: list[int] = []
    notes: set[str] = set()
    for script in scripts:
        for each in versions:
            if verbose:
                click.echo(f"# {script}")
            try:
                outcome = run_file(Path(script), ip_version=each, defines=defines,
                                   say=click.echo if verbose else None)
            except OSError as error:
                refuse(f"cannot read {script}: {error.strerror}", 2)
            for note in outcome.notes:
                if note not in notes:
                    notes.add(note)
                    click.echo(f"netstack: note: {note}", err=True)
            statuses.append(outcome.status)
            if outcome.status:
                if verbose:
                    outcome.story = []
                click.echo(outcome.report(), err=True)
            elif len(scripts) > 1 or len(versions) > 1:
                click.echo(outcome.report())
            if outcome.ip_version != each:      # it says itself which version
                break
    if len(statuses) > 1:
        click.echo(f"{len(statuses)} runs: {statuses.count(0)} ok, {statuses.count(1)} failed, "
                   f"{statuses.count(2)} that cannot be run")
    sys.exit(1 if 1 in statuses else max(statuses))
