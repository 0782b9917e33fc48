"""Where log lines go: standard error, one line each, with the id of the request that they belong to."""

import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")


def configure_logging(level: str) -> None:
    """Log this level and above, for the whole process."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s", level=level, force=True
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(_add_request_id)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True
