"""Texts that must not be shown: a secret, and the address of a ClickHouse with its password in it."""

from typing import Final, Self
from urllib.parse import quote, urlsplit

HIDDEN: Final = "…"
"""Stands for a secret."""

CA_PARAMETER: Final = "ca_cert"
"""Query parameter of an address: PEM file of the authorities that sign the server's certificate (clickhouse_connect's)."""


class Secret(str):
    """A secret: the `str` it is for a program that uses it; printed, formatted or as part of another's `repr` hidden."""

    __slots__ = ()

    @property
    def shown(self) -> str:
        """What is shown instead."""
        return HIDDEN if self else ""

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return repr(self.shown)

    def __format__(self, specification: str) -> str:
        return format(self.shown, specification)


class Dsn(Secret):
    """`http[s]://user:password@host:port[/?ca_cert=FILE]`, as clickhouse_connect takes it; shown without its password."""

    __slots__ = ()

    @classmethod
    def of(cls, address: str, *, user: str = "", password: str = "", ca_file: str = "") -> Self:
        """Return `address` with user, password and authorities put in; empty ones are left as they are there."""
        parts = urlsplit(address)
        given, _, host = parts.netloc.rpartition("@")
        its_user, _, its_password = given.partition(":")
        user, password = quote(user, safe="") or its_user, quote(password, safe="") or its_password
        login = f"{user}:{password}@" if user or password else ""
        extra = f"{CA_PARAMETER}={quote(ca_file, safe='/')}" if ca_file else ""
        query = "&".join(text for text in (parts.query, extra) if text)
        return cls(
            parts._replace(netloc=login + host, path=parts.path or "/" if query else parts.path, query=query).geturl()
        )

    @property
    def shown(self) -> str:
        """The address without its password."""
        scheme, separator, rest = self.partition("://")
        login, at, place = rest.rpartition("@")
        user, colon, password = login.partition(":")
        return f"{scheme}{separator}{user}{colon}{HIDDEN if password else ''}{at}{place}"
