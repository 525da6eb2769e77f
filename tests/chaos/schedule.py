"""A schedule: faults by a plan, then everything is sent, applied, projected and verified."""

import asyncio
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

import msgspec
from aiokafka.errors import KafkaError

from tests.chaos.cluster import Cluster
from tests.chaos.faults import KINDS
from tests.chaos.plan import Fault
from tests.chaos.site import RECOVERY_DEADLINE_S, Site
from tests.chaos.verification import verify

GROUP_DEADLINE_S: Final = RECOVERY_DEADLINE_S * 2
"""No fault takes longer, its mending included."""

Tell = Callable[[str], None]


class Result(msgspec.Struct):
    """What a schedule did.

    Attributes:
        counts: faults carried out, by kind.
        problems: what is wrong at the end; empty: nothing is.
        seconds: how long it took.
        recoveries_s: by group, seconds from the end of its faults until all that was sent was applied.
    """

    counts: Counter[str] = msgspec.field(default_factory=Counter)
    problems: list[str] = msgspec.field(default_factory=list)
    seconds: float = 0.0
    recoveries_s: list[float] = msgspec.field(default_factory=list)


async def run_schedule(directory: Path, plan: list[list[Fault]], tell: Tell, plant: str = "") -> Result:
    """Carry a plan out on a new cluster in `directory`. What hangs or ends by itself is one of the result's problems."""
    result, began = Result(), time.monotonic()
    cluster = Cluster(directory / "kafka")
    site = Site(directory, cluster, len(plan), plant)
    try:
        await cluster.start()
        tell(f"three brokers are up after {time.monotonic() - began:.0f} s")
        await site.prepare()
        for number, group in enumerate(plan):
            strike = site.begin_fault(number)
            await site.until_sent(strike)
            await _carry_out(site, group, result, lambda text: tell(f"{number + 1}/{len(plan)} {text}"))  # noqa: B023
        await site.finish()
        tell(f"{site.feed.total} events sent, applied and projected; verifying")
        result.problems, compared = await verify(site)
        tell(compared)
    except (Exception, asyncio.CancelledError):
        result.problems.append(traceback.format_exc())
    finally:
        with (directory / "ends.txt").open("w") as ends, redirect_stdout(ends):
            await site.close()
        await cluster.stop()
        result.seconds = time.monotonic() - began
    return result


async def _carry_out(site: Site, group: list[Fault], result: Result, tell: Tell) -> None:
    async def one(fault: Fault) -> None:
        kind = KINDS[fault.kind]
        if kind.needs_disk and not site.disk.mounted:
            tell(f"{fault.kind}: left out, since nothing can be mounted here")
            return
        try:
            said = await kind.strike(site, random.Random(fault.seed))
        except (KafkaError, TimeoutError) as error:  # what strikes together with it has cut the harness off
            tell(f"{fault.kind}: not carried out, {error!r}")
            return
        result.counts[fault.kind] += 1
        tell(f"{fault.kind}: {said}")

    began = time.monotonic()
    async with asyncio.timeout(GROUP_DEADLINE_S):
        await asyncio.gather(*map(one, group))
        struck_s = time.monotonic() - began
        result.recoveries_s.append(await site.until_recovered())
    tell(f"applied again after {struck_s:.1f} + {result.recoveries_s[-1]:.1f} s; {site.feed.sent} events sent")
