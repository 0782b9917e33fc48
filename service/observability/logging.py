"""Configures logging: lines on standard error, with the id of the request that they belong to."""

import logging
import time
from contextvars import ContextVar

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
    """Formats lines without the cost of the general formatter; the time is formatted once a second."""

    _last_time = (0, "")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (name set by logging)
        return (
            f"{self._time(record)},{int(record.msecs):03d} {record.levelname} {record.name} "
            f"[{getattr(record, 'request_id', '-')}] {record.message}"
        )

    def _time(self, record: logging.LogRecord) -> str:
        second, text = self._last_time
        if second != int(record.created):
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
            self._last_time = int(record.created), text
        return text


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True
