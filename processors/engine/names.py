"""Names of what the engine owns on Kafka: consumer group, changelog, transactional ids."""

import msgspec

from schemas.topics import CATALOG, DEFAULT_PREFIX, EVENTS, full_name, progress_group, state_changelog


class Names(msgspec.Struct, frozen=True):
    """All names of one installation, from its topic prefix."""

    prefix: str = DEFAULT_PREFIX

    @property
    def group(self) -> str:
        """Id of the Faust app, and so of its consumer group."""
        return progress_group(self.prefix)

    @property
    def input(self) -> str:
        """The input log."""
        return full_name(EVENTS, self.prefix)

    @property
    def catalog(self) -> str:
        """The topic of published catalogs."""
        return full_name(CATALOG, self.prefix)

    @property
    def changelog(self) -> str:
        """The state changelog."""
        return state_changelog(self.prefix)

    @property
    def publisher(self) -> str:
        """Transactional id of whoever publishes catalogs: of two at once the later ends the earlier."""
        return f"{self.prefix}-publisher"

    def output(self, logical: str) -> str:
        """Topic of an emission."""
        return full_name(logical, self.prefix)

    def transactional_id(self, instance: str) -> str:
        """Transactional id of a worker: the next worker of that instance ends what this one left open."""
        return f"{self.group}-{instance}"
