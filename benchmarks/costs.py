"""Where the time of the fold goes, µs per event: by module, decoding, encoding.

*By module*: a signal notes the function at work at every tick of the CPU clock while the rules run as source; C code counts
for the Python function that called it; ticks are scaled to the unprofiled total. Compiled code leaves no trace that could be
sampled. *decode* is a loop over nothing but the decoder, *state* the time inside `Partition.changes`; both in both variants.
*Kafka* is added by `benchmarks.report`: what the worker needs more than the fold. All of it is CPU time of the process, which
neighbours disturb less than wall time.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_MICRO: Final = 1e6


def costs(count: int | None, trees: Mapping[str, Path], totals: Mapping[str, float]) -> dict[str, Any]:
    """Return µs per event by variant: `total` as given, `decode`, `state`; of the interpreted one also `modules`."""
    from benchmarks.fold import run_in

    arguments = [] if count is None else [str(count)]
    found: dict[str, Any] = {}
    for variant, tree in trees.items():
        parts = run_in(tree, "benchmarks.costs", "parts", *arguments)
        found[variant] = {"total": round(totals[variant], 2), **parts}
    shares = run_in(trees["interpreted"], "benchmarks.costs", "modules", *arguments)
    total = found["interpreted"]["total"]
    found["interpreted"]["modules"] = {name: round(share * total, 2) for name, share in shares.items()}
    return found


def _parts(count: int | None) -> dict[str, float]:
    """Return what decoding and encoding of states take, µs per event."""
    from benchmarks.fold import UNLIMITED, FoldRun
    from processors.rules.decode import decode

    run = FoldRun(count)
    began = time.process_time()
    for record in run.events:
        decode(record.value)
    decoding = time.process_time() - began
    encoding = 0.0
    for by_partition in run.rounds():
        for number, records in by_partition.items():
            partition = run.partitions[number]
            for record in records:
                partition.process(record, [], UNLIMITED)
            began = time.process_time()
            partition.changes(records[-1].offset + 1)
            encoding += time.process_time() - began
            partition.commit()
    events = len(run.events)
    return {"decode": round(decoding / events * _MICRO, 2), "state": round(encoding / events * _MICRO, 2)}


def _modules(count: int | None) -> dict[str, float]:
    """Return the share of each module, largest first."""
    from benchmarks.profile_fold import module_of, sample

    seen, _ = sample(count)
    modules: defaultdict[str, int] = defaultdict(int)
    for place, number in seen.items():
        module = module_of(place)
        if not module.startswith("benchmarks."):  # the loop that measures
            modules[module] += number
    whole = max(1, sum(modules.values()))
    return {name: number / whole for name, number in sorted(modules.items(), key=lambda item: -item[1])}


if __name__ == "__main__":
    _measured = {"parts": _parts, "modules": _modules}[sys.argv[1]]
    print(json.dumps(_measured(int(sys.argv[2]) if len(sys.argv) > 2 else None)))
