"""A TCP proxy that can be slow, silent, or cut: the network between clients and a server."""

import asyncio
from contextlib import suppress
from typing import Final

CHUNK_BYTES: Final = 64 * 1024
LOOPBACK: Final = "127.0.0.1"


class Proxy:
    """Listens on one port of loopback and passes on to another.

    Attributes:
        port: where it listens.
        delay_s: how much later every chunk arrives, each way.
        bytes_per_s: how much passes per connection and way; 0 = as much as comes.
    """

    def __init__(self, port: int, target: int) -> None:
        """Nothing listens yet. `target` is the port of the server."""
        self.port = port
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self._target = target
        self._passes = asyncio.Event()
        self._passes.set()
        self._reachable = True
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Close all connections; new ones are taken."""
        for writer in list(self._connections):
            writer.transport.abort()

    def refuse(self) -> None:
        """Close all connections, and new ones at once, until `restore`."""
        self._reachable = False
        self.cut()

    def silence(self) -> None:
        """Let nothing pass, and close nothing: a network that swallows packets, until `restore`."""
        self._passes.clear()

    def restore(self) -> None:
        """Be a good network again. What was held up in silence arrives now."""
        self.delay_s = self.bytes_per_s = 0.0
        self._reachable = True
        self._passes.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            if not self._reachable:
                return
            with suppress(OSError):
                back, there = await asyncio.open_connection(LOOPBACK, self._target)
                self._connections.add(there)
                await self._pass_both(reader, there, back, writer)
        finally:
            for end in (writer, there):
                if end is not None:
                    self._connections.discard(end)
                    end.transport.abort()

    async def _pass_both(
        self,
        reader: asyncio.StreamReader,
        there: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Return when either side has closed."""
        ways = [asyncio.ensure_future(self._pass(reader, there)), asyncio.ensure_future(self._pass(back, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(CHUNK_BYTES):
            if self.delay_s or self.bytes_per_s:
                slowness_s = len(chunk) / self.bytes_per_s if self.bytes_per_s else 0.0
                await asyncio.sleep(self.delay_s + slowness_s)
            await self._passes.wait()
            sink.write(chunk)
            await sink.drain()
