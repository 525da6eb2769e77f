"""For how long a log has held something that is not done, told from looks at where it ends.

A record's own timestamp does not say when it was appended: history may be decades old, and the input log keeps the time
of the producer. So the end of the log is noted now and then, and what is not done is as old as the last look at which
the log ended before it.
"""

from collections import deque
from typing import Final

MOST_LOOKS: Final = 512
"""Looks that are kept. Beyond that only every second one is, and so from then on: the answer becomes coarser, but not
beyond a few thousandths of itself."""


class Backlog:
    """One log, of which `done` is the next offset to be done."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()
        self._distance_s = 0.0
        self.end = 0
        """Where the log ended at the latest look."""

    def look(self, now_s: float, end: int) -> None:
        """Note where the log ends."""
        self.end = end
        looks = self._looks
        if looks and now_s - looks[-1][0] < self._distance_s:
            return
        looks.append((now_s, end))
        if len(looks) > MOST_LOOKS:
            self._looks = deque(list(looks)[::2])
            self._distance_s = (now_s - looks[0][0]) / MOST_LOOKS * 2

    def records(self, done: int) -> int:
        """Return how many offsets are not done."""
        return max(0, self.end - done)

    def seconds(self, now_s: float, done: int, newest_done_s: float | None = None) -> float:
        """Return for how long the oldest of them has been there; 0 if there is none.

        Args:
            now_s: as given to `look`.
            done: next offset to be done.
            newest_done_s: an append time of something that is done, by the same clock: what follows it on the log came
                later. None: unknown.

        Too long by the distance of two looks at most. When the looks do not go back far enough and `newest_done_s` is
        unknown, the time since the first look is returned: at least that.
        """
        if self.records(done) == 0:
            return 0.0
        looks = self._looks
        while len(looks) > 1 and looks[1][1] <= done:
            looks.popleft()
        if len(looks) == 1:
            self._distance_s = 0.0
        seen_s, end = looks[0]
        since = [seen_s] if end <= done or newest_done_s is None else []
        if newest_done_s is not None:
            since.append(newest_done_s)
        return max(0.0, now_s - max(since))
