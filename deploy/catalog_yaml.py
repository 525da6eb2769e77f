"""Reading catalog files (X14): YAML or JSON, with exact numbers, and text wherever YAML would guess.

Only what JSON also knows is recognised: `true`/`false`, `null` (`~`, nothing), whole numbers, decimals. So `no`, `12:30`
and `2025-03-01` stay the text that the author sees.
"""

import re
from collections.abc import Hashable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

from schemas.catalog import Catalog
from schemas.catalog_file import Issue, check_texts, load_catalog, read_decimal

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
"""Largest catalog file; a published one must fit a record of 11 MB."""

MAX_NODES: Final = 1_000_000
"""Values of a file after its aliases are followed; a bound on what few lines can expand to."""


class CatalogFileError(Exception):
    """The file cannot be read as YAML or JSON. The author of the file has to mend what the message names."""


class UnreadableCatalogError(CatalogFileError):
    """There is no such file, or it cannot be read at all. Its name or its permissions have to be mended."""


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of JSON."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise yaml.MarkedYAMLError(
                    None, None, "the name of a field must be a text; put it in quotes", key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the field {key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _integer(_: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    try:
        return int(node.value)
    except ValueError as error:  # Python refuses to read thousands of digits
        raise yaml.MarkedYAMLError(None, None, "the number has too many digits", node.start_mark) from error


def _decimal(_: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    try:
        return read_decimal(node.value)
    except ValueError as error:
        raise yaml.MarkedYAMLError(None, None, str(error), node.start_mark) from error


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:null|~|)\Z"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"-?(?:0|[1-9][0-9]*)\Z"), list("-0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)\Z"),
    list("-0123456789"),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), ["<"])
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)


def read_config(path: Path) -> Any:
    """Return a catalog file decoded, fractional numbers as `Decimal`; JSON is read as the YAML that it also is.

    Raises:
        CatalogFileError: no such file, too large, not UTF-8, not YAML; with line and column.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableCatalogError(f"{path}: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise CatalogFileError(f"{path} has {len(data)} bytes; a catalog may have {MAX_FILE_BYTES}")
    try:
        return parse_config(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise CatalogFileError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except CatalogFileError as error:
        raise CatalogFileError(f"{path}: {error}") from error


def parse_config(text: str) -> Any:
    """Return the decoded text of a catalog file; see `read_config`."""
    try:
        config = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise CatalogFileError(f"{where}{error.problem or error.context or error}") from error
    except yaml.YAMLError as error:
        raise CatalogFileError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise CatalogFileError("the file is nested too deep") from error
    _check_size(config)
    try:
        check_texts(config)
    except ValueError as error:
        raise CatalogFileError(str(error)) from error
    return config


def _check_size(config: Any) -> None:
    waiting, nodes = [config], 0
    while waiting:
        value = waiting.pop()
        nodes += 1
        if nodes > MAX_NODES:
            raise CatalogFileError(f"the file expands to more than {MAX_NODES} values; use fewer aliases")
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def load_file(path: Path, *, tenant: str = "") -> tuple[Any, Catalog, list[Issue]]:
    """Return a catalog file decoded and normalised, with its warnings.

    Raises:
        CatalogFileError: it cannot be read.
        CatalogError: with every mistake.
    """
    config = read_config(path)
    catalog, warnings = load_catalog(config, tenant=tenant)
    return config, catalog, warnings
