"""Whatever the size of rounds, a log gives the same bytes: a synthetic log, or any records file, folded at several sizes.

    python -m benchmarks.identity --events 1000000 --processes 2

Compared is what each user got on each topic, in order: derived events, outcomes and refusals, keys and headers included.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.synthetic import DAYS_DEFAULT, EVENTS_DEFAULT, SEED_DEFAULT, USERS_DEFAULT, Synthetic
from deploy.cli.support.folding import Folding
from deploy.cli.support.simulation import Simulation
from deploy.cli.support.sources import file_source
from deploy.logging import quiet_logging
from schemas.emission import Emission
from schemas.topics import EVENTS, full_name

SIZES: Final = ("1", "7", "500", "all")
DIGEST_BYTES: Final = 16


class Identity(msgspec.Struct, frozen=True):
    """What a log gave: one digest of everything, number of records by topic, bytes of their values, seconds."""

    digest: str
    records: dict[str, int]
    value_bytes: int
    seconds: float


class Digest:
    """Takes emissions, in any order that keeps the order of each user within a topic."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.value_bytes = 0
        self._chains: dict[tuple[str, bytes], bytes] = {}

    def add(self, emission: Emission) -> None:
        """Take the next one."""
        self.records[emission.topic] += 1
        self.value_bytes += len(emission.value)
        unit = emission.topic, emission.key or b""
        parts = (self._chains.get(unit, b""), emission.value, emission.type.encode(), emission.id.encode())
        self._chains[unit] = sha256(b"\0".join(parts)).digest()[:DIGEST_BYTES]

    def hexdigest(self) -> str:
        """Return the digest of everything."""
        whole = sha256()
        for (topic, key), chain in sorted(self._chains.items()):
            whole.update(b"%b\0%b\0%b" % (topic.encode(), key, chain))
        return whole.hexdigest()


def identity(path: str, size: str) -> Identity:
    """Fold a records file in rounds of `size` records, or `all`."""
    quiet_logging()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    began, digest = time.perf_counter(), Digest()
    with file_source(path, full_name(EVENTS)) as source:
        folding = Folding(source, None, environment="production")
        Simulation(source, folding).run_unordered(None if size == "all" else int(size), digest.add)
    return Identity(digest.hexdigest(), dict(digest.records), digest.value_bytes, round(time.perf_counter() - began, 1))


def compare(path: str, sizes: Sequence[str], processes: int) -> int:
    """Fold a records file at several sizes, `processes` at a time, and print what comes out; return 1 if it is not all the
    same."""
    found = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for size, one in zip(sizes, pool.map(partial(identity, path), sizes), strict=True):
            count = sum(one.records.values())
            print(f"rounds of {size:>4}  {count:>12,} records  {one.seconds:>7,.1f} s  sha256 {one.digest}", flush=True)
            found.append(one)
    first = found[0]
    print(", ".join(f"{topic} {count:,}" for topic, count in sorted(first.records.items())), end="")
    print(f"; {first.value_bytes / 1_000_000:,.0f} MB")
    same = len({one.digest for one in found}) == 1
    print("identical" if same else "DIFFERENT")
    return 0 if same else 1


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.identity", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events", type=int, default=EVENTS_DEFAULT, metavar="N", help="of the synthetic log")
    parser.add_argument("--users", type=int, default=USERS_DEFAULT, metavar="N")
    parser.add_argument("--days", type=int, default=DAYS_DEFAULT, metavar="N")
    parser.add_argument("--seed", type=int, default=SEED_DEFAULT, metavar="N")
    parser.add_argument("--records", metavar="FILE", help="a records file with catalogs, in place of a synthetic log")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="N|all")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="how many at a time")
    options = parser.parse_args(arguments)
    if options.records:
        return compare(options.records, options.sizes, options.processes)
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        log = Synthetic(options.events, users=options.users, days=options.days, seed=options.seed)
        file.writelines(line + b"\n" for line in log)
        file.flush()
        size_mb = Path(file.name).stat().st_size / 1_000_000
        print(f"{options.events:,} events of {options.users:,} users, {size_mb:,.0f} MB", flush=True)
        return compare(file.name, options.sizes, options.processes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
