"""Where a standalone run keeps its files, and whether this code is a checkout."""

from pathlib import Path

_ABOVE_PACKAGE = Path(__file__).parent.parent.parent


def is_checkout() -> bool:
    """Return whether this code runs from the project's files. An installed package has no `service.py` beside it."""
    return (_ABOVE_PACKAGE / "service.py").is_file()


def home() -> Path:
    """Return the folder of `.local` and `.auth`: that of the project, or for an installed package the current one.

    Settings are read from the current folder as well.
    """
    return _ABOVE_PACKAGE if is_checkout() else Path.cwd()
