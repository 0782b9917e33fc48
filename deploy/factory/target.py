"""The host to deploy to, as written on the command line."""

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
    """A host that ssh connects to.

    Args:
        user: Login name; None leaves it to ssh and ~/.ssh/config.
        host: Host name, address, or alias of ~/.ssh/config.
        port: Port of the ssh server; None leaves it to ssh and ~/.ssh/config.
    """

    user: str | None
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `[user@]host[:port]`.

        Raises:
            FactoryError: If the text has another form, or the port is out of range.
        """
        found = SHAPE.fullmatch(text)
        port = int(found["port"]) if found and found["port"] else None
        if found is None or (port is not None and not 0 < port < 65536):
            raise FactoryError(f"TARGET: expected user@host or user@host:port, not {text!r}")
        return cls(found["user"], found["host"].strip("[]"), port)

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host
