"""Who gets in, and what those are told who do not."""

from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from processors.engine.access import refusal
from processors.engine.errors import StartupError
from processors.engine.names import Names
from processors.engine.topics import describe_topics
from schemas.brokers import MECHANISMS, Brokers, Mechanism
from tests.security.broker import ADMIN, SecureKafka
from tests.security.certificates import Certificate, make_authority, make_certificate

NAMES = Names("access")


async def in_with(brokers: Brokers) -> bool:
    admin = AIOKafkaAdminClient(**brokers.client())
    try:
        await admin.start()
        return bool((await admin.describe_cluster())["brokers"])
    finally:
        await admin.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_every_mechanism_over_tls_lets_a_known_user_in(kafka: SecureKafka, mechanism: Mechanism) -> None:
    brokers = kafka.brokers(ADMIN, mechanism)
    assert await refusal(brokers) is None
    assert await in_with(brokers)


async def test_a_certificate_of_the_authority_lets_its_owner_in(
    kafka: SecureKafka, certificates: Path, authority: Certificate
) -> None:
    client = make_certificate(certificates, "client", authority)
    assert await refusal(kafka.by_certificate(client)) is None
    assert await in_with(kafka.by_certificate(client))


@pytest.fixture
def strangers(kafka: SecureKafka, certificates: Path) -> dict[str, Brokers]:
    """Clients that are not let in."""
    other = make_authority(certificates, "other")
    return {
        "wrong password": kafka.brokers(ADMIN, password="wrong-pw-1234"),
        "unknown user": kafka.brokers("nobody", password="wrong-pw-1234"),
        "other authority": kafka.brokers(ADMIN, ca_file=str(other.chain)),
        "system's authorities": kafka.brokers(ADMIN, ca_file=""),
        "plain text": kafka.brokers(ADMIN, protocol="PLAINTEXT"),
        "plain text with a user": kafka.brokers(ADMIN, protocol="SASL_PLAINTEXT"),
        "no user": kafka.brokers(ADMIN, protocol="SSL"),
        "no certificate": kafka.by_certificate(None),
        "certificate of another": kafka.by_certificate(make_certificate(certificates, "stranger", other)),
    }


@pytest.mark.parametrize(
    ("who", "settings"),
    [
        ("wrong password", ["KAFKA_USERNAME", "KAFKA_PASSWORD"]),
        ("unknown user", ["KAFKA_USERNAME", "'nobody'"]),
        ("other authority", ["KAFKA_CA_FILE", "not trusted"]),
        ("system's authorities", ["KAFKA_CA_FILE is not set"]),
        ("plain text", ["speaks TLS", "KAFKA_SECURITY_PROTOCOL=SASL_SSL"]),
        ("plain text with a user", ["speaks TLS", "KAFKA_SECURITY_PROTOCOL=SASL_SSL"]),
        ("no user", ["KAFKA_SECURITY_PROTOCOL=SASL_SSL"]),
        ("no certificate", ["KAFKA_CERTIFICATE_FILE"]),
        ("certificate of another", ["KAFKA_CERTIFICATE_FILE"]),
    ],
)
async def test_a_stranger_is_told_the_setting_and_not_the_password(
    strangers: dict[str, Brokers], who: str, settings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    brokers = strangers[who]
    with pytest.raises(StartupError) as caught:
        await describe_topics(brokers, NAMES)
    said = str(caught.value)
    assert brokers.bootstrap in said
    for text in settings:
        assert text in said
    if brokers.password:
        assert brokers.password not in said + caplog.text + repr(brokers) + repr(caught.value)


async def test_a_broker_without_tls_is_told_from_one_with(kafka: SecureKafka) -> None:
    plain = kafka.plain
    assert "does not speak TLS" in str(await refusal(kafka.brokers(ADMIN, bootstrap=plain)))
    said = await refusal(kafka.brokers(ADMIN, bootstrap=plain, protocol="SASL_PLAINTEXT"))
    assert said is not None and "KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT does not fit" in said


async def test_brokers_that_are_away_refuse_nobody(kafka: SecureKafka) -> None:
    assert await refusal(kafka.brokers(ADMIN, bootstrap="127.0.0.1:1")) is None
