"""`plaudit run`: from nothing to tables, and once more."""

import json

from tests.e2e.conftest import Sample

EVENTS = 121_502


def test_a_run_applies_and_projects_the_whole_sample(sample: Sample) -> None:
    assert f"{EVENTS:,} events of 2,669 users" in sample.first.out
    assert f"{EVENTS:,} events from the start of the feed to ClickHouse in" in sample.first.out
    assert sample.counts == {
        "metric events": EVENTS,
        "event ids": EVENTS,
        "rejected": 0,
        "totals that are not the sum of their events": 0,
        "balances that are not the sum of their awards": 0,
    }


def test_a_second_run_feeds_nothing_and_prints_the_same_numbers(sample: Sample) -> None:
    told = f"all {EVENTS:,} events were applied already; nothing was fed"
    assert told in sample.second.out
    assert numbers(sample.second.out) == [
        told if "start of the feed" in line else line for line in numbers(sample.first.out)
    ]


def numbers(out: str) -> list[str]:
    """Standard output up to the timing."""
    return out.partition("\nNext:")[0].splitlines()


def test_the_log_of_two_runs_holds_every_event_once_and_one_tick(sample: Sample) -> None:
    kinds: dict[str, list[str]] = {}
    with sample.dump.open() as lines:
        for line in lines:
            record = json.loads(line)
            kinds.setdefault(record.get("type", "event"), []).append(record.get("at") or record["eventId"])
    assert len(kinds["event"]) == len(set(kinds["event"])) == EVENTS
    assert (len(kinds["tick"]), len(set(kinds["tick"]))) == (8, 1)
    assert (len(kinds["catalog"]), len(set(kinds["catalog"]))) == (8, 1)


def test_a_run_leaves_no_process(sample: Sample) -> None:
    assert sample.left == []
