"""How to reach Kafka: addresses and security, from which every client is made."""

from typing import Any, Final, Literal, get_args

import msgspec

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

PROTOCOLS: Final[tuple[Protocol, ...]] = get_args(Protocol)
MECHANISMS: Final[tuple[Mechanism, ...]] = get_args(Mechanism)
REQUEST_TIMEOUT_MS: Final = 20_000
"""How long a client waits for a broker that neither answers nor refuses, before it looks for another. A member of a group
waits as long for the others in a rebalance, so this must be longer than any rebalance."""

ENCRYPTED: Final = frozenset({"SSL", "SASL_SSL"})
"""The protocols with TLS."""
SASL: Final = frozenset({"SASL_PLAINTEXT", "SASL_SSL"})
"""The protocols with user and password."""


class Brokers(msgspec.Struct, frozen=True):
    """Where Kafka is and how a client proves who it is. Shown, it gives the addresses only; false without addresses.

    Attributes:
        bootstrap: `host:port`, comma-separated.
        protocol: as Kafka's `security.protocol`.
        mechanism: as Kafka's `sasl.mechanism`; counts with the SASL protocols. SCRAM does not send the password.
        username: of the SASL mechanism.
        password: of the SASL mechanism; never shown.
        ca_file: PEM file of the authorities that sign the brokers' certificates; empty = those of the system.
        certificate_file: PEM file of the client's own certificate, for brokers that ask for one; empty = none.
        key_file: PEM file of its key; empty = it is in `certificate_file`.
    """

    bootstrap: str
    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str = ""
    password: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""

    def client(self) -> dict[str, Any]:
        """Return the keyword arguments that connect any client of aiokafka: `AIOKafkaConsumer(**brokers.client())`.

        Raises:
            OSError: a certificate file cannot be read (ssl.SSLError, which is one: it holds no certificate).
        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self.protocol,
            "request_timeout_ms": REQUEST_TIMEOUT_MS,
        }
        if self.protocol in ENCRYPTED:
            import ssl

            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.certificate_file:
                context.load_cert_chain(self.certificate_file, self.key_file or None, password="")
            options["ssl_context"] = context
        if self.protocol in SASL:
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options

    def __bool__(self) -> bool:
        return bool(self.bootstrap)

    def __str__(self) -> str:
        return self.bootstrap

    def __repr__(self) -> str:
        return f"Brokers({self.bootstrap!r}, {self.protocol})"
