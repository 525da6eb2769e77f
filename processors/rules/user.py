"""A user in memory: the state being folded, and what is derived from it and thrown away."""

from hashlib import sha256
from typing import Final

from msgspec import UnsetType

from processors.rules.errors import RejectedError
from processors.rules.filters import undeclared
from processors.rules.plan import AchievementPlan, Plan
from processors.rules.tallies import Tallies
from processors.rules.texts import to_json
from processors.rules.unset import UNSET
from processors.rules.zones import Zone, find_zone, zone_of
from schemas.instants import format_day, format_instant, parse_day, parse_instant
from schemas.outcome import UserObject
from schemas.records import UserInput
from schemas.state import Row, UserState

_DATE_LENGTH: Final = len("YYYY-MM-DD")


class User:
    """One user.

    Attributes:
        key: record key of the user (X1).
        state: what is stored.
        zone: zone of `state.tz`.
        pending: per counter id, the active achievements not completed yet, by value; valid for `plan`.
        given: the user object applied last; the same again changes nothing.
        settlement: next period end and its chain as `streaks.due` found them; UNSET = not known.
        due: instant of what is due next as `timers.advance` found it; UNSET = not known, None = nothing.
        goals: what meets a period for this user, and whether all are needed (S12, S79); None = not known.
        history: per chain the settled rows with a length that restore may look back on, oldest first (S72).
        tallies: of the events with attributes; None = there were none (P12).
        streak_json: JSON of the streak object as an event that does not extend the streak shows it; empty = not known.
        sender_json: who it is about, as envelopes say it: tenant, environment, user; empty = not known.
        name_json: the same for outcomes, without environment.
        composites: those whose prerequisites are complete but which wait for their user filter; None = not known.
        anniversary: first instant and day of the next anniversary to complete on; UNSET = not known, None = none.
        message: instant and kind of the next message due; UNSET = not known, None = none.
        active_until: instant before which a metric event leaves the next reactivation message where it is (E15).
        recap_from, recap_until: instants between which events change nothing about recaps (E14).
        missed_anniversaries: past ones that wait for their user filter, with their days; None = not known.
    """

    __slots__ = (
        "_shown",
        "_shown_json",
        "active_until",
        "anniversary",
        "composites",
        "due",
        "given",
        "goals",
        "history",
        "history_changed",
        "key",
        "message",
        "missed_anniversaries",
        "name_json",
        "pending",
        "plan",
        "recap_from",
        "recap_until",
        "sender_json",
        "settlement",
        "state",
        "streak_json",
        "tallies",
        "zone",
    )

    def __init__(self, key: bytes, state: UserState) -> None:
        self.key = key
        self.state = state
        self.zone: Zone = zone_of(state.tz)
        self.plan: Plan | None = None
        self.pending: dict[str, list[AchievementPlan]] = {}
        self.composites: list[AchievementPlan] | None = None
        self.given: UserInput | None = None
        self.settlement: tuple[int, int] | UnsetType | None = UNSET
        self.due: int | UnsetType | None = UNSET
        self.anniversary: tuple[int, int] | UnsetType | None = UNSET
        self.missed_anniversaries: list[tuple[int, AchievementPlan]] | None = None
        self.message: tuple[int, int] | UnsetType | None = UNSET
        self.active_until = 0
        self.recap_from = 0
        self.recap_until = 0
        self.goals: tuple[list[tuple[str, int]], bool] | None = None
        self.history: list[list[Row]] = [[], [], []]
        self.history_changed = False
        self.streak_json = ""
        self.sender_json = ""
        self.name_json = ""
        self.tallies: Tallies | None = None
        self._shown: UserObject | None = None
        self._shown_json = ""

    def use(self, plan: Plan) -> None:
        """Drop what was derived from another plan."""
        if self.plan is not plan:
            self.plan = plan
            self.pending = {}
            self.composites = None
            self.given = None
            self.goals = None
            self.recap_from = self.recap_until = 0
            self.anniversaries_changed()
            self.streaks_changed()

    def due_changed(self) -> None:
        """Drop what is known of what is due next, and what shows freezes."""
        self.due = UNSET
        self.streak_json = ""

    def streaks_changed(self) -> None:
        """Drop what was derived from the streak chains."""
        self.message = UNSET
        self.settlement = UNSET
        self.due = UNSET
        self.streak_json = ""

    def messages_changed(self) -> None:
        """Drop what is known of the messages to come."""
        self.message = UNSET
        self.due = UNSET

    def anniversaries_changed(self) -> None:
        """Drop what was derived from the sign-up date and the anniversaries done."""
        self.anniversary = UNSET
        self.missed_anniversaries = None
        self.due = UNSET

    def changed(self) -> None:
        """Drop what was derived from profile fields."""
        self._shown, self._shown_json = None, ""
        self.zone = zone_of(self.state.tz)
        self.recap_from = self.recap_until = 0
        self.anniversaries_changed()
        self.streaks_changed()

    def shown(self) -> UserObject:
        """Return the user as events show it."""
        if self._shown is None:
            state = self.state
            self._shown = UserObject(
                id=state.id,
                email=state.email,
                name=state.name,
                tz=state.tz,
                sign_up_date=state.sign_up_date,
                device_tokens=state.device_tokens,
                subscribe_to_emails=state.subscribe if state.subscribe is not None else state.email is not None,
                attributes=dict(state.attributes),
                control=state.control,
                created=format_instant(state.created),
                updated=format_instant(state.updated),
            )
        return self._shown

    def shown_json(self) -> str:
        """Return `shown` as JSON text."""
        if not self._shown_json:
            self._shown_json = to_json(self.shown())
        return self._shown_json


