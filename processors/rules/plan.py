"""A catalog compiled once: per metric, what an event can touch, so that an event costs what it can change."""

from typing import Final

import msgspec
from msgspec import Raw

from processors.rules.boost_plan import BoostPlan, by_id, split_boosts
from processors.rules.catalog_views import level_json, system_json
from processors.rules.texts import to_json
from schemas.catalog import (
    Achievement,
    Catalog,
    Filter,
    Frequency,
    Metric,
    PointsSystem,
    StreakSettings,
    Trigger,
)
from schemas.derived import SystemRef
from schemas.instants import format_instant
from schemas.numbers import MAX_POINTS, SCALE, format_scaled
from schemas.outcome import (
    AchievementObject,
    TriggerObject,
    key_values,
)

USER_CREATION, METRIC, STREAK, ACHIEVEMENT = range(4)
"""Order of awards within one record by the type of trigger (P31)."""

_FILTER_SEPARATOR: Final = "\0"


class TriggerPlan:
    """A trigger with what firing it needs."""

    __slots__ = ("base", "block", "length", "order", "shown_json", "threshold", "trigger", "user_filter")

    def __init__(self, trigger: Trigger, kind: int, created_ms: int, shown: TriggerObject) -> None:
        self.trigger = trigger
        self.shown_json = to_json(shown)
        self.base = trigger.points
        self.user_filter = trigger.user_attributes
        self.threshold = trigger.metric_threshold * SCALE
        self.length = trigger.streak_length
        self.block = trigger.block_if_out_of_points
        place = trigger.order if trigger.created_ms is None else 0  # the file decides only where it gives no time (C20)
        self.order = (kind, 0, created_ms, place, trigger.id)  # P31, P32


class TimeTriggerPlan(TriggerPlan):
    """A time trigger with its anchor: the latest activation or edit of its interval (P25)."""

    __slots__ = ("anchor", "interval", "reference", "steady", "system")

    def __init__(self, plan: TriggerPlan, system: "SystemPlan", anchor_ms: int) -> None:
        self.trigger, self.shown_json, self.base = plan.trigger, plan.shown_json, plan.base
        self.user_filter = plan.user_filter
        self.threshold, self.length, self.block, self.order = plan.threshold, plan.length, plan.block, plan.order
        self.system = system
        self.anchor = anchor_ms
        self.steady = True  # no other time trigger moves the system the other way
        self.interval = plan.trigger.interval_ms
        self.reference = f"{system.key}{_FILTER_SEPARATOR}{plan.trigger.id}"


class SystemPlan:
    """An active points system.

    Attributes:
        boosts: those of everybody, global or by attributes. user_boosts: those of one user each, by user id (P34).
        level_keys, levels_json: of the levels whose `level_points` rise.
        shown_json: the beginning of the object that events show, without total and closing brace.
    """

    __slots__ = (
        "_applicable",
        "boosts",
        "by_achievement",
        "by_streak",
        "created_ms",
        "key",
        "key_json",
        "level_keys",
        "level_points",
        "levels_json",
        "limit",
        "on_creation",
        "reference_json",
        "shown_json",
        "system",
        "user_boosts",
    )

    def __init__(self, system: PointsSystem, created_ms: int) -> None:
        self.system = system
        self.key = system.key
        self.key_json = to_json(system.key)
        self.reference_json = to_json(SystemRef(id=system.id, key=system.key))
        self.shown_json = system_json(system)
        self.created_ms = created_ms
        self.limit = MAX_POINTS if system.max_points is None else system.max_points  # P5
        self.boosts, self.user_boosts = split_boosts(
            [BoostPlan(system, boost) for boost in system.boosts if boost.enabled]
        )
        self._applicable = {user_id: by_id([*self.boosts, *own]) for user_id, own in self.user_boosts.items()}
        self.level_points = [level.points for level in system.levels]
        self.level_keys = [level.key for level in system.levels]
        self.levels_json = [level_json(level) for level in system.levels]
        self.on_creation: list[TriggerPlan] = []
        self.by_streak: list[TriggerPlan] = []
        self.by_achievement: dict[str, list[TriggerPlan]] = {}

    def boosts_of(self, user_id: str) -> list[BoostPlan]:
        """Return the boosts that may apply to a user, by id (P34, P42)."""
        return self._applicable.get(user_id, self.boosts) if self._applicable else self.boosts


