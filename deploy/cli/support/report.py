"""What `run` and `up` print once the history is loaded."""

from deploy.cli.support.clickhouse import ClickHouse
from deploy.cli.support.console import counted
from deploy.cli.support.pipeline import Fed, Installation
from deploy.cli.support.summary import print_summary
from schemas.catalog import Catalog


def report(one: Installation, fed: Fed, catalog: Catalog) -> int:
    """Print the summary, and how long it took. Return how many records of the log are refused."""
    refused = print_summary(ClickHouse(one.servers.clickhouse, one.settings.database), catalog)
    if fed.fed:
        rate = fed.fed / fed.seconds
        print(
            f"\n{counted(fed.fed, 'event')} from the start of the feed to ClickHouse in {fed.seconds:.1f} s: {rate:,.0f} events/s "
            f"(fed in {fed.fed_s:.1f} s, applied after {fed.applied_s:.1f} s)",
            end="",
        )
        print(f"; {fed.known:,} were there already" if fed.known else "")
    else:
        known = "the one event was" if fed.known == 1 else f"all {fed.known:,} events were"
        print(f"\n{known} applied already; nothing was fed")
    return refused
