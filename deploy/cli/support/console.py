"""What a person sees: progress on standard error, tables on standard output. In a pipe both are plain or nothing."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Bar:
    """Progress of one thing."""

    def advance(self, count: int) -> None:
        """So many more are done."""

    def set(self, done: int, total: int | None = None) -> None:
        """So many are done."""

    def line(self, text: str) -> None:
        """Print a line on standard error, above the bar if there is one."""
        print(text, file=sys.stderr)

    def stage(self, text: str) -> None:
        """Say in words what a bar would have shown."""
        print(text, file=sys.stderr, flush=True)


class _RichBar(Bar):
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task

    def advance(self, count: int) -> None:
        self._progress.advance(self._task, count)

    def set(self, done: int, total: int | None = None) -> None:
        self._progress.update(self._task, completed=done, **({} if total is None else {"total": total}))

    def line(self, text: str) -> None:
        self._progress.console.out(text, highlight=False)

    def stage(self, text: str) -> None:
        pass


@contextmanager
def bar(name: str, total: int | None) -> Iterator[Bar]:
    """Show one progress bar while the block runs, if standard error is a terminal."""
    with bars() as add:
        yield add(name, total)


class Bars:
    """Makes bars; without a terminal, bars that show nothing."""

    def __call__(self, name: str, total: int | None) -> Bar:
        """Return a new bar."""
        return Bar()


class _RichBars(Bars):
    def __init__(self, progress: Any) -> None:
        self._progress = progress

    def __call__(self, name: str, total: int | None) -> Bar:
        return _RichBar(self._progress, self._progress.add_task(name, total=total))


@contextmanager
def bars() -> Iterator[Bars]:
    """Show several progress bars while the block runs, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield Bars()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=8) as progress:
        yield _RichBars(progress)


def note(text: str) -> None:
    """Tell the person what is going on, on standard error."""
    print(text, file=sys.stderr, flush=True)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool] = ()) -> None:
    """Print a table on standard output: with lines on a terminal, else aligned text."""
    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        shown = Table(box=SIMPLE_HEAD, pad_edge=False)
        for index, header in enumerate(headers):
            justify: Any = "right" if index < len(right) and right[index] else "left"
            shown.add_column(header, justify=justify, overflow="fold")  # ids are there to be copied
        for row in rows:
            shown.add_row(*(Text(cell) for cell in row))
        Console().print(shown)
        return
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    for row in (headers, *rows):
        cells = [
            cell.rjust(width) if index < len(right) and right[index] else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def counted(count: int, noun: str) -> str:
    """Return `1 record`, `2,000 records`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def called_as() -> str:
    """Return what the user types to call this program: `plaudit`, or its path where it is not on the search path."""
    called = Path(sys.argv[0])
    found = shutil.which("plaudit")
    if called.name != "plaudit" or (found is not None and Path(found).resolve() == called.resolve()):
        return "plaudit"
    try:
        return str(called.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(called)
