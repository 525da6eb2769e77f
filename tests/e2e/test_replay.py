"""What was derived is what `simulate` derives from the dump, whatever the size of rounds and however many were aborted."""

import random

import pytest

from deploy.catalog_yaml import load_file
from deploy.cli.support.folding import Folding
from deploy.cli.support.history import SAMPLE_CATALOG
from deploy.cli.support.simulation import Simulation
from deploy.cli.support.sources import file_source
from processors.engine.errors import AbortableError
from tests.e2e.conftest import Sample
from tests.e2e.derived import Derived, Place, differences, of_lines

FAILURES_IN = {"begin": 5, "send": 200, "flush": 5, "offsets": 5, "commit": 5}
"""One call of so many of each step fails; a round makes many sends."""

MOST_IN_A_ROW = 4
"""A round that fails too often stops the run."""


class Failures:
    """Breaks steps of transactions, never too many one after the other, and the first commit in any case."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._in_a_row = 0

    def __call__(self, step: str, count: int) -> BaseException | None:
        """See processors.engine.memory.FailAt."""
        broken = self._dice.randrange(FAILURES_IN[step]) == 0 or (step, count) == ("commit", 1)
        if broken and self._in_a_row < MOST_IN_A_ROW:
            self._in_a_row += 1
            return AbortableError(step, RuntimeError("injected"))
        if step == "commit":
            self._in_a_row = 0
        return None


def test_every_derived_event_is_on_the_topics_once(sample: Sample) -> None:
    assert sample.derived.doubles == []
    assert len(sample.derived.ids) > 500_000


def test_simulate_over_the_whole_dump_gives_the_events_of_the_topics(sample: Sample) -> None:
    assert sample.simulation.wait() == 0, sample.simulated.with_suffix(".err").read_text()[-3000:]
    with sample.simulated.open("rb") as lines:
        simulated = of_lines(lines, sample.users)
    assert differences(simulated.kept, sample.derived.kept) == []
    assert simulated.digests == sample.derived.digests


@pytest.mark.parametrize("size", ["1", "7", "500", "all"])
def test_simulate_gives_the_same_bytes_at_every_round_size(sample: Sample, size: str) -> None:
    done = sample.command("simulate", "--catalog", SAMPLE_CATALOG, "--records", sample.part, "--batch", size)
    assert (done.code, done.err) == (0, "")
    simulated = of_lines(done.out.encode().splitlines())
    assert len(simulated.ids) > 20_000
    assert differences(expected(sample), simulated.kept) == []


@pytest.mark.parametrize("size", [1, 7, 500, None])
def test_aborted_rounds_leave_no_trace(sample: Sample, size: int | None) -> None:
    config, _, _ = load_file(SAMPLE_CATALOG)
    simulated = Derived()
    with file_source(str(sample.part), "plaudit.events") as source:
        simulation = Simulation(source, Folding(source, config, environment="production"))
        log = simulation.run(size, simulated.add_emission, fail=Failures(source.total))
    rounds = -(-source.total // size) if size is not None else 1
    assert log.aborted >= rounds / 2
    assert differences(expected(sample), simulated.kept) == []


def expected(sample: Sample) -> dict[Place, list[bytes]]:
    """The events on the topics, of the users of the part."""
    return sample.derived.kept
