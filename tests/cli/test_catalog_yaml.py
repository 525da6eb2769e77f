"""Reading catalog files: exact numbers, text that stays text, mistakes with their place."""

from decimal import Decimal
from pathlib import Path

import pytest

from deploy.catalog_yaml import CatalogFileError, load_file, parse_config
from deploy.cli.support.history import SAMPLE_CATALOG
from tests.cli.conftest import Plaudit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.10", Decimal("1.10")),
        ("1e3", Decimal("1e3")),
        ("-0.5", Decimal("-0.5")),
        ("12", 12),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2025-03-01", "2025-03-01"),
        ("2025-03-01T10:00:00Z", "2025-03-01T10:00:00Z"),
        ("no", "no"),
        ("on", "on"),
        (".inf", ".inf"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("'12'", "12"),
    ],
)
def test_scalars_are_those_of_json_and_all_else_is_text(text: str, value: object) -> None:
    found = parse_config(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_json_is_read_as_it_is() -> None:
    assert parse_config('{"a": [1.5, true, null, "x"]}') == {"a": [Decimal("1.5"), True, None, "x"]}


def test_merge_keys_may_be_overridden() -> None:
    assert parse_config("a: &d {x: 1, y: 1}\nb: {<<: *d, y: 2}")["b"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1e99999999999999999999", "line 1, column 4: 1e99999999999999999999 is beyond any number"),
        ('a: "\\ud800"', "is no text: half a surrogate pair"),
        ("a: 1\na: 2", "line 2, column 1: the field 'a' is given twice"),
        ("1: x", "line 1, column 1: the name of a field must be a text"),
        ("a: [", "line 1, column 5"),
        ("a: &x [*x]", "more than 1000000 values"),
        ("a: " + "9" * 5000, "too many digits"),
        ("a: !!python/object:os.system x", "line 1, column 4"),
        ("[" * 5000, "nested too deep"),
    ],
)
def test_mistakes_name_their_place(text: str, message: str) -> None:
    with pytest.raises(CatalogFileError, match=message.replace("(", r"\(")):
        parse_config(text)


def test_the_sample_catalog_is_good() -> None:
    _, catalog, warnings = load_file(SAMPLE_CATALOG)
    assert catalog.systems
    assert warnings == []


def test_check_tells_every_mistake_with_its_path(plaudit: Plaudit, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "metrics: [{key: a b}]\nsystems: [{key: xp, triggers: [{id: t, type: metric, metric: x, points: 0}]}]\n"
    )
    result = plaudit("catalog", "check", path)
    assert result.code == 1
    assert "metrics[0].key" in result.err
    assert "systems[0].triggers[0].metric:" in result.err
    assert "systems[0].triggers[0].points" in result.err


def test_check_warns_of_a_catalog_in_which_nothing_is_active(plaudit: Plaudit, tmp_path: Path) -> None:
    path = tmp_path / "asleep.yaml"
    path.write_text("metrics: [m]\nachievements: [{key: a, trigger: api}]\n")
    result = plaudit("catalog", "check", path)
    assert result.code == 0
    assert "warning" in result.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trigger: anniversary", "achievements[0].anniversaryYears: is missing; give a whole number from 1 to 1000"),
        (
            "trigger: anniversary, anniversaryYears: 0",
            "achievements[0].anniversaryYears: 0 must lie between 1 and 1000",
        ),
        ("trigger: anniversary, anniversaryYears: 1.5", "achievements[0].anniversaryYears: must be a whole number"),
        ("trigger: anniversary, anniversaryYears: 1, metricValue: 5", "achievements[0].metricValue: is unknown here"),
        ("trigger: streak, streakLength: 1, anniversaryYears: 1", "achievements[0].anniversaryYears: is unknown here"),
        ("trigger: anniversary, anniversaryYears: 1, eventAttributes: {a: x}", "achievements[0].eventAttributes"),
    ],
)
def test_check_tells_what_is_wrong_with_an_anniversary(
    plaudit: Plaudit, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "anniversary.yaml"
    file.write_text(f"eventAttributes: [a]\nachievements: [{{id: a, {text}, status: active}}]\n")
    result = plaudit("catalog", "check", file)
    assert result.code == 1
    assert message in result.err


def test_anniversaries_pass_the_check(plaudit: Plaudit, tmp_path: Path) -> None:
    file = tmp_path / "anniversary.yaml"
    file.write_text("achievements: [{id: a, trigger: anniversary, anniversaryYears: 1, status: active}]\n")
    assert plaudit("catalog", "check", file).code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{recap: daily}", "error: messages.recap: 'daily' is not one of weekly, monthly"),
        ("{recap: true}", "error: messages.recap: True is not one of weekly, monthly"),
        ("{reactivation: yes}", "error: messages.reactivation: must be true or false, not 'yes'"),
        ("{achievement: true, maxDelayHours: 0}", "error: messages.maxDelayHours: 0 must lie between 1 and 720"),
        ("{streak: true}", "error: messages.streak: is unknown here; known fields: achievement, maxDelayHours, "),
        ("[recap]", "error: messages: must be an object, not list"),
    ],
)
def test_check_tells_what_is_wrong_with_messages(plaudit: Plaudit, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "messages.yaml"
    file.write_text(f"messages: {text}\n")
    result = plaudit("catalog", "check", file)
    assert result.code == 1
    assert message in result.err


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("{streakReminder: true}", "warning: messages.streakReminder: is on, but without streak metrics"),
        ("{recap: null, reactivation: false}", "warning: messages: switches nothing on"),
        ("{recap: weekly, reactivation: true, achievement: true, maxDelayHours: 6}", ""),
    ],
)
def test_check_warns_of_messages_that_never_come(plaudit: Plaudit, tmp_path: Path, text: str, warning: str) -> None:
    file = tmp_path / "messages.yaml"
    file.write_text(f"metrics: [m]\nmessages: {text}\n")
    result = plaudit("catalog", "check", file)
    assert result.code == 0
    assert warning in result.err
    assert bool(warning) == bool(result.err)
