"""The streak settings of a catalog file (streaks.md section 1)."""

from typing import Final

from schemas.catalog import WEEKDAYS, Freezes, StreakMetric, StreakSettings
from schemas.catalog_fields import Context, Fields
from schemas.numbers import parse_scaled

MAX_FREEZES: Final = 100
MAX_DAYS_OFF: Final = 6


def read_streak(context: Context, outer: Fields) -> StreakSettings | None:
    """Read the `streak` object of a catalog; None if there is none."""
    value = outer.raw("streak")
    if value is None:
        return None
    fields = context.fields(value, "streak")
    if fields is None:
        return None
    metrics: dict[str, StreakMetric] = {}
    for _, item, path in fields.items("metrics"):
        entry = context.fields(item, path)
        if entry is None:
            continue
        key = entry.key("key", required=True)
        threshold = entry.integer("threshold", 1, 10**12, required=True) or 1
        entry.done()
        if key is None:
            continue
        if key not in context.metrics:
            context.error(f"{path}.key", f"{key!r} is not a metric of this catalog")
        elif key in metrics:
            context.error(f"{path}.key", f"{key!r} is listed twice")
        metrics[key] = StreakMetric(key, parse_scaled(str(threshold).encode()))
    frequency = fields.choice("frequency", ("daily", "weekly", "monthly"), "daily")
    days_off = fields.raw("daysOff") or []
    if not isinstance(days_off, list) or any(type(d) is not int or not 0 <= d <= 6 for d in days_off):
        fields.error("daysOff", "must be a list of weekdays, 0 = Sunday to 6 = Saturday")
        days_off = []
    elif len(set(days_off)) > MAX_DAYS_OFF:
        fields.error("daysOff", "must leave at least one weekday that counts (S58)")
    elif days_off and frequency != "daily":
        fields.error("daysOff", "goes only with frequency daily (S58)")
    mode = fields.choice("evaluationMode", ("OR", "AND", "ALL"), "OR")
    settings = StreakSettings(
        frequency=frequency,
        evaluation_mode="AND" if mode == "ALL" else mode,
        metrics=tuple(metrics.values()),
        customization_enabled=fields.flag("customizationEnabled", False),
        days_off=tuple(sorted(set(days_off))),
        freezes=_freezes(context, fields),
        week_start=WEEKDAYS.index(fields.choice("weekStart", WEEKDAYS, "sunday")),
        settle_delay_seconds=fields.integer("settleDelaySeconds", 0, 86_400, default=0) or 0,
    )
    fields.done()
    return settings


def _freezes(context: Context, outer: Fields) -> Freezes | None:
    value = outer.raw("freezes")
    if value is None:
        return None
    fields = context.fields(value, "streak.freezes")
    if fields is None:
        return None
    maximum = fields.integer("maxCount", 0, MAX_FREEZES, required=True) or 0
    start = fields.integer("startCount", 0, MAX_FREEZES, required=True) or 0
    interval = fields.integer("autoEarnInterval", 1, 100_000)
    amount = fields.integer("autoEarnAmount", 1, MAX_FREEZES)
    if start > maximum:
        fields.error("startCount", f"{start} is above maxCount {maximum}")
    if (interval is None) != (amount is None):
        fields.error("autoEarnInterval", "and autoEarnAmount go together; give both or neither")
    fields.done()
    return Freezes(start, maximum, interval, amount)
