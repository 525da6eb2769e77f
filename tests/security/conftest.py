"""One shut broker for the folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import ClickHouseServer, SilentProgress
from deploy.security import grants
from deploy.security.acls import PURPOSES
from tests.security.broker import ADMIN, SecureKafka
from tests.security.certificates import Certificate, make_authority, make_certificate
from tests.security.proxy import TlsProxy
from tests.security.tables import DATABASE, SECRETS, ClickHouse

USERS = (ADMIN, *PURPOSES)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for certificates."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="session")
def authority(certificates: Path) -> Certificate:
    """Who signs the certificates."""
    return make_authority(certificates, "authority")


@pytest.fixture(scope="session")
def server_certificate(certificates: Path, authority: Certificate) -> Certificate:
    """For servers at 127.0.0.1."""
    return make_certificate(certificates, "server", authority)


@pytest.fixture(scope="session")
def kafka(
    tmp_path_factory: pytest.TempPathFactory, authority: Certificate, server_certificate: Certificate
) -> Iterator[SecureKafka]:
    """The broker. Every user has a password that is nowhere else."""
    passwords = {user: f"pw-of-{user}-7bKq" for user in USERS}
    kafka = SecureKafka(tmp_path_factory.mktemp("kafka") / "home", authority, server_certificate, passwords)
    with kafka.server:
        yield kafka


@pytest.fixture(scope="session")
def tables(
    tmp_path_factory: pytest.TempPathFactory, server_certificate: Certificate, authority: Certificate
) -> Iterator[ClickHouse]:
    """A ClickHouse with a user for every role."""
    directory = tmp_path_factory.mktemp("clickhouse")
    users = {role: grants.default_user(role, DATABASE) for role in grants.PURPOSES}
    users_file = directory / "users.xml"
    users_file.write_text(grants.users_file(DATABASE, users, SECRETS))
    with ClickHouseServer(directory / "home", users_file=users_file, progress=SilentProgress()) as server:
        port = int(server.url.rpartition(":")[2])
        with TlsProxy(port, server_certificate) as proxy:
            yield ClickHouse(server, f"https://127.0.0.1:{proxy.port}", authority)
