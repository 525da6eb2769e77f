"""What is written from schemas/metrics.py and schemas/alarms.py: docs/metrics.md, alert rules, a dashboard.

python -m deploy.monitoring
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.monitoring.alerts import alert_rules
from deploy.monitoring.dashboard import dashboard
from deploy.monitoring.page import metrics_page

ROOT: Final = Path(__file__).parents[2]

FILES: Final[dict[str, Callable[[], str]]] = {
    "docs/metrics.md": metrics_page,
    "deploy/prometheus/alerts.yaml": alert_rules,
    "deploy/grafana/plaudit.json": dashboard,
}
"""Path below the root of the repository, and what makes its text."""


def write_all() -> None:
    """Write all files anew."""
    for path, text in FILES.items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text(), encoding="utf-8")
