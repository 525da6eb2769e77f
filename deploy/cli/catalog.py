"""`plaudit catalog`: check a file, publish it, show what is published."""

import asyncio
import sys
import time

import click

from deploy.cli.support.errors import DONE, FAILED
from deploy.cli.support.options import Instant, tenant_option


@click.group("catalog")
def command() -> None:
    """Check, publish and show catalogs: metrics, points systems, achievements, streak settings."""


@command.command(
    "check",
    epilog="""\b
Example:
  plaudit catalog check catalog.yaml
""",
)
@click.argument("path", metavar="FILE")
def check(path: str) -> int:
    """Read FILE (YAML or JSON) and tell every mistake: its path in the file, what is wrong, what to write instead.

    Exit code 1 if there are mistakes; warnings do not count.
    """
    from pathlib import Path

    from deploy.catalog_yaml import CatalogFileError, UnreadableCatalogError, load_file
    from deploy.cli.support.errors import CommandError, WrongUseError
    from schemas.catalog_file import CatalogError

    try:
        _, catalog, issues = load_file(Path(path))
    except UnreadableCatalogError as error:
        raise WrongUseError(str(error)) from error
    except CatalogFileError as error:
        raise CommandError(str(error)) from error
    except CatalogError as error:
        for issue in error.issues:
            print(f"{path}: {issue}", file=sys.stderr)
        count = len(error.issues)
        print(f"{path}: {count} mistake{'s' if count > 1 else ''}", file=sys.stderr)
        return FAILED
    for issue in issues:
        print(f"{path}: {issue}", file=sys.stderr)
    triggers = sum(len(system.triggers) for system in catalog.systems)
    print(
        f"{path}: good. {len(catalog.metrics)} metrics, {len(catalog.systems)} points systems with {triggers} triggers, "
        f"{len(catalog.achievements)} achievements, streak {catalog.streak.frequency if catalog.streak else 'none'}"
    )
    return DONE


@command.command(
    "publish",
    epilog="""\b
Examples:
  plaudit catalog publish catalog.yaml
  plaudit catalog publish catalog.yaml --version 2025-spring
""",
)
@click.argument("path", metavar="FILE")
@click.option("--version", metavar="V", help="Name of the version; default: the next number.")
@click.option("--at", "at_ms", type=Instant(), help="Since when it is in force; default now. Not in the future.")
@tenant_option
def publish(path: str, version: str | None, at_ms: int | None, tenant: str) -> int:
    """Check FILE, publish it as a version, and put it in force: a record in every partition of the input log."""
    from deploy.cli.support.catalogs import publish as publish_version
    from deploy.cli.support.errors import WrongUseError
    from deploy.cli.support.files import catalog_file
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from processors.engine.names import Names
    from schemas.instants import format_instant

    config, catalog, warnings = catalog_file(path, tenant=tenant)
    for issue in warnings:
        print(f"{path}: {issue}", file=sys.stderr)
    now_ms = time.time_ns() // 1_000_000
    if at_ms is not None and at_ms > now_ms:
        raise WrongUseError(
            f"--at {format_instant(at_ms)} lies in the future; a version is in force from a past instant or now"
        )
    settings = read_settings()
    with servers(kafka=True) as found:
        chosen = asyncio.run(
            publish_version(
                found.kafka,
                Names(settings.prefix),
                config,
                catalog,
                tenant=tenant,
                version=version,
                at_ms=now_ms if at_ms is None else at_ms,
                token=settings.control_token,
            )
        )
    print(f"version {chosen} is in force since {format_instant(now_ms if at_ms is None else at_ms)}")
    return DONE


@command.command(
    "show",
    epilog="""\b
Examples:
  plaudit catalog show
  plaudit catalog show --version 3 > catalog-3.json
""",
)
@click.option("--version", metavar="V", help="Print the catalog of this version as JSON.")
@tenant_option
def show(version: str | None, tenant: str) -> int:
    """List the published versions, or print one. The last of the list is in force."""
    import msgspec

    from deploy.cli.support.catalogs import decoded, published
    from deploy.cli.support.console import table
    from deploy.cli.support.errors import MissingError
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from processors.engine.names import Names
    from schemas.instants import format_instant

    names = Names(read_settings().prefix)
    with servers(kafka=True) as found:
        versions = asyncio.run(published(found.kafka, names, tenant))
    if not versions:
        raise MissingError("no catalog is published; publish one with `plaudit catalog publish FILE`")
    if version is not None:
        for known in versions:
            if known.version == version:
                print(msgspec.json.format(bytes(known.config), indent=2).decode())
                return DONE
        raise MissingError(f"no version {version!r}; published: {', '.join(known.version for known in versions)}")
    rows = []
    for known in versions:
        catalog = decoded(known)
        counts = [len(catalog.metrics), len(catalog.systems), len(catalog.achievements)]
        in_force = "in force" if known is versions[-1] else ""
        rows.append([known.version, format_instant(known.at_ms), *map(str, counts), in_force])
    table(["version", "at", "metrics", "systems", "achievements", ""], rows, [False, False, True, True, True, False])
    return DONE
