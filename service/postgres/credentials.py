"""Who connects to Postgres, if that changes while the service runs."""

from typing import Protocol

from service.settings import Login


class CurrentCredentials(Protocol):
    """Whatever knows the credentials that are in use now."""

    @property
    def generation(self) -> int:
        """Changes whenever they do."""
        ...

    def read(self) -> Login:
        """The credentials."""
        ...

    def refuse(self, generation: int) -> None:
        """Say that Postgres does not accept these."""
        ...
