"""What a comparison found, as a person reads it."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import unified_diff
from typing import Any, Final

import msgspec

from deploy.cli.support.check import Checked, value_of
from deploy.cli.support.comparison import Counts, Recorded
from deploy.cli.support.console import counted, table
from deploy.cli.support.differences import Difference, Hit
from deploy.cli.support.recorded import RecordedLog, head_of
from schemas.instants import format_instant
from schemas.topics import full_name

MOST_LINES: Final = 400
"""Lines of a difference that are shown."""

MOST_SHOWN_BYTES: Final = 4_096
"""Longest payload that is shown whole."""

CONTEXT: Final = 3
WIDTH: Final = 100


def report(checked: Checked, difference: Difference | None, recorded: RecordedLog, source: str, prefix: str) -> None:
    """Print the first difference, if there is one, then the counts. `source`: what was folded."""
    if difference is not None:
        for line in shown_difference(difference, recorded, source, prefix):
            print(line)
        if difference.hit is not None and any(n == difference.hit.record.partition for _, n in checked.truncated):
            print("older records of this partition are deleted (see below): what is only derived may have been there")
        print()
    _print_counts(checked, prefix)
    beyond = f" (and {counted(checked.beyond, 'record')} that may be in work)" if checked.beyond else ""
    print(f"\nfolded again: {counted(checked.records, 'record')} of {source}{beyond}")
    for place, begin in sorted(checked.truncated.items()):
        compared = "compared from there on"
        if place in checked.empty:
            compared = "nothing is left to compare with"
        elif place in checked.never_began:
            compared = "its first record is not derived now"
        print(
            f"{full_name(place[0], prefix)} {place[1]} begins at offset {begin}, older records are deleted: {compared}"
        )
    if checked.given_up:
        print("given up early, too much is different: the counts are of what was read")
    if checked.equal:
        print("equal: what this program derives from the log is what is recorded, byte for byte")
    else:
        differing = checked.differing + len(checked.never_began)
        print(f"different: {counted(differing, 'sequence')} of a user's records in a topic")


def _print_counts(checked: Checked, prefix: str) -> None:
    rows = [(full_name(topic, prefix), one) for topic, one in checked.counts.items() if one.derived or one.recorded]
    total = Counts(*(sum(getattr(one, name) for _, one in rows) for name in Counts.__struct_fields__))
    headers = ["topic", "derived now", "recorded", "equal", "only derived", "only recorded"]
    cells = [
        [name, *(f"{n:,}" for n in (one.derived, one.recorded, one.equal, one.only_derived, one.only_recorded))]
        for name, one in [*rows, ("total", total)]
    ]
    table(headers, cells, [False, *[True] * 5])


def shown_difference(difference: Difference, recorded: RecordedLog, source: str, prefix: str) -> Iterator[str]:
    """Yield the lines that show the first difference."""
    user = "no key" if difference.key is None else f"user {_user(difference.key)}"
    hit = difference.hit
    if hit is None:
        yield f"First difference: no record of {source} causes what is recorded for {user}"
        found = difference.mismatch.recorded
        yield from _diff([] if found is None else [found], [], recorded, prefix)
        return
    record = hit.record
    yield (
        f"First difference: the record at {source} {record.partition}:{record.offset}, "
        f"{_instant(record.timestamp_ms)}, for {user}"
    )
    yield from _payload(record.value)
    version = "no catalog" if hit.version is None else f"catalog version {hit.version}"
    yield ""
    yield f"State of {user} before it ({version}):"
    yield from ("  none" if hit.before is None else compact(named(hit.before))).splitlines()
    yield ""
    yield "What was recorded of it (-) and what is derived now (+):"
    yield from _results(difference, hit, recorded, prefix)


def _results(difference: Difference, hit: Hit, recorded: RecordedLog, prefix: str) -> Iterator[str]:
    lines = list(_diff(difference.recorded, hit.derived, recorded, prefix))
    if not lines:  # the same records, but not where or as they should stand
        found = difference.mismatch.recorded
        lines = ["  the same, but in another order or with other headers; the first that differs:"]
        lines += [] if found is None else [f"- {recorded.show(found)}", *_pretty(value_of(found.form)).splitlines()]
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"... {len(lines) - MOST_LINES} more lines"


def _diff(
    before: Sequence[Recorded], now: Iterable[tuple[str, bytes]], recorded: RecordedLog, prefix: str
) -> Iterator[str]:
    """Yield the lines of a unified diff, topic by topic, and where the recorded side of it stands."""
    new = sorted((one for one in now if one[0] in recorded.topics), key=lambda one: recorded.topics.index(one[0]))
    old = [(one.topic, value_of(one.form)) for one in before]
    left, right = ([line for one in side for line in _event(*one, prefix)] for side in (old, new))
    yield from unified_diff(left, right, "recorded", "derived now", n=CONTEXT, lineterm="")
    for one, event in zip(before, old, strict=True):
        if event in new:
            new.remove(event)  # one of two doubles has a counterpart
        else:
            yield f"recorded at {recorded.show(one)}: {head_of(event[1]).type or one.topic}"


def _event(topic: str, value: bytes, prefix: str) -> Iterator[str]:
    kind = head_of(value).type
    yield f"{full_name(topic, prefix)}{' ' + kind if kind else ''}"
    yield from (f"  {line}" for line in _pretty(value).splitlines())


def _payload(value: bytes | None) -> Iterator[str]:
    if value is None:
        yield "  null"
        return
    text = value[:MOST_SHOWN_BYTES].decode(errors="replace")
    yield f"  {text}" + (f" ... ({len(value):,} bytes)" if len(value) > MOST_SHOWN_BYTES else "")


def _pretty(value: bytes) -> str:
    try:
        return msgspec.json.format(value, indent=2).decode()
    except msgspec.MsgspecError:
        return value.decode(errors="replace")


def _user(key: bytes) -> str:
    return repr(key.decode(errors="replace")).replace("\\x00", " ").strip("'") if key else "(none)"


def _instant(ms: int) -> str:
    try:
        return format_instant(ms)
    except (ValueError, OverflowError):
        return f"{ms} ms"


def named(value: Any) -> Any:
    """Return a state with the names of its fields, without what is empty: plain JSON of an array_like Struct."""
    if isinstance(value, msgspec.Struct):
        fields = {name: named(getattr(value, name)) for name in value.__struct_fields__}
        return {name: field for name, field in fields.items() if field is not None and field != {} and field != []}
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    if isinstance(value, dict):
        return {key: named(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [named(one) for one in value]
    return value


def compact(value: Any, indent: int = 0) -> str:
    """Return JSON in which what fits a line stands on one."""
    line = msgspec.json.encode(value).decode()
    if len(line) + indent <= WIDTH or not isinstance(value, dict | list) or not value:
        return line
    space, deeper = " " * indent, " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{msgspec.json.encode(key).decode()}: {compact(one, indent + 2)}" for key, one in value.items()]
        return "{\n" + ",\n".join(deeper + part for part in parts) + f"\n{space}}}"
    return "[\n" + ",\n".join(deeper + compact(one, indent + 2) for one in value) + f"\n{space}]"
