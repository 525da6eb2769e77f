"""Settings of security: what fits together, what does not, and that a secret shows nowhere."""

from pathlib import Path

import msgspec
import pytest

from deploy.environment import SettingsError
from deploy.redaction import Redactor
from deploy.settings import read_settings
from schemas.brokers import Brokers
from schemas.secrets import Dsn, Secret
from tests.security.certificates import Certificate

KAFKA = {"KAFKA_BOOTSTRAP": "kafka:9093"}
SASL = {**KAFKA, "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_USERNAME": "worker", "KAFKA_PASSWORD": "pw-one"}
CLICKHOUSE = {"CLICKHOUSE_URL": "https://clickhouse:8443"}


def test_everything_about_kafka_is_read(
    tmp_path: Path, authority: Certificate, server_certificate: Certificate
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("pw with spaces inside \n")
    environ = {
        **SASL,
        "KAFKA_SASL_MECHANISM": "scram-sha-256",
        "KAFKA_PASSWORD": "",
        "KAFKA_PASSWORD_FILE": str(secret),
    }
    environ |= {"KAFKA_CA_FILE": str(authority.chain), "KAFKA_CERTIFICATE_FILE": str(server_certificate.chain)}
    brokers = read_settings({**environ, "KAFKA_KEY_FILE": str(server_certificate.key)}).kafka
    assert brokers == Brokers(
        "kafka:9093", "SASL_SSL", "SCRAM-SHA-256", "worker", "pw with spaces inside",
        str(authority.chain), str(server_certificate.chain), str(server_certificate.key),
    )  # fmt: skip
    client = brokers.client()
    assert client["sasl_plain_password"] == "pw with spaces inside"
    assert client["ssl_context"].get_ca_certs()


def test_the_mechanism_does_not_send_the_password_unless_told_to() -> None:
    assert read_settings(SASL).kafka.mechanism == "SCRAM-SHA-512"


@pytest.mark.parametrize(
    ("environ", "variable", "fix"),
    [
        ({**SASL, "KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL='TLS'", "SASL_SSL"),
        ({**SASL, "KAFKA_SASL_MECHANISM": "GSSAPI"}, "KAFKA_SASL_MECHANISM='GSSAPI'", "SCRAM-SHA-512"),
        ({**SASL, "KAFKA_USERNAME": ""}, "KAFKA_USERNAME", "needs it"),
        ({**SASL, "KAFKA_PASSWORD": ""}, "KAFKA_PASSWORD", "KAFKA_PASSWORD_FILE"),
        ({**SASL, "KAFKA_SECURITY_PROTOCOL": ""}, "KAFKA_USERNAME", "set that to SASL_SSL"),
        ({**SASL, "KAFKA_SECURITY_PROTOCOL": "SSL"}, "KAFKA_USERNAME", "set that to SASL_SSL"),
        ({**SASL, "KAFKA_BOOTSTRAP": ""}, "KAFKA_SECURITY_PROTOCOL", "KAFKA_BOOTSTRAP is not set"),
        ({**KAFKA, "KAFKA_CA_FILE": __file__}, "KAFKA_CA_FILE", "SSL or SASL_SSL"),
        ({**SASL, "KAFKA_CA_FILE": __file__}, "KAFKA_CA_FILE", "PEM"),
        ({**SASL, "KAFKA_CA_FILE": "/nowhere.pem"}, "KAFKA_CA_FILE='/nowhere.pem'", "cannot be read"),
        ({**SASL, "KAFKA_KEY_FILE": __file__}, "KAFKA_KEY_FILE", "KAFKA_CERTIFICATE_FILE"),
        ({**SASL, "KAFKA_PASSWORD_FILE": __file__}, "KAFKA_PASSWORD_FILE", "KAFKA_PASSWORD is set too"),
        ({**SASL, "KAFKA_PASSWORD": "", "KAFKA_PASSWORD_FILE": "/dev/null"}, "KAFKA_PASSWORD_FILE", "empty"),
        ({"CLICKHOUSE_URL": "http://c:8123", "CLICKHOUSE_CA_FILE": __file__}, "CLICKHOUSE_CA_FILE", "https://"),
        ({"CLICKHOUSE_URL": "http://a:pw-one@c", "CLICKHOUSE_USER": "b"}, "CLICKHOUSE_USER='b'", "another user"),
        ({"CLICKHOUSE_URL": "http://a:pw-one@c", "CLICKHOUSE_PASSWORD": "pw-two"}, "CLICKHOUSE_PASSWORD", "another"),
        ({"CLICKHOUSE_URL": "tcp://a:pw-one@c"}, "CLICKHOUSE_URL", "write a URL"),
        ({"CLICKHOUSE_URL": "http://a:pw-one@c:port"}, "CLICKHOUSE_URL", "write a URL"),
        ({"PLAUDIT_CONTROL_TOKEN": "pw-one", "PLAUDIT_CONTROL_TOKEN_FILE": __file__}, "_TOKEN_FILE", "set one"),
    ],
)
def test_a_contradiction_names_the_variable_and_no_secret(environ: dict[str, str], variable: str, fix: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(environ)
    said = str(caught.value)
    assert variable in said and fix in said
    assert "pw-one" not in said and "pw-two" not in said


def test_user_password_and_authority_go_into_the_address(tmp_path: Path, authority: Certificate) -> None:
    secret = tmp_path / "secret"
    secret.write_text("p/w@1:2")
    environ = {**CLICKHOUSE, "CLICKHOUSE_USER": "sink", "CLICKHOUSE_PASSWORD_FILE": str(secret)}
    url = read_settings({**environ, "CLICKHOUSE_CA_FILE": str(authority.chain)}).clickhouse_url
    assert "".join(url) == f"https://sink:p%2Fw%401%3A2@clickhouse:8443/?ca_cert={authority.chain}"
    # A child gets the address and the variables: they say the same, so they do not contradict each other.
    again = {**environ, "CLICKHOUSE_CA_FILE": str(authority.chain), "CLICKHOUSE_URL": "".join(url)}
    assert read_settings(again).clickhouse_url == url


def test_a_secret_shows_nowhere() -> None:
    environ = {
        **SASL,
        "CLICKHOUSE_URL": "https://sink:pw-two@c:8443/?ca_cert=/ca.pem",
        "PLAUDIT_CONTROL_TOKEN": "tk-three",
    }
    settings = read_settings(environ)
    options = settings.worker_options()
    shown = [
        repr(settings),
        str(settings),
        f"{settings.kafka}",
        f"{settings.clickhouse_url}",
        repr(options),
        str(options),
    ]
    shown += [f"{settings.control_token}", repr(settings.control_token), str(settings.clickhouse_url)]
    for text in shown:
        assert not any(secret in text for secret in ("pw-one", "pw-two", "tk-three")), text
    assert f"{settings.clickhouse_url}" == "https://sink:…@c:8443/?ca_cert=/ca.pem"
    assert settings.control_token.encode() == b"tk-three"
    assert (str(Secret("")), str(Dsn("http://default:@c:1"))) == ("", "http://default:@c:1")


def test_what_slips_through_is_redacted_in_every_form() -> None:
    environ = {"KAFKA_PASSWORD": 'pw"one/1', "CLICKHOUSE_URL": "http://a:pw%40two@c", "PLAUDIT_CONTROL_TOKEN": "abc"}
    redact = Redactor(environ)
    json = msgspec.json.encode({"error": 'pw"one/1'}).decode()
    for text in ('it is pw"one/1!', json, "http://a:pw%22one%2F1@c", "pw@two", "pw%40two"):
        assert "…" in redact(text)
        assert "one" not in redact(text) and "two" not in redact(text)
    assert redact("abcdef") == "abcdef"  # three letters are in too many words
