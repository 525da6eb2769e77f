"""Kafka's jars come from the lock or not at all. No network: the fetch is a stand-in."""

import hashlib
from pathlib import Path
from threading import Event

import pytest

from deploy.embedded.errors import StackError, StartCancelled
from deploy.embedded.jars import Jar, provide_jars, read_lock
from deploy.embedded.progress import Part, SilentProgress

GOOD = b"the jar that was locked"


def lock_of(tmp_path: Path, content: bytes = GOOD, count: int = 1) -> Path:
    lock = tmp_path / "jgo.lock.toml"
    digest = hashlib.sha256(content).hexdigest()
    entry = '[[dependencies]]\ngroupId = "g"\nartifactId = "a{}"\nversion = "1"\npackaging = "jar"\nsha256 = "{}"\n'
    lock.write_text("".join(entry.format(i, digest) for i in range(count)), encoding="utf-8")
    return lock


class Source:
    """Stands in for jgo: serves one content for every jar and counts."""

    def __init__(self, directory: Path, content: bytes = GOOD) -> None:
        self.file = directory / "served.jar"
        self.file.write_bytes(content)
        self.calls = 0

    def __call__(self, jar: Jar) -> Path:
        self.calls += 1
        return self.file


class Count(SilentProgress):
    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def fetched(self, part: Part, done: int, total: int) -> None:
        self.seen.append((done, total))


def test_missing_jars_are_fetched_once_and_counted(tmp_path: Path) -> None:
    lock, source, progress = lock_of(tmp_path, count=5), Source(tmp_path), Count()
    for _ in range(2):
        paths = provide_jars(tmp_path / "cache", progress, Event(), lock=lock, fetch=source)
    assert [path.name for path in paths] == [f"a{i}-1.jar" for i in range(5)]
    assert source.calls == 5
    assert progress.seen == [(i, 5) for i in range(1, 6)]


def test_a_jar_with_another_hash_is_refused_and_not_kept(tmp_path: Path) -> None:
    source = Source(tmp_path, b"something else")
    with pytest.raises(StackError, match=r"a0-1\.jar is not the locked file: sha256 .* refused.*KAFKA_BOOTSTRAP"):
        provide_jars(tmp_path / "cache", SilentProgress(), Event(), lock=lock_of(tmp_path), fetch=source)
    assert not list((tmp_path / "cache").iterdir())


def test_a_damaged_jar_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    lock, source = lock_of(tmp_path), Source(tmp_path)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "a0-1.jar").write_bytes(GOOD[:5])
    (path,) = provide_jars(cache, SilentProgress(), Event(), lock=lock, fetch=source)
    assert path.read_bytes() == GOOD


def test_what_cannot_be_fetched_says_what_to_do(tmp_path: Path) -> None:
    def unreachable(jar: Jar) -> Path:
        raise ConnectionError("no route to host")

    with pytest.raises(StackError, match=r"cannot fetch g:a0:1 .*no route.*KAFKA_BOOTSTRAP=.*compose\.yaml"):
        provide_jars(tmp_path / "cache", SilentProgress(), Event(), lock=lock_of(tmp_path), fetch=unreachable)


def test_a_cancelled_start_fetches_nothing(tmp_path: Path) -> None:
    cancelled, source = Event(), Source(tmp_path)
    cancelled.set()
    with pytest.raises(StartCancelled):
        provide_jars(tmp_path / "cache", SilentProgress(), cancelled, lock=lock_of(tmp_path), fetch=source)
    assert source.calls == 0


@pytest.mark.parametrize("text", ["", "[[dependencies]]", "not toml", '[[dependencies]]\ngroupId = "g"\n'])
def test_a_broken_lock_is_refused(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "jgo.lock.toml"
    lock.write_text(text, encoding="utf-8")
    with pytest.raises(StackError, match="Restore"):
        read_lock(lock)


def test_an_entry_without_a_hash_is_refused(tmp_path: Path) -> None:
    lock = lock_of(tmp_path)
    lock.write_text("".join(line for line in lock.read_text().splitlines(True) if "sha256" not in line))
    with pytest.raises(StackError, match="has no sha256 hash"):
        read_lock(lock)


def test_the_lock_in_the_repository_is_kafka_with_all_hashes() -> None:
    names = {jar.file_name for jar in read_lock()}
    assert {"kafka_2.13-3.9.1.jar", "kafka-clients-3.9.1.jar", "slf4j-reload4j-1.7.36.jar"} <= names
