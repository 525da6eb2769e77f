"""Where logs end, open transactions included."""

import copy
from collections.abc import Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

REQUEST_TIMEOUT_MS: Final = 30_000
READ_UNCOMMITTED: Final = 0


async def log_ends(consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the high watermarks. A consumer with read_committed would say the last stable offset, and who reads to
    that misses a transaction that is decided but not marked yet.

    Asked through a copy of the fetcher: changing the level of the fetcher itself would let a fetch that happens to be
    built meanwhile deliver records of open and aborted transactions.
    """
    wanted = list(partitions)
    if not wanted:
        return {}
    asking = copy.copy(consumer._fetcher)
    asking._isolation_level = READ_UNCOMMITTED
    ends: dict[TopicPartition, int] = await asking.end_offsets(wanted, REQUEST_TIMEOUT_MS)
    return ends
