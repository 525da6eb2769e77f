"""Where the embedded stack keeps things: data under the home, what can be fetched again under the cache."""

import os
from pathlib import Path


def home_dir() -> Path:
    """The directory that holds all data of the stack: PLAUDIT_HOME, else `.plaudit` in the working directory.
    Absolute; not created here."""
    configured = os.environ.get("PLAUDIT_HOME")
    return (Path(configured).expanduser() if configured else Path(".plaudit")).absolute()


def cache_dir() -> Path:
    """The directory of fetched jars: PLAUDIT_CACHE, else `plaudit` under XDG_CACHE_HOME or `~/.cache`. Absolute; not
    created here. Everything in it is verified on use and may be deleted at any time."""
    configured = os.environ.get("PLAUDIT_CACHE")
    if configured:
        return Path(configured).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "plaudit"
