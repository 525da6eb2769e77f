"""`plaudit security`: the rights that users need, for whoever administers Kafka and ClickHouse."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import click

from deploy.cli.support.errors import DONE

T = TypeVar("T", bound=str)

_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


@click.group("security")
def command() -> None:
    """Write the rights of users, for Kafka as a script, for ClickHouse as SQL or as a users file (docs/security.md).

    Nothing is carried out and no server is asked: the output is for whoever administers them. Names of topics, groups
    and tables are those of PLAUDIT_PREFIX and PLAUDIT_DATABASE.
    """


@command.command(
    "acls",
    epilog="""\b
Roles: producer, worker, sink, publisher, subscriber, verifier, operator.
Examples:
  plaudit security acls > acls.sh
  plaudit security acls --only producer --user producer=shop
  KAFKA_BOOTSTRAP=kafka:9093 COMMAND_CONFIG=admin.properties sh acls.sh
""",
)
@click.option("--user", "users", multiple=True, metavar="ROLE=NAME", help="Name of a role's user (plaudit-ROLE).")
@click.option("--only", multiple=True, metavar="ROLE", help="Only this role; repeatable. Default: all.")
def acls(users: tuple[str, ...], only: tuple[str, ...]) -> int:
    """Write a shell script that gives each user its rights with Kafka's own kafka-acls."""
    from deploy.security.acls import PURPOSES, default_user, script
    from deploy.settings import read_settings
    from processors.engine.names import Names

    settings = read_settings()
    names = Names(settings.prefix)
    chosen = _users({role: default_user(role, names) for role in PURPOSES}, users, only)
    click.echo(script(chosen, names, settings.database), nl=False)
    return DONE


_GRANTS_EPILOG: Final = """\b
Roles: migrator, sink, analyst, verifier. Passwords are written as SHA-256 only.
Examples:
  plaudit security grants --password-file sink=/run/secrets/sink | clickhouse-client --multiquery
  plaudit security users-file --password-file analyst=analyst.txt > users.xml
"""


@command.command("grants", epilog=_GRANTS_EPILOG)
@click.option("--user", "users", multiple=True, metavar="ROLE=NAME", help="Name of a role's user (DATABASE_ROLE).")
@click.option("--only", multiple=True, metavar="ROLE", help="Only this role; repeatable. Default: all.")
@click.option("--password-file", "files", multiple=True, metavar="ROLE=FILE", help="File with a user's password.")
def grants(users: tuple[str, ...], only: tuple[str, ...], files: tuple[str, ...]) -> int:
    """Write SQL that makes roles, limits for readers and users; a user without a password file is left out."""
    from deploy.security.grants import PURPOSES, default_user, sql
    from deploy.settings import read_settings

    database = read_settings().database
    chosen = _users({role: default_user(role, database) for role in PURPOSES}, users, only)
    click.echo(sql(database, chosen, _passwords(chosen, files)), nl=False)
    return DONE


@command.command("users-file", epilog=_GRANTS_EPILOG)
@click.option("--user", "users", multiple=True, metavar="ROLE=NAME", help="Name of a role's user (DATABASE_ROLE).")
@click.option("--password-file", "files", multiple=True, metavar="ROLE=FILE", help="File with a user's password.")
def users_file(users: tuple[str, ...], files: tuple[str, ...]) -> int:
    """Write a users file, for a ClickHouse that reads its users from one; it has the users with a password file."""
    from deploy.security.grants import PURPOSES, default_user
    from deploy.security.grants import users_file as render
    from deploy.settings import read_settings

    database = read_settings().database
    chosen = _users({role: default_user(role, database) for role in PURPOSES}, users, ())
    passwords = _passwords(chosen, files)
    if not passwords:
        raise click.UsageError("no user has a password; give --password-file ROLE=FILE, for example sink=sink.txt")
    click.echo(render(database, chosen, passwords), nl=False)
    return DONE


def _users(known: Mapping[T, str], given: Sequence[str], only: Sequence[str]) -> dict[T, str]:
    """Return the name of the user of every role that is asked for."""
    names = dict(known)
    for option, text in (("--user", given), ("--only", only)):
        for one in text:
            role, separator, name = one.partition("=")
            if role not in known or (option == "--user" and not separator):
                raise click.UsageError(f"{option} {one}: write {_form(option)} with a role of {', '.join(known)}")
            if separator and not _USER.fullmatch(name):
                raise click.UsageError(f"{option} {one}: a name has letters, digits, '.', '_' and '-', at most 64")
    for one in given:
        role, _, name = one.partition("=")
        names.update({known_role: name for known_role in known if known_role == role})
    return {role: name for role, name in names.items() if not only or role in only}


def _form(option: str) -> str:
    return "ROLE=NAME" if option == "--user" else "ROLE"


def _passwords(users: Mapping[T, str], files: Sequence[str]) -> dict[T, str]:
    """Return the passwords from the files that are named."""
    from deploy.cli.support.files import reading

    found: dict[T, str] = {}
    for one in files:
        role, separator, name = one.partition("=")
        matching = [known for known in users if known == role]
        if not matching or not separator:
            raise click.UsageError(f"--password-file {one}: write ROLE=FILE with a role of {', '.join(users)}")
        with reading(name) as lines:
            password = b"".join(lines).decode().strip()
        if not password:
            raise click.UsageError(f"--password-file {one}: the file is empty; put the password into it")
        found[matching[0]] = password
    return found
