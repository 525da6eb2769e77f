"""Reading variables of the environment: what they may hold, and what is said about one that does not fit."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from schemas.secrets import HIDDEN, Secret

T = TypeVar("T")


class SettingsError(Exception):
    """A variable of the environment does not fit. The message names the variable, its value and the fix."""

    def __init__(self, variable: str, value: str, fix: str) -> None:
        super().__init__(f"{variable}={value!r}: {fix}")
        self.variable = variable
        self.value = value


class Reader:
    """Reads one variable; a parser returns the value or raises ValueError with the fix."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, variable: str, parse: Callable[[str], T], default: T, *, hidden: bool = False) -> T:
        """Return what `parse` makes of the variable, `default` if it is unset or blank.

        Raises:
            SettingsError: it does not fit; the value is not told if it is `hidden`.
        """
        value = self._environ.get(variable, "").strip()
        if not value:
            return default
        try:
            return parse(value)
        except ValueError as error:
            raise SettingsError(variable, HIDDEN if hidden else value, str(error)) from None

    def secret(self, variable: str) -> Secret:
        """Return a secret: the variable, or what is in the file that `VARIABLE_FILE` names; empty if neither is set."""
        value, place = self(variable, text, ""), self(f"{variable}_FILE", file, "")
        if not place:
            return Secret(value)
        if value:
            raise SettingsError(f"{variable}_FILE", place, f"{variable} is set too; set one of them")
        try:
            secret = Path(place).read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise SettingsError(f"{variable}_FILE", place, "the file is not UTF-8 text") from None
        if not secret:
            raise SettingsError(f"{variable}_FILE", place, "the file is empty; put the secret into it")
        return Secret(secret)


def text(value: str) -> str:
    """Return anything."""
    return value


def path(value: str) -> Path:
    """Return a path, absolute."""
    return Path(value).expanduser().absolute()


def file(value: str) -> str:
    """Return the absolute path of a file that can be read."""
    place = path(value)
    try:
        place.open("rb").close()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror}); name a file") from None
    return str(place)


def flag(value: str) -> bool:
    """Return yes or no."""
    if value.lower() in {"1", "true", "yes", "on"}:
        return True
    if value.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("write 1 or 0")


def one_of(known: tuple[T, ...]) -> Callable[[str], T]:
    """Return a parser of names, in whatever case they are written."""

    def parse(value: str) -> T:
        for one in known:
            if str(one).lower() == value.lower():
                return one
        raise ValueError(f"use one of {', '.join(map(str, known))}")

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers."""

    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise ValueError(f"write a whole number from {low} to {high}")
        return int(value)

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of a time in seconds."""

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not low <= number <= high:
            raise ValueError(f"write seconds from {low:g} to {high:g}")
        return number

    return parse


def matching(pattern: re.Pattern[str], allowed: str) -> Callable[[str], str]:
    """Return a parser of what matches, `allowed` in words."""

    def parse(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"use only {allowed}")
        return value

    return parse
