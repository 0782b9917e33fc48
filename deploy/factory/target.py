"""The host that the service is sent to, as people write it."""

import re
from dataclasses import dataclass
from typing import Self

from deploy.factory.errors import FactoryError

SHAPE = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][\w.-]*)@)?(?P<host>[A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Target:
    """user, port: None where ~/.ssh/config or ssh itself says."""

    user: str | None
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises: FactoryError for what is no user@host[:port]."""
        found = SHAPE.fullmatch(text)
        port = int(found["port"]) if found and found["port"] else None
        if found is None or (port is not None and not 0 < port < 65536):
            raise FactoryError(f"TARGET: expected user@host or user@host:port, not {text!r}")
        return cls(found["user"], found["host"].strip("[]"), port)

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host
