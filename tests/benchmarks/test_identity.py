"""A log gives the same bytes whatever the size of rounds, and whatever fails on the way: a cut of what
`python -m benchmarks.identity --events 1000000` does."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from benchmarks.identity import Digest, identity
from benchmarks.synthetic import Synthetic
from deploy.cli.support.folding import Folding
from deploy.cli.support.simulation import Simulation
from deploy.cli.support.sources import file_source
from processors.engine.errors import AbortableError
from schemas.emission import Emission
from schemas.topics import AWARDS, LEDGER, OUTCOMES, REJECTED

EVENTS = 20_000
ONE_COMMIT_IN = 4


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The log, as a file."""
    path: Path = tmp_path_factory.mktemp("identity") / "log.jsonl"
    path.write_bytes(b"\n".join(Synthetic(EVENTS, users=1_500, days=50)))
    yield str(path)
    path.unlink()


@pytest.fixture(scope="module")
def whole(log: str) -> str:
    """What it gives in one round."""
    found = identity(log, "all")
    assert min(found.records[topic] for topic in (AWARDS, LEDGER, OUTCOMES)) > EVENTS
    assert found.records[REJECTED] > 0
    return found.digest


@pytest.mark.parametrize("size", ["1", "7", "500"])
def test_the_size_of_rounds_makes_no_difference(log: str, whole: str, size: str) -> None:
    assert identity(log, size).digest == whole


def test_rounds_that_fail_make_no_difference(log: str, whole: str) -> None:
    dice, digest, failed = Random(1), Digest(), 0

    def fail(step: str, count: int) -> BaseException | None:
        nonlocal failed
        if step != "commit" or dice.randrange(ONE_COMMIT_IN):
            return None
        failed += 1
        return AbortableError(step, RuntimeError("injected"))

    with file_source(log, "plaudit.events") as source:
        simulation = Simulation(source, Folding(source, None, environment="production"))
        simulation.run_unordered(500, digest.add, fail=fail)
    assert failed > 10
    assert digest.hexdigest() == whole


def test_a_digest_tells_one_byte_and_the_order_of_a_user() -> None:
    def digest(*emissions: Emission) -> str:
        one = Digest()
        for emission in emissions:
            one.add(emission)
        return one.hexdigest()

    first, second = (Emission(AWARDS, b"u", value, "points.awarded", "1") for value in (b"1", b"2"))
    other = Emission(AWARDS, b"v", b"1", "points.awarded", "1")
    assert digest(first, second) != digest(second, first)
    assert digest(first, other) == digest(other, first)
    assert digest(first) != digest(second)
