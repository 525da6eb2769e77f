"""Kafka's jars: exactly those of the checked-in lock, fetched once by jgo, verified on every start.

The lock is made by `jgo lock` from `jgo.toml` (needs jgo's extra `cli`; only when Kafka's version changes). Here it is
read as data: a start with a warm cache does not import jgo at all.
"""

import hashlib
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

import msgspec

from deploy.embedded.errors import KAFKA_ELSEWHERE, StackError, StartCancelled
from deploy.embedded.progress import Progress

LOCK_FILE = Path(__file__).with_name("jgo.lock.toml")
MIRROR_VARIABLE = "PLAUDIT_MAVEN_MIRROR"
FETCH_THREADS = 8
FETCH_TRIES = 2
FETCH_TIMEOUT_S = 15
MAX_JARS = 500  # a lock of another size is not one of Kafka


class Jar(msgspec.Struct, frozen=True):
    """One entry of the lock."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name in the cache, and the one in a Maven repository."""
        return f"{self.artifact}-{self.version}.jar"


Fetch = Callable[[Jar], Path]
"""Brings a jar to this machine and returns its path; raises any exception if it cannot."""


def read_lock(path: Path = LOCK_FILE) -> list[Jar]:
    """The jars of lock file `path`. StackError if it cannot be read or an entry has no sha256 hash: what is not pinned
    is not run."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("dependencies", [])
        jars = [Jar(e["groupId"], e["artifactId"], e["version"], e.get("sha256", "")) for e in entries]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise StackError(f"cannot read the lock of Kafka's jars, {path} ({error!r}). Restore it from git.") from error
    if not 0 < len(jars) <= MAX_JARS:
        raise StackError(f"the lock of Kafka's jars, {path}, lists {len(jars)} jars. Restore it from git.")
    for jar in jars:
        if not re.fullmatch(r"[0-9a-f]{64}", jar.sha256):
            raise StackError(f"{path}: {jar.file_name} has no sha256 hash. Restore the lock from git.")
    if len({jar.file_name for jar in jars}) < len(jars):
        raise StackError(f"{path}: two jars have one file name. Restore the lock from git.")
    return jars


def provide_jars(
    cache: Path,
    progress: Progress,
    cancelled: Event,
    *,
    lock: Path = LOCK_FILE,
    fetch: Fetch | None = None,
) -> list[Path]:
    """Paths of all jars of `lock`, in its order, each in `cache` and with the hash that the lock says.

    What is missing or damaged is fetched, by jgo unless `fetch` is given. StackError if that fails or a fetched jar has
    another hash; StartCancelled once `cancelled` is set. Several processes may fill one cache at once.
    """
    jars = read_lock(lock)
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(
            f"cannot write to the cache directory {cache} ({error.strerror}). "
            "Set PLAUDIT_CACHE to one that you may write to."
        ) from error
    with ThreadPoolExecutor(max_workers=FETCH_THREADS, thread_name_prefix="jars") as pool:
        good = pool.map(lambda jar: _is_good(cache, jar), jars)
        missing = [jar for jar, is_good in zip(jars, good, strict=True) if not is_good]
    if missing:
        progress.step("kafka", f"fetching {len(missing)} of {len(jars)} Java archives into {cache}")
        with _staging(cache) as staging:
            _fetch_all(missing, cache, fetch or _jgo_fetch(staging), progress, cancelled)
    return [cache / jar.file_name for jar in jars]


def _fetch_all(missing: list[Jar], cache: Path, fetch: Fetch, progress: Progress, cancelled: Event) -> None:
    with ThreadPoolExecutor(max_workers=FETCH_THREADS, thread_name_prefix="jars") as pool:
        futures = [pool.submit(_fetch_one, jar, cache, fetch, cancelled) for jar in missing]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                progress.fetched("kafka", done, len(missing))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # the first failure is told at once
            raise


def _fetch_one(jar: Jar, cache: Path, fetch: Fetch, cancelled: Event) -> None:
    for attempt in range(1, FETCH_TRIES + 1):
        if cancelled.is_set():
            raise StartCancelled("the fetch of Kafka's jars was cancelled")
        try:
            fetched = fetch(jar)
        except Exception as error:  # whatever jgo and requests raise, the advice is the same
            if attempt == FETCH_TRIES:
                raise StackError(
                    f"cannot fetch {jar.group}:{jar.artifact}:{jar.version} ({_brief(error)}). Check the network; "
                    f"behind a mirror, set {MIRROR_VARIABLE} to the address of a Maven repository. {KAFKA_ELSEWHERE}"
                ) from error
        else:
            _take(fetched, jar, cache)
            return


def _take(fetched: Path, jar: Jar, cache: Path) -> None:
    """Move a fetched jar into the cache if it is the locked one."""
    # The copy comes first and the check reads the copy: what was checked is what will be run.
    with tempfile.NamedTemporaryFile(dir=cache, prefix=".", suffix=".jar", delete=False) as target:
        temporary = Path(target.name)
        with fetched.open("rb") as source:
            shutil.copyfileobj(source, target)
    actual = _sha256(temporary)
    if actual != jar.sha256:
        temporary.unlink()
        raise StackError(
            f"{jar.file_name} is not the locked file: sha256 {actual}, the lock says {jar.sha256}. It was refused. "
            f"Check what serves Maven artifacts here ({MIRROR_VARIABLE}, a proxy, ~/.m2); if Kafka's version was "
            f"changed, make the lock again with `jgo lock`. {KAFKA_ELSEWHERE}"
        )
    temporary.chmod(0o644)
    temporary.replace(cache / jar.file_name)


def _is_good(cache: Path, jar: Jar) -> bool:
    try:
        return _sha256(cache / jar.file_name) == jar.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _staging(cache: Path) -> Iterator[Path]:
    # jgo writes straight to its final name, so an interrupted download would look whole: its own cache is thrown away.
    staging = Path(tempfile.mkdtemp(dir=cache, prefix=".staging-"))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _jgo_fetch(staging: Path) -> Fetch:
    try:
        maven: Any = import_module("jgo.maven")
    except ImportError as error:
        raise StackError(
            "Kafka's jars are not in the cache and jgo, which fetches them, is not installed. "
            f"Install it with `pip install 'plaudit[embedded]'`. {KAFKA_ELSEWHERE}"
        ) from error
    mirror = os.environ.get(MIRROR_VARIABLE)
    context = maven.MavenContext(
        repo_cache=staging,
        local_repos=[Path.home() / ".m2" / "repository"],  # what Maven has fetched before is as good: the hash decides
        remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
        timeout=FETCH_TIMEOUT_S,
    )

    def fetch(jar: Jar) -> Path:
        partial = staging / jar.group.replace(".", "/") / jar.artifact / jar.version / jar.file_name
        partial.unlink(missing_ok=True)  # of a try that broke off
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        return Path(artifact.resolve())

    return fetch


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
