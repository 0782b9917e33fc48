"""Where a standalone run keeps its files."""

from pathlib import Path

from service.invocation import PROJECT, is_checkout


def home() -> Path:
    """Return the folder of `.local` and `.auth`: that of the project, or for an installed package the current one.

    Settings are read from the current folder as well.
    """
    return PROJECT if is_checkout() else Path.cwd()
