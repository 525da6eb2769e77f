"""Two requests that aiokafka does not have: who is in a group by instance name, and how large topics are on disk."""

from typing import Any, ClassVar, Final

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Int64, Schema, String

_TEXT: Final = String("utf-8")


class DescribeGroupsResponseV4(Response):  # type: ignore[misc]  # aiokafka is not typed here
    """DescribeGroups answer, version 4: with instance ids."""

    API_KEY = 15
    API_VERSION = 4
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", _TEXT),
                ("state", _TEXT),
                ("protocol_type", _TEXT),
                ("protocol", _TEXT),
                (
                    "members",
                    Array(
                        ("member_id", _TEXT),
                        ("group_instance_id", _TEXT),
                        ("client_id", _TEXT),
                        ("client_host", _TEXT),
                        ("member_metadata", Bytes),
                        ("member_assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    )


class DescribeGroupsRequestV4(RequestStruct):  # type: ignore[misc]
    """DescribeGroups, version 4."""

    API_KEY = 15
    API_VERSION = 4
    RESPONSE_TYPE = DescribeGroupsResponseV4
    SCHEMA = Schema(("groups", Array(_TEXT)), ("include_authorized_operations", Boolean))


class DescribeLogDirsResponseV1(Response):  # type: ignore[misc]
    """DescribeLogDirs answer, version 1."""

    API_KEY = 35
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            Array(
                ("error_code", Int16),
                ("log_dir", _TEXT),
                (
                    "topics",
                    Array(
                        ("name", _TEXT),
                        (
                            "partitions",
                            Array(("partition", Int32), ("size", Int64), ("offset_lag", Int64), ("is_future", Boolean)),
                        ),
                    ),
                ),
            ),
        ),
    )


class DescribeLogDirsRequestV1(RequestStruct):  # type: ignore[misc]
    """DescribeLogDirs, version 1; no topics means all."""

    API_KEY = 35
    API_VERSION = 1
    RESPONSE_TYPE = DescribeLogDirsResponseV1
    SCHEMA = Schema(("topics", Array(("topic", _TEXT), ("partitions", Array(Int32)))))


class Fixed(Request[RequestStruct]):  # type: ignore[misc]
    """A request of one version, which every broker from 2.4 on speaks."""

    API_KEY: ClassVar[int] = 0

    def __init__(self, struct: RequestStruct) -> None:
        self._struct = struct

    def build(self, request_struct_class: Any) -> RequestStruct:
        """Return it; called by aiokafka."""
        return self._struct

    def prepare(self, versions: Any) -> RequestStruct:
        """Return it; called by aiokafka."""
        return self._struct
