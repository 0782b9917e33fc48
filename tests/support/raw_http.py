"""HTTP/1.1 as bytes on a socket: requests that no library would send, and replies as they arrive."""

import contextlib
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Self

END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class RawReply:
    """A reply, or what arrived of it.

    Args:
        line: The status line.
        headers: Names and values, as sent and in the order sent.
        body: The body without its framing.
        is_whole: Whether the framing says that the body is complete.
    """

    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_whole: bool

    @property
    def status(self) -> int:
        return int(self.line.split(" ")[1])

    def header(self, name: str) -> str | None:
        """Return the value of a header that occurs at most once; None if it does not occur."""
        values = [value for each, value in self.headers if each.lower() == name.lower()]
        assert len(values) < 2, self.headers
        return values[0] if values else None


class TlsStream:
    """TLS over a socket. Unlike ssl.SSLSocket, it can close one direction and still read.

    Args:
        plain: A connected socket.
        context: The context of a client.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
        self._flush()

    def sendall(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._feed()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def close_notify(self) -> None:
        """Announce that no more data follows (RFC 8446, section 6.1)."""
        with contextlib.suppress(ssl.SSLWantReadError):  # the peer has not closed its direction
            self._tls.unwrap()
        self._flush()

    def _flush(self) -> None:
        self._plain.sendall(self._outgoing.read())

    def _feed(self) -> None:
        piece = self._plain.recv(65_536)
        if piece:
            self._incoming.write(piece)
        else:
            self._incoming.write_eof()


class RawConnection:
    """A connection whose bytes and whose end are under control.

    Args:
        port: A port of the loopback address.
        tls: A context for TLS; None for plain TCP.
        timeout_s: The longest wait for one byte.
        receive_buffer: The size of the socket's receive buffer in bytes; None for the system's default.
    """

    def __init__(
        self, port: int, tls: ssl.SSLContext | None = None, timeout_s: float = 20, receive_buffer: int | None = None
    ) -> None:
        self._socket = socket.socket()
        try:
            if receive_buffer is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._socket.settimeout(timeout_s)
            self._socket.connect(("127.0.0.1", port))
            self._stream = self._socket if tls is None else TlsStream(self._socket, tls)
        except BaseException:
            self._socket.close()
            raise
        self._received = bytearray()
        self.pause_s = 0.0  # before each read, for a slow reader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The client's port."""
        return self._socket.getsockname()[1]

    def send(self, data: bytes) -> None:
        self._stream.sendall(data)

    def close(self) -> None:
        """Close both directions: FIN."""
        self._socket.close()

    def reset(self) -> None:
        """Abort the connection: RST (RFC 9293, section 3.10.5)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def half_close(self) -> None:
        """Close the sending direction only: FIN, after a close_notify with TLS."""
        with contextlib.suppress(OSError):  # the server has ended the connection already
            if isinstance(self._stream, TlsStream):
                self._stream.close_notify()
            self._socket.shutdown(socket.SHUT_WR)

    def peek_line(self) -> str | None:
        """Return the status line of the next reply, which is still to be read; None if the connection ends before."""
        while b"\r\n" not in self._received:
            if not self._read_more():
                return None
        return bytes(self._received.partition(b"\r\n")[0]).decode("latin-1")

    def read_reply(self, head: bool = False) -> RawReply | None:
        """Return the next reply that is not 100 (Continue); None if the connection ends before a status line.

        Args:
            head: Whether the request was HEAD, so that the reply has no body.
        """
        while END_OF_HEAD not in self._received:
            if not self._read_more():
                return None
        line, *fields = self._take_until(END_OF_HEAD).decode("latin-1").split("\r\n")
        headers = tuple((name, value.strip()) for name, _, value in (field.partition(":") for field in fields))
        status = int(line.split(" ")[1])
        if status == 100:
            return self.read_reply(head)
        if head or status in (204, 304):
            return RawReply(line, headers, b"", True)
        lower = {name.lower(): value for name, value in headers}
        if "transfer-encoding" in lower:
            return RawReply(line, headers, *self._read_chunks())
        if "content-length" in lower:
            length = int(lower["content-length"])
            while len(self._received) < length and self._read_more():
                pass
            body = self._take(length)
            return RawReply(line, headers, body, len(body) == length)
        while self._read_more():
            pass
        return RawReply(line, headers, self._take(len(self._received)), True)

    def is_ended(self, within_s: float) -> bool:
        """Return whether the server ends the connection in time; bytes that arrive until then are discarded."""
        deadline = time.monotonic() + within_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                if not self._stream.recv(65_536):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
        return False

    def _read_chunks(self) -> tuple[bytes, bool]:
        body = []
        while True:
            while b"\r\n" not in self._received:
                if not self._read_more():
                    return b"".join(body), False
            size = int(self._take_until(b"\r\n"), 16)
            while len(self._received) < size + 2:
                if not self._read_more():
                    return b"".join(body) + self._take(size), False
            body.append(self._take(size))
            assert self._take(2) == b"\r\n"
            if size == 0:
                return b"".join(body), True

    def _take(self, length: int) -> bytes:
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def _take_until(self, end: bytes) -> bytes:
        taken = self._take(self._received.index(end) + len(end))
        return taken.removesuffix(end)

    def _read_more(self) -> bool:
        time.sleep(self.pause_s)
        try:
            piece = self._stream.recv(65_536)
        except TimeoutError:
            raise
        except OSError:  # reset, or TLS that ended without a close_notify
            return False
        self._received += piece
        return bool(piece)


def request_bytes(
    method: str, target: str, headers: dict[str, str] | list[tuple[str, str]] | None = None, body: bytes = b""
) -> bytes:
    """Return a well-formed request: HTTP/1.1 with one Host; headers are added as given."""
    pairs = headers.items() if isinstance(headers, dict) else headers or []
    lines = [f"{method} {target} HTTP/1.1", "Host: loaner.test", *(f"{name}: {value}" for name, value in pairs)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + END_OF_HEAD + body


def chunk(data: bytes) -> bytes:
    """Return data as one chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def read_replies(connection: RawConnection) -> list[RawReply]:
    """Return all replies until the server ends the connection."""
    replies = []
    while (reply := connection.read_reply()) is not None:
        replies.append(reply)
    return replies
