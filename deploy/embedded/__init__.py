"""The embedded stack: Apache Kafka and ClickHouse as child processes, so that `make run` needs no service.

`EmbeddedStack` starts both and is what the command line uses; `KafkaServer` and `ClickHouseServer` stand alone for
tests that kill and restart one of them. A second process finds a stack that is running with `running_stack`.
"""

from deploy.embedded.clickhouse import ClickHouseServer
from deploy.embedded.errors import StackError
from deploy.embedded.kafka import KafkaServer
from deploy.embedded.paths import cache_dir, home_dir
from deploy.embedded.progress import LineProgress, Part, Progress, SilentProgress
from deploy.embedded.stack import EmbeddedStack, Endpoints, running_stack

__all__ = [
    "ClickHouseServer",
    "EmbeddedStack",
    "Endpoints",
    "KafkaServer",
    "LineProgress",
    "Part",
    "Progress",
    "SilentProgress",
    "StackError",
    "cache_dir",
    "home_dir",
    "running_stack",
]
