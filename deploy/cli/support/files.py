"""Files and standard streams as commands read and write them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import Any, BinaryIO

from deploy.catalog_yaml import CatalogFileError, UnreadableCatalogError, load_file
from deploy.cli.support.errors import FAILED, CommandError, WrongUseError
from schemas.catalog import Catalog
from schemas.catalog_file import CatalogError, Issue

STDIO = "-"


@contextmanager
def reading(path: str) -> Iterator[BinaryIO]:
    """Open a file, gunzipped if its name ends in .gz, or standard input for `-`."""
    if path == STDIO:
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise WrongUseError(f"{path}: {error.strerror}") from error
    with file:
        try:
            if not path.endswith(".gz"):
                yield file
                return
            with GzipFile(fileobj=file) as packed:
                yield packed  # type: ignore[misc]
        except (EOFError, BadGzipFile) as error:
            raise WrongUseError(f"{path}: {error}") from error


@contextmanager
def writing(path: str) -> Iterator[BinaryIO]:
    """Open a file for writing, or standard output for `-`."""
    if path == STDIO:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = open(path, "wb")  # noqa: SIM115
    except OSError as error:
        raise WrongUseError(f"{path}: {error.strerror}") from error
    with file:
        yield file


def catalog_file(path: str, *, tenant: str = "", exit_code: int = FAILED) -> tuple[Any, Catalog, list[Issue]]:
    """Return a catalog file decoded and normalised, and its warnings; CommandError with every mistake."""
    try:
        return load_file(Path(path), tenant=tenant)
    except UnreadableCatalogError as error:
        raise WrongUseError(str(error)) from error
    except CatalogFileError as error:
        raise CommandError(str(error), exit_code) from error
    except CatalogError as error:
        lines = [f"{path} cannot be used:", *(f"  {issue}" for issue in error.issues)]
        raise CommandError("\n".join(lines), exit_code) from error
