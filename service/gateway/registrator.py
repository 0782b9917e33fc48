"""What registering with any gateway takes."""

import re
from collections.abc import Sequence
from typing import Any


class RegistrationException(Exception):
    """The gateway did not register the service. The message names its address and what it said."""


class Registrator:
    """Registers a service with the gateway whose admin API is at `gw_admin_url`."""

    def __init__(self, gw_admin_url: str = "http://localhost:8001") -> None:
        self.gw_admin_url = gw_admin_url.rstrip("/")

    def register(
        self,
        name: str | None = None,
        paths: Sequence[str] | None = None,
        host: str | None = None,
        port: int = 8080,
    ) -> None:
        """Have the gateway send requests for `paths` to `host`:`port`. Safe to call again.

        Raises: ValueError for what is missing; RegistrationException when the gateway does not do it.
        """
        for argument, value in (("name", name), ("paths", paths), ("host", host)):
            if not value:
                raise ValueError(f"register() needs {argument}")
        if isinstance(paths, str):
            raise ValueError(f"register() needs paths as a list, such as [{paths!r}]")
        if not re.fullmatch(r"[A-Za-z0-9._~-]+", str(name)):
            raise ValueError(f"register() needs a name of letters, digits and . _ ~ -, not {name!r}")
        for path in paths or ():
            if not isinstance(path, str) or not path.startswith(("/", "~/")):
                raise ValueError(f"register() needs paths such as '/loaner', not {path!r}")
        try:
            number = int(port)
        except (TypeError, ValueError) as err:
            raise ValueError(f"register() needs port as a number, not {port!r}") from err
        if not 1 <= number <= 65535 or isinstance(port, bool):
            raise ValueError(f"register() needs a port from 1 to 65535, not {port!r}")
        self.register_service({"name": name, "paths": list(paths or ()), "host": host, "port": number})

    def register_service(self, service: dict[str, Any]) -> None:
        """What a kind of gateway does with a complete definition."""
        raise TypeError(f"{type(self).__name__} does not say how to register")
