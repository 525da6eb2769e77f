"""What is written as text is what the Structs would give: same names, same order, same escapes."""

from collections import Counter
from typing import Any

import msgspec
from msgspec import Raw

from benchmarks.sample import as_log, sample_records, sample_store, switch_records
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.derived import DATA_OF_TYPE, Envelope, Meta
from schemas.emission import Emission
from schemas.instants import format_instant
from schemas.outcome import CompletionOutcome, EventOutcome, IdentifyOutcome, OutcomeRecord
from schemas.topics import OUTCOMES
from tests.rules.fold import HOUR, START, Fold, Json

HOT = {
    "achievement.completed",
    "metric.changed",
    "points.awarded",
    "points.changed",
    "points.level_changed",
    "streak.changed",
    "streak.extended",
    "streak.lost",
    "streak.period_closed",
    "streak.period_repaired",
    "streak.started",
    "user.upserted",
}
"""Types that the sample has."""


def encoded_by_structs(emission: Emission) -> bytes:
    """Return the value of an emission, taken apart into Structs and encoded again."""
    fields = msgspec.json.decode(emission.value, type=dict[str, Raw])
    if emission.topic == OUTCOMES:
        record = msgspec.json.decode(emission.value, type=OutcomeRecord)
        if "outcome" in fields:
            kinds: dict[str, Any] = {"identify": IdentifyOutcome, "achievement.complete": CompletionOutcome}
            kind = kinds.get(record.type, EventOutcome)
            outcome = msgspec.json.decode(fields["outcome"], type=kind)
            record = msgspec.structs.replace(record, outcome=outcome)
        return msgspec.json.encode(record)
    envelope = msgspec.json.decode(emission.value, type=Envelope)
    assert (envelope.id, envelope.type) == (emission.id, emission.type)
    data = msgspec.json.decode(fields["data"], type=DATA_OF_TYPE[emission.type])
    if "meta" in fields:
        envelope = msgspec.structs.replace(envelope, meta=msgspec.json.decode(fields["meta"], type=Meta))
    return msgspec.json.encode(msgspec.structs.replace(envelope, data=data))


def check(emissions: list[Emission]) -> Counter[str]:
    """Compare all emissions; return how many there were of each type."""
    for emission in emissions:
        assert encoded_by_structs(emission) == emission.value
    return Counter(emission.type or emission.topic for emission in emissions)


def test_the_sample_gives_the_bytes_that_the_structs_would_give() -> None:
    """Every hot type is among the first events of the sample."""
    records = sample_records(12_000)
    at_ms = records[0].timestamp_ms
    partitions = [Partition(number, FoldSettings(partitions=8), sample_store(at_ms)) for number in range(8)]
    out: list[Emission] = []
    for record in (*switch_records(at_ms), *as_log(records)):
        assert partitions[record.partition].process(record, out, 10**9)
    found = check(out)
    assert found.keys() >= HOT | {OUTCOMES}
    assert found[OUTCOMES] == len(records)


ODD = 'Zoë "Z" \\ O’Neil \x7f\t\U0001f600'

CATALOG: Json = {
    "metrics": [{"id": f'm "{ODD}"', "key": "m", "name": ODD}],
    "eventAttributes": ["kind"],
    "userAttributes": ["plan"],
    "streak": {
        "frequency": "daily",
        "metrics": [{"key": "m", "threshold": 1}],
        "freezes": {"startCount": 1, "maxCount": 2, "autoEarnInterval": 2, "autoEarnAmount": 1},
    },
    "achievements": [
        {"id": "a", "key": "mentor", "name": ODD, "description": ODD, "trigger": "api", "status": "active"},
        {"id": "b", "name": "B", "trigger": "metric", "metric": "m", "metricValue": 2.5, "status": "active"},
    ],
    "systems": [
        {
            "id": f"s {ODD}",
            "key": "xp",
            "name": ODD,
            "description": ODD,
            "maxPoints": 1000,
            "levels": [{"key": "low", "name": ODD, "points": 0}, {"key": "high", "name": "High", "points": 20}],
            "triggers": [
                {"id": "t", "type": "metric", "metric": "m", "metricThreshold": 1, "points": 7, "status": "active"},
                {
                    "id": "down",
                    "type": "metric",
                    "metric": "m",
                    "metricThreshold": 5,
                    "points": -30,
                    "status": "active",
                },
                {"id": "hour", "type": "time", "timeUnit": "hour", "timeInterval": 5, "points": 1, "status": "active"},
                {"id": "mentor", "type": "achievement", "achievementId": "a", "points": 3, "status": "active"},
            ],
            "boosts": [
                {
                    "id": "x",
                    "name": ODD,
                    "start": "2025-01-01",
                    "multiplier": 1.5,
                    "rounding": "up",
                    "status": "active",
                },
                {
                    "id": "y",
                    "name": "Y",
                    "start": "2025-01-01",
                    "end": "2025-01-03",
                    "multiplier": 2,
                    "status": "active",
                },
            ],
        }
    ],
}


def test_texts_that_need_escaping_and_rare_fields() -> None:
    """Names, attributes, ids and keys with quotes, controls, other alphabets; boosts, freezes, idempotency keys, calls."""
    fold = Fold()
    fold.publish(CATALOG, 0)
    user = {"id": ODD, "name": ODD, "email": "z@example.org", "attributes": {"plan": ODD}, "tz": "Asia/Kolkata"}
    out: list[Emission] = []

    def send(record: Json, hour: float, key: str | None = ODD) -> None:
        fold.take(record, hour, key, out)

    send({"type": "identify", "user": user, "eventId": f"first {ODD}"}, 1)
    for number, value in enumerate((1, 0.25, -3, 12.000000001, 0)):
        event = {
            "metric": "m",
            "user": user,
            "value": value,
            "attributes": {"kind": ODD},
            "idempotencyKey": f"{value} {ODD}",
        }
        send({**event, "eventId": f"{number} {ODD}"}, 2 + 20 * number)
        send({**event, "eventId": f"again {number} {ODD}"}, 3 + 20 * number)
    send({"type": "achievement.complete", "achievement": "mentor", "user": user}, 110)
    send({"type": "achievement.complete", "achievement": "mentor", "user": user}, 111)
    send({"type": "tick", "at": format_instant(START + 500 * HOUR)}, 500, None)
    found = check(out)
    assert found["points.awarded"] > 10
    assert found["achievement.completed"] == 2
    assert found["streak.freezes_changed"] > 1
