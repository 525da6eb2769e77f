"""What can go wrong in the projections, and who can do what about it."""


class ProjectionError(Exception):
    """Base of all errors of this package. The message names what is wrong and the fix."""


class MigrationError(ProjectionError):
    """The database cannot be brought to the declared schema. The operator decides; nothing was half done that a second
    `up` would not finish."""


class ChangedMigrationError(MigrationError):
    """A migration that was applied has another text now. Restore the file, and put the change into a new migration."""


class TopicChangedError(ProjectionError):
    """A topic does not hold what was projected from it: it was made anew, or cut. The operator rebuilds the database
    (`projections.rebuild`) or raises the epoch."""


class KafkaAwayError(ProjectionError):
    """Kafka does not answer, and the sink was only to catch up. The operator starts Kafka, or mends its address."""


class UndecodableError(ProjectionError):
    """A derived record that is not what schemas.derived says. It becomes a row of `rejected`; its producer errs."""


class FencedError(ProjectionError):
    """This sink no longer owns the partitions of its batch. It drops the batch, which the new owner repeats, and goes
    on with what it is given next."""


class VerificationError(ProjectionError):
    """A verification cannot be carried out: a server fails, or the log is not whole. The message says what to mend."""
