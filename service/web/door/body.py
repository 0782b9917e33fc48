"""Reads the body of a request to its end, within bounds."""

import asyncio
from dataclasses import dataclass

from service.errors import RequestRefused
from service.web.door.exchange import Receive
from service.web.door.framing import Headers


@dataclass(frozen=True)
class BodyLimits:
    """The bounds of the bodies that one process reads.

    Args:
        bytes: The length of a body.
        held_bytes: The length of all bodies together that are being read or handled.
        total_s: Seconds until a body has arrived, from its first byte to its last one.
        silence_s: Seconds between two parts of a body.
    """

    bytes: int
    held_bytes: int
    total_s: float
    silence_s: float


class BodyReader:
    """Reads bodies. It belongs to one event loop.

    Args:
        limits: The bounds.
    """

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._held = 0

    async def read(self, headers: Headers, receive: Receive) -> bytes:
        """Return the whole body, which `release` must follow.

        Raises:
            RequestRefused: If the body is too long, does not arrive in time, or ends before its end.
        """
        declared = headers.get(b"content-length")
        if declared is not None and b"transfer-encoding" not in headers and int(declared) > self._limits.bytes:
            raise self._too_large()
        body = bytearray()  # a list of parts would take many times as much memory for parts of a few bytes
        length = 0
        now = asyncio.get_running_loop().time
        ends_at = now() + self._limits.total_s
        try:
            async with asyncio.timeout(None) as timeout:
                while True:
                    timeout.reschedule(min(now() + self._limits.silence_s, ends_at))
                    message = await receive()
                    if message["type"] != "http.request":
                        # RFC 9112, section 8: an incomplete message must not be handled as a complete one.
                        raise RequestRefused(400, "the body ended before its end", closes=True)
                    part = message.get("body", b"")
                    length += len(part)
                    self._held += len(part)
                    if length > self._limits.bytes:
                        raise self._too_large()
                    if self._held > self._limits.held_bytes:
                        raise RequestRefused(
                            503, "too many bodies at a time; retry later", closes=True, retry_after_s=1
                        )
                    body += part
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            self._held -= length
            raise RequestRefused(408, "the body did not arrive in time", closes=True) from None
        except BaseException:
            self._held -= length
            raise

    def release(self, length: int) -> None:
        """Note that a body of this length has been handled and is no longer in memory."""
        self._held -= length

    def _too_large(self) -> RequestRefused:
        return RequestRefused(413, f"the body is longer than {self._limits.bytes} bytes", closes=True)
