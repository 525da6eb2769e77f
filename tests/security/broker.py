"""A broker that is shut: TLS and passwords on its listeners, rights for every user, and administration of these."""

import asyncio
import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import CreateAclsRequest

from deploy.embedded.kafka import KafkaServer
from deploy.embedded.ports import choose_ports
from deploy.embedded.progress import SilentProgress
from deploy.security.acls import Acl
from schemas.brokers import Brokers, Mechanism
from tests.security.certificates import Certificate

ADMIN = "admin"
RESOURCES = {"topic": 2, "group": 3, "transactional-id": 5}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "AlterConfigs": 11, "Describe": 8, "DescribeConfigs": 10}
LITERAL, PREFIXED, ALLOW = 3, 4, 3


class SecureKafka:
    """A broker with the listeners SASL_SSL (all mechanisms) and SSL (client certificate required).

    Attributes:
        authority: who signed its certificate, and signs those of clients.
        passwords: by user; all of them log in with any mechanism.
    """

    def __init__(self, directory: Path, authority: Certificate, own: Certificate, passwords: dict[str, str]) -> None:
        self.authority = authority
        self.passwords = passwords
        directory.mkdir()
        self._ports = choose_ports(("Kafka", "Kafka controller", "SSL"), directory / "ports.json", {})
        (directory / "ports.json").write_text(json.dumps(self._ports))
        self.server = KafkaServer(
            directory,
            settings=self._settings(own),
            format_options=[
                option
                for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
                for user, password in passwords.items()
                for option in ("--add-scram", f"{mechanism}=[name={user},password={password}]")
            ],
            answers=self._answers,
            progress=SilentProgress(),
        )

    def brokers(self, user: str, mechanism: Mechanism = "SCRAM-SHA-512", **other: Any) -> Brokers:
        """How a user reaches the broker, with a password; `other` replaces attributes."""
        values = {
            "bootstrap": f"127.0.0.1:{self._ports['Kafka']}",
            "protocol": "SASL_SSL",
            "mechanism": mechanism,
            "username": user,
            "password": self.passwords.get(user, ""),
            "ca_file": str(self.authority.chain),
        }
        return Brokers(**{**values, **other})

    @property
    def plain(self) -> str:
        """`host:port` of a listener without TLS and users: the controller's, which is for the broker itself."""
        return f"127.0.0.1:{self._ports['Kafka controller']}"

    def by_certificate(self, client: Certificate | None) -> Brokers:
        """How the owner of a certificate reaches the broker, without a user."""
        certificate, key = (str(client.chain), str(client.key)) if client else ("", "")
        return Brokers(
            f"127.0.0.1:{self._ports['SSL']}", "SSL", ca_file=str(self.authority.chain),
            certificate_file=certificate, key_file=key,
        )  # fmt: skip

    def environment(self, user: str, **more: str) -> dict[str, str]:
        """The variables with which `plaudit` reaches the broker as a user."""
        brokers = self.brokers(user)
        return {
            "KAFKA_BOOTSTRAP": brokers.bootstrap,
            "KAFKA_SECURITY_PROTOCOL": brokers.protocol,
            "KAFKA_SASL_MECHANISM": brokers.mechanism,
            "KAFKA_USERNAME": user,
            "KAFKA_PASSWORD": brokers.password,
            "KAFKA_CA_FILE": brokers.ca_file,
            **more,
        }

    async def allow(self, user: str, acls: Iterable[Acl]) -> None:
        """Give a user rights, and return once the broker honours them."""
        admin = AIOKafkaAdminClient(**self.brokers(ADMIN).client())
        await admin.start()
        try:
            for acl in acls:
                pattern = PREFIXED if acl.prefixed else LITERAL
                answer = await admin._send_request(
                    CreateAclsRequest(
                        RESOURCES[acl.resource],
                        acl.name,
                        pattern,
                        f"User:{user}",
                        "*",
                        OPERATIONS[acl.operation],
                        ALLOW,
                    )
                )
                assert [code for code, _ in answer.creation_responses] == [0], answer
        finally:
            await admin.close()

    def _answers(self, bootstrap: str) -> bool:
        async def ask() -> bool:
            admin = AIOKafkaAdminClient(**self.brokers(ADMIN).client())
            try:
                await admin.start()
                return bool((await admin.describe_cluster())["brokers"])
            except KafkaError:
                return False
            finally:
                await admin.close()

        try:
            socket.create_connection(("127.0.0.1", self._ports["Kafka"])).close()
        except OSError:
            return False
        return asyncio.run(ask())

    def _settings(self, own: Certificate) -> dict[str, str]:
        admin = f'username="{ADMIN}" password="{self.passwords[ADMIN]}"'
        plain = " ".join(f'user_{user}="{password}"' for user, password in self.passwords.items())
        scram = f"org.apache.kafka.common.security.scram.ScramLoginModule required {admin};"
        listeners = ",".join(
            f"{name}://127.0.0.1:{self._ports[port]}" for name, port in (("SASL_SSL", "Kafka"), ("SSL", "SSL"))
        )
        jaas = "listener.name.sasl_ssl.{}.sasl.jaas.config"
        return {
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self._ports['Kafka controller']}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN",
            jaas.format("scram-sha-512"): scram,
            jaas.format("scram-sha-256"): scram,
            jaas.format("plain"): f"org.apache.kafka.common.security.plain.PlainLoginModule required {admin} {plain};",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": own.chain.read_text(),
            "ssl.keystore.key": own.key.read_text(),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": self.authority.chain.read_text(),
            "listener.name.ssl.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # the controller's listener, on loopback, is plain: the broker itself comes to it without a name
            "super.users": f"User:{ADMIN};User:ANONYMOUS",
        }
