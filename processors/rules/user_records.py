"""Records of users: skip, validate, do what is due, apply, answer (F1)."""

import re
from collections import Counter as Tally
from typing import Final

import msgspec
from msgspec import Raw

from processors.rules import apply, calls, erasure, messages, streaks, texts, timers
from processors.rules.catalogs import CatalogStore
from processors.rules.decode import loose_fields
from processors.rules.effects import Effects, MakeEffects, instant_text, shown_instant
from processors.rules.errors import RejectedError
from processors.rules.memory import digest
from processors.rules.plan import Plan
from processors.rules.refusal import rejected
from processors.rules.settings import FoldSettings
from processors.rules.store import UserStore
from processors.rules.switching import move_user
from processors.rules.tallies import Filling
from processors.rules.unset import UNSET
from processors.rules.user import User, check_form, check_user
from schemas.emission import Emission
from schemas.instants import EARLIEST_MS, LATEST_MS, to_ms
from schemas.outcome import Issue, OutcomeRecord
from schemas.records import (
    TYPED,
    CompleteAchievement,
    Erase,
    Identify,
    InputRecord,
    LogRecord,
    MetricEvent,
    UserInput,
    UserRecord,
)
from schemas.topics import OUTCOMES

_TYPE_NAMES: Final[dict[type[InputRecord], str]] = {
    MetricEvent: "metric",
    **{kind: name for name, kind in TYPED.items()},
}
_POSITION: Final = re.compile(r"-\d+-\d+", re.ASCII)

_encode: Final = msgspec.json.Encoder().encode
_Emission: Final = Emission  # a name of this module: compiled code need not look it up


class _Request:
    """A user's record on its way.

    Attributes:
        event_id: the producer's, or the default one (X4). remembered: its digest if it is the producer's, else empty.
        occurred: `occurredAt`, epoch ms. append: append time (X5). at: effectiveAt (T8).
        tick: the last tick of the partition; None = it had none.
    """

    __slots__ = ("append", "at", "decoded", "event_id", "key", "occurred", "record", "remembered", "tick")

    def __init__(
        self,
        record: LogRecord,
        decoded: UserRecord,
        key: bytes,
        event_id: str,
        remembered: bytes,
        occurred: int,
        append: int,
        tick: int | None,
    ) -> None:
        self.record = record
        self.decoded = decoded
        self.key = key
        self.event_id = event_id
        self.remembered = remembered
        self.occurred = occurred
        self.append = append
        self.at = min(occurred, append)
        self.tick = tick


