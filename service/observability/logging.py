"""Configures logging: lines on standard error, with the id of the request that they belong to."""

import logging
import time
from collections.abc import Sequence
from contextvars import ContextVar
from functools import lru_cache

request_id: ContextVar[str] = ContextVar("request_id", default="-")


def configure_logging(level: str) -> None:
    """Log messages of this level and above in the whole process."""
    logging.basicConfig(level=level, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Formatter())
        handler.addFilter(_add_request_id)
    for unused in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks", "_srcfile"):
        setattr(logging, unused, None)  # spares each record what no line shows
    logging.getLogger("alembic").setLevel(logging.WARNING)


class _Formatter(logging.Formatter):
    """Formats lines without the cost of the general formatter."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (name set by logging)
        id_ = getattr(record, "request_id", "-")
        return format_line(record.created, record.levelname, record.name, id_, record.message)


def format_line(created: float, level: str, logger: str, request: str, message: str) -> str:
    """Return a line of the log.

    Args:
        created: The Unix time.
        level: The level's name.
        logger: The logger's name.
        request: The id of the request that the line belongs to.
        message: The message.
    """
    second = int(created)
    return f"{_format_second(second)},{int((created - second) * 1000):03d} {level} {logger} [{request}] {message}"


@lru_cache(8)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


def write_lines(lines: Sequence[str]) -> None:
    """Write formatted lines to the streams of the log, without lines of other threads in between.

    Raises:
        OSError: If a stream is broken.
        ValueError: If a stream is closed.
    """
    if lines:
        text = "\n".join(lines) + "\n"
        for handler in logging.getLogger().handlers:
            # a handler of a file has no stream before its first line
            if isinstance(handler, logging.StreamHandler) and handler.stream is not None:
                handler.acquire()
                try:
                    handler.stream.write(text)
                    handler.flush()
                finally:
                    handler.release()


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True
