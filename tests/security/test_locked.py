"""What is installed is what was locked: every requirement pinned with hashes, and the lock fits pyproject.toml."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?: --hash=sha256:[0-9a-f]{64})+)$")


def pins() -> dict[str, tuple[str, int]]:
    """Version and number of hashes of every package of the lock, by normalised name."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if not line.lstrip().startswith("#")]
    found = {}
    for line in filter(None, lines):
        match = PIN.match(line)
        assert match, f"not pinned with hashes: {line[:120]}"
        found[normalised(match[1])] = match[2], match[3].count("--hash")
    return found


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_pinned_with_hashes() -> None:
    found = pins()
    assert len(found) > 20
    assert all(hashes >= 1 for _, hashes in found.values())


def test_the_lock_fits_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    found = pins()
    for requirement in wanted:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(.*?)\s*(?:;.*)?$", requirement)
        assert match, requirement
        name, specifier = normalised(match[1]), match[2]
        assert name in found, f"{requirement} is not in requirements.lock; run make lock"
        if specifier.startswith("=="):
            assert found[name][0] == specifier[2:], f"{requirement}, the lock has {found[name][0]}; run make lock"


def test_the_lock_is_installed_with_hashes_only() -> None:
    for place in ("Makefile", "deploy/Dockerfile"):
        text = (ROOT / place).read_text()
        installs = [line for line in text.splitlines() if "requirements.lock" in line and "install" in line]
        assert installs and all("--require-hashes" in line for line in installs), place
