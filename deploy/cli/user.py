"""`plaudit user`: one user from the tables (X17)."""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import click

from deploy.cli.support.errors import DONE
from deploy.cli.support.options import tenant_option
from schemas.brokers import Brokers

if TYPE_CHECKING:
    from deploy.cli.support.clickhouse import ClickHouse
    from schemas.catalog import Catalog

HISTORY_PERIODS: Final = 7
MAX_HISTORY_PERIODS: Final = 366
"""Rows of `streakHistory`: default and greatest number (S85)."""

LATEST_AWARDS: Final = 100
SHOWN_AWARDS: Final = 10
"""Awards on a terminal; --json has LATEST_AWARDS."""

_WHERE: Final = "WHERE tenant = {tenant:String} AND user_id = {user:String}"


@click.command(
    "user",
    epilog="""\b
Examples:
  plaudit user 18
  plaudit user 18 --json | jq .points
""",
)
@click.argument("user_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with the latest 100 awards.")
@click.option(
    "--history",
    "periods",
    type=click.IntRange(1, MAX_HISTORY_PERIODS),
    default=HISTORY_PERIODS,
    show_default=True,
    help="Periods of the streak to show, the open one included.",
)
@tenant_option
def command(user_id: str, as_json: bool, periods: int, tenant: str) -> int:
    """Show the user ID: metrics, balances and levels, streak, achievements, latest awards. Exit code 4 if unknown."""
    from deploy.cli.support.clickhouse import ClickHouse
    from deploy.cli.support.errors import MissingError
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings

    settings = read_settings()
    with servers(kafka=not settings.clickhouse_url, clickhouse=True) as found:
        kafka = found.kafka or settings.kafka
        catalog = asyncio.run(_catalog(kafka, settings.prefix, tenant)) if kafka else None
        clickhouse = ClickHouse(found.clickhouse, settings.database)
        shown = read_user(clickhouse, user_id, tenant, catalog, periods)
        erased = _erased(clickhouse, user_id, tenant) if shown is None else ""
    if shown is None:
        where = f" of tenant {tenant!r}" if tenant else ""
        if erased:
            raise MissingError(f"user {user_id!r}{where} was erased at {erased}, and has done nothing since")
        raise MissingError(
            f'there is no user {user_id!r}{where}; `plaudit sql "SELECT user_id FROM users LIMIT 10"` lists some'
        )
    if as_json:
        import msgspec

        print(msgspec.json.Encoder(decimal_format="number").encode(shown).decode())
    else:
        _print(shown, catalog)
    return DONE


def _erased(clickhouse: "ClickHouse", user_id: str, tenant: str) -> str:
    """Return when a user was last erased, empty if never."""
    from deploy.cli.support.clickhouse import instant_sql

    query = f"SELECT {instant_sql('max(erased_at)')} AS at FROM erasures {_WHERE} HAVING count() > 0"
    rows = clickhouse.rows(query, user=user_id, tenant=tenant)
    return str(rows[0]["at"]) if rows else ""


async def _catalog(brokers: Brokers, prefix: str, tenant: str) -> "Catalog | None":
    """Return the catalog in force, None if there is none or Kafka is away: levels then come from the tables alone."""
    from deploy.cli.support.catalogs import decoded, published
    from deploy.cli.support.errors import CommandError
    from processors.engine.names import Names

    try:
        versions = await published(brokers, Names(prefix), tenant)
        return decoded(versions[-1]) if versions else None
    except CommandError:
        return None


