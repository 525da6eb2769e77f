"""How long topics and tables keep what they hold, as settings say it: `rejected=90d derived=30d events=forever` (X30a)."""

import re
from collections.abc import Collection, Mapping
from typing import Final

DAY_MS: Final = 86_400_000
FOREVER: Final = "forever"
MAX_DAYS: Final = 36_500

_ENTRY: Final = re.compile(r"([a-z_]+)=(?:(\d{1,5})d|forever)", re.ASCII)

Retention = dict[str, int]
"""Days by name; what is not named is kept for ever."""


def parse_retention(text: str, names: Collection[str], groups: Mapping[str, Collection[str]] = {}) -> Retention:
    """Return what a setting says of `names`; a group stands for several, a later entry wins over an earlier one.

    Raises:
        ValueError: not of this form, or an unknown name; the message says what to write.
    """
    found: Retention = {}
    for entry in text.replace(",", " ").split():
        match = _ENTRY.fullmatch(entry)
        if match is None or (match[2] is not None and not 1 <= int(match[2]) <= MAX_DAYS):
            raise ValueError(f"{entry!r}: write NAME=DAYSd or NAME=forever, at most {MAX_DAYS}d, separated by spaces")
        name, days = match[1], match[2]
        if name not in names and name not in groups:
            raise ValueError(f"{name!r} is not one of {', '.join([*groups, *names])}")
        for one in groups.get(name, (name,)):
            found.pop(one, None)
            if days is not None:
                found[one] = int(days)
    return found
