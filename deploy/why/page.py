"""The answer for a person: text in a pipe, tables with a little colour on a terminal."""

import sys
from typing import Any, Final

import msgspec
from msgspec import UnsetType

from deploy.cli.support.console import table
from deploy.why.document import Answer, UserShown, decoded
from deploy.why.effects import effect_line
from deploy.why.words import number, pairs, step_line
from schemas.trace import AwardStep

_WIDTH: Final = 10
_CHAPTERS: Final = {
    "points.md": "P",
    "achievements.md": "AF",
    "streaks.md": "S",
    "metrics-and-events.md": "BIMNQTUZ",
    "derived-events.md": "E",
    "leaderboards.md": "L",
    "wire.md": "X",
    "README.md": "CD",
}
"""File of docs/spec in which the rules of a letter are."""


def print_page(answer: Answer) -> None:
    """Print the whole answer on standard output."""
    _headline(answer.sentence)
    print()
    _record(answer)
    _before(answer)
    if answer.steps:
        print()
        marked = _asked_award(answer)
        rows = [
            [
                ">" if marked is not None and isinstance(step, AwardStep) and step.award_id == marked else str(place),
                " ".join(step.rules),
                step_line(step),
            ]
            for place, step in enumerate(answer.steps, 1)
        ]
        table(["", "rules", "what happened, in order"], rows, [True])
    print()
    if answer.effects:
        rows = [
            [
                ">" if effect.asked else str(place),
                effect.topic,
                effect.type,
                effect.id,
                effect_line(effect.type, decoded(effect.value)),
            ]
            for place, effect in enumerate(answer.effects, 1)
        ]
        table(["", "topic", "type", "id", "what came out, in order"], rows, [True])
    else:
        print("Nothing came out.")
    if chapters := _chapters(answer):
        print(f"\nRules: {chapters}")


def _asked_award(answer: Answer) -> str | None:
    for effect in answer.effects:
        if effect.asked and effect.type == "points.awarded":
            return str(decoded(effect.value)["data"]["award"]["id"])
    return None


def _headline(text: str) -> None:
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(text, style="bold"))


def _line(name: str, text: str) -> None:
    print(f"{name:<{_WIDTH}} {text}")


def _record(answer: Answer) -> None:
    record = answer.record
    _line("record", f"{record.topic} partition {record.partition} offset {record.offset}, {record.timestamp}")
    key = record.key if isinstance(record.key, str) else msgspec.json.encode(record.key).decode()
    _line("key", key.replace("\0", "\\0"))
    _line("event", f"{record.event_id}, {record.type or 'not readable'}")
    for place, line in enumerate(_payload(record.value)):
        _line("" if place else "payload", line)
    if answer.catalog is None:
        _line("catalog", "none in force")
    else:
        switched = answer.catalog.switched_at_offset
        where = "from before the log" if switched is None else f"put in force at offset {switched}"
        _line("catalog", f"version {answer.catalog.version}, since {answer.catalog.since}, {where}")
    if not isinstance(answer.refused, UnsetType):
        refused = answer.refused
        _line("refused", f"{refused.reason} ({' '.join(refused.rules)}): nothing of the record was applied")
    if not isinstance(answer.due, UnsetType):
        _line("due", f"{answer.due}: an effect of time alone, which this record carried out")
    if answer.sent_again:
        _line("again", f"sent again and skipped at offsets {', '.join(map(str, answer.sent_again))} (I13)")


def _payload(value: Any) -> list[str]:
    if isinstance(value, msgspec.Raw):
        return msgspec.json.format(bytes(value), indent=2).decode().splitlines()
    return [str(value) if isinstance(value, str) else msgspec.json.encode(value).decode()]


def _before(answer: Answer) -> None:
    if answer.user is None:
        return
    before = answer.before
    tenant = f", tenant {answer.tenant}" if answer.tenant else ""
    if before is None:
        _line("before", f"there was no user {answer.user}{tenant}")
        return
    attributes = f", {pairs(before.attributes)}" if before.attributes else ""
    _line("before", f"user {answer.user}{tenant}, zone {before.zone}{attributes}")
    for line in _state(before):
        _line("", line)


def _state(before: UserShown) -> list[str]:
    lines = []
    if before.metrics:
        lines.append(", ".join(f"{key} {number(total)}" for key, total in before.metrics.items()))
    if before.points:
        shown = (f"{key} {number(one.total)} ({one.level or 'no level'})" for key, one in before.points.items())
        lines.append(", ".join(shown))
    streak = before.streak
    freezes = "" if isinstance(streak.freezes, UnsetType) else f", {streak.freezes} freezes"
    expires = f", expires {streak.expires}" if streak.length else ""
    lines.append(
        f"{streak.frequency} streak {streak.length}{expires}{freezes}; {len(before.achievements)} achievements"
    )
    return lines


def _chapters(answer: Answer) -> str:
    """Return where the rules named above are written."""
    letters = {rule[0] for step in answer.steps for rule in step.rules}
    if not isinstance(answer.refused, UnsetType):
        letters |= {rule[0] for rule in answer.refused.rules}
    found = {name: sorted(letters & set(held)) for name, held in _CHAPTERS.items() if letters & set(held)}
    return ", ".join(f"{' '.join(held)} in docs/spec/{name}" for name, held in found.items())
