"""Errors of the engine. The class says who can do what about it."""


class EngineError(Exception):
    """Any error of the engine."""


class RetriableError(EngineError):
    """The brokers did not answer in time. The caller asks again after a pause; nothing was lost. (What aiokafka repeats
    by itself is not seen at all.)"""


class AbortableError(EngineError):
    """The transaction of a round cannot be completed. The round is rolled back: state, outputs and offsets are as
    before it, and the caller runs the same records again."""

    def __init__(self, step: str, cause: BaseException) -> None:
        super().__init__(f"the transaction failed at {step}: {cause!r}")
        self.step = step
        self.cause = cause


class FencedError(EngineError):
    """This worker may no longer write for its partitions, or does not know whether its last transaction was committed.
    The worker drops all state, joins the group anew and recovers from the changelog; nobody else need do anything."""

    def __init__(self, step: str, cause: BaseException | str) -> None:
        super().__init__(f"fenced at {step}: {cause if isinstance(cause, str) else repr(cause)}")
        self.step = step


class StartupError(EngineError):
    """Something outside does not fit: a setting, a topic, a library, a changelog that contradicts the offsets. The
    worker stops; the operator does what the message says."""


class UnreachableError(StartupError):
    """No broker answers. The caller may wait; the operator starts Kafka or mends its address."""


class RoundFailedError(EngineError):
    """The same round failed too often. The worker stops; the operator looks at the cause in the message."""


class StuckRecordError(EngineError):
    """A fold asks for slice after slice of one record without effect. A bug in the rules: the worker stops, so that
    nothing wrong is written; a developer gets partition and offset from the message."""
