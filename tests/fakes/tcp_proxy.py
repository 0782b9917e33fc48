"""A TCP proxy that can delay, drip, stall, cut and reject connections."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.standalone.embedded_postgres import HOST

PIECE = 65536


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    speaks: asyncio.Event
    said: bytes = b""  # by the client; its beginning identifies the connection


class TcpProxy:
    """Forwards connections to one loopback port.

    Args:
        target: The port to forward to.
        host: The address to listen on.

    Attributes:
        delay_s: Delay of replies, in seconds.
        drip_s: Pause after each byte of a reply, in seconds; 0 sends replies as they are.
        refuses: Whether new connections are closed immediately.
    """

    def __init__(self, target: int, host: str = HOST) -> None:
        self.target = target
        self.host = host
        self.port = 0
        self.delay_s = 0.0
        self.drip_s = 0.0
        self.refuses = False
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._connections: set[_Connection] = set()

    def silence(self, who: bytes = b"") -> int:
        """Stall, in both directions, all connections whose client has sent these bytes.

        Returns:
            The number of such connections.
        """
        return self._do(lambda connection: connection.speaks.clear(), who)

    def speak(self) -> int:
        """Resume all connections, beginning with the data that was held back."""
        return self._do(lambda connection: connection.speaks.set(), b"")

    def cut(self, who: bytes = b"") -> int:
        """Close all connections whose client has sent these bytes, and return their number."""
        return self._do(lambda connection: (connection.client.close(), connection.server.close()), who)

    def _do(self, action, who: bytes) -> int:
        async def act() -> int:
            meant = [connection for connection in self._connections if who in connection.said]
            for connection in meant:
                action(connection)
            return len(meant)

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(10)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.refuses:
                raise ConnectionRefusedError
            replies, server = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.close()
            return
        connection = _Connection(writer, server, asyncio.Event())
        connection.speaks.set()
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._requests(connection, reader))
                both.create_task(self._replies(connection, replies))
        except* OSError:
            pass  # either side has gone
        finally:
            self._connections.discard(connection)

    async def _requests(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        try:
            while piece := await reader.read(PIECE):
                connection.said = (connection.said + piece)[:PIECE]
                await connection.speaks.wait()
                connection.server.write(piece)
        finally:
            connection.server.close()

    async def _replies(self, connection: _Connection, replies: asyncio.StreamReader) -> None:
        try:
            while piece := await replies.read(PIECE):
                await asyncio.sleep(self.delay_s)
                await connection.speaks.wait()
                await self._send(connection.client, piece)
        finally:
            connection.client.close()

    async def _send(self, client: asyncio.StreamWriter, piece: bytes) -> None:
        for number, byte in enumerate(piece):
            if not self.drip_s or client.is_closing():
                client.write(piece[number:])
                return
            client.write(bytes([byte]))
            await client.drain()
            await asyncio.sleep(self.drip_s)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()


@contextmanager
def running(proxy: TcpProxy) -> Iterator[TcpProxy]:
    """Run a proxy on a free port; cut every connection at the end."""
    thread = threading.Thread(target=proxy._run, name="tcp-proxy")
    thread.start()
    proxy._started.wait(10)
    try:
        yield proxy
    finally:
        proxy.cut()
        proxy._loop.call_soon_threadsafe(proxy._stop.set)
        thread.join()
