"""Attribute filters (M11, M13-M15)."""

from collections.abc import Collection

from schemas.catalog import Filter


def matches(pairs: Filter, attributes: dict[str, str]) -> bool:
    """Tell whether all pairs are among the attributes, exactly (M13-M15)."""
    for key, value in pairs:  # noqa: SIM110 - a generator would cost more than the loop on this path
        if attributes.get(key) != value:
            return False
    return True


def lacking(pairs: Filter, attributes: dict[str, str]) -> dict[str, str]:
    """Return the pairs of a filter that the attributes do not hold: why it does not match."""
    return {key: value for key, value in pairs if attributes.get(key) != value}


def undeclared(keys: Collection[str], declared: frozenset[str]) -> list[str]:
    """Return the keys that are not declared, sorted (M11)."""
    return [] if declared.issuperset(keys) else sorted(key for key in keys if key not in declared)
