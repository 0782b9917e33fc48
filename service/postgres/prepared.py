"""Queries that each connection prepares once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Prepared:
    """A query that each connection prepares once.

    Args:
        label: The first part of the prepared statement's name.
        types: SQL types of the parameters.
        sql: The query, with parameters $1, $2.
    """

    label: str
    types: tuple[str, ...]
    sql: str

    @cached_property
    def name(self) -> str:
        """The name of the prepared statement. Statements with the same name are the same, in every release."""
        digest = hashlib.sha256(repr((self.types, self.sql)).encode()).hexdigest()
        return f"{self.label}_{digest[:16]}"

    @cached_property
    def call(self) -> str:
        """The statement that runs it, with a placeholder for each parameter."""
        return f"EXECUTE {self.name} {_parenthesized(['%s'] * len(self.types))}"

    @cached_property
    def definition(self) -> str:
        """The statement that prepares it."""
        return f"PREPARE {self.name} {_parenthesized(self.types)} AS {self.sql}"


def _parenthesized(parts: Sequence[str]) -> str:
    return f"({', '.join(parts)})" if parts else ""
