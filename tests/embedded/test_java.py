"""Which Java is taken, and what is said if there is none."""

from pathlib import Path

import pytest

from deploy.embedded import java
from deploy.embedded.errors import StackError


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "1.8.0_412"', 8),
        ("no such thing", None),
    ],
)
def test_the_major_version_is_read(text: str, major: int | None) -> None:
    assert java.parse_major_version(text) == major


def fake_java(home: Path, version: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return program


def test_an_old_java_is_passed_over_for_a_newer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "old", "11.0.2")
    newer = fake_java(tmp_path / "new", "21.0.1")
    monkeypatch.setattr(java, "_bundled_java", lambda: None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(newer.parent))
    assert java.find_java() == newer


def test_without_a_java_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, "11.0.2")
    monkeypatch.setattr(java, "_bundled_java", lambda: None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StackError, match=r"version 11.*plaudit\[embedded\].*KAFKA_BOOTSTRAP"):
        java.find_java()
