"""Configures logging: lines on standard error, as text or JSON, with the request that they belong to."""

import logging
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Literal

from service.observability import log_json, log_text
from service.observability.request_marks import current_request

LogFormat = Literal["text", "json"]

log = logging.getLogger(__name__)

_style: LogFormat = "text"


def configure_logging(level: str, style: LogFormat = "text") -> None:
    """Log messages of this level and above in the whole process, including errors that nothing catches.

    Args:
        level: The level's name.
        style: The format of each line.
    """
    global _style
    _style = style
    logging.basicConfig(level=level, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_JsonFormatter() if style == "json" else _TextFormatter())
    for unused in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks", "_srcfile"):
        setattr(logging, unused, None)  # spares each record what no line shows
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if style == "json":
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread


def is_json() -> bool:
    """Return whether lines are JSON."""
    return _style == "json"


class _TextFormatter(logging.Formatter):
    """Formats lines without the cost of the general formatter."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (name set by logging)
        request = current_request.get()
        label = log_text.request_label(request.id, request.trace_id) if request is not None else "-"
        return log_text.format_line(record.created, record.levelname, record.name, label, record.message)


class _JsonFormatter(logging.Formatter):
    """Formats a record as one line, with its exception as a member."""

    def format(self, record: logging.LogRecord) -> str:
        request = current_request.get()
        return log_json.format_line(
            record.created,
            record.levelname,
            record.name,
            record.getMessage(),
            request.id if request is not None else "",
            request.trace_id if request is not None else "",
            exception=self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else "",
            stack=self.formatStack(record.stack_info) if record.stack_info else "",
        )


def write_lines(lines: Sequence[str]) -> None:
    """Write formatted lines to the streams of the log, without lines of other threads in between.

    Raises:
        OSError: If a stream is broken.
        ValueError: If a stream is closed.
    """
    if lines:
        text = "\n".join(lines) + "\n"
        for handler in logging.getLogger().handlers:
            # A handler of a file that is not open yet has no stream.
            if isinstance(handler, logging.StreamHandler) and handler.stream is not None:
                handler.acquire()
                try:
                    handler.stream.write(text)
                    handler.flush()
                finally:
                    handler.release()


def _log_uncaught(kind: type[BaseException], err: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, err, traceback)
    else:
        log.critical("unexpected error; the process ends", exc_info=(kind, err, traceback))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and not issubclass(arguments.exc_type, SystemExit):
        name = arguments.thread.name if arguments.thread is not None else "unknown"
        failure = (arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
        log.critical("unexpected error; the thread %s ends", name, exc_info=failure)
