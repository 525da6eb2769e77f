"""A ClickHouse with a user for every role."""

from typing import Final, NamedTuple

from deploy.embedded import ClickHouseServer
from deploy.security import grants
from schemas.secrets import Dsn
from tests.security.certificates import Certificate

DATABASE: Final = "shut"
SECRETS: Final[dict[grants.Role, str]] = {role: f"ch-of-{role}/8+Zq" for role in grants.PURPOSES}


class ClickHouse(NamedTuple):
    """A server, its https address, and who signed its certificate."""

    server: ClickHouseServer
    url: str
    authority: Certificate

    def dsn(self, role: grants.Role) -> Dsn:
        """The address with the user of a role."""
        user = grants.default_user(role, DATABASE)
        return Dsn.of(self.url, user=user, password=SECRETS[role], ca_file=str(self.authority.chain))
