"""The kinds of faults."""

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from tests.chaos import on_network, on_processes, on_servers
from tests.chaos.site import Site

Strike = Callable[[Site, random.Random], Awaitable[str]]


class Kind(msgspec.Struct, frozen=True):
    """A kind of fault.

    Attributes:
        strike: carries it out.
        target: what it strikes; of two faults at once the targets differ.
        weight: how often it comes.
        needs_disk: whether it needs a disk of its own for ClickHouse.
    """

    strike: Strike
    target: str
    weight: int = 2
    needs_disk: bool = False


KINDS: Final[Mapping[str, Kind]] = {
    "kill-worker": Kind(on_processes.kill_worker, "worker", 4),
    "zombie-worker": Kind(on_processes.zombie_worker, "worker", 4),
    "zombie-in-hand": Kind(on_processes.zombie_in_hand, "worker", 1),
    "stop-worker": Kind(on_processes.stop_worker, "worker"),
    "scale-workers": Kind(on_processes.scale_workers, "worker"),
    "clock-jump": Kind(on_processes.jump_clock, "clock", 1),
    "kill-sink": Kind(on_processes.kill_sink, "sink", 3),
    "zombie-sink": Kind(on_processes.zombie_sink, "sink"),
    "stop-sink": Kind(on_processes.stop_sink, "sink", 1),
    "kill-producer": Kind(on_processes.kill_producer, "producer"),
    "kill-broker": Kind(on_servers.kill_broker, "broker", 3),
    "kill-two-brokers": Kind(on_servers.kill_two_brokers, "broker", 1),
    "restart-broker": Kind(on_servers.restart_broker, "broker"),
    "freeze-broker": Kind(on_servers.freeze_broker, "broker"),
    "lose-broker": Kind(on_servers.lose_broker, "broker"),
    "slow-disk": Kind(on_servers.slow_disk, "broker"),
    "move-leaders": Kind(on_servers.move_leaders, "leaders", 3),
    "slow-network": Kind(on_network.slow_network, "network"),
    "slow-replication": Kind(on_network.slow_replication, "worker", 1),
    "cut-network": Kind(on_network.cut_network, "network"),
    "silent-network": Kind(on_network.silent_network, "network"),
    "kill-clickhouse": Kind(on_servers.kill_clickhouse, "clickhouse", 2),
    "freeze-clickhouse": Kind(on_servers.freeze_clickhouse, "clickhouse", 1),
    "cut-clickhouse": Kind(on_servers.cut_clickhouse, "clickhouse", 1),
    "full-disk": Kind(on_servers.full_disk, "clickhouse", 1, needs_disk=True),
}
"""By the names under which they are asked for and counted."""
