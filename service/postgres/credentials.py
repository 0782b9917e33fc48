"""Credentials that change while the service runs."""

from typing import Protocol

from service.settings import Login


class CurrentCredentials(Protocol):
    """Source of the credentials that are current."""

    @property
    def generation(self) -> int:
        """A number that changes with the credentials."""
        ...

    def read(self) -> Login:
        """Return the current credentials."""
        ...

    def refuse(self, generation: int) -> None:
        """Report that Postgres rejects the credentials of a generation."""
        ...

    def refused_at(self) -> float | None:
        """Return when Postgres first rejected the current credentials, in seconds of the boot clock; None if never."""
        ...
