"""Command-line values that the strict parsers check."""

from collections.abc import Callable
from typing import Any

import click


class ParsedValue(click.ParamType):  # type: ignore[type-arg]  # generic only for type checkers
    """A command-line value that a parser accepts.

    Args:
        name: Stands for the value in help texts.
        parse: Returns the value, or raises ValueError with what is expected.
    """

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the parsed value; a default value is returned as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as err:
            self.fail(str(err), param, ctx)
