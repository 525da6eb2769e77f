"""The message settings of a catalog file (derived-events.md section 2)."""

from typing import Final, Literal

from schemas.catalog import MessageSettings, StreakSettings
from schemas.catalog_fields import Context, Fields

AGGREGATIONS: Final[tuple[Literal["weekly", "monthly"], ...]] = ("weekly", "monthly")
"""Periods that a recap may look back on (E14)."""

MAX_DELAY_HOURS: Final = 720
"""Longest `maxDelayHours`."""


def read_messages(context: Context, outer: Fields, streak: StreakSettings | None) -> MessageSettings | None:
    """Read the `messages` object of a catalog; None if there is none, or none of them is switched on."""
    value = outer.raw("messages")
    if value is None:
        return None
    fields = context.fields(value, "messages")
    if fields is None:
        return None
    settings = MessageSettings(
        recap=fields.choice("recap", AGGREGATIONS) if fields.raw("recap") is not None else None,
        reactivation=fields.flag("reactivation", False),
        streak_reminder=fields.flag("streakReminder", False),
        achievement=fields.flag("achievement", False),
        max_delay_hours=fields.integer("maxDelayHours", 1, MAX_DELAY_HOURS, default=24) or 24,
    )
    fields.done()
    if settings.streak_reminder and (streak is None or not streak.metrics):
        context.warn("messages.streakReminder", "is on, but without streak metrics there is nothing to remind of")
    if settings.recap is None and not (settings.reactivation or settings.streak_reminder or settings.achievement):
        context.warn("messages", "switches nothing on, so no message will be due; name recap, reactivation, …")
        return None
    return settings
