"""The answer for people."""

from deploy.cli.support.console import counted, table
from deploy.status.document import GroupShown, LagShown, ProcessShown, Status
from schemas import metrics

_UNITS = ("B", "kB", "MB", "GB", "TB")


def print_status(status: Status) -> None:
    """Print it on standard output: first what is the matter, then how things stand."""
    _print_alarms(status)
    print(f"\nKafka       {status.kafka}", end="")
    if status.brokers is not None:
        shown = ", ".join(f"{one.id} {one.address}{' controller' if one.controller else ''}" for one in status.brokers)
        print(f"  {counted(len(status.brokers), 'broker')}: {shown}", end="")
    print(f"\nClickHouse  {status.clickhouse}")
    if status.last_tick is not None and status.tick_age_seconds is not None:
        print(f"last tick   {status.last_tick}, {lasting(status.tick_age_seconds)} ago")
    elif status.brokers is not None:
        print("last tick   none yet")
    for one in status.catalogs or ():
        tenant = f" of tenant {one.tenant}" if one.tenant else ""
        print(f"catalog     version {one.version}{tenant}, in force in {counted(one.partitions, 'partition')}")
    for title, group in (("workers", status.worker), ("sinks", status.sink)):
        if group is not None:
            _print_group(title, group)
    _print_lag([*([status.input_lag] if status.input_lag else []), *(status.sink_lag or [])])
    _print_topics(status)
    _print_tables(status)
    _print_processes(status.processes)


def lasting(seconds: float) -> str:
    """Return a duration: `3.2 s`, `2 min 5 s`, `1 h 4 min`, `9 d 3 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def sized(count: float) -> str:
    """Return a number of bytes: `512 B`, `3.4 MB`."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{count:.0f} B"


def _print_alarms(status: Status) -> None:
    if status.healthy:
        print("healthy: no alarm holds")
    for one in status.alarms:
        print(f"{one.severity.upper()}: {one.says}\n  {one.do} ({one.name})")


def _print_group(title: str, group: GroupShown) -> None:
    print(f"\n{title}: {counted(len(group.members), 'member')} of {group.name}, {group.state}")
    if group.members:
        rows = [
            [one.instance, one.host, ", ".join(map(str, one.input)) or f"{one.partitions} of derived topics"]
            if one.partitions
            else [one.instance, one.host, "none: standing by"]
            for one in group.members
        ]
        table(["instance", "host", "partitions"], rows)


def _print_lag(lags: list[LagShown]) -> None:
    if lags:
        print("\nnot done yet")
        rows = [
            [one.topic, f"{one.records:,}", "history" if one.seconds is None else lasting(one.seconds)] for one in lags
        ]
        table(["topic", "records", "oldest"], rows, [False, True, True])


def _print_topics(status: Status) -> None:
    if status.topics:
        print("\ntopics")
        rows = [
            [one.name, str(one.partitions), f"{one.offsets:,}", "" if one.bytes is None else sized(one.bytes)]
            for one in status.topics
        ]
        table(["topic", "partitions", "offsets", "on disk"], rows, [False, True, True, True])


def _print_tables(status: Status) -> None:
    if status.tables is not None:
        print("\ntables")
        rows = [[one.name, f"{one.rows:,}", sized(one.bytes), one.changed or ""] for one in status.tables]
        table(["table", "rows", "on disk", "changed"], rows, [False, True, True, False])
    if status.rejected:
        print("\nrefused records")
        rows = [[one.reason, f"{one.records:,}", one.latest] for one in status.rejected]
        table(["reason", "records", "latest"], rows, [False, True, False])


def _print_processes(processes: list[ProcessShown]) -> None:
    if processes:
        print("\nprocesses that answer")
        rows = [[one.process, one.instance, one.url, _word(one), _sizes(one)] for one in processes]
        table(["process", "instance", "address", "is", "holds"], rows)


def _word(process: ProcessShown) -> str:
    return "ready" if process.live and process.ready else "alive, not ready" if process.live else "not alive"


def _sizes(process: ProcessShown) -> str:
    if metrics.STATE_USERS.name not in process.metrics:
        return ""
    users, size = process.metrics[metrics.STATE_USERS.name], process.metrics[metrics.STATE_BYTES.name]
    return f"{counted(int(users), 'user')}, {sized(size)} of state"
