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


FIXES: Final = {
    "tombstone": "There is nothing to apply; plaudit rejected drop puts it away.",
    "too_large": "Send less per record, then drop this one.",
    "malformed": "Mend the JSON: plaudit rejected retry PLACE --edit FILE.",
    "unknown_type": "Mend the type: --edit FILE; leave it out for a metric event.",
    "unknown_field": "Leave the field out, or write it as the message says: --edit FILE.",
    "wrong_key": "plaudit rejected retry PLACE --set-key writes it under its user's key, into that key's partition.",
    "forged_time": "Control records are the program's own: plaudit tick, plaudit catalog publish. Who wrote this one?",
    "bad_request": "Mend the field that the message names: --edit FILE.",
    "unknown_metric": "Publish a catalog that has the metric, active, then retry; or mend its name: --edit FILE.",
    "unknown_achievement": "Publish a catalog that has the achievement, active and with that key, then retry; or --edit FILE.",
    "unknown_user": "Identify the user first, then retry.",
    "unknown_catalog": "Publish the version anew: plaudit catalog publish.",
    "stale_catalog": "Publish the version anew: plaudit catalog publish.",
    "unknown_attribute": "Publish a catalog that declares the attribute, then retry; or leave it out: --edit FILE.",
    "invalid_tz": "Give an IANA zone or an offset: --edit FILE.",
    "email_required": "Send the e-mail address first, then retry; or with it: --edit FILE.",
    "value_out_of_range": "Split or correct the value: --edit FILE.",
    "total_out_of_range": "Correct the total with a negative value first, then retry.",
    "invalid_idempotency_key": "Shorten the key: --edit FILE.",
    "batch_size": "Send 1 to 1,000 items per batch.",
    "out_of_points": "The user had too few points; once there are enough, retry.",
    "achievement_locked": "Nobody new can complete it; unlock it in the catalog, then retry.",
    "attributes_mismatch": "The user lacks an attribute that the achievement asks for; identify the user with it, then retry.",
    "invalid_sign_up_date": "Give a day that is not in the future: --edit FILE.",
    "invalid_preferences": "Mend what the message names: --edit FILE.",
    "internal_error": "A bug of the program: the worker's log has the traceback (rules_failed). Once it is mended, retry.",
}
"""What helps against each reason code, for who looks at a refused record."""


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
