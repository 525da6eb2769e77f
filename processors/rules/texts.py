"""JSON of what is emitted most, written straight: no Struct is built to be taken apart again by the encoder.

The Structs own names and order of the fields; `tests/rules/test_texts.py` decodes every text into its Struct and wants the
same bytes back. Parameters named `*_json` are JSON already; other texts are dates, instants, ids and literals that need no
escaping.
"""

from typing import Final

import msgspec

_encode: Final = msgspec.json.Encoder().encode


def to_json(value: object) -> str:
    """Return a value, mostly a Struct, as JSON text."""
    return _encode(value).decode()


def boolean(value: bool) -> str:
    """Return a bool as JSON."""
    return "true" if value else "false"


def quoted(text: str | None) -> str:
    """Return a text without anything to escape, or None, as JSON."""
    return "null" if text is None else f'"{text}"'


def metric_changed(
    metric_json: str,
    event_id_json: str,
    value: str,
    total: str,
    local_date: str,
    attributes_json: str,
    idempotency_key_json: str,
) -> str:
    """Return `derived.MetricChanged`; `value` and `total` are decimals."""
    return (
        f'{{"metric":{metric_json},"eventId":{event_id_json},"value":{value},"total":{total},"localDate":"{local_date}",'
        f'"attributes":{attributes_json},"idempotencyKey":{idempotency_key_json}}}'
    )


def streak_changed(
    frequency: str,
    length: int,
    started: str | None,
    extended: str | None,
    period_start: str,
    period_end: str,
    met: bool,
    longest: int,
    longest_at: str | None,
) -> str:
    """Return `derived.StreakChanged`."""
    return (
        f'{{"frequency":"{frequency}","length":{length},"started":{quoted(started)},"extended":{quoted(extended)},'
        f'"periodStart":"{period_start}","periodEnd":"{period_end}","met":{boolean(met)},"longest":{longest},'
        f'"longestAt":{quoted(longest_at)}}}'
    )


def streak_period(frequency: str, period_start: str, period_end: str, length: int, outcome: str) -> str:
    """Return `derived.StreakPeriod`."""
    return (
        f'{{"frequency":"{frequency}","periodStart":"{period_start}","periodEnd":"{period_end}","length":{length},'
        f'"outcome":"{outcome}","usedFreeze":{boolean(outcome == "frozen")},"usedPause":{boolean(outcome == "paused")},'
        f'"dayOff":{boolean(outcome == "day_off")},"bridged":{boolean(outcome == "bridged")}}}'
    )


def streak_object(
    length: int,
    frequency: str,
    started: str | None,
    period_start: str,
    period_end: str,
    expires: str,
    *,
    extended: bool,
) -> str:
    """Return `outcome.StreakObject` of a streak with a length, without freezes."""
    return (
        f'{{"length":{length},"frequency":"{frequency}","started":{quoted(started)},"periodStart":"{period_start}",'
        f'"periodEnd":"{period_end}","expires":"{expires}","extended":{boolean(extended)}}}'
    )


def streak_moved(kind: str, user_json: str, streak_json: str) -> str:
    """Return `derived.StreakMoved`."""
    return f'{{"type":"{kind}","user":{user_json},"streak":{streak_json}}}'


def streak_lost(user_json: str, length: int) -> str:
    """Return `derived.StreakLost`."""
    return f'{{"type":"streak.lost","user":{user_json},"length":{length}}}'


def achievement_completed(user_json: str, achievement_json: str, completion_id: str) -> str:
    """Return `derived.AchievementCompleted`."""
    return (
        f'{{"type":"achievement.completed","user":{user_json},"achievement":{achievement_json},'
        f'"completionId":"{completion_id}"}}'
    )


def award(award_id: str, awarded: int, date: str, total: int, trigger_json: str, boosts_json: str) -> str:
    """Return `outcome.Award`; `boosts_json` is the inside of the array, empty = no boosts."""
    boosts = f',"boosts":[{boosts_json}]' if boosts_json else ""
    return f'{{"id":"{award_id}","awarded":{awarded},"date":"{date}","total":{total},"trigger":{trigger_json}{boosts}}}'


