"""What stands in the input log already, and where it ends."""

from typing import Any, Final

from deploy.cli.support.history import event_id_of
from deploy.cli.support.kafka import consumer, log_ends, partitions_of, read_to_end
from deploy.records_file import control_type
from processors.rules.control import CONTROL_HEADER
from schemas.brokers import Brokers

_TICK: Final = "tick"


class Log:
    """What was found in the input log.

    Attributes:
        event_ids: of the records of users.
        ticked: whether the clock has run on it.
    """

    def __init__(self, token: str = "") -> None:
        """Nothing is read yet. With a control token, ticks without it are none."""
        self.event_ids: set[str] = set()
        self.ticked = False
        self._headers = (CONTROL_HEADER, token.encode()) if token else None
        self._open: set[int] = set()

    @property
    def tick_due(self) -> bool:
        """Whether in some partition no tick follows the last record of a user: the run that fed it did not end."""
        return bool(self._open)

    def add(self, record: Any) -> None:
        """Take note of the next record of a partition."""
        kind = control_type(record.value)
        if not kind:
            self._open.add(record.partition)
            event_id = event_id_of(record.value)
            if event_id is not None:
                self.event_ids.add(event_id)
        elif kind == _TICK and (self._headers is None or self._headers in record.headers):
            self._open.discard(record.partition)
            self.ticked = True


async def scan(brokers: Brokers, topic: str, token: str = "") -> Log:
    """Read the whole input log once."""
    log = Log(token)
    async with consumer(brokers) as one:
        async for run in read_to_end(one, topic):
            for record in run:
                log.add(record)
    return log


async def last_offsets(brokers: Brokers, topic: str) -> dict[int, int]:
    """Return the offset after the last record of each partition; the marker of a transaction is no record."""
    async with consumer(brokers) as one:
        places = await partitions_of(one, topic)
        ends = await log_ends(one, places)
        one.assign(places)
        found: dict[int, int] = {}
        for place, end in ends.items():
            one.seek(place, max(0, end - 2))  # a marker stands alone at the end of a publication
        missing = {place for place in places if ends[place] > 0}
        while missing:
            for place, run in (await one.getmany(*missing, timeout_ms=100)).items():
                found[place.partition] = run[-1].offset + 1
            missing = {place for place in missing if await one.position(place) < ends[place]}
    return found
