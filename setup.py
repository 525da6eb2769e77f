"""What pyproject.toml cannot say: with PLAUDIT_COMPILE=1 the modules that it lists in [tool.plaudit] are compiled by mypyc.

The same source runs without; see deploy/compiled.py.
"""

import os
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent


def extensions() -> list[object]:
    """Return the extension modules to build, none unless PLAUDIT_COMPILE is 1."""
    if os.environ.get("PLAUDIT_COMPILE") != "1":
        return []
    from mypyc.build import mypycify

    sys.path.insert(0, str(ROOT))
    from deploy.compiled import listed_modules

    return list(mypycify([str(path) for path in listed_modules(Path())], opt_level="2"))


setup(ext_modules=extensions())
