"""Commit histories as records of the input log: the sample's CSV file and any git repository.

Every commit gives two records (wire.md X3): `commits` with value 1 and `lines` with what it added and removed. They come
in the order of the source, which is not the order of their times: authors' clocks and late merges stay as they were.
"""

import csv
import gzip
import hashlib
import io
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Final, NotRequired, TypedDict

MAX_OFFSET_MINUTES: Final = 14 * 60
"""Largest distance from UTC a zone may have (C29)."""

MAX_ID_LENGTH: Final = 255
"""Characters of a user id (C7)."""

SIZES: Final = ((5, "tiny"), (30, "small"), (150, "medium"), (1000, "large"))
"""Event attribute `size`: the first name whose bound, in lines, is not exceeded; above all bounds `huge`."""

HOURS: Final = ((6, "night"), (12, "morning"), (18, "afternoon"), (22, "evening"), (24, "night"))
"""Event attribute `when` on working days: the first name whose end, an hour of the author's clock, is not reached."""

_SATURDAY: Final = 5
_ANONYMOUS_DIGITS: Final = 16
_ANONYMOUS_COMMIT_DIGITS: Final = 32
_ERROR_BYTES: Final = 2000
_HEADER: Final = "\x01"
_SEPARATOR: Final = "\x1f"
_FORMAT: Final = "%x01%H%x1f%aE%x1f%aN%x1f%ad%x1f%ct"
# Whatever the user has configured, the output is the one `_parse` knows.
_GIT_SETTINGS: Final = (
    "-c log.showSignature=false -c log.showRoot=true -c core.quotePath=true -c i18n.logOutputEncoding=UTF-8"
)
_GIT_LOG: Final = "log --numstat --reverse --date=raw --no-color --no-ext-diff --no-textconv --no-notes --no-decorate"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UserObject(TypedDict):
    """The `user` of a record; `attributes` only on request."""

    id: str
    tz: str
    name: NotRequired[str]
    attributes: NotRequired[dict[str, str]]


class Record(TypedDict):
    """One metric event, ready to be written as JSON."""

    eventId: str
    metric: str
    user: UserObject
    value: int
    occurredAt: str
    attributes: NotRequired[dict[str, str]]


@dataclass
class Counts:
    """What a reading met on its way.

    Attributes:
        commits: commits read.
        impossible_offsets: commits whose UTC offset cannot exist (C29) and was taken as UTC.
        impossible_dates: commits whose author date cannot be read and was replaced by the committer's, or by 1970.
    """

    commits: int = 0
    impossible_offsets: int = 0
    impossible_dates: int = 0


class GitHistoryError(Exception):
    """The history cannot be read: no git, no repository, a damaged file. The message says which; the user has to mend it."""


@dataclass(frozen=True)
class _Commit:
    id: str
    user_id: str
    name: str | None
    moment: datetime
    lines: int


def read_csv(path: Path | str, *, attributes: bool = False, counts: Counts | None = None) -> Iterator[Record]:
    """Yield the records of a commits file (`authored_at,author,commit,files,insertions,deletions`, plain or gzip).

    Args:
        path: the file; authors in it are already pseudonyms.
        attributes: add the event attributes `size` and `when` and the user attribute `since`. A catalog that does not
            declare them refuses such records (M11).
        counts: is kept up to date while reading.

    Raises:
        GitHistoryError: a row that is no commit, with its line number.
    """
    counts = counts if counts is not None else Counts()
    return _records(_csv_commits(Path(path), counts), attributes)


def read_repository(
    path: Path | str,
    *,
    attributes: bool = False,
    anonymise: bool = False,
    salt: str = "",
    counts: Counts | None = None,
) -> Iterator[Record]:
    """Yield the records of a git repository, oldest commit first, while git is still writing.

    A user's id is the author's e-mail address in lower case, as the repository's `.mailmap` has it, and the name is the
    author's. Merges count as commits of 0 lines; binary files as 0 lines.

    Args:
        path: a working tree or a bare repository.
        attributes: as for `read_csv`.
        anonymise: the id is a salted hash of the address, and the name is left out; the event ids are made of a salted
            hash of the commit's id.
        salt: of the hash; keep it secret, or addresses can be guessed.
        counts: is kept up to date while reading.

    Raises:
        GitHistoryError: git is missing or fails; the message is git's.
    """
    counts = counts if counts is not None else Counts()
    return _records(_git_commits(Path(path), salt if anonymise else None, counts), attributes)


def _records(commits: Iterator[_Commit], attributes: bool) -> Iterator[Record]:
    since: dict[str, str] = {}
    for commit in commits:
        moment = commit.moment
        user = UserObject(id=commit.user_id, tz=moment.isoformat()[-6:])
        if commit.name:
            user["name"] = commit.name
        if attributes:
            user["attributes"] = {"since": since.setdefault(commit.user_id, f"{moment.year // 10 * 10}s")}
        for metric, value in (("commits", 1), ("lines", commit.lines)):
            record = Record(
                eventId=f"{commit.id}-{metric}", metric=metric, user=user, value=value, occurredAt=moment.isoformat()
            )
            if attributes:
                record["attributes"] = {"size": size_of(commit.lines), "when": when_of(moment)}
            yield record


