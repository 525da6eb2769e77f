"""`plaudit freeze`: streak freezes (S45)."""

from typing import Unpack

import click

from deploy.cli.support.requests import Common, request_options, send_request


@click.group("freeze")
def command() -> None:
    """Streak freezes: what keeps a streak alive over a missed day."""


@command.command(
    "grant",
    epilog="""\b
Examples:
  plaudit freeze grant 18
  plaudit freeze grant 18 --event-id support-ticket-4711
""",
)
@click.argument("user", metavar="USER")
@request_options
def grant(user: str, **common: Unpack[Common]) -> int:
    """Grant USER one freeze (S45). Exit code 3 if it was refused, with the reason."""
    return send_request("freeze.grant", user, common)
