"""From an id to the answer: where to look, in which order, and what to say when there is nothing (D-45)."""

from typing import Any, Final

import msgspec

from deploy.cli.support.clickhouse import ClickHouse
from deploy.cli.support.console import bar
from deploy.cli.support.errors import CommandError, MissingError, WrongUseError
from deploy.cli.support.folding import Folding
from deploy.cli.support.sources import LogSource
from deploy.why import finding
from deploy.why.document import Answer, answer_of
from deploy.why.ids import Asked, asked
from deploy.why.rebuilding import Owner, Rebuilding
from deploy.why.sentence import sentence_of
from processors.rules.effects import Effects, MakeEffects, traced
from processors.rules.trace import Trace
from schemas.brokers import Brokers

_SHOWN_USERS: Final = 20


class Installation(msgspec.Struct, frozen=True):
    """What else an installation has to look in: its broker, and its tables if they are within reach."""

    brokers: Brokers
    clickhouse: ClickHouse | None


class Question(msgspec.Struct, frozen=True):
    """The id, and whose it is where several users have it. `user` None = not given."""

    id: str
    tenant: str | None
    user: str | None


class Answering:
    """Answers one question about one log."""

    def __init__(
        self,
        source: LogSource,
        config: Any | None,
        *,
        environment: str,
        prefix: str,
        override: bool = False,
        installation: Installation | None = None,
    ) -> None:
        """`config` is a given catalog, see Folding; `installation` None = there is the log and nothing else."""
        self._source, self._config, self._override = source, config, override
        self._environment, self._prefix, self._installation = environment, prefix, installation

    def answer(self, question: Question) -> Answer:
        """Return the answer.

        Raises:
            MissingError: nothing has this id.
            WrongUseError: several users have it, and none is given.
        """
        one = asked(question.id, self._source.topic)
        owner = self._owner(question, one)
        trace = Trace()
        rebuilding = Rebuilding(self._source, self._folding(traced(trace)), trace, owner)
        with bar("fold", self._one_partition()) as progress:
            found = rebuilding.find(one, progress.advance)
        if found is None:
            raise self._not_derived(question, owner)
        answer = answer_of(one, found, self._source.topic, self._prefix)
        return msgspec.structs.replace(answer, sentence=sentence_of(answer, found.plan))

    def _folding(self, effects: MakeEffects = Effects) -> Folding:
        return Folding(
            self._source, self._config, environment=self._environment, override=self._override, effects=effects
        )

    def _one_partition(self) -> int | None:
        """Return how many records are read of one partition, None if that is not known."""
        return self._source.total if self._source.partitions is None else None

    def _owner(self, question: Question, one: Asked) -> Owner:
        if one.place is not None and question.user is None:
            with bar("find", self._one_partition()) as progress:
                owner = finding.by_place(self._source, one, progress.advance)
            if owner is None:
                raise MissingError(
                    f"{self._source.topic} has no record {one.place.offset} in partition {one.place.partition}"
                )
            return owner
        if question.user is not None:
            with bar("find", self._one_partition()) as progress:
                owner = finding.of_user(self._source, question.tenant or "", question.user, progress.advance)
            if owner is None:
                raise MissingError(f"the log has no record of user {question.user!r}")
            return owner
        owners = self._search(one)
        if question.tenant is not None:
            owners = [owner for owner in owners if owner.tenant == question.tenant]
        if not owners:
            raise MissingError(
                f"nothing has the id {one.id!r}: give the id of an event, of an award, of a completion or of a derived "
                'event; `plaudit sql "SELECT award_id FROM points_awards LIMIT 10"` lists some'
            )
        if len(owners) > 1:
            raise WrongUseError(_several(one, owners))
        return owners[0]

    def _search(self, one: Asked) -> list[Owner]:
        """Look where it is quickest first."""
        installation, source = self._installation, self._source
        if installation is not None and installation.clickhouse is not None and source.partitions is not None:
            owners = finding.in_tables(installation.clickhouse, one, source.partitions)
            if owners:
                return owners
        with bar("find", source.total) as progress:
            owners = finding.in_log(source, one, progress.advance)
        if owners:
            return owners
        if installation is not None:
            with bar("find", None) as progress:
                return finding.in_topics(installation.brokers, self._prefix, one, progress.advance)
        with bar("find", source.total) as progress:
            return finding.by_folding(source, self._folding(), one, progress.advance)

    def _not_derived(self, question: Question, owner: Owner) -> CommandError:
        if question.user is not None:
            return MissingError(f"no record of user {question.user!r} has the id {question.id!r} or an effect with it")
        return CommandError(
            f"{question.id!r} belongs to user {owner.user_id!r}, but folding the log again does not give it: other program, "
            "catalog or PLAUDIT_ENVIRONMENT than when it was derived? `plaudit replay --check` shows the first difference"
        )


def _several(one: Asked, owners: list[Owner]) -> str:
    names = [
        f"{owner.user_id!r}" + (f" of tenant {owner.tenant!r}" if owner.tenant else "")
        for owner in owners[:_SHOWN_USERS]
    ]
    more = f" and {len(owners) - _SHOWN_USERS} more" if len(owners) > _SHOWN_USERS else ""
    return (
        f"event ids are unique per user, and {len(owners)} users have {one.id!r}: {', '.join(names)}{more}; "
        "give one with --user ID (and --tenant NAME)"
    )
