"""`plaudit erase`: everything known of one user is erased (X29, X30)."""

from typing import Unpack

import click

from deploy.cli.support.requests import Common, request_options, send_request


@click.command(
    "erase",
    epilog="""\b
Examples:
  plaudit erase 18
  plaudit erase 18 --yes --event-id gdpr-ticket-4711
  plaudit user 18            exit code 4, and when the user was erased

\b
Tables follow within seconds, as soon as a sink reads on. What stays in old logs, and for how long: docs/erasure.md.
""",
)
@click.argument("user", metavar="USER")
@click.option("--yes", is_flag=True, help="Do not ask.")
@request_options
def command(user: str, yes: bool, **common: Unpack[Common]) -> int:
    """Erase all that is known of USER: state and ids, rows of all tables, refused records. What comes later by that id
    is of a new user, events that are sent again included. Exit code 4 if there is no such user; the tables are cleared
    all the same. An event id of your own stays remembered, so that sending the erase again does nothing."""
    if not yes and not common["dry_run"]:
        _confirm(user, common["tenant"])
    return send_request("erase", user, common, tell=_tell, own_id=False)


def _confirm(user: str, tenant: str) -> None:
    import sys

    from deploy.cli.support.errors import WrongUseError

    of_tenant = f" of tenant {tenant!r}" if tenant else ""
    if not sys.stdin.isatty():
        raise WrongUseError(
            f"erasing user {user!r}{of_tenant} cannot be undone; add --yes to do it without being asked"
        )
    click.confirm(f"Erase all that is known of user {user!r}{of_tenant}? This cannot be undone", abort=True, err=True)


def _tell(outcome: bytes, sent: object, as_json: bool) -> int:
    """Print an outcome of an erase; return its exit code."""
    import msgspec

    from deploy.cli.support.errors import DONE, NOT_FOUND
    from deploy.cli.support.requests import tell_outcome

    found = msgspec.json.decode(outcome)
    unknown = bool(found.get("issues"))
    if "reason" in found or as_json:
        code = tell_outcome(outcome, sent, as_json)
        return NOT_FOUND if unknown else code
    if unknown:
        click.echo(f"there was no user {found['userId']!r}; tables are cleared all the same: {sent}")
        return NOT_FOUND
    click.echo(f"erased: {sent}")
    return DONE
