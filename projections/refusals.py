"""What to do about a ClickHouse that does not let this client do something."""

from typing import Final

_ADVICE: Final = (
    ("AUTHENTICATION_FAILED", "Set CLICKHOUSE_USER and CLICKHOUSE_PASSWORD (or CLICKHOUSE_PASSWORD_FILE)."),
    ("CERTIFICATE_VERIFY_FAILED", "Set CLICKHOUSE_CA_FILE to the authority that signed the server's certificate."),
    ("WRONG_VERSION_NUMBER", "That port does not speak TLS: write http:// or name the HTTPS port in CLICKHOUSE_URL."),
    ("ACCESS_DENIED", "What each user may do: `plaudit security grants`."),
)
"""What a message says of a refusal that repetition does not help against, and what to do."""


def advice(message: str) -> str | None:
    """Return what to do about an error, naming the setting; None if it is not one of access."""
    return next((text for sign, text in _ADVICE if sign in message), None)


def with_advice(message: str) -> str:
    """Return the message of an error, with what to do about it if it is one of access."""
    text = advice(message)
    return f"{message.rstrip('. ')}. {text}" if text else message