class AchievementPlan:
    """An active achievement."""

    __slots__ = ("achievement", "id", "order", "shown", "user_filter", "value")

    def __init__(self, achievement: Achievement, shown: AchievementObject) -> None:
        self.achievement = achievement
        self.id = achievement.id
        self.value = achievement.metric_value
        self.user_filter = achievement.user_attributes
        self.shown = shown

    def show(self, achieved_at: str) -> AchievementObject:
        """Return the object with `achievedAt`."""
        return msgspec.structs.replace(self.shown, achieved_at=achieved_at)

    def show_json(self, achieved_at: str) -> str:
        """Return the same as JSON."""
        return to_json(self.show(achieved_at))


class CounterPlan:
    """One counter of a metric (C and W of P12): an event filter, and what watches it. `id` keys it in the state."""

    __slots__ = ("achievements", "filter", "id", "triggers")

    def __init__(self, metric: str, event_filter: Filter) -> None:
        self.filter = event_filter
        self.id = _FILTER_SEPARATOR.join((metric, *(text for pair in event_filter for text in pair)))
        self.triggers: list[tuple[SystemPlan, TriggerPlan]] = []
        self.achievements: list[AchievementPlan] = []  # by value, then id (F6)


class MetricPlan:
    """An active metric; the unfiltered counter is the total and always there."""

    __slots__ = ("blocks", "filtered", "id_json", "key", "key_json", "total")

    def __init__(self, metric: Metric) -> None:
        self.id_json = to_json(metric.id)
        self.key = metric.key
        self.key_json = to_json(metric.key)
        self.total = CounterPlan(metric.key, ())
        self.filtered: list[CounterPlan] = []
        self.blocks = False  # some trigger of it may refuse the event (P46)


