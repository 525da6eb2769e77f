"""Options that several commands have."""

from typing import Any

import click

tenant_option = click.option("--tenant", default="", metavar="NAME", help="Tenant; empty without tenants.")


class Instant(click.ParamType):
    """An instant with UTC offset, given as epoch milliseconds to the command."""

    name = "INSTANT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse ISO 8601."""
        from schemas.instants import parse_instant

        if isinstance(value, int):
            return value
        try:
            return parse_instant(value)
        except ValueError:
            self.fail(
                f"{value!r} is not an instant with UTC offset; write for example 2025-03-01T10:00:00Z", param, ctx
            )


class Day(click.ParamType):
    """A calendar day, given as its text to the command."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the form."""
        from schemas.instants import parse_day

        try:
            parse_day(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; write for example 2025-03-01", param, ctx)
        text: str = value
        return text


class RoundSize(click.ParamType):
    """Records per round; 0 stands for all."""

    name = "N|all"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it."""
        if isinstance(value, int):
            return value
        if isinstance(value, str) and value.lower() == "all":
            return 0
        if not isinstance(value, str) or not value.isdecimal() or int(value) == 0:
            self.fail(f"{value!r} is not a round size; use a whole number from 1 on, or all", param, ctx)
        return int(value)
