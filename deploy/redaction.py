"""The second line of defence: no secret of the environment leaves in a log line or a message, whoever put it there."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from deploy.environment import Reader, SettingsError
from schemas.secrets import HIDDEN

SECRETS: Final = ("KAFKA_PASSWORD", "CLICKHOUSE_PASSWORD", "PLAUDIT_CONTROL_TOKEN")
"""Variables that hold a secret; each has a sibling `_FILE`."""

LEAST_LENGTH: Final = 4
"""A shorter text is in too many words to be hidden."""


class Redactor:
    """Hides the secrets of an environment in texts."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """Read the secrets, by default of the process's environment; those that do not fit are left out."""
        read = Reader(os.environ if environ is None else environ)
        found = []
        for variable in SECRETS:
            with suppress(SettingsError, OSError):
                found.append("".join(read.secret(variable)))
        with suppress(ValueError):
            parts = urlsplit((os.environ if environ is None else environ).get("CLICKHOUSE_URL", ""))
            found.append(unquote(parts.password or ""))
        forms = {form for secret in found for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
        self._forms = sorted((form for form in forms if len(form) >= LEAST_LENGTH), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text with every secret, also as JSON or a URL has it, replaced."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return text
