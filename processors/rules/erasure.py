"""Erasing a user: what an `erase` record may say, and the events that tell every topic of it (X29, X30)."""

from processors.rules.effects import Effects
from processors.rules.errors import RejectedError
from processors.rules.texts import to_json
from processors.rules.user import User
from schemas.derived import UserErased
from schemas.records import Erase, UserInput
from schemas.state import UserState
from schemas.topics import ERASED, ERASED_TOPICS


def check_erase(record: Erase) -> None:
    """Refuse what would put more than the id on the log.

    Raises:
        RejectedError: bad_request.
    """
    user = record.user
    if not isinstance(user, str) and user != UserInput(id=user.id):
        raise RejectedError(
            "bad_request", "user: an erase names the user by the id alone; send nothing else of the user"
        )


def nobody(key: bytes, tenant: str, user_id: str, at_ms: int) -> User:
    """Return a user of whom nothing is known but the id: whom the events of an erasure are about."""
    return User(key, UserState(tenant=tenant, id=user_id, created=at_ms, updated=at_ms, control=False, append=at_ms))


def tell(effects: Effects, at_ms: int) -> None:
    """Emit `user.erased` to every topic that holds something of users, each an event of its own."""
    for topic in ERASED_TOPICS:
        effects.emit_to(topic, ERASED, to_json(UserErased(topic=topic)), at_ms)
