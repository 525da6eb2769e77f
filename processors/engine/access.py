"""Why Kafka does not let this client in, and which setting mends it. aiokafka says only that no broker could be used."""

import asyncio
import ssl
from typing import Final

from aiokafka.conn import create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from schemas.brokers import ENCRYPTED, SASL, Brokers

UNAUTHORISED: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
"""Errors of a user who is known and may not do something."""

_PROBE_TIMEOUT_MS: Final = 5_000
_PAUSE_S: Final = 0.5


async def unreachable(brokers: Brokers, error: BaseException | None = None) -> str:
    """Return one sentence or two about brokers that could not be used: what is wrong, and what to set.

    Args:
        brokers: they are asked once more, each in turn, until one tells a reason.
        error: what the client raised; shown if no broker tells a reason.
    """
    reason = await refusal(brokers)
    if reason is not None:
        return f"Kafka at {brokers} refuses this client: {reason}"
    what = str(error) if error is not None and str(error) else type(error).__name__
    if isinstance(error, UNAUTHORISED):
        return f"Kafka at {brokers}: {_who(brokers)} may not do that ({what}). What each user may do: `plaudit security acls`."
    return f"Kafka at {brokers} does not answer ({what}). Is KAFKA_BOOTSTRAP right?"


async def refusal(brokers: Brokers) -> str | None:
    """Return why brokers refuse this client, naming the setting; None if one takes it, or if all are merely away."""
    reasons = [await _ask_twice(brokers, *_place(server)) for server in brokers.bootstrap.split(",")]
    return None if "" in reasons else next((reason for reason in reasons if reason), None)


async def _ask_twice(brokers: Brokers, host: str, port: int) -> str | None:
    """As `_ask`; what only looks like a refusal, because the broker was just ending or starting, is gone the second time."""
    reason = await _ask(brokers, host, port)
    if reason:
        await asyncio.sleep(_PAUSE_S)
        reason = await _ask(brokers, host, port)
    return reason


async def _ask(brokers: Brokers, host: str, port: int) -> str | None:
    """Return the reason of a broker; empty: it takes this client; None: it does not answer at all."""
    options = brokers.client() | {"request_timeout_ms": _PROBE_TIMEOUT_MS}
    del options["bootstrap_servers"]
    try:
        connection = await create_conn(host, port, **options)
    except ssl.SSLCertVerificationError as error:
        known = f"KAFKA_CA_FILE={brokers.ca_file!r} does not fit" if brokers.ca_file else "KAFKA_CA_FILE is not set"
        return (
            f"the certificate of {host}:{port} is not trusted ({error.verify_message}); {known}: name the PEM file of the "
            "authority that signed it, and the host that it was issued for in KAFKA_BOOTSTRAP"
        )
    except ssl.SSLError as error:
        return _of_tls(brokers, host, port, error)
    except SaslAuthenticationFailed:
        return f"it does not know {_who(brokers)} with this password; mend KAFKA_USERNAME and KAFKA_PASSWORD (or its _FILE)"
    except UnsupportedSaslMechanismError:
        return f"it does not offer KAFKA_SASL_MECHANISM={brokers.mechanism}; set one that it offers"
    except IllegalSaslStateError:
        return f"{host}:{port} takes clients without a user; KAFKA_SECURITY_PROTOCOL={brokers.protocol} does not fit it"
    except (KafkaError, EOFError, ConnectionResetError):
        return await _of_silence(brokers, host, port)
    except OSError:  # TimeoutError is one
        return None
    try:
        await connection.send(MetadataRequest([]))
    except TimeoutError:
        return None
    except KafkaError:
        if brokers.protocol in SASL:
            return None
        secure = "SASL_SSL" if brokers.protocol in ENCRYPTED else "SASL_PLAINTEXT"
        return f"{host}:{port} wants a user; set KAFKA_SECURITY_PROTOCOL={secure} instead of {brokers.protocol}"
    finally:
        connection.close()
    return ""


def _of_tls(brokers: Brokers, host: str, port: int, error: ssl.SSLError) -> str:
    reason = error.reason or str(error)
    if "WRONG_VERSION" in reason or "RECORD" in reason:
        return _without_tls(brokers, host, port)
    if "CERTIFICATE" in reason.upper():
        return (
            f"{host}:{port} wants a certificate of the client ({reason}); set KAFKA_CERTIFICATE_FILE and KAFKA_KEY_FILE"
        )
    return f"TLS with {host}:{port} fails ({reason}); see KAFKA_SECURITY_PROTOCOL"


def _without_tls(brokers: Brokers, host: str, port: int) -> str:
    plain = "SASL_PLAINTEXT" if brokers.protocol in SASL else "PLAINTEXT"
    return f"{host}:{port} does not speak TLS; name its TLS port in KAFKA_BOOTSTRAP, or set KAFKA_SECURITY_PROTOCOL={plain}"


async def _answers_in_plain_text(host: str, port: int) -> bool:
    try:
        connection = await create_conn(host, port, request_timeout_ms=_PROBE_TIMEOUT_MS)
    except (KafkaError, TimeoutError, EOFError, OSError):
        return False
    connection.close()
    return True


async def _of_silence(brokers: Brokers, host: str, port: int) -> str | None:
    """Return what a broker wants that accepted the connection and did not answer."""
    if brokers.protocol in ENCRYPTED:
        if await _answers_in_plain_text(host, port):
            return _without_tls(brokers, host, port)
        if not brokers.certificate_file:
            return f"{host}:{port} ends the connection; if it wants a certificate, set KAFKA_CERTIFICATE_FILE"
        known = f"KAFKA_CERTIFICATE_FILE={brokers.certificate_file!r}"
        return f"{host}:{port} ends the connection; does it trust the authority that signed {known}?"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: does it speak TLS at all?
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_MS / 1000):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return None
    writer.close()
    secure = "SASL_SSL (or SSL)" if brokers.protocol not in SASL else "SASL_SSL"
    return f"{host}:{port} speaks TLS; set KAFKA_SECURITY_PROTOCOL={secure} instead of {brokers.protocol}"


def _who(brokers: Brokers) -> str:
    return f"the user {brokers.username!r}" if brokers.protocol in SASL else "this client"


def _place(server: str) -> tuple[str, int]:
    host, _, port = server.strip().rpartition(":")
    return host.strip("[]"), int(port)
