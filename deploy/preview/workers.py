"""Shares folded in processes of their own: records go there in runs, sums come back."""

import gc
import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Final, Self

from deploy.cli.support.errors import CommandError
from deploy.preview.share import Item, Outcome, Share, Task

MAX_RUNS_AHEAD: Final = 4
"""Runs that a process may have waiting, so that the log does not pile up in memory."""

_STOP_TIMEOUT_S: Final = 5.0

_GC_THRESHOLDS: Final = (200_000, 20, 100)
"""A fold makes many objects and hardly a cycle: looking for cycles as often as usual takes a tenth of the time."""


class _Failure:
    """What went wrong in a worker."""

    def __init__(self, message: str) -> None:
        self.message = message


class Workers:
    """One process per share. A context manager: processes end with it, however it ends."""

    def __init__(self, task: Task, jobs: int, progress: Callable[[int], None]) -> None:
        """Nothing runs yet. `progress` hears how many records were folded since its last call."""
        self._task, self._jobs, self._progress = task, jobs, progress
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._connections: list[Connection] = []
        self._waiting: list[deque[int]] = [deque() for _ in range(jobs)]
        self._outcomes: dict[int, Outcome] = {}

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        try:
            for number in range(self._jobs):
                ours, theirs = context.Pipe()
                self._connections.append(ours)
                process = context.Process(
                    target=_work, args=(theirs, self._task), name=f"preview-{number}", daemon=True
                )
                process.start()
                self._processes.append(process)
                theirs.close()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(0 if len(self._outcomes) < self._jobs else _STOP_TIMEOUT_S)
            if process.is_alive():
                process.terminate()
                process.join(_STOP_TIMEOUT_S)

    def send(self, share: int, items: list[Item], counted: int) -> None:
        """See Shares."""
        self._listen(0)
        while len(self._waiting[share]) >= MAX_RUNS_AHEAD:
            self._listen(None)
        try:
            self._connections[share].send(items)
        except OSError as error:
            raise self._lost(share) from error
        self._waiting[share].append(counted)

    def outcomes(self) -> list[Outcome]:
        """See Shares."""
        for share, connection in enumerate(self._connections):
            try:
                connection.send(None)
            except OSError as error:
                raise self._lost(share) from error
        while len(self._outcomes) < self._jobs:
            self._listen(None)
        return [self._outcomes[share] for share in range(self._jobs)]

    def _listen(self, timeout_s: float | None) -> None:
        """Take what the workers have to say; with None wait until one has something."""
        busy = [one for share, one in enumerate(self._connections) if share not in self._outcomes]
        for connection in wait(busy, timeout_s):
            assert isinstance(connection, Connection)
            share = self._connections.index(connection)
            try:
                told = connection.recv()
            except (EOFError, OSError) as error:
                raise self._lost(share) from error
            if isinstance(told, _Failure):
                raise CommandError(f"a process of the preview failed: {told.message}")
            if isinstance(told, Outcome):
                self._outcomes[share] = told
            else:
                self._progress(self._waiting[share].popleft())

    def _lost(self, share: int) -> CommandError:
        process = self._processes[share]
        process.join(_STOP_TIMEOUT_S)
        return CommandError(
            f"a process of the preview ended with exit code {process.exitcode}, perhaps for want of memory; "
            "try fewer records, or --jobs 1"
        )


def _work(connection: Connection, task: Task) -> None:
    """Fold one share: the main function of a worker process."""
    gc.set_threshold(*_GC_THRESHOLDS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    try:
        share = Share(task)
        while (items := connection.recv()) is not None:
            share.fold(items)
            connection.send(None)
        connection.send(share.finish())
    except (EOFError, OSError):
        return  # the parent has gone
    except Exception as error:
        detail = traceback.format_exc() if os.environ.get("PLAUDIT_DEBUG") else f"{type(error).__name__}: {error}"
        connection.send(_Failure(detail))
