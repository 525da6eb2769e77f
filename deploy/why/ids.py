"""What ids name: a record of the input log, or something that came of one (D-45)."""

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from processors.rules.decode import LooseFields, loose_fields
from processors.rules.errors import RejectedError
from schemas.emission import Emission

_PLACE: Final = re.compile(r"(.+)-(\d{1,10})-(\d{1,18})", re.ASCII | re.DOTALL)

_data: Final = msgspec.json.Decoder(dict[str, Any])
_fields: Final = msgspec.json.Decoder(dict[str, Raw])


class Place(msgspec.Struct, frozen=True):
    """Where a record stands in the input log."""

    partition: int
    offset: int


class Asked(msgspec.Struct, frozen=True):
    """The id asked about: as text, as its bytes in JSON, and the place it names if it has the form of a default id (X4)."""

    id: str
    needle: bytes
    place: Place | None


def asked(given: str, topic: str) -> Asked:
    """Read an id; `topic` is the full name of the input topic."""
    match = _PLACE.fullmatch(given)
    place = Place(int(match[2]), int(match[3])) if match is not None and match[1] == topic else None
    return Asked(given, msgspec.json.encode(given)[1:-1], place)


def fields_of(value: bytes | None) -> LooseFields | None:
    """Return what can be read of a record of a user, None if not even the user."""
    try:
        return loose_fields(value)
    except RejectedError:
        return None


def names_record(one: Asked, value: bytes | None) -> bool:
    """Tell whether a record carries the event id; one with escapes is decoded, as the id may be written with them."""
    if value is None or (one.needle not in value and b"\\" not in value):
        return False
    found = fields_of(value)
    return found is not None and found.event_id == one.id


def names_effect(one: Asked, emission: Emission) -> bool:
    """Tell whether a derived event has the id, or makes the award or completion that has it."""
    return emission.id == one.id or (one.needle in emission.value and is_made_by(one.id, emission.value))


def is_made_by(identity: str, value: bytes) -> bool:
    """Tell whether a derived event is, awards or completes what the id names."""
    try:
        fields = _fields.decode(value)
        if bytes(fields.get("id", b"")) == msgspec.json.encode(identity):
            return True
        data = _data.decode(fields["data"])
    except (msgspec.MsgspecError, KeyError):
        return False
    award = data.get("award")
    return data.get("completionId") == identity or (isinstance(award, dict) and award.get("id") == identity)
