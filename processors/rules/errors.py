"""Why a record is refused: reason codes, HTTP statuses and messages (X9, metrics-and-events.md section 9)."""

from typing import Final

STATUS: Final = {
    "tombstone": 400,
    "too_large": 413,
    "malformed": 400,
    "unknown_type": 400,
    "unknown_field": 400,
    "wrong_key": 400,
    "forged_time": 400,
    "bad_request": 400,
    "unknown_metric": 404,
    "unknown_achievement": 404,
    "unknown_user": 404,
    "unknown_catalog": 404,
    "stale_catalog": 409,
    "unknown_attribute": 422,
    "invalid_tz": 422,
    "email_required": 422,
    "value_out_of_range": 422,
    "total_out_of_range": 422,
    "invalid_idempotency_key": 422,
    "batch_size": 422,
    "out_of_points": 422,
    "achievement_locked": 422,
    "attributes_mismatch": 422,
    "invalid_sign_up_date": 422,
    "invalid_preferences": 422,
    "internal_error": 500,
}
"""HTTP status of each reason code, as the synchronous call would answer."""


RULES: Final = {
    "tombstone": ("X9",),
    "too_large": ("X1", "X9"),
    "malformed": ("X9",),
    "unknown_type": ("X2", "X9"),
    "unknown_field": ("X2", "X9"),
    "wrong_key": ("X1", "X9"),
    "forged_time": ("X7", "X9"),
    "bad_request": ("Z1",),
    "unknown_metric": ("Z3", "T9"),
    "unknown_achievement": ("A20",),
    "unknown_user": ("U13", "D-19"),
    "unknown_catalog": ("X7",),
    "stale_catalog": ("C38", "D-22"),
    "unknown_attribute": ("Z4", "M11"),
    "invalid_tz": ("Z5", "U7"),
    "email_required": ("Z6", "U6"),
    "value_out_of_range": ("Z7", "N4"),
    "total_out_of_range": ("Z7", "N4"),
    "invalid_idempotency_key": ("Z8", "I11"),
    "batch_size": ("Z9", "B1"),
    "out_of_points": ("Z10", "P46"),
    "achievement_locked": ("A19",),
    "attributes_mismatch": ("A20",),
    "invalid_sign_up_date": ("D-09",),
    "invalid_preferences": ("S81", "D-19"),
    "internal_error": ("X32", "D-88", "D-89"),
}
"""Rules of docs/spec that each reason code carries out."""


class RejectedError(Exception):
    """A record that cannot be applied. It leaves no trace in state (T10); the producer has to mend what `message` names.

    Attributes:
        reason: a key of STATUS.
        message: names the field, the value and the fix.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message

    @property
    def status(self) -> int:
        """HTTP status of the reason."""
        return STATUS[self.reason]
