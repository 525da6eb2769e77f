"""What a verification found, for a person and for a program."""

from typing import Any

import msgspec

from deploy.cli.support.console import counted, table
from projections.verifier import Difference, Report
from projections.verifier.report import KINDS

_HEADERS = ["topic or table", "expected", "found", *KINDS, "not yet projected", "skipped"]


def report_json(report: Report) -> bytes:
    """Return the report as one JSON object (X26)."""
    return msgspec.json.encode(
        {
            "ok": report.ok,
            **{kind: report.total(kind) for kind in KINDS},
            "notYetProjected": report.waiting,
            "records": report.records,
            "inWork": report.beyond,
            "users": report.users,
            "seconds": round(report.seconds, 3),
            "counts": {name: _counts(counts) for name, counts in report.counts.items()},
            "differences": report.differences,
            "more": {kind: report.more(kind) for kind in KINDS if report.more(kind)},
            "notes": report.notes,
        }
    )


def _counts(counts: Any) -> dict[str, int]:
    values: dict[str, int] = msgspec.to_builtins(counts)
    values["notYetProjected"] = values.pop("waiting")
    return values


def print_report(report: Report) -> None:
    """Print the differences, one on a line, then the counts, then what they come to."""
    for kind in KINDS:
        for difference in report.differences:
            if difference.kind == kind:
                print(difference_line(difference))
        if report.more(kind):
            print(f"{kind}: and {report.more(kind):,} more")
    if report.differences:
        print()
    rows = [
        [name, *(f"{n:,}" for n in (one.expected, one.found, one.lost, one.doubled, one.reordered, one.wrong)),
         f"{one.waiting:,}", f"{one.skipped:,}"]
        for name, one in report.counts.items()
        if any(msgspec.structs.astuple(one))
    ]  # fmt: skip
    table(_HEADERS, rows, [False, *[True] * (len(_HEADERS) - 1)])
    print()
    for note in report.notes:
        print(note)
    beyond = f" (and {counted(report.beyond, 'record')} that may be in work)" if report.beyond else ""
    print(
        f"folded again: {counted(report.records, 'record')} of {counted(report.users, 'user')}{beyond}, in {report.seconds:.1f} s"
    )
    print(verdict(report))


def difference_line(difference: Difference) -> str:
    """Return one difference on one line."""
    place = f"{difference.where} {difference.partition}"
    if difference.offset is not None:
        place += f":{difference.offset}"
    parts = [difference.kind, difference.id or "-", place]
    if difference.key:
        parts.append(f"({difference.key})")
    if difference.expected or difference.found:
        parts.append(f"expected {difference.expected or 'nothing'}, found {difference.found or 'nothing'}")
    if difference.cause:
        parts.append(f"[{difference.cause}]")
    return " ".join(parts)


def verdict(report: Report) -> str:
    """Return the last line."""
    if report.ok:
        waiting = f"; {counted(report.waiting, 'row')} not yet projected" if report.waiting else ""
        return f"equal: nothing is lost, doubled, reordered or wrong{waiting}"
    return "different: " + ", ".join(f"{report.total(kind):,} {kind}" for kind in KINDS if report.total(kind))
