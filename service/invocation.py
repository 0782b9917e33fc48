"""How users run this program: from a checkout, or as an installed package."""

from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parent.parent


@cache
def is_checkout() -> bool:
    """Return whether this code runs from the project's files. An installed package has no `service.py` beside it."""
    return (PROJECT / "service.py").is_file()


def command_line(arguments: str) -> str:
    """Return a command of this program as users type it.

    Args:
        arguments: The name of the command and its arguments, such as `keys check`.
    """
    return f"python service.py {arguments}" if is_checkout() else f"loaner {arguments}"
