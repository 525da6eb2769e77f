"""After the faults: what is acknowledged is in the log, and everything is as the undisturbed fold of the log has it."""

import traceback
from collections import defaultdict

from deploy.cli.support.history import event_id_of
from deploy.cli.support.kafka import consumer, read_to_end
from tests.chaos.site import Site
from tests.faults.undisturbed import assert_undisturbed

MOST_SHOWN = 10
MOST_CHARACTERS = 3000


async def verify(site: Site) -> list[str]:
    """Return what is wrong, in words; empty: nothing."""
    problems = await lost_acknowledged(site)
    try:
        await assert_undisturbed(site)
    except AssertionError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        problems.append(f"{frame.name}: {frame.line} {str(error)[:MOST_CHARACTERS]}")
    return problems


async def lost_acknowledged(site: Site) -> list[str]:
    """Return what a broker has acknowledged and the log does not hold, or not where the acknowledgement says."""
    places: dict[str, set[tuple[int, int]]] = defaultdict(set)
    async with consumer(site.brokers) as one:
        async for run in read_to_end(one, site.names.input):
            for record in run:
                id = event_id_of(record.value)
                if id is not None:
                    places[id].add((record.partition, record.offset))
    lost, elsewhere = [], []
    for id, (partition, offset) in site.producers.acknowledged().items():
        if not any(found == partition for found, _ in places[id]):
            lost.append(id)
        elif offset >= 0 and (partition, offset) not in places[id]:
            elsewhere.append(f"{id}: acknowledged at {partition}-{offset}, found at {sorted(places[id])}")
    problems = [f"{len(lost)} acknowledged events are not in the log: {lost[:MOST_SHOWN]}"] if lost else []
    return [*problems, *elsewhere[:MOST_SHOWN]]
