"""Catalog versions: what is published, and how the next one is (X7, C38, S3)."""

from typing import Any, Final

import msgspec

from deploy.cli.support.errors import CommandError
from deploy.cli.support.kafka import consumer, read_to_end
from processors.engine.catalogs import publish_catalog
from processors.engine.names import Names
from schemas.brokers import Brokers
from schemas.catalog import WEEKDAYS, Catalog, CatalogRecord
from schemas.catalog_file import CatalogError, decode_config, encode_config, load_catalog
from schemas.instants import format_instant
from schemas.topics import MAX_TOPIC_RECORD_BYTES

MAX_VERSION_LENGTH: Final = 80
RECORD_OVERHEAD_BYTES: Final = 4096

_decoder: Final = msgspec.json.Decoder(CatalogRecord)
_type: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def published(brokers: Brokers, names: Names, tenant: str | None = None) -> list[CatalogRecord]:
    """Return published versions in the order in which they came into force; of all tenants if None."""
    found: dict[tuple[str, str], CatalogRecord] = {}
    async with consumer(brokers) as one:
        async for run in read_to_end(one, names.catalog):
            for record in run:
                if record.value is None:
                    continue
                try:
                    version = _decoder.decode(record.value)
                except msgspec.MsgspecError:
                    continue
                if tenant is None or version.tenant == tenant:
                    found.setdefault((version.tenant, version.version), version)
    return sorted(found.values(), key=lambda version: (version.at_ms, version.version))


def decoded(version: CatalogRecord) -> Catalog:
    """Return the normalised catalog of a published version; CommandError if this program cannot use it."""
    try:
        return load_catalog(decode_config(bytes(version.config)), tenant=version.tenant)[0]
    except (CatalogError, ValueError) as error:
        raise CommandError(f"version {version.version!r} does not pass the checks of this program: {error}") from error


def next_version(versions: list[CatalogRecord]) -> str:
    """Return the number after the greatest one used."""
    numbers = [
        int(version.version) for version in versions if version.version.isdecimal() and version.version.isascii()
    ]
    return str(max(numbers, default=0) + 1)


async def publish(
    brokers: Brokers,
    names: Names,
    config: Any,
    catalog: Catalog,
    *,
    tenant: str,
    version: str | None,
    at_ms: int,
    token: str,
) -> str:
    """Publish a checked catalog and put it in force in every partition; return its version.

    Raises:
        CommandError: the version exists, `at` lies before the one in force, or the week start changes (S3).
    """
    versions = await published(brokers, names, tenant)
    chosen = version or next_version(versions)
    if len(chosen) > MAX_VERSION_LENGTH:
        raise CommandError(f"the version has {len(chosen)} characters; use at most {MAX_VERSION_LENGTH}")
    if any(known.version == chosen for known in versions):
        raise CommandError(
            f"version {chosen!r} is published already, and published versions stay as they are; "
            f"leave --version out for {next_version(versions)!r}"
        )
    if versions:
        latest = versions[-1]
        if at_ms < latest.at_ms:
            raise CommandError(
                f"at {format_instant(at_ms)} lies before {format_instant(latest.at_ms)}, since when version "
                f"{latest.version!r} is in force; give a later instant"
            )
        await _check_week_start(brokers, names, decoded(latest), catalog, latest.version)
    record = CatalogRecord(tenant=tenant, version=chosen, at_ms=at_ms, config=msgspec.Raw(encode_config(config)))
    value = msgspec.json.encode(record)
    if len(value) > MAX_TOPIC_RECORD_BYTES - RECORD_OVERHEAD_BYTES:
        raise CommandError(f"the catalog has {len(value)} bytes; a record takes {MAX_TOPIC_RECORD_BYTES}")
    control = {
        "type": "catalog",
        **({"tenant": tenant} if tenant else {}),
        "version": chosen,
        "at": format_instant(at_ms),
    }
    await publish_catalog(
        brokers,
        names,
        key=f"{tenant}\0{chosen}".encode(),
        value=value,
        control=msgspec.json.encode(control),
        at_ms=at_ms,
        token=token,
    )
    return chosen


async def _check_week_start(brokers: Brokers, names: Names, before: Catalog, after: Catalog, version: str) -> None:
    old = before.streak.week_start if before.streak is not None else 0
    new = after.streak.week_start if after.streak is not None else 0
    if old != new and await _has_events(brokers, names):
        raise CommandError(
            f"streak.weekStart is {WEEKDAYS[new]!r}, in version {version!r} it is {WEEKDAYS[old]!r}; it cannot change "
            f"once there are events, because closed weeks would overlap (S3). Write weekStart: {WEEKDAYS[old]}"
        )


async def _has_events(brokers: Brokers, names: Names) -> bool:
    async with consumer(brokers) as one:
        async for run in read_to_end(one, names.input):
            if any(not _is_control(record.value) for record in run):
                return True
    return False


def _is_control(value: bytes | None) -> bool:
    try:
        return value is not None and bytes(_type.decode(value).get("type", msgspec.Raw(b""))) in (
            b'"tick"',
            b'"catalog"',
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