def read_user(
    clickhouse: "ClickHouse", user_id: str, tenant: str, catalog: "Catalog | None", periods: int
) -> dict[str, Any] | None:
    """Return the document of X17 with `periods` rows of `streakHistory`, None if the user is unknown."""
    from deploy.cli.support.clickhouse import instant_sql
    from deploy.cli.support.streak_history import read_streak

    given = {"user": user_id, "tenant": tenant}
    users = clickhouse.rows(
        f"SELECT user_id, name, tz, attributes, control, {instant_sql('created_at')} AS created, "
        f"{instant_sql('first_event_at')} AS first_event, "
        f"{instant_sql('last_event_at')} AS last_event FROM users {_WHERE}",
        **given,
    )
    if not users:
        return None
    (user,) = users
    totals = clickhouse.rows(f"SELECT metric_key, total FROM metric_totals {_WHERE} ORDER BY metric_key", **given)
    balances = clickhouse.rows(
        f"SELECT system_key, total, level_key FROM points_balances {_WHERE} ORDER BY system_key", **given
    )
    completions = clickhouse.rows(
        f"SELECT achievement_id, {instant_sql('achieved_at')} AS at FROM achievement_completions FINAL {_WHERE} "
        "ORDER BY achieved_at, achievement_id",
        **given,
    )
    awards = clickhouse.rows(
        f"SELECT award_id, system_key, trigger_id, trigger_type, awarded, total_after, {instant_sql('date')} AS at, "
        f"toString(local_date) AS day, boosts FROM points_awards FINAL {_WHERE} "
        f"ORDER BY date DESC, src_off DESC LIMIT {LATEST_AWARDS}",
        **given,
    )
    return {
        "user": {
            "id": user["user_id"],
            "name": user["name"],
            "tz": user["tz"],
            "attributes": user["attributes"],
            "control": bool(user["control"]),
            "created": user["created"],
            "firstEventAt": user["first_event"],
            "lastEventAt": user["last_event"],
        },
        "metrics": {row["metric_key"]: row["total"] for row in totals},
        "points": _points(balances, catalog),
        "streak": read_streak(clickhouse, given, catalog, user["tz"], time.time_ns() // 1_000_000, periods),
        "achievements": [
            {"id": row["achievement_id"], **_key(row["achievement_id"], catalog), "achievedAt": row["at"]}
            for row in completions
        ],
        "awards": [
            {
                "id": row["award_id"],
                "system": row["system_key"],
                "trigger": {"id": row["trigger_id"], "type": row["trigger_type"]},
                "awarded": row["awarded"],
                "total": row["total_after"],
                "date": row["at"],
                "localDate": row["day"],
                "boosts": row["boosts"],
            }
            for row in awards
        ],
    }


def _key(achievement_id: str, catalog: "Catalog | None") -> dict[str, str]:
    for achievement in catalog.achievements if catalog is not None else ():
        if achievement.id == achievement_id and achievement.key is not None:
            return {"key": achievement.key}
    return {}


def _points(balances: list[dict[str, Any]], catalog: "Catalog | None") -> dict[str, Any]:
    """Return balance and level by system. The level is that of the catalog in force (P49): the table only knows it once it
    has changed, and has none for whom no award was ever made."""
    found = {row["system_key"]: {"total": row["total"], "level": row["level_key"] or None} for row in balances}
    for system in catalog.systems if catalog is not None else ():
        entry = found.setdefault(system.key, {"total": 0, "level": None})
        reached = [level.key for level in system.levels if level.points <= entry["total"]]
        entry["level"] = reached[-1] if reached else None
    return found


def _print(shown: dict[str, Any], catalog: "Catalog | None") -> None:
    from deploy.cli.support.console import table

    user, streak = shown["user"], shown["streak"]
    names = {achievement.id: achievement.name for achievement in catalog.achievements} if catalog is not None else {}
    title = user["id"] if not user["name"] else f"{user['id']}, {user['name']}"
    attributes = ", ".join(f"{key} {value}" for key, value in sorted(user["attributes"].items()))
    print(f"{title}   zone {user['tz'] or 'UTC'}" + (f"   {attributes}" if attributes else ""))
    print(f"first event {user['firstEventAt'] or '-'}, latest {user['lastEventAt'] or '-'}\n")
    table(["metric", "total"], [[key, str(total)] for key, total in shown["metrics"].items()], [False, True])
    print()
    points = [[key, str(entry["total"]), entry["level"] or "-"] for key, entry in shown["points"].items()]
    table(["points", "total", "level"], points, [False, True])
    running = f", expires {streak['expires']}" if streak["length"] else ""
    print(f"\n{streak['frequency']} streak: {streak['length']}{running}; longest {streak['longest']}")
    print("  ".join(f"{row['periodStart'][5:]}: {row['length']}{_mark(row)}" for row in streak["streakHistory"]) + "\n")
    done = [[names.get(one["id"], one["id"]), one["achievedAt"]] for one in shown["achievements"]]
    table(["achievement", "achieved"], done)
    print()
    awards = [
        [
            one["date"],
            one["system"],
            f"{one['awarded']:+d}",
            str(one["total"]),
            one["trigger"]["id"],
            " ".join(one["boosts"]),
        ]
        for one in shown["awards"][:SHOWN_AWARDS]
    ]
    table(
        [f"latest {SHOWN_AWARDS} awards", "system", "points", "balance", "trigger", "boosts"],
        awards,
        [False, False, True, True],
    )


def _mark(row: dict[str, Any]) -> str:
    return " frozen" if row.get("usedFreeze") else " paused" if row["usedPause"] else " reset" if row["resetAt"] else ""
