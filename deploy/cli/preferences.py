"""`plaudit preferences`: what a user has chosen (U13, S79)."""

from typing import Any, Final, Unpack

import click

from deploy.cli.support.requests import Common, request_options, send_request

DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class _DaysOff(click.ParamType):
    name = "DAYS|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if isinstance(value, list):
            return value
        names = [] if value.lower() == "none" else [name.strip().lower()[:3] for name in value.split(",")]
        if any(name not in DAYS for name in names):
            self.fail(f"{value!r}: write weekdays, for example sat,sun, or none", param, ctx)
        return sorted({DAYS.index(name) for name in names})


class _Metric(click.ParamType):
    name = "KEY=THRESHOLD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        import msgspec

        from schemas.numbers import NotANumberError, ValueOutOfRangeError, parse_scaled

        if isinstance(value, tuple):
            return value
        key, _, threshold = value.rpartition("=")
        try:
            if not key or parse_scaled(threshold.encode()) <= 0:
                self.fail(f"{value!r}: write a metric and a threshold above 0, for example words=100", param, ctx)
        except (NotANumberError, ValueOutOfRangeError):
            self.fail(f"{value!r}: {threshold!r} is no number in range; write for example words=100", param, ctx)
        return key, msgspec.Raw(threshold.encode())


class _Field(click.ParamType):
    name = "PATH=JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[list[str], Any]:
        import msgspec

        if isinstance(value, tuple):
            return value
        path, separator, text = value.partition("=")
        names = path.split(".")
        if not separator or not all(names):
            self.fail(f"{value!r}: write for example streak.enabled=false", param, ctx)
        try:
            msgspec.json.decode(text)
            return names, msgspec.Raw(text.encode())  # numbers keep their digits
        except msgspec.DecodeError as error:
            self.fail(f"{value!r}: {text!r} is not JSON ({error}); texts need their quotes", param, ctx)


@click.command(
    "preferences",
    epilog="""\b
Examples:
  plaudit preferences 18 --days-off sat,sun
  plaudit preferences 18 --mode AND --metric words=200 --metric pages=0.5
  plaudit preferences 18 --no-streak
  plaudit preferences 18 --set streak.enabled=true --set 'streak.daysOff=[0]'

\b
What is not given stays as it is; a list replaces the one before it (S79).
""",
)
@click.argument("user", metavar="USER")
@click.option("--streak/--no-streak", "enabled", default=None, help="Whether the user has a streak (S76).")
@click.option("--mode", type=click.Choice(["OR", "AND"]), help="Whether one metric or all must be met.")
@click.option("--metric", "metrics", type=_Metric(), multiple=True, help="Personal threshold; may be repeated.")
@click.option("--days-off", type=_DaysOff(), help="Weekdays that need not be met, for example sat,sun.")
@click.option("--set", "fields", type=_Field(), multiple=True, help="Any field of the record; may be repeated.")
@request_options
def command(
    user: str,
    enabled: bool | None,
    mode: str | None,
    metrics: tuple[tuple[str, Any], ...],
    days_off: list[int] | None,
    fields: tuple[tuple[list[str], Any], ...],
    **common: Unpack[Common],
) -> int:
    """Change the preferences of USER, who must exist. Exit code 3 if they were refused, with the reason.

    Personal metrics, mode and days off count while the catalog has streak.customizationEnabled (S79, S80).
    """
    from deploy.cli.support.errors import WrongUseError

    given = {
        "enabled": enabled,
        "evaluationMode": mode,
        "metrics": [{"key": key, "threshold": threshold} for key, threshold in metrics] or None,
        "daysOff": days_off,
    }
    streak = {name: value for name, value in given.items() if value is not None}
    record: dict[str, Any] = {"streak": streak} if streak else {}
    for names, value in fields:
        inner = record
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise WrongUseError(f"--set {'.'.join(names)}: {name} is no object here; give it once")
        inner[names[-1]] = value
    if not record:
        raise WrongUseError("nothing to change; give --streak, --mode, --metric, --days-off or --set")
    for name in record:
        if name in ("type", "user", "eventId", "occurredAt", "tenant", "source"):
            raise WrongUseError(f"--set {name}: the field is set by the command itself")
    return send_request("preferences", user, common, **record)
