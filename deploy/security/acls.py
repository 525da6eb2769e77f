"""Rights on Kafka: for every kind of user exactly the topics, groups and transactions that its work needs."""

import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from processors.engine.names import Names
from processors.engine.topics import all_specs
from projections.sink.settings import group_name
from projections.tables import PROJECTED_TOPICS
from schemas.topics import DERIVED, HANDLED, OUTCOMES, REJECTED

Resource = Literal["topic", "group", "transactional-id"]
Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs", "AlterConfigs"]
Role = Literal["producer", "worker", "sink", "publisher", "subscriber", "verifier", "operator"]

PURPOSES: Final[Mapping[Role, str]] = {
    "producer": "writes metric events to the input log: plaudit publish, or any client of yours",
    "worker": "plaudit worker: input log to derived events, with their state and the clock",
    "sink": "plaudit sink: derived events to ClickHouse",
    "publisher": "plaudit catalog: publishes catalog versions",
    "subscriber": "reads derived events; its groups begin with its user name",
    "verifier": "plaudit verify, replay --from-topic, why, dump: reads everything, writes nothing",
    "operator": "plaudit topics, tick, freeze, streak, erase, rejected, status: creates topics, writes requests and ticks",
}


class Acl(msgspec.Struct, frozen=True, order=True):
    """One right: an operation on a resource of that name, or of all names that begin with it if `prefixed`."""

    resource: Resource
    name: str
    operation: Operation
    prefixed: bool = False


def default_user(role: Role, names: Names) -> str:
    """Return the user name of a role unless another is given: `plaudit-worker`."""
    return f"{names.prefix}-{role}"


def acls_of(role: Role, names: Names, database: str, user: str) -> list[Acl]:
    """Return the rights of a role, those that Kafka implies (Describe by Read or Write) left out.

    Args:
        role: what the user does.
        names: of the installation.
        database: of the sink, which names its consumer group.
        user: name of the user; only a subscriber's groups depend on it.
    """
    return sorted(set(_OF_ROLE[role](names, database, user)))


def script(users: Mapping[Role, str], names: Names, database: str) -> str:
    """Return a shell script that gives the rights with Kafka's `kafka-acls`; it may be run again."""
    lines = [_HEAD.format(prefix=names.prefix)]
    for role, user in users.items():
        lines.append(f"\n# {role}: {PURPOSES[role]}")
        grouped: dict[tuple[Resource, bool, tuple[Operation, ...]], list[str]] = defaultdict(list)
        operations: dict[tuple[Resource, bool, str], list[Operation]] = defaultdict(list)
        for acl in acls_of(role, names, database, user):
            operations[acl.resource, acl.prefixed, acl.name].append(acl.operation)
        for (resource, prefixed, name), found in operations.items():
            grouped[resource, prefixed, tuple(found)].append(name)
        for (resource, prefixed, wanted), resources in grouped.items():
            arguments = [shlex.quote(f"User:{user}")]
            arguments += [f"--operation {operation}" for operation in wanted]
            arguments += [f"--{resource} {shlex.quote(name)}" for name in resources]
            arguments += ["--resource-pattern-type prefixed"] if prefixed else []
            lines.append("allow " + " ".join(arguments))
    return "\n".join(lines) + "\n"


_HEAD: Final = """#!/bin/sh
# Kafka rights for the topics {prefix}.*, one kind of user after the other. The brokers need an authorizer
# (authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer) and must not let everyone in
# (allow.everyone.if.no.acl.found=false, the default).
#   KAFKA_BOOTSTRAP  where the brokers are
#   COMMAND_CONFIG   client settings of a user who may change rights
#   KAFKA_ACLS       the tool, kafka-acls.sh if it is on the PATH
set -eu
allow() {{
  "${{KAFKA_ACLS:-kafka-acls.sh}}" --bootstrap-server "$KAFKA_BOOTSTRAP" --command-config "$COMMAND_CONFIG" --add \\
    --allow-principal "$@"
}}"""


def _producer(names: Names, database: str, user: str) -> list[Acl]:
    return [Acl("topic", names.input, "Write")]


def _worker(names: Names, database: str, user: str) -> list[Acl]:
    written = [names.output(name) for name in (*DERIVED, OUTCOMES, REJECTED)]
    return [
        *(Acl("topic", name, "Read") for name in (names.input, names.catalog, names.changelog)),
        *(Acl("topic", name, "Write") for name in (names.input, names.changelog, *written)),
        *(Acl("topic", name, "DescribeConfigs") for name in _all_topics(names)),
        Acl("group", names.group, "Read"),
        Acl("transactional-id", names.transactional_id(""), "Write", prefixed=True),
    ]


def _sink(names: Names, database: str, user: str) -> list[Acl]:
    return [
        *(Acl("topic", names.output(name), "Read") for name in PROJECTED_TOPICS),
        Acl("group", group_name(names.prefix, database), "Read"),
    ]


def _publisher(names: Names, database: str, user: str) -> list[Acl]:
    return [
        Acl("topic", names.catalog, "Read"),
        Acl("topic", names.catalog, "Write"),
        Acl("topic", names.input, "Read"),  # whether there are events yet: then the start of the week must stay
        Acl("topic", names.input, "Write"),
        Acl("transactional-id", names.publisher, "Write"),
    ]


def _subscriber(names: Names, database: str, user: str) -> list[Acl]:
    return [
        *(Acl("topic", names.output(name), "Read") for name in DERIVED),
        Acl("group", user, "Read", prefixed=True),
    ]


def _verifier(names: Names, database: str, user: str) -> list[Acl]:
    return [
        *(Acl("topic", name, "Read") for name in _all_topics(names)),
        *(Acl("topic", name, "DescribeConfigs") for name in _all_topics(names)),
        *_groups(names, database),
    ]


def _operator(names: Names, database: str, user: str) -> list[Acl]:
    operations: tuple[Operation, ...] = ("Create", "Read", "DescribeConfigs", "AlterConfigs")
    return [
        *(Acl("topic", name, operation) for name in _all_topics(names) for operation in operations),
        Acl("topic", names.input, "Write"),
        Acl("topic", names.output(HANDLED), "Write"),
        *_groups(names, database),
    ]


def _groups(names: Names, database: str) -> list[Acl]:
    """How far worker and sink are."""
    return [Acl("group", name, "Describe") for name in (names.group, group_name(names.prefix, database))]


def _all_topics(names: Names) -> list[str]:
    return [spec.name for spec in all_specs(names)]


_OF_ROLE: Final[Mapping[Role, Callable[[Names, str, str], list[Acl]]]] = {
    "producer": _producer,
    "worker": _worker,
    "sink": _sink,
    "publisher": _publisher,
    "subscriber": _subscriber,
    "verifier": _verifier,
    "operator": _operator,
}
