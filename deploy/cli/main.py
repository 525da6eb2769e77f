"""The command `plaudit`: one file per subcommand, imported only when it is called."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from deploy.cli.support.errors import DONE, FAILED, INTERRUPTED, WRONG_USE, CommandError

DEBUG_VARIABLE: Final = "PLAUDIT_DEBUG"

COMMANDS: Final = {
    "run": ("run", "Everything in one go over the sample: results in a minute."),
    "up": ("up", "The same, then stay up until Ctrl-C."),
    "status": ("status", "Show how an installation is: lag, partitions, tables, alarms."),
    "publish": ("publish", "Publish records (JSON lines) to the input log."),
    "freeze": ("freeze", "Grant a streak freeze."),
    "streak": ("streak", "Pause, unpause, restore, reset a user's streak."),
    "preferences": ("preferences", "Change a user's preferences."),
    "retention": ("retention", "Show and set how long topics and tables keep what they hold."),
    "erase": ("erase", "Erase all that is known of a user."),
    "import-git": ("import_git", "Turn a git history into metric events."),
    "tail": ("tail", "Show derived events as they come."),
    "rejected": ("rejected", "List refused records, show them, write them again, put them away."),
    "user": ("user", "Show one user: balances, level, streak, achievements, awards."),
    "why": ("why", "Show how an award or any other effect came about, step by step."),
    "sql": ("sql", "Query the projected tables."),
    "catalog": ("catalog", "Check, publish and show catalogs."),
    "simulate": ("simulate", "Fold a file of records with a catalog, without any server."),
    "replay": ("replay", "Fold a log again: write what it derives, or compare it with what was recorded."),
    "verify": ("verify", "Check topics, state and tables against the log: lost, doubled, reordered, wrong."),
    "preview": ("preview", "Show what a catalog would have done to the real users, or would do to one."),
    "dump": ("dump", "Write the input log as a file that simulate reads."),
    "tick": ("tick", "Write one tick: what is due by now happens."),
    "worker": ("worker", "Run a worker: input log to derived events."),
    "sink": ("sink", "Run a sink: derived events to ClickHouse."),
    "topics": ("topics", "Create and describe the topics."),
    "migrate": ("migrate", "Bring ClickHouse to the present schema."),
    "security": ("security", "Write the rights of users on Kafka and in ClickHouse."),
    "schemas": ("schemas", "Export the JSON Schemas of all public forms."),
}
"""Name of each subcommand, its module in this package, and its short help. `plaudit --help` imports none of them."""


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"deploy.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


class _Version(click.Option):
    """Looked up when asked for: the lookup takes as long as the rest of `--help`."""

    def __init__(self, names: Sequence[str], **options: Any) -> None:
        super().__init__(
            names, **{"is_flag": True, "expose_value": False, "is_eager": True, "callback": self._show, **options}
        )

    @staticmethod
    def _show(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            from importlib.metadata import PackageNotFoundError, version

            try:
                click.echo(f"plaudit {version('plaudit')}")
            except PackageNotFoundError:
                click.echo("plaudit, not installed: run from its sources")
            ctx.exit()


@click.command(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="""\b
Examples:
  plaudit run                                        the sample, from nothing to tables
  plaudit sql "SELECT * FROM points_balances"        any query
  echo '{"metric":"commits","user":"18","value":1}' | plaudit publish -
  plaudit simulate --catalog new.yaml --records history.jsonl

\b
Settings are environment variables:
  KAFKA_BOOTSTRAP            host:port,...; unset: the embedded server
  CLICKHOUSE_URL             https://host:port or http://host:port; unset: the embedded server
  PLAUDIT_HOME               directory of the installation on this machine (.plaudit)
  PLAUDIT_PREFIX             in front of all topic names (plaudit)
  PLAUDIT_PARTITIONS         of the input log; cannot change once topics exist
  PLAUDIT_REPLICATION        replicas of new topics (1)
  PLAUDIT_ENVIRONMENT        part of derived ids (production)
  PLAUDIT_CONTROL_TOKEN      what control records must carry; unset: not checked
  PLAUDIT_CONTROL_TOKEN_FILE the file that it is in
  PLAUDIT_DATABASE           in ClickHouse (plaudit)
  PLAUDIT_INSTANCE           name of a worker; unset: a free one of this home
  PLAUDIT_TICK_SECONDS       time between ticks of the clock (30)
  PLAUDIT_SESSION_SECONDS    silence after which a worker loses its partitions (8)
  PLAUDIT_ALLOW_RETENTION    1: the input log may have a retention
  PLAUDIT_TOPIC_RETENTION    how long topics keep records: "derived=30d rejected=90d"; unset: for ever
  PLAUDIT_TABLE_RETENTION    how long tables keep rows: "metric_events=400d"; unset: for ever
  PLAUDIT_METRICS_PORT       where worker or sink serve /metrics, /healthz and /readyz (0: nowhere)
  PLAUDIT_METRICS_HOST       address that they bind to there (127.0.0.1)
  PLAUDIT_GRACE_SECONDS      how long worker and sink may take to end in order (25)
  PLAUDIT_LOG_LEVEL          of worker and sink: debug, info, warning, error, critical (info)
  PLAUDIT_DEBUG              1: show tracebacks
