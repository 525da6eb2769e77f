"""A log folded again and written: what `simulate` and `replay` have in common (X16, X20)."""

import sys
from typing import IO

import msgspec

from deploy.cli.support.console import Bar
from deploy.cli.support.folding import Folding
from deploy.cli.support.simulation import Simulation
from deploy.cli.support.sources import LogSource
from processors.engine.memory import FailAt
from schemas.emission import Emission
from schemas.topics import DERIVED, OUTCOMES, REJECTED


def warn_of_other_catalog(folding: Folding, catalog: str | None, *, override: bool) -> None:
    """Say that the log brings a catalog that is not the given one."""
    if folding.differs and not override:
        warning = (
            f"the records bring a catalog of their own that differs from {catalog}; theirs is used (see --override)"
        )
        print(msgspec.json.encode({"warning": warning}).decode(), file=sys.stderr)


def write_derived(
    source: LogSource,
    folding: Folding,
    output: IO[bytes],
    progress: Bar,
    *,
    round_size: int | None,
    outcomes: bool,
    fail: FailAt | None = None,
) -> int:
    """Fold everything; write derived events, or outcomes in their place, as JSON lines; refusals go to standard error.

    Returns how many records were refused.
    """
    wanted = (OUTCOMES,) if outcomes else DERIVED
    refused = 0

    def on_emission(emission: Emission) -> None:
        nonlocal refused
        if emission.topic in wanted:
            output.write(emission.value)
            output.write(b"\n")
        elif emission.topic == REJECTED:
            refused += emission.is_refusal
            progress.line(emission.value.decode())

    Simulation(source, folding).run(round_size, on_emission, fail=fail, on_progress=progress.advance)
    return refused