class UserRecords:
    """Applies records of users to the states of a partition."""

    def __init__(
        self,
        store: UserStore,
        settings: FoldSettings,
        counters: Tally[str],
        catalogs: CatalogStore,
        effects: MakeEffects = Effects,
    ) -> None:
        self._store = store
        self._catalogs = catalogs
        self._settings = settings
        self._counters = counters
        self._effects = effects

    def process(
        self,
        record: LogRecord,
        decoded: UserRecord,
        key: bytes,
        plan: Plan | None,
        tick: int | None,
        out: list[Emission],
        limit: int,
    ) -> bool:
        """Apply one record; refuse it where a rule says so. False = what is due for the user fills the slice already.

        `tick` is the last tick of the partition, which an append time never precedes (X5).
        """
        given_id = decoded.event_id
        own_id = given_id is not UNSET
        event_id = (
            given_id if given_id is not UNSET else f"{self._settings.topic}-{record.partition}-{record.offset}"
        )  # X4
        remembered = b""
        if own_id:
            remembered = digest(event_id)
            memory = self._store.known_memory(key)
            if memory is not None and memory.event_ids.get(remembered) is not None:
                self._counters["skipped_events"] += 1  # I13
                return True
        user = None if isinstance(decoded, Erase) else self._store.get(key)
        append = record.timestamp_ms
        if user is not None and user.state.append > append:
            append = user.state.append
        if tick is not None and tick > append:
            append = tick
        occurred = record.timestamp_ms if decoded.occurred_at is UNSET else to_ms(decoded.occurred_at)
        request = _Request(record, decoded, key, event_id, remembered, occurred, append, tick)
        try:
            if not EARLIEST_MS <= occurred <= LATEST_MS or (
                own_id and (event_id.startswith(self._settings.topic) or "\0" in event_id)
            ):
                self._check_form(request)
            if isinstance(decoded, Erase):
                self._erase(request, decoded, out)
                return True
            if plan is None:
                raise RejectedError(
                    "unknown_metric", f"no catalog is in force for tenant {decoded.tenant!r}; publish one first"
                )
            return self._apply(request, user, plan, out, limit)
        except RejectedError as error:
            self._refuse(request, error, out)
            return True

    def _check_form(self, request: _Request) -> None:
        """Refuse what is wrong whatever the catalog says (Z1, D-11, D-22)."""
        if not EARLIEST_MS <= request.occurred <= LATEST_MS:
            raise RejectedError("bad_request", "occurredAt lies outside the years 3 to 9988")
        if request.remembered and ("\0" in request.event_id or self._is_reserved(request.event_id)):
            raise RejectedError(
                "bad_request",
                f"eventId {request.event_id[:80]!r} holds NUL or has the form of a default one "
                f"({self._settings.topic}-PARTITION-OFFSET); choose another, or leave it out",
            )

    def _is_reserved(self, event_id: str) -> bool:
        """Tell whether an id has the form of those given to records without one (X4): effects of both would share ids."""
        topic = self._settings.topic
        return event_id.startswith(topic) and _POSITION.fullmatch(event_id, len(topic)) is not None

    def _apply(self, request: _Request, user: User | None, plan: Plan, out: list[Emission], limit: int) -> bool:
        decoded, key, at = request.decoded, request.key, request.at
        if user is not None:
            user.use(plan)
        checked: apply.CheckedEvent | None = None
        answered: apply.Applied | None = None
        if isinstance(decoded, MetricEvent):
            checked = apply.check_event(decoded, user, plan, at)
        elif isinstance(decoded, Identify):
            given = apply.given_user(decoded.user)
            check_form(given)
            check_user(given, user.state if user else None, plan, at)
        elif isinstance(decoded, CompleteAchievement):
            calls.check_completion(decoded, user, plan, at)
        elif not isinstance(decoded, Erase):
            answered = calls.check_request(decoded, user, plan)
            if answered is not None:
                self._counters["applied"] += 1
                self._answer(request, out, answered, None)
                return True
        created = user is None
        if user is None:
            if isinstance(decoded, CompleteAchievement):
                calls.look_up_completion(decoded, None, plan)
            user = apply.create(key, apply.given_user(decoded.user), decoded.tenant, plan, at, request.append)
            user.use(plan)
        effects = self._effects(out, user, self._settings.environment, request.event_id, request.append)
        effects.live = request.tick is not None
        if not created:
            self._store.touch(key)
            if user.state.quarantine is not None and not self._take_up(user, plan, request, effects, limit):
                return False
            # a zone change comes after everything due under the old zone, postponed or not (S60)
            postpones = plan.streak.settle_delay_seconds > 0
            reached = request.append if postpones and _moves(user, apply.given_user(decoded.user)) else at
            if not timers.advance(user, plan, request.append, effects, limit, reached_ms=reached):
                return False
            user.state.append = request.append  # what is refused from here on has run what was due (D-04)
            if postpones:
                streaks.roll_idle(user, plan, streaks.settled_until(plan, request.append, reached))
            if isinstance(decoded, CompleteAchievement):
                answered = calls.look_up_completion(decoded, user, plan)
        if effects.trace is not None:
            effects.trace.record(type_name(decoded), request.occurred, request.append, at, created=created)
        mark = len(out)
        saved = self._store.save(user) if checked is not None and checked.metric.blocks and not created else None
        try:
            applied = answered or self._carry_out(request, checked, user, plan, effects, created=created)
        except RejectedError:
            del out[mark:]  # F2: nothing of it is applied
            if saved is not None:
                self._store.put_back(key, saved).use(plan)
            raise
        if plan.messages is not None:
            messages.send_at_once(user, plan, request.append, effects)
        if created:
            self._store.add(user)
        self._remember(request, applied)
        if checked is None:
            self._answer(request, out, applied, None)
            return True
        text = texts.outcome_record(
            effects.cause_json,
            user.name_json,
            checked.metric.key_json,
            shown_instant(request.occurred),
            instant_text(at),
            applied.status,
            applied.outcome,
        )
        out.append(_Emission(OUTCOMES, key, text.encode()))
        return True

    def _take_up(self, user: User, plan: Plan, request: _Request, effects: Effects, limit: int) -> bool:
        """Do for a user who was set aside (D-89) what switches of the catalog did for others meanwhile. False = the slice is
        full; what is due under the present plan is left to the caller."""
        state = user.state
        assert state.quarantine is not None
        old = self._catalogs.plan(state.tenant, state.quarantine)
        assert old is not None, "a version that was in force is not on the catalog topic"
        for new in self._catalogs.after(state.tenant, old.version, plan.version):
            user.use(old)
            if not timers.advance(user, old, new.at, effects, limit):
                return False
            move_user(user, old, new, Filling(old, new), new.at, request.tick, effects)
            old, state.quarantine = new, new.version
        user.use(plan)
        state.quarantine = None
        user.due_changed()
        return True

    def _remember(self, request: _Request, applied: apply.Applied) -> None:
        """Remember a given event id, and count the record and what had to be forgotten for it (C32)."""
        forgotten = applied.forgotten
        if request.remembered:
            forgotten += self._store.memory(request.key).event_ids.add(request.remembered, "")
        if forgotten:
            self._counters["forgotten_ids"] += forgotten
        if not applied.tallied:
            self._counters["forgotten_tallies"] += 1
        self._counters["applied"] += 1

    def _carry_out(
        self,
        request: _Request,
        checked: apply.CheckedEvent | None,
        user: User,
        plan: Plan,
        effects: Effects,
        *,
        created: bool,
    ) -> apply.Applied:
        decoded, at, event_id = request.decoded, request.at, request.event_id
        if checked is not None:
            if not checked.idempotency_key:
                return apply.apply_event(user, checked, event_id, plan, at, None, effects, created=created)
            memory = self._store.known_memory(request.key) or self._store.new_memory()
            applied = apply.apply_event(user, checked, event_id, plan, at, memory, effects, created=created)
            self._store.keep_memory(request.key, memory)
            return applied
        if not isinstance(decoded, Identify | CompleteAchievement | MetricEvent | Erase):
            return calls.apply_request(user, decoded, plan, at, effects)
        if isinstance(decoded, Identify):
            given = apply.given_user(decoded.user)
            return calls.apply_identify(user, given, event_id, plan, at, effects, created=created)
        assert isinstance(decoded, CompleteAchievement)
        return calls.apply_completion(user, decoded, event_id, plan, at, effects, created=created)

    def _erase(self, request: _Request, decoded: Erase, out: list[Emission]) -> None:
        """Forget the user, and tell every topic, also of a user who is not known: tables may hold more (X29, X30).

        Nothing that is due is done first, it would be erased at once; nothing of the user is read, so it may be broken. Of
        ids only that of the erasure stays, so that a resend does not erase the user's next life.
        """
        erasure.check_erase(decoded)
        key, known = request.key, self._store.has(request.key)
        user_id = decoded.user if isinstance(decoded.user, str) else decoded.user.id
        user = erasure.nobody(key, decoded.tenant, user_id, request.at)
        effects = self._effects(out, user, self._settings.environment, request.event_id, request.append)
        if effects.trace is not None:
            effects.trace.record(type_name(decoded), request.occurred, request.append, request.at, created=False)
            effects.trace.erased(known=known)
        erasure.tell(effects, request.at)
        issues = [] if known else [Issue(user_id, "warning", "User does not exist")]
        self._answer(request, out, apply.Applied(200, "", issues=issues), None)
        self._store.erase(key)
        if request.remembered:
            memory = self._store.new_memory()
            memory.event_ids.add(request.remembered, "")
            self._store.keep_memory(key, memory)
        self._counters["applied"] += 1

    def _refuse(self, request: _Request, error: RejectedError, out: list[Emission]) -> None:
        """Report a refused record on both topics (C34); it leaves no trace in state (T10)."""
        self._counters[f"rejected.{error.reason}"] += 1
        out.append(rejected(request.record, self._settings.topic, error))
        self._answer(request, out, apply.Applied(error.status, ""), error.reason)

    def _answer(self, request: _Request, out: list[Emission], applied: apply.Applied, reason: str | None) -> None:
        """Emit the outcome record (X12)."""
        decoded = request.decoded
        data = OutcomeRecord(
            event_id=request.event_id,
            type=type_name(decoded),
            tenant_id=decoded.tenant,
            user_id=decoded.user if isinstance(decoded.user, str) else decoded.user.id,
            metric=decoded.metric if isinstance(decoded, MetricEvent) else UNSET,
            occurred_at=shown_instant(request.occurred),
            effective_at=UNSET if reason is not None else instant_text(request.at),
            status=applied.status,
            reason=UNSET if reason is None else reason,
            outcome=Raw(applied.outcome.encode()) if applied.outcome else UNSET,
            issues=applied.issues,
        )
        out.append(Emission(OUTCOMES, request.key, _encode(data)))

    def answer_undecoded(self, record: LogRecord, error: RejectedError, out: list[Emission]) -> None:
        """Emit the outcome of a record that could not be decoded but whose user could be read (C34, D-03)."""
        found = loose_fields(record.value)
        data = OutcomeRecord(
            event_id=found.event_id or f"{self._settings.topic}-{record.partition}-{record.offset}",
            type=found.type,
            tenant_id=found.tenant,
            user_id=found.user_id,
            metric=found.metric if found.metric is not None else UNSET,
            occurred_at=shown_instant(record.timestamp_ms),
            status=error.status,
            reason=error.reason,
        )
        out.append(Emission(OUTCOMES, record.key, _encode(data)))


def _moves(user: User, given: UserInput) -> bool:
    return given.tz is not UNSET and given.tz != user.state.tz


def type_name(record: InputRecord) -> str:
    """Return the `type` of a record; `metric` for a metric event, which has none (X2)."""
    return _TYPE_NAMES[type(record)]
