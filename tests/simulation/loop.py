"""A deterministic event loop: virtual time, and processes that can be killed or stopped at any step.

Every handle belongs to a lane, the queue of one thread of a simulated process. Within a lane handles run in the order in
which they became ready, as in a real loop; which lane comes next is drawn from the seed. Time passes when nothing is
ready: it jumps to the next timer. So a schedule is decided by its seed alone.
"""

import asyncio
import contextvars
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

CLOSES = 20
"""Attempts to close a coroutine that goes on waiting in its clean-up."""

TURNS_PER_LOOK = 40

STEP_S = 1e-5
"""What a handle takes of virtual time, so that a loop that never waits does not stop the clock."""


class Process:
    """A simulated process: what is killed, stopped and continued as a whole."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.stopped = False
        """By SIGSTOP: nothing of it runs, but what arrives for it is kept."""
        self.cut = False
        """Whether its network is gone."""
        self.expired = False
        """Whether a group has put it out: it was away for its session, or another process has taken its name."""
        self.steps = 0
        """Handles run so far."""
        self.strike_at = 0
        """Number of `steps` at which `strike` is called; 0: never."""
        self.strike: Callable[[], None] = _nothing
        self.on_down: list[Callable[[], None]] = []
        """Called when it stops, is killed or is cut off."""
        self.on_up: list[Callable[[], None]] = []
        """Called when it goes on or is reachable again."""
        self.requests: Callable[[str, str], None] = _no_request
        """Called with the name of each request, and "sent", "done", or "filled" when a fetch is answered with records."""

    @property
    def reachable(self) -> bool:
        """Whether brokers hear of it."""
        return self.alive and not self.stopped and not self.cut

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _nothing() -> None:
    pass


def _no_request(name: str, phase: str) -> None:
    pass


class Lane:
    """One thread of a process."""

    def __init__(self, process: Process, burst_s: float = 0.0) -> None:
        """`burst_s`: longest that a turn of its loop takes; others go on meanwhile."""
        self.process = process
        self.burst_s = burst_s
        self.ready: deque[Handle] = deque()
        self.queued = False
        """Whether the loop has it among its runnable ones."""
        self.context = contextvars.copy_context()
        self.context.run(_LANE.set, self)


_LANE: contextvars.ContextVar[Lane] = contextvars.ContextVar("lane")


def current_process() -> Process:
    """Return the process whose code runs."""
    return _LANE.get().process


def current_lane() -> Lane:
    """Return the lane whose code runs."""
    return _LANE.get()


class Handle:
    """What `call_soon` and `call_at` give back."""

    __slots__ = ("_when", "args", "callback", "context", "dropped", "lane")

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context, lane: Lane, when: float
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.lane = lane
        self.dropped = False
        self._when = when

    def cancel(self) -> None:
        self.dropped = True

    def cancelled(self) -> bool:
        return self.dropped

    def when(self) -> float:
        return self._when

    def __lt__(self, other: "Handle") -> bool:
        return False  # the heap compares a sequence number first


class StuckError(Exception):
    """Nothing is left to happen, or virtual time is up, and the condition does not hold."""


class SimLoop(asyncio.AbstractEventLoop):
    """The loop. One world has one."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._now = 0.0
        self._timers: list[tuple[float, int, Handle]] = []
        self._count = 0
        self._runnable: list[Lane] = []
        self.server = Lane(Process("server"))
        """Where brokers and whoever drives the schedule live."""
        self.errors: list[str] = []
        """What was raised in callbacks, or by tasks that nobody waited for."""
        self.steps = 0
        self.tasks: list[asyncio.Task[Any]] = []

    # what asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.append(task)
        return task

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        if context is None:
            context = contextvars.copy_context()
        lane = context.get(_LANE, self.server)
        handle = Handle(callback, args, context, lane, self._now)
        self._ready(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        if context is None:
            context = contextvars.copy_context()
        handle = Handle(callback, args, context, context.get(_LANE, self.server), when)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def close_tasks(self) -> None:
        """End what is left of all tasks, without anything that they do then having an effect."""
        self.server.process.alive = False
        self._timers.clear()
        for task in self.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coroutine: Any = task.get_coro()
                for _ in range(CLOSES):
                    try:
                        coroutine.close()
                    except Exception:
                        continue
                    break
        self.tasks.clear()
        self.errors = []

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.errors.append(f"{context.get('message')}: {error!r}")

    # processes

    def at_server(self, delay: float, callback: Callable[..., Any], *args: Any) -> None:
        """Call something of the servers after `delay` seconds."""
        when, server = self._now + delay, self.server
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, Handle(callback, args, server.context, server, when)))

    def start_in(self, lane: Lane, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task in a lane."""
        return self.create_task(work, context=lane.context.copy())

    def kill(self, process: Process) -> None:
        """SIGKILL: nothing of it runs any more, not even what would clean up."""
        process.alive = False
        self._runnable = [lane for lane in self._runnable if lane.process is not process]
        for call in process.on_down:
            call()

    def stop(self, process: Process) -> None:
        """SIGSTOP."""
        process.stopped = True
        self._runnable = [lane for lane in self._runnable if not self._leaves(lane, process)]
        for call in process.on_down:
            call()

    @staticmethod
    def _leaves(lane: Lane, process: Process) -> bool:
        if lane.process is not process:
            return False
        lane.queued = False
        return True

    def go_on(self, process: Process, lanes: list[Lane]) -> None:
        """SIGCONT."""
        process.stopped = False
        for lane in lanes:
            self._queue(lane)
        for call in process.on_up:
            call()

    # running

    def run(self, done: Callable[[], bool], deadline: float) -> None:
        """Run until `done`, which is asked now and then. StuckError at `deadline` (virtual seconds)."""
        turns = 0
        with self.running():
            while True:
                turns += 1
                if turns % TURNS_PER_LOOK == 0 and done():
                    return
                self._due()
                if self._runnable:
                    self._burst()
                    continue
                if not self._timers:
                    if done():
                        return
                    raise StuckError("nothing is left to happen")
                self._now = max(self._now, self._timers[0][0])
                if self._now > deadline:
                    raise StuckError(f"not done by {deadline:.0f} s of virtual time")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be the running loop of this thread."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    def _ready(self, handle: Handle) -> None:
        lane = handle.lane
        if not lane.process.alive:
            return
        lane.ready.append(handle)
        if not lane.queued and not lane.process.stopped:
            lane.queued = True
            self._runnable.append(lane)

    def _queue(self, lane: Lane) -> None:
        if lane.ready and not lane.queued and lane.process.alive and not lane.process.stopped:
            lane.queued = True
            self._runnable.append(lane)

    def _due(self) -> None:
        timers, now = self._timers, self._now
        while timers and timers[0][0] <= now:
            handle = heapq.heappop(timers)[2]
            if not handle.dropped:
                self._ready(handle)

    def _burst(self) -> None:
        """Run what is ready in one lane, as an iteration of its loop would."""
        runnable = self._runnable
        index = int(self._rng.random() * len(runnable)) if len(runnable) > 1 else 0
        lane = runnable[index]
        runnable[index] = runnable[-1]
        runnable.pop()
        lane.queued = False
        process, ready = lane.process, lane.ready
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.dropped:
                continue
            self._now += STEP_S
            self.steps += 1
            process.steps += 1
            try:
                handle.context.run(handle.callback, *handle.args)
            except Exception as error:
                self.errors.append(f"in a callback of {process.name}: {error!r}")
            if process.steps == process.strike_at:
                process.strike()
            if not process.alive or process.stopped:
                return
        if lane.burst_s:
            lane.queued = True
            self.at_server(self._rng.random() * lane.burst_s, self._rested, lane)
        else:
            self._queue(lane)

    def _rested(self, lane: Lane) -> None:
        lane.queued = False
        self._queue(lane)