class Plan:
    """One catalog version of one tenant, compiled.

    Attributes:
        version: the version's name; `at` the instant it was published (C38), epoch ms.
        metrics: by key, active ones only. systems: active ones by key order.
        counters: ids of the counters with a filter.
        boosts: those of everybody in all systems. user_boosts: those of one user each, by user id.
        time_triggers: in the order of ticks at one instant (C19, P32).
        anniversaries: active anniversary achievements by years, then id (A31).
        messages: which messages are due; None = none, and they cost nothing.
    """

    def __init__(self, catalog: Catalog, version: str, at: int, previous: "Plan | None" = None) -> None:
        self.catalog = catalog
        self.version = version
        self.at = at
        self.event_attributes = frozenset(catalog.event_attributes)
        self.user_attributes = frozenset(catalog.user_attributes)
        self.streak: StreakSettings = catalog.streak or StreakSettings()  # without metrics nothing is ever met (S18)
        self.frequency: Frequency = self.streak.frequency
        self.accumulation_since = self._accumulation_since(previous)
        self.accumulates = self.streak.freezes is not None and self.streak.freezes.auto_earn_interval is not None
        self.week_start = self.streak.week_start
        self.messages = catalog.messages
        self.metric_names = {metric.key: metric for metric in catalog.metrics}
        self.metrics = {metric.key: MetricPlan(metric) for metric in catalog.metrics if metric.status == "active"}
        self.system_created: dict[str, int] = {}
        self.trigger_times: dict[tuple[str, str], tuple[int, int, int]] = {}
        self.systems: dict[str, SystemPlan] = {}
        self.time_triggers: list[TimeTriggerPlan] = []
        self.achievements: dict[str, AchievementPlan] = {}
        self.by_key: dict[str, Achievement] = {}
        self.streak_achievements: list[AchievementPlan] = []
        self.composites: list[AchievementPlan] = []
        self.anniversaries: list[AchievementPlan] = []
        self.changed_achievements = self._changed_achievements(previous)
        names = {achievement.id: achievement.name for achievement in catalog.achievements}
        for achievement in catalog.achievements:
            self._add_achievement(achievement)
        for system in sorted(catalog.systems, key=lambda system: system.key):
            self._add_system(system, previous, names)
        self._sort()
        self.boosts = [boost for system in self.systems.values() for boost in system.boosts]
        self.user_boosts: dict[str, list[BoostPlan]] = {}
        for plan in self.systems.values():
            for user_id, own in plan.user_boosts.items():
                self.user_boosts.setdefault(user_id, []).extend(own)
        self.counters = frozenset(counter.id for metric in self.metrics.values() for counter in metric.filtered)

    def _changed_achievements(self, previous: "Plan | None") -> frozenset[str]:
        """Return the active achievements that this version activates or edits: existing users are checked (A22)."""
        if previous is None:
            return frozenset()
        before = {achievement.id: achievement for achievement in previous.catalog.achievements}
        return frozenset(
            achievement.id
            for achievement in self.catalog.achievements
            if achievement.status == "active" and before.get(achievement.id) != achievement
        )

    def _accumulation_since(self, previous: "Plan | None") -> int:
        """Return when accumulation of freezes was enabled or its interval changed (S42, C38)."""
        freezes = self.streak.freezes
        before = previous.streak.freezes if previous is not None else None
        interval = freezes.auto_earn_interval if freezes else None
        if previous is None or interval is None or before is None or before.auto_earn_interval != interval:
            return self.at
        return previous.accumulation_since

    def _add_achievement(self, achievement: Achievement) -> None:
        if achievement.key is not None and achievement.trigger == "api":
            self.by_key[achievement.key] = achievement
        if achievement.trigger == "metric" and achievement.metric in self.metrics:
            self._counter(achievement.metric, achievement.event_attributes)  # counts whatever the status (A24)
        plan = AchievementPlan(achievement, self._show_achievement(achievement))
        if achievement.status != "active":
            return
        self.achievements[achievement.id] = plan
        if achievement.trigger == "metric" and achievement.metric in self.metrics:
            self._counter(achievement.metric, achievement.event_attributes).achievements.append(plan)
        elif achievement.trigger == "streak":
            self.streak_achievements.append(plan)
        elif achievement.trigger == "achievement":
            self.composites.append(plan)
        elif achievement.trigger == "anniversary":
            self.anniversaries.append(plan)

    def _add_system(self, system: PointsSystem, previous: "Plan | None", names: dict[str, str]) -> None:
        created_ms = previous.system_created.get(system.key, self.at) if previous else self.at
        self.system_created[system.key] = created_ms
        plan = SystemPlan(system, created_ms)
        for trigger in system.triggers:
            created, updated, anchor = self._times(system, trigger, previous)
            self.trigger_times[system.key, trigger.id] = created, updated, anchor
            if trigger.metric in self.metrics:
                self._counter(trigger.metric, trigger.event_attributes)  # counts whatever the status (P17)
            if trigger.status == "active" and system.status == "active":
                self._add_trigger(plan, trigger, created, updated, anchor, names)
        if system.status == "active":
            self.systems[system.key] = plan

    def _times(self, system: PointsSystem, trigger: Trigger, previous: "Plan | None") -> tuple[int, int, int]:
        """Return created, updated and anchor of a trigger: a fold over the versions (C20, C38, P25, C18)."""
        before = previous.trigger_times.get((system.key, trigger.id)) if previous else None
        old = previous.find_trigger(system.key, trigger.id) if previous else None
        if before is None or old is None or previous is None:
            created = self.at if trigger.created_ms is None else trigger.created_ms
            return created, self.at if trigger.updated_ms is None else trigger.updated_ms, self.at
        created, updated, anchor = before
        old_trigger, old_status = old
        if msgspec.structs.replace(trigger, order=0) != msgspec.structs.replace(old_trigger, order=0):
            updated = self.at
        was_active = old_trigger.status == "active" and old_status == "active"
        if (
            not was_active
            or old_trigger.interval_ms != trigger.interval_ms
            or old_trigger.time_unit != trigger.time_unit
        ):
            anchor = self.at
        created = created if trigger.created_ms is None else trigger.created_ms
        return created, updated if trigger.updated_ms is None else trigger.updated_ms, anchor

    def find_trigger(self, system_key: str, trigger_id: str) -> tuple[Trigger, str] | None:
        """Return a trigger of the catalog and the status of its system."""
        for system in self.catalog.systems:
            if system.key == system_key:
                for trigger in system.triggers:
                    if trigger.id == trigger_id:
                        return trigger, system.status
        return None

    def _add_trigger(
        self, system: SystemPlan, trigger: Trigger, created: int, updated: int, anchor: int, names: dict[str, str]
    ) -> None:
        kind = {"user_creation": USER_CREATION, "metric": METRIC, "streak": STREAK}.get(trigger.type, ACHIEVEMENT)
        plan = TriggerPlan(trigger, kind, created, self._show_trigger(trigger, created, updated, names))
        if trigger.type == "metric":
            if trigger.metric in self.metrics:
                self._counter(trigger.metric, trigger.event_attributes).triggers.append((system, plan))
                self.metrics[trigger.metric].blocks |= plan.block and plan.base < 0
        elif trigger.type == "streak":
            system.by_streak.append(plan)
        elif trigger.type == "achievement":
            assert trigger.achievement is not None
            system.by_achievement.setdefault(trigger.achievement, []).append(plan)
        elif trigger.type == "user_creation":
            system.on_creation.append(plan)
        else:
            self.time_triggers.append(TimeTriggerPlan(plan, system, anchor))

    def _counter(self, metric: str, event_filter: Filter) -> CounterPlan:
        plan = self.metrics[metric]
        if not event_filter:
            return plan.total
        for counter in plan.filtered:
            if counter.filter == event_filter:
                return counter
        counter = CounterPlan(metric, event_filter)
        plan.filtered.append(counter)
        return counter

    def _sort(self) -> None:
        for metric in self.metrics.values():
            for counter in (metric.total, *metric.filtered):
                counter.achievements.sort(key=lambda a: (a.value, a.id.encode()))
        self.streak_achievements.sort(key=lambda a: (a.achievement.streak_length, a.id.encode()))
        self.composites.sort(key=lambda a: a.id.encode())
        self.anniversaries.sort(key=lambda a: (a.achievement.anniversary_years, a.id.encode()))
        for trigger in self.time_triggers:
            others = (other.base for other in self.time_triggers if other.system is trigger.system)
            trigger.steady = all((base > 0) == (trigger.base > 0) for base in others)
        self.time_triggers.sort(key=lambda t: (t.system.created_ms, t.system.system.id.encode(), t.order))

    def _show_achievement(self, achievement: Achievement) -> AchievementObject:
        kind = achievement.trigger
        unset = msgspec.UNSET
        metric = self.metric_names.get(achievement.metric or "") if kind == "metric" else None
        return AchievementObject(
            id=achievement.id,
            name=achievement.name,
            trigger=kind,
            description=achievement.description,
            badge_url=achievement.badge_url,
            achieved_at=None,
            user_attributes=key_values(achievement.user_attributes),
            key=achievement.key if kind == "api" and achievement.key is not None else unset,
            metric_id=metric.id if metric else unset,
            metric_name=metric.name if metric else unset,
            metric_value=Raw(format_scaled(achievement.metric_value).encode()) if metric else unset,
            event_attributes=key_values(achievement.event_attributes) if metric else unset,
            streak_length=achievement.streak_length if kind == "streak" else unset,
            achievement_ids=list(achievement.achievement_ids) if kind == "achievement" else unset,
            anniversary_years=achievement.anniversary_years if kind == "anniversary" else unset,
        )

    def show_achievement(self, achievement: Achievement, achieved_at: str) -> AchievementObject:
        """Return the object of any achievement of the catalog, active or not."""
        return msgspec.structs.replace(self._show_achievement(achievement), achieved_at=achieved_at)

    def _show_trigger(self, trigger: Trigger, created: int, updated: int, names: dict[str, str]) -> TriggerObject:
        kind = trigger.type
        unset = msgspec.UNSET
        metric = self.metric_names.get(trigger.metric or "") if kind == "metric" else None
        return TriggerObject(
            id=trigger.id,
            type=kind,
            points=trigger.points,
            status=trigger.status,
            user_attributes=key_values(trigger.user_attributes),
            metric_id=metric.id if metric else unset,
            metric_name=metric.name if metric else unset,
            metric_threshold=trigger.metric_threshold if kind == "metric" else unset,
            event_attributes=key_values(trigger.event_attributes) if kind == "metric" else unset,
            streak_length_threshold=trigger.streak_length if kind == "streak" else unset,
            achievement_id=trigger.achievement if kind == "achievement" and trigger.achievement is not None else unset,
            achievement_name=names[trigger.achievement]
            if kind == "achievement" and trigger.achievement is not None
            else unset,
            time_unit=trigger.time_unit if trigger.time_unit is not None else unset,
            time_interval=trigger.time_interval if kind == "time" else unset,
            created=format_instant(created),
            updated=format_instant(updated),
        )
