"""The compiled variant: the rules as C extension modules made by mypyc from the same source.

`python -m deploy.compiled` makes `build/compiled`, a copy of the source tree with the extension modules beside the modules
that pyproject.toml lists in [tool.plaudit]; whatever is run from there is compiled. The tree it is made from stays as it is.
`--check` only tells whether this machine can compile. An image is built with PLAUDIT_COMPILE=1 (deploy/Dockerfile).
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

TREE: Final = ROOT / "build" / "compiled"
"""Where the compiled variant is made."""

SUFFIX: Final = sysconfig.get_config_var("EXT_SUFFIX")
"""How the file of an extension module ends."""

_COPIED: Final = ("schemas", "processors", "projections", "deploy", "benchmarks", "tests", "docs")
_COPIED_FILES: Final = ("pyproject.toml", "setup.py", "README.md")
_STAMP: Final = ".made"
_MODULES: Final = ".modules"


def listed_modules(root: Path = ROOT) -> list[Path]:
    """Return the modules to compile, relative to `root`."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["plaudit"]
    found = {path.relative_to(root) for pattern in settings["compiled"] for path in root.glob(pattern)}
    left_out = {Path(name) for name in settings["interpreted"]}
    return sorted(path for path in found - left_out if path.name != "__init__.py")


def obstacle() -> str | None:
    """Return why this machine cannot compile, None if it can."""
    compiler = str(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        return f"Python's headers are not installed ({header})"
    if find_spec("mypyc") is None:
        return "mypyc is not installed (package mypy)"
    return None


def _sources(root: Path) -> dict[Path, int]:
    """Return what the tree is made from, with modification times in ns."""
    paths = [root / name for name in _COPIED_FILES]
    for name in _COPIED:
        paths += [path for path in (root / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(root): path.stat().st_mtime_ns for path in paths}


def make() -> Path:
    """Make the compiled tree, unless it is up to date, and return it.

    Raises:
        subprocess.CalledProcessError: the compiler failed; its output is on standard error.
    """
    stamp = TREE / _STAMP
    sources = "\n".join(f"{path} {time}" for path, time in sorted(_sources(ROOT).items()))
    if stamp.exists() and stamp.read_text(encoding="utf-8") == sources:
        return TREE
    modules = _fingerprint()
    made = TREE / _MODULES
    kept: dict[Path, bytes] = {}
    if made.exists() and made.read_text(encoding="utf-8") == modules:
        found = (path.relative_to(TREE) for path in TREE.rglob(f"*{SUFFIX}"))
        kept = {
            path: (TREE / path).read_bytes() for path in found if path.parts[0] != "build"
        }  # setuptools keeps copies
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    for name in _COPIED:
        shutil.copytree(ROOT / name, TREE / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _COPIED_FILES:
        shutil.copy2(ROOT / name, TREE / name)
    if kept:
        for relative, content in kept.items():
            (TREE / relative).write_bytes(content)
    else:
        _compile()
    made.write_text(modules, encoding="utf-8")
    stamp.write_text(sources, encoding="utf-8")
    return TREE


def _fingerprint() -> str:
    """Return what the extension modules depend on: what is compiled, and with what. Their build takes a minute."""
    digest = sha256(f"{sys.version} {version('mypy')}".encode())
    for path in (Path("pyproject.toml"), Path("setup.py"), *listed_modules()):
        digest.update(f"\0{path}\0".encode() + (ROOT / path).read_bytes())
    for path in sorted((ROOT / "schemas").glob("*.py")):  # compiled code depends on the types of these
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _compile() -> None:
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    done = subprocess.run(
        command,
        cwd=TREE,
        env={**os.environ, "PLAUDIT_COMPILE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()


def main(arguments: Sequence[str]) -> int:
    """Make the tree and print where it is; 3 = this machine cannot compile."""
    parser = argparse.ArgumentParser(prog="python -m deploy.compiled", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell whether it could be made")
    options = parser.parse_args(arguments)
    reason = obstacle()
    if reason is not None:
        print(f"The rules cannot be compiled here: {reason}.", file=sys.stderr)
        return 3
    if not options.check:
        try:
            print(make())
        except subprocess.CalledProcessError as error:
            return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
