"""docs/messages.md: its files pass, and what it says is printed is printed."""

import re
from pathlib import Path

from tests.cli.conftest import Plaudit

PAGE = Path(__file__).parents[2] / "docs" / "messages.md"


def _block(tag: str) -> str:
    (found,) = re.findall(rf"^```{tag}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(found)


def test_what_the_page_prints_is_printed(plaudit: Plaudit, tmp_path: Path) -> None:
    catalog, records = tmp_path / "catalog.yaml", tmp_path / "records.jsonl"
    catalog.write_text(_block("yaml"))
    records.write_text(_block("json lines"))
    checked = plaudit("catalog", "check", catalog)
    assert (checked.code, checked.err) == (0, "")
    result = plaudit("simulate", "--catalog", catalog, "--records", records)
    assert result.code == 0
    assert _block("json printed").strip() in result.out.splitlines()
    told, reminded, woken = [event for event in result.events if event["type"].startswith("emails.")]
    assert (told["type"], told["occurredAt"]) == ("emails.achievement_due", "2025-03-03T16:00:00.000Z")
    assert (reminded["occurredAt"], reminded["meta"]) == ("2025-03-04T19:00:00.000Z", {"channels": ["push"]})
    assert woken["type"] == "emails.reactivation_due"
    why = plaudit("why", reminded["id"], "--records", records, "--catalog", catalog)
    assert "E16     emails.streak_reminder_due: due at 2025-03-04T19:00:00.000Z, sent" in why.out
