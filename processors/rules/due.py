"""Who of a partition's users is due when."""

import heapq
from typing import Final

from processors.rules.entries import NEVER, Entry

MOST_COUNTED: Final = 10_000
"""Overdue users beyond which nobody counts on."""

_HEAP_SLACK: Final = 1_000


class DueUsers:
    """The users by due instant, then key. The instants themselves stand in the entries, which whoever holds this one keeps."""

    def __init__(self, entries: dict[bytes, Entry]) -> None:
        self._entries = entries
        self._heap: list[tuple[int, bytes]] = []  # (due, key); what no longer matches an entry's due is passed over
        self._aside: list[tuple[int, bytes]] = []  # due, and to be passed over by the record in hand

    def rebuild(self) -> None:
        """Note all entries anew."""
        self._heap = [(entry.due, key) for key, entry in self._entries.items() if entry.due != NEVER]
        heapq.heapify(self._heap)

    def move(self, key: bytes, due: int) -> None:
        """Give a user a due instant, or NEVER."""
        entry = self._entries[key]
        if due != entry.due:
            entry.due = due
            self.note(key, due)

    def note(self, key: bytes, due: int) -> None:
        """Note the instant that a user's entry has; when old notes outweigh the users, all are made anew."""
        if due != NEVER:
            heapq.heappush(self._heap, (due, key))
            if len(self._heap) > 2 * len(self._entries) + _HEAP_SLACK:
                self.rebuild()

    def pop(self, at: int) -> tuple[int, bytes] | None:
        """Take the user who is due first, at or before `at`, off the timers: due instant and key; None if nobody is.

        The caller puts the user back, by `move` or `set_aside`.
        """
        heap = self._heap
        while heap and heap[0][0] <= at:
            due, key = heapq.heappop(heap)
            entry = self._entries.get(key)
            if entry is not None and entry.due == due:
                entry.due = NEVER
                return due, key
        return None

    def take(self, key: bytes) -> tuple[int, bytes]:
        """Take a user who is due off the timers, as `pop` does, though others may be due before."""
        entry = self._entries[key]
        due, entry.due = entry.due, NEVER
        return due, key

    def set_aside(self, due: int, key: bytes) -> None:
        """Keep a user taken by `pop`, unchanged, from being taken again until `return_set_aside`: a record larger than
        a slice need not pass it over in every slice."""
        self._entries[key].due = due
        self._aside.append((due, key))

    def return_set_aside(self) -> None:
        """Put all users that were set aside back on the timers."""
        for item in self._aside:
            heapq.heappush(self._heap, item)
        self._aside = []

    @property
    def noted(self) -> int:
        """About how many users have a due instant: notes that no longer hold count until their time comes."""
        return min(len(self._heap), len(self._entries))

    def overdue(self, at: int) -> int:
        """Return how many users are due at or before `at`, counted up to MOST_COUNTED."""
        heap, waiting, found = self._heap, [0], 0
        while waiting and found < MOST_COUNTED:
            place = waiting.pop()
            if place >= len(heap) or heap[place][0] > at:
                continue  # a heap: nothing below this place is due earlier
            due, key = heap[place]
            entry = self._entries.get(key)
            if entry is not None and entry.due == due:
                found += 1
            waiting.append(2 * place + 1)
            waiting.append(2 * place + 2)
        return found
