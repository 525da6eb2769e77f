"""From the sums of two folds to the report."""

from deploy.preview.over_time import bucket_size
from deploy.preview.report import About, AchievementRow, HistoryReport, Pair, ReachPair, RefusedRow, StreakReport
from deploy.preview.share import Outcome
from deploy.preview.system_comparison import SystemComparison, active_systems, reach_of
from deploy.preview.tally import Tally
from schemas.catalog import Achievement, Catalog
from schemas.instants import format_instant


def about_history(
    outcome: Outcome,
    new: str,
    old: str,
    records: str,
    *,
    command: str,
    tenant: str,
    since_ms: int | None,
) -> About:
    """Return what was compared: names of catalogs and log, and the time that the log spans."""
    moments = [at for tally in (outcome.old, outcome.new) for at in (tally.first_ms, tally.last_ms) if at is not None]
    return About(
        old=old,
        new=new,
        records=records,
        command=command,
        tenant=tenant,
        since=None if since_ms is None else format_instant(since_ms),
        first=format_instant(min(moments)) if moments else None,
        last=format_instant(max(moments)) if moments else None,
        records_read=outcome.records,
    )


def compare(outcome: Outcome, about: About) -> HistoryReport:
    """Return the report on two folds of the same log."""
    old, new = outcome.old, outcome.new
    size = bucket_size(outcome)
    awarded = sorted({key for tally in (old, new) for key in (*tally.before, *(key for key, _ in tally.days))})
    keys = list(dict.fromkeys([*active_systems(new.catalog), *active_systems(old.catalog), *awarded]))
    refused = _refused(old, new)
    return HistoryReport(
        about=about,
        bucket=size,
        users=Pair(len(old.users), len(new.users)),
        events=Pair(old.applied, new.applied),
        systems=[SystemComparison(outcome, key, size).report() for key in keys],
        achievements=_achievements(old, new),
        streaks=StreakReport(
            started=Pair(old.streaks.started, new.streaks.started),
            lost=Pair(old.streaks.lost, new.streaks.lost),
            alive=Pair(old.streaks.alive, new.streaks.alive),
            longest=Pair(old.streaks.longest, new.streaks.longest),
        ),
        refused=refused,
        warnings=_warnings(outcome, refused),
    )


def _warnings(outcome: Outcome, refused: list[RefusedRow]) -> list[str]:
    warnings = [
        f"{row.records.new:,} instead of {row.records.old:,} records are refused under the new catalog "
        f"with {row.reason}: {row.example}"
        for row in refused
        if row.records.new > row.records.old
    ]
    old, new = active_systems(outcome.old.catalog), active_systems(outcome.new.catalog)
    warnings += [f"the new catalog has no points system {key!r}" for key in sorted(set(old) - set(new))]
    if outcome.old.users and not outcome.new.users:
        warnings.append("under the new catalog no record of the history counts; does it know these metrics?")
    return warnings


def _refused(old: Tally, new: Tally) -> list[RefusedRow]:
    rows = []
    for reason in sorted({*old.refused, *new.refused}):
        before, after = old.refused.get(reason), new.refused.get(reason)
        shown = after or before
        assert shown is not None
        counts = Pair(before.count if before else 0, after.count if after else 0)
        rows.append(RefusedRow(reason=reason, records=counts, example=shown.example))
    return rows


def _achievements(old: Tally, new: Tally) -> list[AchievementRow]:
    before, after = _achievements_of(old.catalog), _achievements_of(new.catalog)
    rows = []
    for identity in {**before, **after}:
        known = after.get(identity) or before[identity]
        was, now = old.achievements.get(identity, []), new.achievements.get(identity, [])
        reach = ReachPair(
            reach_of(was) if identity in before or was else None, reach_of(now) if identity in after or now else None
        )
        rows.append(AchievementRow(id=identity, name=known.name, users=Pair(len(was), len(now)), reach=reach))
    return rows


def _achievements_of(catalog: Catalog | None) -> dict[str, Achievement]:
    return {one.id: one for one in catalog.achievements if one.status == "active"} if catalog else {}