def points_awarded(
    reference_json: str, award_json: str, count: int, base: int, local_date: str, total: int, cause_json: str
) -> str:
    """Return `derived.PointsAwarded`; the `StoredAward` in it is the award and what P56 adds."""
    return (
        f'{{"pointsSystem":{reference_json},"award":{award_json[:-1]},"count":{count},"base":{base},'
        f'"localDate":"{local_date}"}},"total":{total},"cause":{cause_json}}}'
    )


def cause(kind: str, id_json: str) -> str:
    """Return `derived.Cause`."""
    return f'{{"type":"{kind}","id":{id_json}}}'


def points_changed(
    user_json: str, system_json: str, total: int, added: int, awards_json: str, level_json: str | None
) -> str:
    """Return `derived.PointsChanged`.

    `system_json` is the system without total and closing brace, `awards_json` the inside of the array, `level_json` None if
    the level is the same.
    """
    level = "" if level_json is None else f',"level":{level_json}'
    return (
        f'{{"type":"points.changed","user":{user_json},"points":{system_json},"total":{total},"added":{added},'
        f'"awards":[{awards_json}]{level}}}}}'
    )


def level_changed(user_json: str, system_json: str, total: int, previous_json: str, new_json: str) -> str:
    """Return `derived.LevelChanged`; `system_json` as in `points_changed`."""
    return (
        f'{{"type":"points.level_changed","user":{user_json},"points":{system_json},"total":{total}}},'
        f'"previousLevel":{previous_json},"newLevel":{new_json}}}'
    )


def points_entry(system_json: str, total: int, added: int, level_json: str | None, awards_json: str) -> str:
    """Return `outcome.PointsEntry`; parameters as in `points_changed`."""
    level = "" if level_json is None else f',"level":{level_json}'
    return f'{system_json},"total":{total},"added":{added}{level},"awards":[{awards_json}]}}'


def event_outcome(
    event_id_json: str,
    metric_id_json: str,
    total: str,
    achievements_json: str,
    streak_json: str,
    points_json: str,
    key_json: str,
    *,
    replayed: bool,
) -> str:
    """Return `outcome.EventOutcome`.

    `achievements_json` and `points_json` are the insides of array and object; an empty `key_json` leaves both fields of the
    idempotency key out.
    """
    key = f',"idempotencyKey":{key_json},"idempotentReplayed":{boolean(replayed)}' if key_json else ""
    return (
        f'{{"eventId":{event_id_json},"metricId":{metric_id_json},"total":{total},"achievements":[{achievements_json}],'
        f'"currentStreak":{streak_json},"points":{{{points_json}}},"leaderboards":{{}}{key}}}'
    )


def outcome_record(
    event_id_json: str,
    name_json: str,
    metric_json: str,
    occurred_at: str,
    effective_at: str,
    status: int,
    outcome_json: str,
) -> str:
    """Return `outcome.OutcomeRecord` of a metric event that was applied; `name_json` as in `user.User`."""
    return (
        f'{{"eventId":{event_id_json},"type":"metric",{name_json},"metric":{metric_json},"occurredAt":"{occurred_at}",'
        f'"effectiveAt":"{effective_at}","status":{status},"outcome":{outcome_json}}}'
    )


def identify_outcome(user_json: str, points_json: str) -> str:
    """Return `outcome.IdentifyOutcome`; `points_json` as in `event_outcome`."""
    return f'{{"user":{user_json},"points":{{{points_json}}}}}'


def completion_outcome(completion_id: str, achievement_json: str, points_json: str) -> str:
    """Return `outcome.CompletionOutcome`; `points_json` as in `event_outcome`."""
    return f'{{"completionId":"{completion_id}","achievement":{achievement_json},"points":{{{points_json}}}}}'
