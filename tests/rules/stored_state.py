"""State as a version of this program left it in the changelog, and how its log went on: what a newer version must read.

    python -m tests.rules.stored_state VERSION

writes `stored/version-VERSION.json.gz`. Run it with the rules of that version, before the version changes; a file that is
there stays as it is, because it was made by a program that no longer exists.
"""

import base64
import gzip
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from processors.rules.catalogs import CatalogStore
from schemas.catalog_file import encode_config
from schemas.records import LogRecord
from tests.rules.conftest import sample_config, sample_log
from tests.rules.story import Story
from tests.rules.test_rounds import Installation, chunks

FOLDER: Final = Path(__file__).with_name("stored")
ROUND: Final = 50
SAMPLE_RECORDS: Final = 500

Json = dict[str, Any]

CATALOG: Final[Json] = {
    "metrics": ["m", "n"],
    "eventAttributes": ["a"],
    "userAttributes": ["p"],
    "streak": {
        "frequency": "daily",
        "metrics": [{"key": "m", "threshold": 2}],
        "freezes": {"startCount": 1, "maxCount": 3, "autoEarnInterval": 3, "autoEarnAmount": 1},
    },
    "messages": {"recap": "weekly", "reactivation": True, "streakReminder": True, "achievement": True},
    "achievements": [
        {"id": "ten", "trigger": "metric", "metric": "m", "metricValue": 10, "status": "active"},
        {
            "id": "red",
            "trigger": "metric",
            "metric": "m",
            "metricValue": 3,
            "eventAttributes": {"a": "red"},
            "status": "active",
        },
        {"id": "called", "key": "called", "trigger": "api", "status": "active"},
        {"id": "both", "trigger": "achievement", "achievementIds": ["ten", "called"], "status": "active"},
        {"id": "year", "trigger": "anniversary", "anniversaryYears": 1, "status": "active"},
        {"id": "row", "trigger": "streak", "streakLength": 3, "status": "active"},
    ],
    "systems": [
        {
            "key": "xp",
            "levels": [{"key": "one", "points": 0}, {"key": "two", "points": 20}],
            "triggers": [
                {"id": "t1", "type": "metric", "metric": "m", "metricThreshold": 1, "points": 3, "status": "active"},
                {"id": "t2", "type": "time", "timeUnit": "hour", "timeInterval": 6, "points": 1, "status": "active"},
                {"id": "t3", "type": "achievement", "achievementId": "ten", "points": 50, "status": "active"},
            ],
            "boosts": [
                {
                    "id": "b1",
                    "start": "2025-01-02",
                    "end": "2025-01-04",
                    "multiplier": 2,
                    "enabled": True,
                    "status": "active",
                },
                {
                    "id": "b2",
                    "start": "2025-01-03",
                    "end": "2025-01-20",
                    "multiplier": 1.5,
                    "enabled": True,
                    "userId": "ann",
                },
            ],
        },
        {
            "key": "energy",
            "maxPoints": 10,
            "triggers": [
                {"id": "t4", "type": "metric", "metric": "n", "metricThreshold": 1, "points": -2, "status": "active"},
                {"id": "t5", "type": "time", "timeUnit": "hour", "timeInterval": 1, "points": 1, "status": "active"},
            ],
        },
    ],
}


def every_field() -> Story:
    """Return a log that puts something into as many fields of the state as one log can."""
    story = Story(CATALOG, "2025-01-01T00:00:00Z")
    users: list[Json] = [
        {"id": "ann", "tz": "Europe/Berlin", "email": "ann@example.org", "name": "Ann", "signUpDate": "2024-01-06"},
        {"id": "bob", "tz": "America/New_York", "attributes": {"p": "gold"}, "deviceTokens": ["d1"]},
        {"id": "cem", "subscribeToEmails": False},
    ]
    for day in range(1, 12):
        date = f"2025-01-{day:02}"
        for number, user in enumerate(users):
            fields: Json = {"metric": "m", "value": day % 4, "user": user, "eventId": f"e{day}-{number}"}
            if number == 1:
                fields["attributes"] = {"a": "red" if day % 2 else "blue"}
            if number == 2:
                fields["idempotencyKey"] = f"k{day // 2}"
            if day != 6 or number:
                story.append(fields, f"{date}T10:0{number}:00Z", user["id"])
        story.append({"metric": "n", "value": 1.5, "user": "bob"}, f"{date}T11:00:00Z", "bob")
        if day == 2:
            story.request("achievement.complete", f"{date}T12:00:00Z", "ann", achievement="called")
            story.request("freeze.grant", f"{date}T12:01:00Z", "cem")
        if day == 4:
            pause = {"id": "p", "start": "2025-01-05", "end": "2025-01-09"}
            story.request("streak.pause", f"{date}T12:00:00Z", "cem", **pause)
            goals = {"metrics": [{"key": "n", "threshold": 1}], "daysOff": [0], "evaluationMode": "AND"}
            chosen = {"streak": goals, "notifications": {"recap": ["email"]}}
            story.request("preferences", f"{date}T12:02:00Z", "bob", **chosen)
        story.tick(f"{date}T20:00:00Z")
    story.tick("2025-01-20T00:00:00Z", "2025-03-01T00:00:00Z")
    return story


def logs() -> dict[str, tuple[CatalogStore, list[LogRecord]]]:
    """Return the logs by name."""
    story = every_field()
    return {"every_field": (story.store, story.records), "sample": sample_log(SAMPLE_RECORDS)}


def configs() -> dict[str, Any]:
    """Return the catalogs of the logs by name: the file holds them, so that they stay as they were."""
    return {"every_field": CATALOG, "sample": sample_config()}


def fold_on(installation: Installation, records: list[LogRecord]) -> list[list[Any]]:
    """Fold records in rounds; return topic, key, type, id and value of what they emit."""
    begin = len(installation.emitted)
    for part in chunks(records, ROUND):
        installation.round(part)
    return [[one.topic, _text(one.key), one.type, one.id, one.value.decode()] for one in installation.emitted[begin:]]


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def stored() -> Json:
    """Fold half of every log; return the changelog, the other half, and what it emits."""
    found: Json = {}
    for name, (store, records) in logs().items():
        half = len(records) // 2
        installation = Installation(store)
        fold_on(installation, records[:half])
        changelog = {_text(key): _text(value) for key, value in sorted(installation.changelog.items())}
        emitted = fold_on(installation, records[half:])
        found[name] = {
            "catalog": json.loads(encode_config(configs()[name])),
            "catalogAtMs": store.versions("")[0].at_ms,
            "changelog": changelog,
            "records": [[one.offset, one.timestamp_ms, _text(one.key), _text(one.value)] for one in records[half:]],
            "emitted": emitted,
        }
    return found


def main(version: int) -> None:
    """Write the file of a version, unless it is there."""
    path = FOLDER / f"version-{version}.json.gz"
    if path.exists():
        sys.exit(f"{path} is there; it was written by the program of that version and stays")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(msgspec.json.encode(stored()), 9, mtime=0))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(int(sys.argv[1]))
