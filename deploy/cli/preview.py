"""`plaudit preview`: what a catalog would do, over real history or over a scenario (P81-P84, X22-X24)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from deploy.cli.support.errors import DONE, WRONG_USE
from deploy.cli.support.options import Instant, tenant_option

if TYPE_CHECKING:
    from deploy.cli.support.sources import LogSource
    from deploy.preview.report import HistoryReport
    from deploy.preview.scenario import ScenarioReport


@click.command(
    "preview",
    epilog="""\b
Examples:
  plaudit preview --catalog new.yaml --against old.yaml --records history.jsonl --html preview.html
  plaudit preview --catalog new.yaml --from-topic --since 2026-01-01T00:00:00Z
  plaudit dump | plaudit preview --catalog new.yaml --records - --json
  plaudit preview --catalog deploy/samples/catalog-doubled.yaml --sample
  plaudit preview --scenario deploy/samples/scenario.yaml

\b
Without --since the new catalog is in force from the first record on. With it the old one is until then; the new one takes over
as if it had been published at that instant, and awards from then on are compared.
""",
)
@click.option(
    "--catalog", "new", metavar="FILE", help="The new catalog (YAML or JSON). With --scenario: in place of its own."
)
@click.option("--against", "old", metavar="FILE", help="The old catalog. Default: those that the log brings itself.")
@click.option("--records", metavar="FILE|-", help="History: records, one JSON object per line.")
@click.option(
    "--from-topic", is_flag=True, help="History: the input log of the installation. Nothing is written to it."
)
@click.option("--sample", is_flag=True, help="History: that of `plaudit run`; the old catalog is the sample's.")
@click.option("--since", "since_ms", type=Instant(), help="Compare from this instant on.")
@click.option("--scenario", metavar="FILE", help="A scenario of one user instead of history (YAML or JSON).")
@click.option("--html", metavar="FILE", help="Also write a page with charts: one file, no network needed.")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON instead of tables.")
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N", help="Processes. Default: one per processor.")
@tenant_option
def command(
    new: str | None,
    old: str | None,
    records: str | None,
    from_topic: bool,
    sample: bool,
    since_ms: int | None,
    scenario: str | None,
    html: str | None,
    as_json: bool,
    jobs: int | None,
    tenant: str,
) -> int:
    """Show what a catalog would have done to the real users, or would do to one user of a scenario.

    Folds the same history under two catalogs with the code of production and compares: points and awards per trigger, over
    time and by users, levels, achievements, who gains and who loses. Nothing is written to any topic or table.
    """
    from deploy.cli.support.errors import WrongUseError
    from deploy.cli.support.files import writing
    from deploy.logging import quiet_logging

    quiet_logging()
    if scenario is not None:
        given: dict[str, object] = {"--against": old, "--records": records, "--from-topic": from_topic or None}
        given |= {"--sample": sample or None, "--since": since_ms}
        for name, value in given.items():
            if value is not None:
                raise WrongUseError(f"{name} is about history; leave it out with --scenario")
        report: ScenarioReport | HistoryReport = _scenario(scenario, new)
    else:
        if new is None:
            raise WrongUseError("give the new catalog with --catalog FILE, or a scenario with --scenario FILE")
        report = _history(new, old, _Log(records, from_topic, sample), since_ms, jobs, tenant)
    if html is not None:
        from deploy.preview.page import render

        page = render(report)
        with writing(html) as file:
            file.write(page)
    if html != "-":
        _show(report, as_json)
    return DONE


def _show(report: "HistoryReport | ScenarioReport", as_json: bool) -> None:
    import msgspec

    from deploy.preview.report import HistoryReport
    from deploy.preview.terminal import print_history, print_scenario

    if as_json:
        print(msgspec.json.encode(report).decode())
    elif isinstance(report, HistoryReport):
        print_history(report)
    else:
        print_scenario(report)


class _Log(NamedTuple):
    """Where the history comes from."""

    records: str | None
    from_topic: bool
    sample: bool

    @contextmanager
    def open(self) -> "Iterator[LogSource]":
        """Open the log.

        Raises:
            WrongUseError: none or more than one source is given, or it cannot be used.
        """
        from deploy.cli.support.errors import WrongUseError
        from deploy.cli.support.sources import log_source

        if (self.records is not None) + self.from_topic + self.sample != 1:
            raise WrongUseError("give either --records FILE (- for standard input), --from-topic or --sample")
        with _sample() if self.sample else log_source(self.records, from_topic=self.from_topic) as source:
            yield source


@contextmanager
def _sample() -> "Iterator[LogSource]":
    import tempfile

    from deploy.cli.support.history import history
    from deploy.cli.support.sources import FileSource
    from deploy.settings import read_settings
    from schemas.topics import EVENTS, full_name

    with tempfile.TemporaryFile() as lines:
        lines.writelines(record.value + b"\n" for record in history(None))
        yield FileSource("the sample", lines, full_name(EVENTS, read_settings().prefix))


def _history(
    new: str, old: str | None, log: _Log, since_ms: int | None, jobs: int | None, tenant: str
) -> "HistoryReport":
    import os

    from deploy.cli.support.console import bar
    from deploy.cli.support.files import catalog_file
    from deploy.cli.support.history import SAMPLE_CATALOG
    from deploy.preview.compare import about_history, compare
    from deploy.preview.history import Request, default_jobs, run_history
    from deploy.settings import read_settings
    from schemas.catalog_file import encode_config

    paths = (str(SAMPLE_CATALOG) if log.sample and old is None else old, new)
    old_config, new_config = (
        None if path is None else encode_config(catalog_file(path, tenant=tenant, exit_code=WRONG_USE)[0])
        for path in paths
    )
    assert new_config is not None
    with log.open() as source:
        request = Request(
            old=old_config,
            new=new_config,
            tenant=tenant,
            environment=read_settings().environment,
            since_ms=since_ms,
        )
        count = jobs or default_jobs(os.cpu_count() or 1, source.total)
        with bar("preview", source.total) as progress:
            outcome = run_history(source, request, count, progress.advance)
        names = (
            new,
            old or ("the sample's catalog" if log.sample else "the catalogs of the log"),
            log.records or ("the git history of plaudit run" if log.sample else source.topic),
        )
    options = {"catalog": new, "against": old, "records": log.records, "tenant": tenant or None}
    command = _command(options, {"from-topic": log.from_topic, "sample": log.sample}, since_ms)
    return compare(outcome, about_history(outcome, *names, command=command, tenant=tenant, since_ms=since_ms))


def _scenario(path: str, catalog_path: str | None) -> "ScenarioReport":
    from deploy.catalog_yaml import CatalogFileError, read_config
    from deploy.cli.support.console import bar
    from deploy.cli.support.errors import WrongUseError
    from deploy.cli.support.files import catalog_file
    from deploy.preview.scenario import run_scenario
    from deploy.preview.scenario_file import active_config, read_scenario
    from schemas.catalog_file import CatalogError, encode_config

    try:
        given: Any = read_config(Path(path))
    except CatalogFileError as error:
        raise WrongUseError(str(error)) from error
    named = given.get("catalog") if isinstance(given, dict) else None
    replaced = catalog_path is not None
    if catalog_path is None:
        if not isinstance(named, str) or not named:
            raise WrongUseError(f"{path}: catalog is missing; name the catalog file in it, or with --catalog FILE")
        catalog_path = str(Path(path).parent / named)
    config, catalog, _ = catalog_file(catalog_path, exit_code=WRONG_USE)
    try:
        scenario, systems = read_scenario(given, catalog)
    except CatalogError as error:
        lines = [f"{path} cannot be used:", *(f"  {issue}" for issue in error.issues)]
        raise WrongUseError("\n".join(lines)) from error
    with bar("preview", scenario.days) as progress:
        return run_scenario(
            scenario,
            encode_config(active_config(config, systems)),
            scenario_name=path,
            catalog_name=catalog_path,
            command=_command({"scenario": path, "catalog": catalog_path if replaced else None}),
            progress=progress.advance,
        )


def _command(
    options: dict[str, str | None], flags: Mapping[str, bool] = MappingProxyType({}), since_ms: int | None = None
) -> str:
    """Return the command line that gives the same figures again."""
    import shlex

    from schemas.instants import format_instant

    words = ["plaudit", "preview"]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", value]
    words += [f"--{name}" for name, given in flags.items() if given]
    words += ["--since", format_instant(since_ms)] if since_ms is not None else []
    return shlex.join(words)
