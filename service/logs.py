"""Where log lines go: standard error, one line each."""

import logging


def configure_logging(level: str) -> None:
    """Log this level and above, for the whole process."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=level, force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