def in_control_group(tenant: str, user_id: str, ratio_percent: int) -> bool:
    """Tell whether a new user belongs to the control group (U9)."""
    if ratio_percent == 0:
        return False
    digest = sha256(f"{tenant}/{user_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % 100 < ratio_percent


def check_form(given: UserInput) -> None:
    """Refuse what is no date, before everything else about the record (Z1, Z12)."""
    if given.sign_up_date is not UNSET:
        sign_up_day(given.sign_up_date)


def check_user(given: UserInput, state: UserState | None, plan: Plan, at_ms: int) -> None:
    """Refuse what a user object must not say, in the order Z4, Z5, Z6 (Z12).

    `at_ms` is the record's time, which decides whether a sign-up date lies in the future.
    """
    if given.attributes is not UNSET:
        unknown = undeclared(given.attributes, plan.user_attributes)
        if unknown:
            raise RejectedError(
                "unknown_attribute",
                f"user attributes {', '.join(unknown)} are not declared; add them to userAttributes of the catalog",
            )
    if given.tz is not UNSET and find_zone(given.tz) is None:
        raise RejectedError(
            "invalid_tz", f"user.tz {given.tz!r} is neither an IANA zone (Europe/Berlin) nor an offset (+02:00)"
        )
    if given.subscribe_to_emails is True:
        known = given.email is not UNSET or (state is not None and state.email is not None)
        if not known:
            raise RejectedError(
                "email_required", "user.subscribeToEmails is true but no email is known; send user.email too"
            )
    if given.sign_up_date is not UNSET:
        tz = given.tz if given.tz is not UNSET else state.tz if state else None
        day = parse_day(sign_up_day(given.sign_up_date))
        if day > zone_of(tz).day(at_ms):
            raise RejectedError("invalid_sign_up_date", f"user.signUpDate {given.sign_up_date} lies in the future")


def sign_up_day(text: str) -> str:
    """Return the UTC day of a date or date-time (metrics-and-events.md section 4).

    Raises:
        RejectedError: not a date.
    """
    try:
        if len(text) > _DATE_LENGTH:
            return format_instant(parse_instant(text))[:_DATE_LENGTH]
        return format_day(parse_day(text))
    except (ValueError, OverflowError) as error:
        raise RejectedError("bad_request", f"user.signUpDate {text[:40]!r} is not a date; write YYYY-MM-DD") from error


def new_state(user_id: str, tenant: str, plan: Plan, created_ms: int, append_ms: int) -> UserState:
    """Return the state of a user seen for the first time (U11, C1)."""
    control = in_control_group(tenant, user_id, plan.catalog.control_ratio)
    return UserState(
        tenant=tenant, id=user_id, created=created_ms, updated=created_ms, control=control, append=append_ms
    )


def update_profile(user: User, given: UserInput, at_ms: int) -> bool:
    """Store the fields that were passed (U2, U4, U6); the zone is left to the caller. Return whether anything changed."""
    state = user.state
    email: str | UnsetType | None = given.email
    subscribe: bool | None = state.subscribe
    if given.subscribe_to_emails is not UNSET:
        subscribe = given.subscribe_to_emails
    if subscribe is False:
        email = None  # while it is false no email is stored, one that is passed is dropped (U6 b, d)
    changed = False
    if subscribe is not state.subscribe:
        state.subscribe, changed = subscribe, True
    if email is not UNSET and email != state.email:
        state.email, changed = email, True
    if given.name is not UNSET and given.name != state.name:
        state.name, changed = given.name, True
    if given.device_tokens is not UNSET and given.device_tokens != state.device_tokens:
        state.device_tokens, changed = given.device_tokens, True
    if given.sign_up_date is not UNSET:
        day = sign_up_day(given.sign_up_date)
        if day != state.sign_up_date:
            state.sign_up_date, changed = day, True
    if given.attributes is not UNSET:
        for key, value in given.attributes.items():
            if state.attributes.get(key) != value:
                state.attributes[key], changed = value, True
    if changed:
        touch(user, at_ms)
    return changed


def touch(user: User, at_ms: int) -> None:
    """Note that a stored field changed (U10)."""
    user.state.updated = max(user.state.updated, at_ms)
    user.changed()
