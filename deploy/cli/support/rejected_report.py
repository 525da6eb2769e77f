"""What `plaudit rejected` prints: refused records, and what came of those that were written again (X31)."""

from collections import Counter
from typing import Any, Final

import msgspec

from deploy.cli.support.console import counted, note, table
from deploy.cli.support.errors import DONE, FAILED, SOME_REFUSED
from deploy.cli.support.letters import Gone, Letter, Original
from deploy.cli.support.retrying import Retried
from processors.rules.control import CONTROL_HEADER
from processors.rules.errors import FIXES, RULES, STATUS
from schemas.derived import Handled
from schemas.instants import format_instant

SHOWN_MESSAGE: Final = 100


def line_of(letter: Letter, mark: Handled | None) -> dict[str, Any]:
    """Return a refusal as a JSON line; `mark` is what was done about it."""
    return {
        "place": str(letter.place),
        "reason": letter.reason,
        "message": letter.message,
        "user": letter.user,
        "timestamp": letter.dated,
        "refusedAt": format_instant(letter.refused_ms),
        "handled": None if mark is None else {"action": mark.action, "at": mark.at, "as": mark.retried_as or None},
    }


def print_table(letters: list[Letter], handled: dict[str, Handled] | None) -> None:
    """Print refusals; with `handled`, also what was done about each."""
    if not letters:
        return
    rows = []
    for one in letters:
        message = one.message if len(one.message) <= SHOWN_MESSAGE else f"{one.message[: SHOWN_MESSAGE - 1]}…"
        row = [str(one.place), format_instant(one.refused_ms)[:19], one.reason, one.user, message]
        if handled is not None:
            row.insert(3, _done_about(handled.get(str(one.place))))
        rows.append(row)
    headers = ["place", "refused at", "reason", "user", "why"]
    if handled is not None:
        headers.insert(3, "handled")
    table(headers, rows)


def _done_about(mark: Handled | None) -> str:
    if mark is None:
        return ""
    return mark.action if not mark.retried_as else f"{mark.action} as {mark.retried_as}"


def print_counts(letters: list[Letter], hidden: int, handled: dict[str, Handled]) -> None:
    """Print how many are refused for which reason; `hidden` are left out of the table."""
    if not letters:
        note("nothing is refused")
        return
    left = Counter(one.reason for one in letters if str(one.place) not in handled)
    done = sum(str(one.place) in handled for one in letters)
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in left.most_common())
    text = f"{counted(left.total(), 'refused record')}" + (f": {by_reason}" if by_reason else "")
    text += f"; {done:,} handled already (--all shows them)" if done else ""
    note(text + (f"; {hidden:,} more, older (--limit)" if hidden else ""))


def print_letter(letter: Letter, mark: Handled | None) -> None:
    """Print everything about a refusal."""
    rules = ", ".join(RULES.get(letter.reason, ()))
    print(f"{letter.reason} (status {STATUS.get(letter.reason, 400)}, rules {rules}): {letter.message}")
    print(f"  what helps   {FIXES.get(letter.reason, '')}")
    print(f"  place        {letter.place}")
    print(f"  user         {letter.user}")
    print(f"  timestamp    {letter.dated}")
    print(f"  refused at   {format_instant(letter.refused_ms)}")
    print(f"  handled      {_done_about(mark) or 'not yet'}")


def print_original(original: Original | Gone) -> None:
    """Print the refused record itself."""
    if isinstance(original, Gone):
        print(f"  record       {original.why}; plaudit.rejected holds a copy of at most 64 KiB: plaudit tail rejected")
        return
    print(f"  key          {original.key!r}")
    for name, data in original.headers:
        shown = "(hidden)" if name == CONTROL_HEADER else repr(data)
        print(f"  header       {name}: {shown}")
    print("  value")
    print(_pretty(original.value))


def _pretty(value: bytes | None) -> str:

    if value is None:
        return "none (a tombstone)"
    try:
        return msgspec.json.format(value.decode(), indent=2)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return value.decode("utf-8", "backslashreplace")


def tell(one: Retried, timeout_s: float) -> int:
    """Print what came of a record, and return its exit code."""
    what = f"{one.retry.of}, now {one.place}"
    if one.refusal is not None:
        print(f"refused again: {what}: {one.refusal.reason}: {one.refusal.message}")
        return SOME_REFUSED
    if one.status is not None:
        issues = "".join(f"; {issue}" for issue in one.issues)
        print(f"applied: {what}, status {one.status}{issues}")
        return SOME_REFUSED if one.issues else DONE
    if one.applied:
        print(f"counted before: {what}: its event id was applied already (I13)")
        return DONE
    print(f"written: {what}, but no worker has applied it within {timeout_s:g} s; the next one does")
    return FAILED
