"""The compiled variant is what it says, and can be made of what is listed."""

import ast
import os
from importlib import import_module
from pathlib import Path

import pytest
from msgspec import UNSET, UnsetType

from deploy.compiled import ROOT, SUFFIX, is_compiled, listed_modules
from processors.rules.effects import Data, Effects
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.derived import Meta
from tests.rules.fold import Fold

COMPILED = os.environ.get("PLAUDIT_COMPILED") == "1"
MODULES = listed_modules()


def test_the_rules_are_listed() -> None:
    """The list is not empty by a wrong pattern."""
    assert Path("processors/rules/apply.py") in MODULES
    assert Path("processors/rules/settings.py") not in MODULES


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_listed_module_is_compiled_where_it_should_be_and_only_there(path: Path) -> None:
    """`make test-compiled` says PLAUDIT_COMPILED=1; everything else runs from source."""
    found = import_module(".".join(path.with_suffix("").parts)).__file__
    assert found is not None
    assert Path(found).is_relative_to(ROOT)
    assert found.endswith(SUFFIX) is COMPILED


def test_the_program_knows_which_variant_it_is() -> None:
    """See is_compiled."""
    assert is_compiled() is COMPILED


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_listed_module_defines_a_struct(path: Path) -> None:
    """mypyc drops the keywords of a class statement: array_like, rename, frozen."""
    classes = [node for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.ClassDef)]
    assert [node.name for node in classes if node.keywords or "Struct" in ast.dump(ast.List(node.bases))] == []


def test_effects_can_be_subclassed_by_what_is_not_compiled() -> None:
    """For preview and why: compiled rules call the methods of the subclass."""
    heard: list[str] = []

    class Heard(Effects):
        def emit(self, kind: str, data: Data, occurred_ms: int, meta: Meta | UnsetType = UNSET) -> None:
            heard.append(kind)

    fold = Fold()
    fold.partition = Partition(0, FoldSettings(), fold.store, Heard)
    fold.publish({"metrics": [{"key": "m", "name": "M"}]}, 0)
    assert [event for event in fold.send({"metric": "m", "value": 1, "user": "u"}, 1, "u") if "data" in event] == []
    assert heard == ["user.upserted", "metric.changed"]
