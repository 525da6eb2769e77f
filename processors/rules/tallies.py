"""Tallies: an exact, compressed record of a user's metric events with attributes (P12, A6, P18, D-25).

What any event filter has counted so far can be told from them, also of a filter that no catalog had when the events came.
Between two changes of sign the order of a metric's events makes no difference: a filter's sum only grows over non-negative
events, so that its highest value stands at the end, and only falls over negative ones, so that it stands at the start.
Therefore only sums per set of attributes are kept, in blocks of one sign each. A fall that the following rise makes good for
every set of attributes, and a rise that makes good none of the fall before it, leave no mark on any highest value: they are
merged with their neighbours. Events without attributes match no filter that has pairs; they are in the metric's total.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import msgspec

from processors.rules.filters import matches
from processors.rules.plan import CounterPlan, Plan
from schemas.state import Counter, StoredTallies, UserState

MAX_TALLY_BYTES: Final = 65_536
"""Size of one user's tallies, as stored; beyond it new sets of attributes are not remembered."""

_ENTRY_BYTES: Final = 48
"""What an entry takes besides its text: the sum, punctuation, and its share of block and metric."""

_KNOWN_TEXTS: Final = 16_384
"""Sets of attributes whose texts, and matches at a switch, are remembered: users share most of them."""

_Blocks = list[dict[str, int]]
"""See StoredTallies."""


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(StoredTallies)


def attribute_text(attributes: dict[str, str]) -> str:
    """Return attributes as one text, the same for the same pairs: `key=length:value` after one another, by key.

    Keys hold no `=`, so that whatever a value holds can be read back.
    """
    return _text_of(tuple(attributes.items()))


@lru_cache(maxsize=_KNOWN_TEXTS)
def _text_of(pairs: tuple[tuple[str, str], ...]) -> str:
    return "".join([f"{key}={len(value)}:{value}" for key, value in sorted(pairs)])


def attributes_of(text: str) -> dict[str, str]:
    """Return the attributes that `attribute_text` wrote."""
    attributes: dict[str, str] = {}
    start = 0
    while start < len(text):
        equals = text.index("=", start)
        colon = text.index(":", equals)
        end = colon + 1 + int(text[equals + 1 : colon])
        attributes[text[start:equals]] = text[colon + 1 : end]
        start = end
    return attributes


def _cost(text: str) -> int:
    return len(_encode(text)) + _ENTRY_BYTES


