"""Alert rules for Prometheus."""

from typing import Any

import yaml

from schemas.alarms import ALARMS, Alarm

_HEAD = """\
# Written by `make monitoring` from schemas/alarms.py; do not edit.
# In prometheus.yml:
#   rule_files: [alerts.yaml]
#   scrape_configs:
#     - job_name: plaudit
#       static_configs: [{targets: [worker:9108, sink:9108]}]
"""


def alert_rules() -> str:
    """Return the rules as YAML."""
    rules = [_rule(alarm) for alarm in ALARMS]
    text: str = yaml.safe_dump(
        {"groups": [{"name": "plaudit", "rules": rules}]}, sort_keys=False, width=10_000, allow_unicode=True
    )
    return _HEAD + text


def _rule(alarm: Alarm) -> dict[str, Any]:
    return {
        "alert": alarm.name,
        "expr": alarm.expression,
        **({"for": f"{alarm.for_s}s"} if alarm.for_s else {}),
        "labels": {"severity": alarm.severity},
        "annotations": {"summary": alarm.says.replace("$value", "$value | humanize"), "description": alarm.do},
    }
