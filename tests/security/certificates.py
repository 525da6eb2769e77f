"""An authority and certificates signed by it, made with the openssl of the machine."""

import subprocess
from pathlib import Path
from typing import NamedTuple

DAYS = "2"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Certificate(NamedTuple):
    """PEM files of a certificate and its key."""

    chain: Path
    key: Path


def make_authority(directory: Path, name: str) -> Certificate:
    """A certificate that signs itself and others."""
    made = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    _openssl(
        "req", "-x509", *KEY, "-days", DAYS, "-subj", f"/CN={name}", "-keyout", made.key, "-out", made.chain,
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    return made


def make_certificate(directory: Path, name: str, authority: Certificate, address: str = "127.0.0.1") -> Certificate:
    """A certificate for servers at `address`, or for a client, signed by an authority."""
    made = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    request, extensions = directory / f"{name}.csr", directory / f"{name}.ext"
    extensions.write_text(f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth,clientAuth\n")
    _openssl("req", *KEY, "-subj", f"/CN={name}", "-keyout", made.key, "-out", request)
    _openssl(
        "x509", "-req", "-in", request, "-CA", authority.chain, "-CAkey", authority.key, "-CAcreateserial",
        "-days", DAYS, "-extfile", extensions, "-out", made.chain,
    )  # fmt: skip
    return made


def _openssl(*arguments: object) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