def size_of(lines: int) -> str:
    """Return the event attribute `size` of a commit."""
    return next((name for bound, name in SIZES if lines <= bound), "huge")


def when_of(moment: datetime) -> str:
    """Return the event attribute `when` of an author's local time."""
    if moment.weekday() >= _SATURDAY:
        return "weekend"
    return next(name for end, name in HOURS if moment.hour < end)


def _csv_commits(path: Path, counts: Counts) -> Iterator[_Commit]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                try:
                    lines = int(row["insertions"]) + int(row["deletions"])
                    moment = datetime.fromisoformat(row["authored_at"])
                    commit = _Commit(row["commit"], row["author"], None, _with_possible_offset(moment, counts), lines)
                except (KeyError, TypeError, ValueError) as error:
                    raise GitHistoryError(f"{path}, line {reader.line_num}: not a commit ({error!r})") from error
                counts.commits += 1
                yield commit
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise GitHistoryError(f"{path} cannot be read: {error}") from error


def _with_possible_offset(moment: datetime, counts: Counts) -> datetime:
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError(f"{moment.isoformat()} has no UTC offset")
    if abs(offset) > timedelta(minutes=MAX_OFFSET_MINUTES) or offset % timedelta(minutes=1):
        counts.impossible_offsets += 1
        return moment.astimezone(UTC)
    return moment


def _git_commits(path: Path, salt: str | None, counts: Counts) -> Iterator[_Commit]:
    command = ["git", "-C", str(path), *_GIT_SETTINGS.split(), *_GIT_LOG.split(), f"--format={_FORMAT}"]
    command += ["--end-of-options", "HEAD"]
    with tempfile.TemporaryFile() as errors:  # not a pipe: nobody would empty it while the output is read
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            raise GitHistoryError(f"git cannot be started: {error}") from error
        assert process.stdout is not None
        output = io.TextIOWrapper(process.stdout, encoding="utf-8", errors="replace", newline="\n")
        try:
            yield from _parse(output, salt, counts)
            if process.wait() != 0:
                errors.seek(0)
                message = errors.read(_ERROR_BYTES).decode("utf-8", "replace").strip()
                raise GitHistoryError(f"git log of {path} failed: {message}")
        finally:
            if process.poll() is None:
                process.kill()
            output.close()
            process.wait()


def _parse(output: IO[str], salt: str | None, counts: Counts) -> Iterator[_Commit]:
    header: list[str] | None = None
    lines = 0
    for line in output:
        if line.startswith(_HEADER):
            if header is not None:
                yield _commit(header, lines, salt, counts)
            header, lines = line[1:].rstrip("\n").split(_SEPARATOR), 0
        elif line != "\n":
            added, removed, _ = line.split("\t", 2)
            lines += sum(int(number) for number in (added, removed) if number != "-")  # "-": a binary file
    if header is not None:
        yield _commit(header, lines, salt, counts)


def _commit(header: list[str], lines: int, salt: str | None, counts: Counts) -> _Commit:
    identity, *people, authored, committed = header
    address, name = people[0].strip().lower(), _SEPARATOR.join(people[1:]).strip()
    user_id = address or name or "unknown"
    if salt is not None:
        user_id, name = f"u{_hashed(salt, user_id)[:_ANONYMOUS_DIGITS]}", ""
        identity = f"c{_hashed(salt, identity)[:_ANONYMOUS_COMMIT_DIGITS]}"  # the commit's own would lead to its author
    counts.commits += 1
    return _Commit(identity, user_id[:MAX_ID_LENGTH], name or None, _moment(authored, committed, counts), lines)


def _hashed(salt: str, text: str) -> str:
    return hashlib.sha256(f"{salt}\0{text}".encode()).hexdigest()


def _moment(authored: str, committed: str, counts: Counts) -> datetime:
    """Return git's raw date (`seconds ±HHMM`) with its offset; both may be nonsense in old histories."""
    seconds, _, offset = authored.partition(" ")
    zone = _zone(offset)
    if zone is None:
        counts.impossible_offsets += 1
        zone = UTC
    moment = _instant(seconds, zone)
    if moment is None:
        counts.impossible_dates += 1
        moment = _instant(committed, zone) or _EPOCH
    return moment


def _instant(seconds: str, zone: timezone) -> datetime | None:
    try:
        moment = (_EPOCH + timedelta(seconds=int(seconds))).astimezone(zone)
    except (ValueError, OverflowError):
        return None
    return moment if moment >= _EPOCH else None


def _zone(offset: str) -> timezone | None:
    sign, digits = offset[:1], offset[1:]
    if sign not in ("+", "-") or len(digits) != len("HHMM") or not (digits.isascii() and digits.isdigit()):
        return None
    hours, minutes = int(digits[:2]), int(digits[2:])
    total = hours * 60 + minutes
    if minutes >= 60 or total > MAX_OFFSET_MINUTES:
        return None
    return timezone(timedelta(minutes=-total if sign == "-" else total))
