"""The checked-in JSON Schemas are what the structs are, and what the program writes fits them."""

import json
from pathlib import Path

import jsonschema
import pytest

from deploy.catalog_yaml import read_config
from deploy.cli.support.history import SAMPLE_CATALOG, history
from deploy.json_schemas import DIRECTORY, all_schemas, export, schema_text
from tests.cli.conftest import Plaudit

ROOT = Path(__file__).parents[2]
SCHEMAS = all_schemas()


def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(SCHEMAS[name])


def test_the_checked_in_files_are_the_exported_ones() -> None:
    found = {str(path.relative_to(ROOT / DIRECTORY)): path.read_text() for path in (ROOT / DIRECTORY).rglob("*.json")}
    assert found == {name: schema_text(schema) for name, schema in SCHEMAS.items()}, "run `plaudit schemas export`"


def test_export_writes_them_anywhere(tmp_path: Path) -> None:
    assert len(export(tmp_path)) == len(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_what_the_sample_derives_fits(plaudit: Plaudit, tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    records.write_bytes(b"".join(record.value + b"\n" for record in history(None, 400)))
    arguments = ("simulate", "--catalog", SAMPLE_CATALOG, "--records", records)
    validators = {name: _validator(name) for name in SCHEMAS}
    for event in plaudit(*arguments).events:
        validators[f"derived/{event['type']}.json"].validate(event)
        validators["envelope.json"].validate(event)
    for outcome in plaudit(*arguments, "--outcomes").events:
        validators["outcome.json"].validate(outcome)
    for line in records.read_text().splitlines():
        validators["input-record.json"].validate(json.loads(line))


def test_the_sample_catalog_fits() -> None:
    _validator("catalog-file.json").validate(json.loads(json.dumps(read_config(SAMPLE_CATALOG), default=float)))


@pytest.mark.parametrize(
    "record",
    [
        {"metric": "w", "user": "18", "value": "1"},
        {"metric": "w", "user": "", "value": 1},
        {"metric": "w", "user": "18", "value": 1, "valeu": 1},
        {"type": "nonsense", "user": "18"},
        {"type": "tick"},
    ],
)
def test_records_of_another_form_do_not_fit(record: dict[str, object]) -> None:
    assert not _validator("input-record.json").is_valid(record)
