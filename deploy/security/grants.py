"""Rights in ClickHouse: roles and users as SQL for a server that keeps users, as a users file for one that does not."""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal
from xml.sax.saxutils import escape

import msgspec

from projections.tables import PROGRESS_TABLE, ROLLUPS, TABLES
from schemas.secrets import HIDDEN

Role = Literal["migrator", "sink", "analyst", "verifier"]

PURPOSES: Final[Mapping[Role, str]] = {
    "migrator": "plaudit migrate: creates and changes tables",
    "sink": "plaudit sink: inserts rows, deletes those of erased users, keeps its progress",
    "analyst": "people and dashboards: reads, within limits",
    "verifier": "plaudit verify, sql, user, why: reads all of it",
}

_ENGINES: Final = ("Atomic", "ReplacingMergeTree", "AggregatingMergeTree")
"""What the migrations make databases and tables of."""

_GIB: Final = 1024**3


class Grant(msgspec.Struct, frozen=True):
    """Some privileges on a table of the database, or on what `on` says ({database} stands for its name)."""

    privileges: str
    on: str


class Profile(msgspec.Struct, frozen=True):
    """Settings of a kind of user, and the most that it may raise them to; 0, which means without limit, is refused too."""

    settings: Mapping[str, int]
    most: Mapping[str, int]


_READER: Final = {"readonly": 2}
"""Queries may set settings, within the limits, and change nothing (1 would refuse the settings of every client)."""

_ANALYST: Final = {
    "max_execution_time": 60,
    "max_memory_usage": 4 * _GIB,
    "max_rows_to_read": 2_000_000_000,
    "max_result_rows": 10_000_000,
    "max_concurrent_queries_for_user": 8,
}
_VERIFIER: Final = {"max_execution_time": 3_600, "max_memory_usage": 8 * _GIB}

PROFILES: Final[Mapping[Role, Profile]] = {
    "migrator": Profile({}, {}),
    "sink": Profile({}, {}),
    "analyst": Profile({**_READER, **_ANALYST}, _ANALYST),
    "verifier": Profile({**_READER, **_VERIFIER}, _VERIFIER),
}


def grants_of(role: Role) -> list[Grant]:
    """Return what a role may do; everything else it may not."""
    if role == "migrator":
        privileges = "SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE"
        return [
            Grant("CREATE DATABASE", "{database}.*"),
            Grant(privileges, "{database}.*"),
            # an engine may reach files and other servers, so each is a right of its own
            *(Grant("TABLE ENGINE", engine) for engine in _ENGINES),
        ]
    if role == "sink":
        # it deletes what belongs to erased users, and the views that fill the rollups may read with its rights
        names = (*(table.name for table in TABLES), *ROLLUPS)
        written = [Grant("SELECT, INSERT, ALTER DELETE", f"{{database}}.{name}") for name in names]
        return [*written, Grant("SELECT, INSERT", f"{{database}}.{PROGRESS_TABLE}")]
    return [Grant("SELECT", "{database}.*")]


def default_user(role: Role, database: str) -> str:
    """Return the user name of a role unless another is given: `plaudit_sink`."""
    return f"{database}_{role}"


def sql(database: str, users: Mapping[Role, str], passwords: Mapping[Role, str]) -> str:
    """Return the SQL that makes roles, profiles and, where there is a password, users; it may be run again.

    Passwords are in it as SHA-256 only.
    """
    lines = [_SQL_HEAD]
    for role, user in users.items():
        name = f"{database}_{role}_role"
        lines += ["", f"-- {role}: {PURPOSES[role]}", f"CREATE ROLE IF NOT EXISTS {_name(name)};"]
        lines += [f"GRANT {_grant(grant, database)} TO {_name(name)};" for grant in grants_of(role)]
        profile = PROFILES[role]
        if profile.settings:
            settings = ", ".join(
                f"{setting} = {value}"
                + (f" MIN 1 MAX {profile.most[setting]}" if setting in profile.most else " CONST")
                for setting, value in profile.settings.items()
            )
            lines.append(f"CREATE SETTINGS PROFILE IF NOT EXISTS {_name(f'{database}_{role}')} SETTINGS {settings};")
            lines.append(f"ALTER SETTINGS PROFILE {_name(f'{database}_{role}')} SETTINGS {settings} TO {_name(name)};")
        if role in passwords:
            digest = hashlib.sha256("".join(passwords[role]).encode()).hexdigest()
            identified = f"IDENTIFIED WITH sha256_hash BY '{digest}'"
            lines.append(f"CREATE USER IF NOT EXISTS {_name(user)} {identified};")
            lines.append(f"ALTER USER {_name(user)} {identified};")
        else:
            lines.append(f"-- no password given: CREATE USER {_name(user)} IDENTIFIED BY '{HIDDEN}';")
        prefix = "" if role in passwords else "-- "
        lines.append(f"{prefix}GRANT {_name(name)} TO {_name(user)};")
        lines.append(f"{prefix}SET DEFAULT ROLE {_name(name)} TO {_name(user)};")
    return "\n".join(lines) + "\n"


def users_file(database: str, users: Mapping[Role, str], passwords: Mapping[Role, str]) -> str:
    """Return a users file (`<users_config>`) with those of the users that have a password, as SHA-256. Names of users
    are identifiers.

    The embedded server keeps no users of its own. Its user `default` stays without a password, for the server itself
    logs in as it; so it may be used from this machine only.
    """
    given = {role: user for role, user in users.items() if role in passwords}
    profiles, entries = [], []
    for role, user in given.items():
        profile = PROFILES[role]
        values = "".join(f"<{setting}>{value}</{setting}>" for setting, value in profile.settings.items())
        limits = "".join(
            f"<{setting}><min>1</min><max>{value}</max></{setting}>" for setting, value in profile.most.items()
        )
        fixed = "".join(f"<{name}><const/></{name}>" for name in profile.settings if name not in profile.most)
        constraints = f"<constraints>{limits}{fixed}</constraints>" if limits or fixed else ""
        profiles.append(f"    <{role}>{values}{constraints}</{role}>")
        digest = hashlib.sha256("".join(passwords[role]).encode()).hexdigest()
        queries = "".join(
            f"\n        <query>{escape('GRANT ' + _grant(grant, database))}</query>" for grant in grants_of(role)
        )
        entries.append(
            f"    <{user}>\n"
            f"      <password_sha256_hex>{digest}</password_sha256_hex>\n"
            f"      <networks><ip>::1</ip><ip>127.0.0.1</ip></networks>\n"
            f"      <profile>{role}</profile>\n      <quota>default</quota>\n"
            f"      <grants>{queries}\n      </grants>\n    </{user}>"
        )
    return _USERS_FILE.format(profiles="\n".join(profiles), users="\n".join(entries))


_SQL_HEAD: Final = """-- Users of Plaudit in ClickHouse. To be run by a user with access management, for example:
--   plaudit security grants --password-file sink=/run/secrets/sink | clickhouse-client --multiquery"""

_USERS_FILE: Final = """<clickhouse>
  <profiles>
    <default></default>
{profiles}
  </profiles>
  <quotas><default></default></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>::1</ip><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </default>
{users}
  </users>
</clickhouse>
"""


def _grant(grant: Grant, database: str) -> str:
    place = grant.on.format(database=_name(database))
    return f"{grant.privileges} ON {place}"


def _name(text: str) -> str:
    return (
        text if text.isidentifier() and text.isascii() else "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"
    )
