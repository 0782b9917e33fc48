"""Where log lines go: standard error, one line each, with the id of the request that they belong to."""

import logging
import time
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")


def configure_logging(level: str) -> None:
    """Log this level and above, for the whole process."""
    logging.basicConfig(level=level, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Formatter())
        handler.addFilter(_add_request_id)
    for unused in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks", "_srcfile"):
        setattr(logging, unused, None)  # what a line does not show is not found out for each of them
    logging.getLogger("alembic").setLevel(logging.WARNING)


class _Formatter(logging.Formatter):
    """The form of a line, without what makes it in general slow; the time is written out once a second."""

    _written = (0, "")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        return (
            f"{self._time(record)},{int(record.msecs):03d} {record.levelname} {record.name} "
            f"[{getattr(record, 'request_id', '-')}] {record.message}"
        )

    def _time(self, record: logging.LogRecord) -> str:
        second, text = self._written
        if second != int(record.created):
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
            self._written = int(record.created), text
        return text


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True
