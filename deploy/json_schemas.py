"""JSON Schema of everything public: input records, derived events, outcomes, refused records, catalogs.

The files under docs/schemas are what `export` writes; a test keeps both equal.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from deploy.catalog_schema import catalog_file_schema
from schemas.catalog import CatalogRecord
from schemas.derived import DATA_OF_TYPE, Envelope, Rejected
from schemas.outcome import CompletionOutcome, EventOutcome, IdentifyOutcome, OutcomeRecord
from schemas.records import TYPED, MetricEvent

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DIRECTORY: Final = "docs/schemas"

_REFERENCE: Final = "#/$defs/{name}"

Json = dict[str, Any]


def all_schemas() -> dict[str, Json]:
    """Return every schema by the path of its file, relative to the directory of schemas."""
    found = {
        "input-record.json": _input_record(),
        "outcome.json": _outcome(),
        "rejected.json": _of(Rejected),
        "catalog-file.json": catalog_file_schema(),
        "catalog-record.json": _catalog_record(),
        "envelope.json": _of(Envelope),
    }
    for kind, data in DATA_OF_TYPE.items():
        found[f"derived/{kind}.json"] = _derived(kind, data)
    return {path: {"$schema": DIALECT, **schema} for path, schema in sorted(found.items())}


def schema_text(schema: Json) -> str:
    """Return a schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def export(directory: Path) -> list[Path]:
    """Write all schemas under a directory; return the files."""
    written = []
    for path, schema in all_schemas().items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(schema_text(schema), encoding="utf-8")
        written.append(file)
    return written


def _components(*kinds: type[msgspec.Struct]) -> tuple[list[Json], Json]:
    references, definitions = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    return list(references), definitions


def _of(kind: type[msgspec.Struct]) -> Json:
    (reference,), definitions = _components(kind)
    name = reference["$ref"].rpartition("/")[2]
    own: Json = definitions.pop(name)
    return {**own, **({"$defs": definitions} if definitions else {})}


def _input_record() -> Json:
    """A record without `type` is a metric event; its value and thresholds are numbers of any precision (X2, X3)."""
    references, definitions = _components(MetricEvent, *TYPED.values())
    definitions["MetricEvent"]["properties"]["value"] = {"type": "number", "description": "exact decimal (N2)"}
    definitions["StreakMetricInput"]["properties"]["threshold"] = {
        "type": "number",
        "description": "exact decimal (N2)",
    }
    return {
        "title": "InputRecord",
        "description": "Value of a record of the input log plaudit.events (wire.md section 1)",
        "oneOf": references,
        "$defs": definitions,
    }


def _derived(kind: str, data: type[msgspec.Struct]) -> Json:
    envelope = _of(Envelope)
    (reference,), definitions = _components(data)
    envelope["title"] = kind
    envelope["description"] = f"A derived event of type {kind}: the envelope E2 with its data"
    envelope["properties"]["type"] = {"const": kind}
    envelope["properties"]["data"] = reference
    envelope["$defs"] = {**envelope.get("$defs", {}), **definitions}
    return envelope


def _outcome() -> Json:
    schema = _of(OutcomeRecord)
    references, definitions = _components(EventOutcome, CompletionOutcome, IdentifyOutcome)
    schema["properties"]["outcome"] = {"anyOf": references}
    schema["$defs"] = {**schema.get("$defs", {}), **definitions}
    return schema


def _catalog_record() -> Json:
    schema = _of(CatalogRecord)
    schema["properties"]["config"] = {"type": "object", "description": "the catalog file, see catalog-file.json"}
    return schema
