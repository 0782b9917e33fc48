"""Which gateway it is, and so what it can do. Source: Kong's change log, and exchanges recorded from real gateways."""

import re
from dataclasses import dataclass
from typing import Any

from service.gateway.registrator import RegistrationException


@dataclass(frozen=True)
class GatewayVersion:
    """A Kong gateway's version, as numbers: (3, 9, 3)."""

    number: tuple[int, ...]

    def __str__(self) -> str:
        return ".".join(map(str, self.number))

    @property
    def has_services(self) -> bool:
        """Services, and routes with names; before there is `/apis/`."""
        return self.number >= (1, 0)

    @property
    def has_tags(self) -> bool:
        """Tags on entities, to own them by."""
        return self.number >= (1, 1)

    @property
    def has_nested_routes(self) -> bool:
        """`/services/{service}/routes/{route}`."""
        return self.number >= (1, 3)

    @property
    def marks_regular_expressions(self) -> bool:
        """A path that is a regular expression begins with `~`; before, it is known by its looks."""
        return self.number >= (3, 0)


def parse_gateway_version(node: dict[str, Any], shown_url: str) -> GatewayVersion:
    """The version of the gateway that said this of itself.

    Raises: RegistrationException for one that takes no registrations, or is none.
    """
    digits = re.match(r"[0-9]{1,6}(\.[0-9]{1,6})+", str(node.get("version")))
    configuration = node.get("configuration")
    if digits is None or not isinstance(configuration, dict):
        raise RegistrationException(f"GET {shown_url}/ names no version; is this Kong's Admin API?")
    if configuration.get("database") == "off":
        raise RegistrationException(
            f"{shown_url} runs without a database (DB-less) and takes no registrations: "
            "declare the service in its configuration file instead"
        )
    if configuration.get("role") == "data_plane":
        raise RegistrationException(f"{shown_url} is a data plane: register with its control plane instead")
    return GatewayVersion(tuple(int(part) for part in digits[0].split(".")))
