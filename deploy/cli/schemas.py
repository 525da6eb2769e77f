"""`plaudit schemas`: JSON Schemas of all public forms."""

import click

from deploy.cli.support.errors import DONE


@click.group("schemas")
def command() -> None:
    """JSON Schemas of all public forms."""


@command.command(
    "export",
    epilog="""\b
Examples:
  plaudit schemas export
  plaudit schemas export /tmp/schemas
""",
)
@click.argument("directory", metavar="[DIR]", default="docs/schemas")
def export(directory: str) -> int:
    """Write them under DIR (default docs/schemas): input records, derived events, outcomes, refused records, catalogs."""
    from pathlib import Path

    from deploy.json_schemas import export as export_all

    written = export_all(Path(directory))
    print(f"{len(written)} schemas written to {directory}")
    return DONE
