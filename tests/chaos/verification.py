"""After the faults: what is acknowledged is in the log, and everything is as the log says (projections.verifier)."""

import asyncio
from collections import defaultdict

from deploy.cli.support.history import event_id_of
from deploy.cli.support.kafka import consumer, read_to_end
from deploy.cli.support.verification import difference_line, verdict
from projections.verifier import Report
from projections.verifier import verify as compare
from tests.chaos.site import Site

MOST_SHOWN = 10


async def verify(site: Site) -> tuple[list[str], str]:
    """Return what is wrong, in words (empty: nothing), and what was compared."""
    problems = await lost_acknowledged(site)
    report: Report = await asyncio.to_thread(
        compare, site.brokers, prefix=site.names.prefix, clickhouse_url=site.clickhouse.url, database=site.database
    )
    problems += [difference_line(difference) for difference in report.differences[:MOST_SHOWN]]
    if report.waiting:
        problems.append(f"{report.waiting} rows are not projected")
    if not report.ok:
        problems.append(verdict(report))
    problems += [f"{skipped:.0f} records were skipped as applied already" for skipped in site.skipped if skipped]
    compared = sum(counts.expected for counts in report.counts.values())
    return problems, f"{report.records} records folded again, {compared} records and rows compared: {verdict(report)}"


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
