"""The catalog versions a fold knows, compiled in the order of their publication."""

import msgspec

from processors.rules.plan import Plan
from schemas.catalog import CatalogRecord
from schemas.catalog_file import CatalogError, Issue, decode_config, load_catalog
from schemas.instants import EARLIEST_MS, LATEST_MS

_decoder = msgspec.json.Decoder(CatalogRecord)


def _compile(record: CatalogRecord, previous: Plan | None) -> Plan:
    """Compile one version.

    Raises:
        CatalogError: whatever is wrong with it: a bad version must not stop a worker.
    """
    try:
        if not EARLIEST_MS <= record.at_ms <= LATEST_MS:
            raise ValueError(f"at {record.at_ms} ms lies outside the years 3 to 9988")
        catalog, _ = load_catalog(decode_config(bytes(record.config)), tenant=record.tenant)
        return Plan(catalog, record.version, record.at_ms, previous)
    except CatalogError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise CatalogError([Issue("", f"cannot be read: {error!r}")]) from error


class CatalogStore:
    """Plans by tenant and version. Versions are immutable; each is compiled on top of the one before it (C20, C38)."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, CatalogRecord]] = {}
        self._plans: dict[tuple[str, str], Plan] = {}
        self._given_up: set[tuple[str, str]] = set()

    def add(self, value: bytes) -> None:
        """Take one record value of `plaudit.catalog`; a version that is known already stays as it is.

        Raises:
            msgspec.MsgspecError: not a catalog record.
        """
        record = _decoder.decode(value)
        versions = self._records.setdefault(record.tenant, {})
        if record.version not in versions:
            versions[record.version] = record
            self._plans = {key: plan for key, plan in self._plans.items() if key[0] != record.tenant}
        self._given_up.discard((record.tenant, record.version))

    def versions(self, tenant: str) -> list[CatalogRecord]:
        """Return the versions of a tenant by publication; at one instant in the order of the topic."""
        return sorted(self._records.get(tenant, {}).values(), key=lambda record: record.at_ms)

    def follows(self, tenant: str, version: str, other: str) -> bool:
        """Tell whether a version was published after another one."""
        order = [record.version for record in self.versions(tenant)]
        return order.index(version) > order.index(other)

    def give_up(self, tenant: str, version: str) -> None:
        """Note that the version is not on `plaudit.catalog`; records that name it are refused."""
        self._given_up.add((tenant, version))

    def is_given_up(self, tenant: str, version: str) -> bool:
        """Tell whether the version was looked for in vain."""
        return (tenant, version) in self._given_up

    def after(self, tenant: str, version: str, last: str) -> list[Plan]:
        """Return the plans from the one after `version` to `last`, by publication."""
        order = [record.version for record in self.versions(tenant)]
        found: list[Plan] = []
        for name in order[order.index(version) + 1 : order.index(last) + 1]:
            try:
                plan = self.plan(tenant, name)
            except CatalogError:
                continue  # it was never in force here
            assert plan is not None
            found.append(plan)
        return found

    def plan(self, tenant: str, version: str) -> Plan | None:
        """Return the plan of a version, None if the version is unknown.

        Raises:
            CatalogError: the version does not pass the checks of this program.
        """
        if version not in self._records.get(tenant, {}):
            return None
        plan = self._plans.get((tenant, version))
        if plan is None:
            previous: Plan | None = None
            for record in self.versions(tenant):
                known = self._plans.get((tenant, record.version))
                if known is None:
                    try:
                        known = self._plans[tenant, record.version] = _compile(record, previous)
                    except CatalogError:
                        if record.version == version:
                            raise
                        continue  # it was never in force here: nobody's predecessor
                previous = known
                if record.version == version:
                    break
            plan = self._plans[tenant, version]
        return plan
