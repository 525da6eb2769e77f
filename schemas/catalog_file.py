"""Reading a catalog file (X14): every mistake is reported with its path in the file and the fix."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from schemas.catalog import Catalog, Metric, PointsSystem
from schemas.catalog_achievements import check_composites, read_achievement, register_achievement
from schemas.catalog_fields import CatalogError, Context, Fields, Issue, is_key
from schemas.catalog_messages import read_messages
from schemas.catalog_points import read_system
from schemas.catalog_streak import read_streak
from schemas.ids import derived_id

__all__ = [
    "CatalogError",
    "Issue",
    "check_texts",
    "decode_config",
    "encode_config",
    "load_catalog",
    "read_decimal",
]

MAX_ATTRIBUTES: Final = 256
"""Declared attributes of a kind: a user's state stays bounded (D-23)."""

MAX_METRICS: Final = 1_000
MAX_SYSTEMS: Final = 100
"""Metrics and points systems of a catalog (X28); of other lists see catalog_fields.MAX_ITEMS."""

CURRENCIES: Final = ("USD", "GBP", "EUR")
"""Supported currency codes (M3)."""

_config_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def load_catalog(config: Any, *, tenant: str = "") -> tuple[Catalog, list[Issue]]:
    """Return the catalog of a decoded file and its warnings.

    `config` is what a YAML or JSON reader gives, with fractional numbers as `Decimal`.

    Raises:
        CatalogError: with all mistakes found.
    """
    context = Context(tenant)
    catalog = _read(context, config)
    errors = [issue for issue in context.issues if issue.severity == "error"]
    if errors or catalog is None:
        raise CatalogError(errors)
    return catalog, context.issues


def decode_config(text: bytes) -> Any:
    """Decode a catalog in JSON with exact numbers.

    Raises:
        ValueError: not JSON.
    """
    try:
        config = json.loads(text, parse_float=read_decimal, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    check_texts(config)
    return config


def read_decimal(text: str) -> Decimal:
    """Return the exact number that a text stands for.

    Raises:
        ValueError: its exponent is beyond what can be counted.
    """
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text[:40]} is beyond any number") from error


def check_texts(config: Any) -> None:
    """Refuse half a surrogate pair in a decoded catalog: it is no text, and nothing could be derived from it.

    Raises:
        ValueError: there is one.
    """
    try:
        encode_config(config)
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[:40]!r} is no text: half a surrogate pair") from error
    except TypeError:
        pass  # a name that is no text: load_catalog says where


def encode_config(config: Any) -> bytes:
    """Encode a decoded catalog file as JSON with exact numbers, the form kept in `plaudit.catalog`."""
    return _config_encoder.encode(config)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _read(context: Context, config: Any) -> Catalog | None:
    fields = context.fields(config, "")
    if fields is None:
        return None
    context.user_attributes = _declared(context, fields, "userAttributes")
    context.event_attributes = _declared(context, fields, "eventAttributes")
    for _, item, path in fields.items("metrics", MAX_METRICS):
        _read_metric(context, item, path)
    achievements = list(fields.items("achievements"))
    for _, item, path in achievements:
        register_achievement(context, item, path)
    made = [a for _, item, path in achievements if (a := read_achievement(context, item, path)) is not None]
    check_composites(context, made)
    systems: list[PointsSystem] = []
    for _, item, path in fields.items("systems", MAX_SYSTEMS):
        system = read_system(context, item, path)
        if system is not None:
            if any(other.key == system.key for other in systems):
                context.error(f"{path}.key", f"{system.key!r} is used twice; keys are unique")
            systems.append(system)
    streak = read_streak(context, fields)
    messages = read_messages(context, fields, streak)
    ratio = fields.integer("controlRatio", 0, 100, default=0) or 0
    fields.done()
    catalog = Catalog(
        metrics=tuple(context.metrics.values()),
        event_attributes=tuple(sorted(context.event_attributes)),
        user_attributes=tuple(sorted(context.user_attributes)),
        systems=tuple(systems),
        achievements=tuple(made),
        streak=streak,
        control_ratio=ratio,
        messages=messages,
    )
    _warn_if_nothing_is_active(context, catalog)
    return catalog


def _warn_if_nothing_is_active(context: Context, catalog: Catalog) -> None:
    triggers = [trigger for system in catalog.systems for trigger in system.triggers]
    statuses = [thing.status for thing in triggers] + [thing.status for thing in catalog.achievements]
    if statuses and "active" not in statuses:
        context.warn("", "no trigger and no achievement is active, so nothing will happen; set status: active (P7, A1)")


def _declared(context: Context, fields: Fields, name: str) -> set[str]:
    keys: set[str] = set()
    for _, item, path in fields.items(name):
        key = item
        if isinstance(item, dict):
            attribute = Fields(context, item, path)
            key = attribute.key("key", required=True)
            attribute.text("name")
            attribute.text("id")
            attribute.done()
        if not is_key(key):
            context.error(path, f"{key!r} is not an attribute key; use letters, digits, - and _")
        elif key in keys:
            context.error(path, f"{key!r} is declared twice")
        else:
            keys.add(key)
    if len(keys) > MAX_ATTRIBUTES:
        fields.error(name, f"declares {len(keys)} attributes, the limit is {MAX_ATTRIBUTES}")
    return keys


def _read_metric(context: Context, item: Any, path: str) -> None:
    if isinstance(item, str):
        item = {"key": item}
    fields = context.fields(item, path)
    if fields is None:
        return
    key = fields.key("key", required=True) or "?"
    identity = fields.text("id") or derived_id("metric", context.tenant, key)
    unit_type = fields.choice("unitType", ("number", "currency"), "number")
    units = fields.raw("units") or ""
    if not isinstance(units, str):
        fields.error("units", f"must be a text, not {units!r}")
    elif unit_type == "currency" and units not in CURRENCIES:
        fields.error("units", f"{units!r} is not a supported currency; use one of {', '.join(CURRENCIES)} (M3)")
    metric = Metric(
        id=identity,
        key=key,
        name=fields.text("name") or key,
        unit_type=unit_type,
        units=str(units),
        status=fields.choice("status", ("active", "archived"), "active"),
    )
    fields.done()
    if key in context.metrics:
        context.error(f"{path}.key", f"{key!r} is used twice; keys are unique (M1)")
    context.metrics[key] = metric
    context.metric_ids[identity] = key
