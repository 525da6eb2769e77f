"""`plaudit streak`: requests about one user's streak (S49-S54, S71-S76)."""

from typing import Unpack

import click

from deploy.cli.support.options import Day
from deploy.cli.support.requests import Common, request_options, send_request


@click.group("streak")
def command() -> None:
    """Requests about one user's streak. Exit code 3 if one was refused, with the reason."""


@command.command(
    "pause",
    epilog="""\b
Example:
  plaudit streak pause 18 --id holidays --start 2026-12-24 --end 2027-01-06
""",
)
@click.argument("user", metavar="USER")
@click.option("--id", "pause_id", required=True, metavar="ID", help="Name of the pause; one with it is replaced.")
@click.option("--start", required=True, type=Day(), help="First day, by the user's calendar; not before today.")
@click.option("--end", required=True, type=Day(), help="Last day.")
@request_options
def pause(user: str, pause_id: str, start: str, end: str, **common: Unpack[Common]) -> int:
    """Pause the streak of USER: days of the pause neither extend nor end it (S49)."""
    from deploy.cli.support.errors import WrongUseError

    if end < start:
        raise WrongUseError(f"--end {end} lies before --start {start}; give the first day first")
    return send_request("streak.pause", user, common, id=pause_id, start=start, end=end)


@command.command(
    "unpause",
    epilog="""\b
Example:
  plaudit streak unpause 18 --id holidays
""",
)
@click.argument("user", metavar="USER")
@click.option("--id", "pause_id", required=True, metavar="ID", help="Name of the pause.")
@request_options
def unpause(user: str, pause_id: str, **common: Unpack[Common]) -> int:
    """Delete a pause of USER; days that are settled stay as they are (S54)."""
    return send_request("streak.unpause", user, common, id=pause_id)


@command.command(
    "restore",
    epilog="""\b
Example:
  plaudit streak restore 18
""",
)
@click.argument("user", metavar="USER")
@request_options
def restore(user: str, **common: Unpack[Common]) -> int:
    """Give USER back the longest streak of the last 90 days, weeks or months by the calendar (S71, S72)."""
    return send_request("streak.restore", user, common)


@command.command(
    "reset",
    epilog="""\b
Example:
  plaudit streak reset 18
""",
)
@click.argument("user", metavar="USER")
@request_options
def reset(user: str, **common: Unpack[Common]) -> int:
    """Set the streak of USER to 0 (S75)."""
    return send_request("streak.reset", user, common)
