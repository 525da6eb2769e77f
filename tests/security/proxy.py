"""TLS in front of a server that has none: the embedded ClickHouse can listen to HTTP only."""

import socket
import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.security.certificates import Certificate

CHUNK_BYTES = 64 * 1024


class TlsProxy:
    """Takes TLS connections on a port of its own and passes what they carry on."""

    def __init__(self, target_port: int, certificate: Certificate) -> None:
        """Nothing is opened yet."""
        self._target_port = target_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.chain, certificate.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            secure = self._context.wrap_socket(connection, server_side=True)
            target = socket.create_connection(("127.0.0.1", self._target_port))
            threading.Thread(target=_pump, args=(target, secure), daemon=True).start()
            _pump(secure, target)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
