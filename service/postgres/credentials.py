"""Who connects to Postgres, if that changes while the service runs."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import SecretStr

from service.settings import Settings


@dataclass(frozen=True)
class Credentials:
    """A user of Postgres and its password."""

    user: str
    password: str = field(repr=False)

    def in_settings(self, settings: Settings, role: Literal["reader", "posting", "admin"] = "reader") -> Settings:
        """These settings with this user as the one of that role."""
        prefix = "psql" if role == "reader" else f"psql_{role}"
        return settings.model_copy(update={f"{prefix}_user": self.user, f"{prefix}_pw": SecretStr(self.password)})


class CurrentCredentials(Protocol):
    """Whatever knows the credentials that are in use now."""

    @property
    def generation(self) -> int:
        """Changes whenever they do."""
        ...

    def read(self) -> Credentials:
        """The credentials."""
        ...

    def refuse(self, generation: int) -> None:
        """Say that Postgres does not accept these."""
        ...
