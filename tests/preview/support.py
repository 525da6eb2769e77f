"""Shared by the tests of previews."""

from pathlib import Path
from typing import Any

from deploy.catalog_yaml import parse_config
from deploy.preview.scenario import ScenarioReport, run_scenario
from deploy.preview.scenario_file import Scenario, active_config, read_scenario
from schemas.catalog_file import encode_config, load_catalog

SAMPLES = Path(__file__).parents[2] / "deploy" / "samples"

Json = dict[str, Any]


def read(scenario: str, catalog: str) -> tuple[Scenario, dict[str, list[str]] | None]:
    """Read a scenario written as YAML."""
    return read_scenario(parse_config(scenario), load_catalog(parse_config(catalog))[0])


def run(scenario: str, catalog: str) -> ScenarioReport:
    """Run a scenario, both written as YAML."""
    read_one, systems = read(scenario, catalog)
    config = encode_config(active_config(parse_config(catalog), systems))
    return run_scenario(read_one, config, scenario_name="s.yaml", catalog_name="c.yaml", command="plaudit preview")


OLD = """
metrics: [{key: words}, {key: pages}]
eventAttributes: [kind]
streak: {frequency: daily, metrics: [{key: words, threshold: 10}]}
systems:
  - key: xp
    name: Experience
    levels: [{key: novice, points: 0}, {key: writer, points: 10}, {key: author, points: 40}, {key: legend, points: 120}]
    triggers:
      - {id: hello, type: user_creation, points: 3, status: active}
      - {id: ten, type: metric, metric: words, metricThreshold: 10, points: 1, status: active}
      - {id: drafts, type: metric, metric: words, metricThreshold: 30, points: 4, eventAttributes: {kind: draft}, status: active}
      - {id: torn, type: metric, metric: pages, metricThreshold: 5, points: -2, status: active}
      - {id: days, type: streak, streakLength: 2, points: 5, status: active}
      - {id: medal, type: achievement, achievement: hundred, points: 20, status: active}
  - key: gems
    maxPoints: 6
    triggers:
      - {id: daily, type: time, timeUnit: days, timeInterval: 3, points: 2, status: active}
      - {id: spend, type: metric, metric: pages, metricThreshold: 2, points: -1, status: active}
achievements:
  - {id: hundred, name: Hundred, trigger: metric, metric: words, metricValue: 100, status: active}
  - {id: steady, name: Steady, trigger: streak, streakLength: 3, status: active}
"""

NEW = (
    OLD.replace("metricThreshold: 10, points: 1", "metricThreshold: 20, points: 1")
    .replace("streakLength: 2, points: 5", "streakLength: 3, points: 30")
    .replace("{key: author, points: 40}", "{key: author, points: 30}")
    .replace("metricValue: 100", "metricValue: 150")
    .replace(
        "      - {id: hello",
        "      - {id: page, type: metric, metric: pages, metricThreshold: 3, points: 6, status: active}\n      - {id: hello",
    )
)

DAYS = 40
"""Days that `history` spans."""


def history(count: int = 600, users: int = 23) -> list[Json]:
    """Return made-up records, the same each time, in the order of time; some are wrong under any catalog."""
    import random

    chance = random.Random(7)
    moments = sorted(chance.randrange(DAYS * 1440) for _ in range(count))
    records: list[Json] = []
    for number, minute in enumerate(moments):
        day, rest = divmod(minute, 1440)
        at = f"2025-{3 + day // 31:02d}-{1 + day % 31:02d}T{rest // 60:02d}:{rest % 60:02d}:00Z"
        user: Json = {"id": f"u{int(users * chance.random() ** 2)}"}
        if number % 50 == 0:
            user["tz"] = chance.choice(["Asia/Tokyo", "America/Lima"])
        record: Json = {"metric": "words", "user": user, "value": chance.randint(1, 40), "occurredAt": at}
        if chance.random() < 0.3:
            record.update(metric="pages", value=chance.choice([1, 2, 3, -1]))
        elif chance.random() < 0.4:
            record["attributes"] = {"kind": chance.choice(["draft", "final"])}
        if number % 97 == 96:
            record["metric"] = "letters"
        records.append(record)
    return records