class Tallies:
    """The tallies of one user, decoded when first needed.

    Attributes:
        changed: whether `add` changed them since they were last written.
    """

    __slots__ = ("_metrics", "_size", "_stored", "changed")

    def __init__(self, stored: bytes | None = None) -> None:
        """`stored` is what `encode` returned, None = nothing yet."""
        self.changed = False
        self._stored = stored
        self._size = 0
        self._metrics: dict[str, _Blocks] = {}

    def _decode(self) -> None:
        assert self._stored is not None
        found = _decoder.decode(self._stored)
        self._size, self._metrics = found.size, found.metrics
        self._stored = None

    def encode(self) -> bytes:
        """Return the stored form."""
        if self._stored is not None:
            return self._stored
        return _encode(StoredTallies(self._size, self._metrics))

    def add(self, metric: str, attributes: dict[str, str], value: int) -> bool:
        """Count an event of a metric, its scaled value; return False if there was no room for it."""
        if self._stored is not None:
            self._decode()
        if value == 0:
            return True
        text = attribute_text(attributes)
        blocks = self._metrics.get(metric)
        known = blocks[-1].get(text, 0) if blocks is not None else 0
        if blocks is not None and known and (known > 0) == (value > 0):
            blocks[-1][text] = known + value
            self.changed = True
        else:
            blocks = self._new_entry(metric, text, value)
            if blocks is None:
                return False
        if value > 0 and len(blocks) > 1 and text in blocks[-2]:
            self._merge_rise(metric, blocks)
        return True

    def _new_entry(self, metric: str, text: str, value: int) -> _Blocks | None:
        """Add a set of attributes to the last block, or to a new one; return the metric's blocks, None if there is no room."""
        blocks = self._metrics.get(metric)
        turns = blocks is not None and (next(iter(blocks[-1].values())) > 0) != (value > 0)
        if blocks is not None and turns and value < 0 and self._merge_fall(blocks):
            turns = False
        known = 0 if blocks is None or turns else blocks[-1].get(text, 0)
        size = self._size + (0 if known else _cost(text)) + (len(metric) if blocks is None else 0)
        if size > MAX_TALLY_BYTES:
            return None
        self._size = size
        self.changed = True
        if blocks is None:
            blocks = self._metrics[metric] = [{}]
        elif turns:
            blocks.append({})
        blocks[-1][text] = known + value
        return blocks

    def _merge_rise(self, metric: str, blocks: _Blocks) -> None:
        """Merge the last rise and the fall before it, if it makes all of the fall good, with the rise before that."""
        while len(blocks) > 1:
            fall, rise = blocks[-2], blocks[-1]
            for text, value in fall.items():
                if rise.get(text, 0) + value < 0:
                    return
            del blocks[-2:]
            if not blocks:
                blocks.append({})
            self._merge(blocks[-1], fall)
            self._merge(blocks[-1], rise)
        if not blocks[0]:
            del self._metrics[metric]
            self._size -= len(metric)

    def _merge_fall(self, blocks: _Blocks) -> bool:
        """Before another fall: merge the last rise into the fall before it, if it is nowhere more than that."""
        if len(blocks) < 2:
            return False
        fall, rise = blocks[-2], blocks[-1]
        for text, value in rise.items():
            if fall.get(text, 0) + value > 0:
                return False
        self._merge(fall, rise)
        del blocks[-1]
        return True

    def _merge(self, block: dict[str, int], other: dict[str, int]) -> None:
        """Add the sums of another block, which goes."""
        for text, value in other.items():
            known = block.get(text)
            if known is None:
                block[text] = value
                continue
            self._size -= _cost(text)
            block[text] = known + value
            if known + value == 0:
                del block[text]
                self._size -= _cost(text)
        self.changed = True

    def blocks(self, metric: str) -> Iterator[dict[str, int]]:
        """Yield the blocks of a metric, oldest first."""
        if self._stored is not None:
            self._decode()
        yield from self._metrics.get(metric, ())


class Filling:
    """What a switch does to counters: those of filters that the plan before did not have are taken from the tallies."""

    def __init__(self, old: Plan | None, new: Plan) -> None:
        before = old.counters if old is not None else frozenset()
        self._counters = new.counters
        self._added: dict[str, list[CounterPlan]] = {}
        for metric in new.metrics.values():
            added = [counter for counter in metric.filtered if counter.id not in before]
            if added:
                self._added[metric.key] = added
        self._needed = bool(self._added) or not before <= new.counters
        self._known: dict[str, dict[str, tuple[int, ...]]] = {metric: {} for metric in self._added}

    @property
    def needed(self) -> bool:
        """Tell whether the switch changes any counter."""
        return self._needed

    @property
    def added(self) -> list[CounterPlan]:
        """The counters of the filters that are new."""
        return [counter for added in self._added.values() for counter in added]

    def apply(self, state: UserState, tallies: Tallies | None) -> None:
        """Bring a user's counters in line with the new plan: drop those of no filter, fill the new ones (P12, P18)."""
        for identity in [identity for identity in state.counters if identity not in self._counters]:
            del state.counters[identity]
        for metric, added in self._added.items():
            for counter in added:
                state.counters.pop(counter.id, None)  # left by a version that knew no tallies
            if tallies is not None:
                self._fill(state, metric, added, tallies)

    def _fill(self, state: UserState, metric: str, added: list[CounterPlan], tallies: Tallies) -> None:
        totals, highs = [0] * len(added), [0] * len(added)
        for block in tallies.blocks(metric):
            for text, value in block.items():
                for place in self._matching(metric, added, text):
                    totals[place] += value
            highs = [max(pair) for pair in zip(highs, totals, strict=True)]
        for counter, total, high in zip(added, totals, highs, strict=True):
            if total or high:
                state.counters[counter.id] = Counter(total, high)

    def _matching(self, metric: str, added: list[CounterPlan], text: str) -> tuple[int, ...]:
        """Return the places of the filters that a set of attributes matches; users share most sets."""
        known = self._known[metric]
        found = known.get(text)
        if found is None:
            attributes = attributes_of(text)
            found = tuple(place for place, counter in enumerate(added) if matches(counter.filter, attributes))
            if len(known) < _KNOWN_TEXTS:
                known[text] = found
        return found