Security of the servers (docs/security.md):
  KAFKA_SECURITY_PROTOCOL    PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL (PLAINTEXT)
  KAFKA_SASL_MECHANISM       PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (SCRAM-SHA-512)
  KAFKA_USERNAME, KAFKA_PASSWORD or KAFKA_PASSWORD_FILE
  KAFKA_CA_FILE              PEM file of the authority that signed the brokers' certificates; unset: the system's
  KAFKA_CERTIFICATE_FILE, KAFKA_KEY_FILE         the client's own certificate, if the brokers ask for one
  CLICKHOUSE_USER, CLICKHOUSE_PASSWORD or CLICKHOUSE_PASSWORD_FILE
  CLICKHOUSE_CA_FILE         PEM file of the authority that signed the server's certificate; unset: the system's
Of the embedded servers:
  PLAUDIT_KAFKA_PORT, PLAUDIT_CLICKHOUSE_PORT    fixed ports; unset: those of the last run, or free ones
  PLAUDIT_CLICKHOUSE_USERS_FILE                  further users (plaudit security users-file)
  PLAUDIT_CACHE              directory of fetched files (~/.cache/plaudit)
  PLAUDIT_MAVEN_MIRROR       where Kafka is fetched from

\b
Exit codes: 0 done, 1 failed, 2 wrong use, 3 done but some records were refused, 4 not found, 130 interrupted.
""",
)
@click.option("--version", cls=_Version, help="Show the version and exit.")
def cli() -> None:
    """Plaudit: metric events on Kafka become points, streaks, achievements and levels, in Kafka and in ClickHouse."""


def main() -> NoReturn:
    """Run the command line of this process, and end it with an exit code of X19."""
    if os.environ.get("PLAUDIT_LIFELINE"):
        from deploy.cli.support.children import follow_parent

        follow_parent()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Carry out a command line and return the exit code; errors are told on standard error."""
    try:
        result = cli.main(args=arguments, prog_name="plaudit", standalone_mode=False)
        return result if isinstance(result, int) else DONE
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # from click 8.2 on; its message is the help
            print(error.format_message(), file=sys.stderr)
            return WRONG_USE
        _tell(error.format_message())
        if error.ctx is not None:
            print(f"Try '{error.ctx.command_path} --help'.", file=sys.stderr)
        return WRONG_USE
    except (click.Abort, KeyboardInterrupt):
        _tell("interrupted")
        return INTERRUPTED
    except click.ClickException as error:
        _tell(error.format_message())
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has seen enough
        _discard_output()
        return DONE
    except CommandError as error:
        _tell(error.message)
        return error.exit_code
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _tell(_explain(error))
        return FAILED


def _tell(message: str) -> None:
    from deploy.redaction import Redactor

    print(f"plaudit: {Redactor()(message)}", file=sys.stderr)


def _explain(error: Exception) -> str:
    """One line for errors whose message is meant for people; else the type too, and how to learn more."""
    known = {
        "deploy.embedded.errors",
        "deploy.environment",
        "deploy.git_history",
        "projections.errors",
        "processors.engine.errors",
    }
    if type(error).__module__ in known or any(base.__module__ in known for base in type(error).__mro__):
        return str(error)
    module = type(error).__module__.partition(".")[0]
    if module == "aiokafka":
        return _of_kafka(error)
    if module == "clickhouse_connect":
        from projections.refusals import with_advice

        return with_advice(f"ClickHouse: {' '.join(str(error).split())}")
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"unexpected {type(error).__name__}: {error} ({DEBUG_VARIABLE}=1 shows where)"


def _of_kafka(error: Exception) -> str:
    import asyncio

    from deploy.settings import read_settings
    from processors.engine.access import unreachable

    brokers = read_settings().kafka
    if brokers:
        return asyncio.run(unreachable(brokers, error))
    return f"Kafka: {error or type(error).__name__}. Does the broker answer? See KAFKA_BOOTSTRAP."


def _discard_output() -> None:
    """Let the flush at the end of the process go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    main()
