"""Versions of Kong gateways and their features, from Kong's change log and from recordings of real gateways."""

import re
from dataclasses import dataclass
from typing import Any

from service.gateway.registrator import RegistrationException
from service.invocation import command_line


@dataclass(frozen=True)
class GatewayVersion:
    """Version of a Kong gateway.

    Attributes:
        number: The parts of the version, such as (3, 9, 3).
    """

    number: tuple[int, ...]

    def __str__(self) -> str:
        return ".".join(map(str, self.number))

    @property
    def has_services(self) -> bool:
        """Whether the gateway has services and named routes; older ones have `/apis/`."""
        return self.number >= (1, 0)

    @property
    def has_tags(self) -> bool:
        """Whether entities have tags, which mark their owner."""
        return self.number >= (1, 1)

    @property
    def has_nested_routes(self) -> bool:
        """Whether the gateway accepts `/services/{service}/routes/{route}`."""
        return self.number >= (1, 3)

    @property
    def has_regex_prefix(self) -> bool:
        """Whether paths that are regular expressions begin with `~`; older gateways recognize them by their syntax."""
        return self.number >= (3, 0)


def parse_gateway_version(node: dict[str, Any], redacted_url: str) -> GatewayVersion:
    """Return the version of a gateway.

    Args:
        node: Reply of `GET /` of the Admin API.
        redacted_url: URL of the Admin API, for error messages.

    Raises:
        RegistrationException: If the reply is not Kong's, or if the gateway is a data plane.
    """
    digits = re.match(r"[0-9]{1,6}(\.[0-9]{1,6})+", str(node.get("version")))
    configuration = node.get("configuration")
    if digits is None or not isinstance(configuration, dict):
        raise RegistrationException(f"GET {redacted_url}/ returned no version; is this Kong's Admin API?")
    if configuration.get("role") == "data_plane":
        raise RegistrationException(f"{redacted_url} is a data plane; register with its control plane instead")
    return GatewayVersion(tuple(int(part) for part in digits[0].split(".")))


def is_db_less(node: dict[str, Any]) -> bool:
    """Return whether a gateway has no database. It answers reads, and rejects writes."""
    return bool(node["configuration"].get("database") == "off")


def reject_db_less(node: dict[str, Any], redacted_url: str) -> None:
    """Raise an error for a gateway that has no database.

    Raises:
        RegistrationException: If it has none.
    """
    if is_db_less(node):
        raise RegistrationException(
            f"{redacted_url} runs without a database (DB-less) and accepts no registrations; load the output of"
            f" `{command_line('gateway export')}` into it as part of its configuration, and set SERVICE_DISCOVERY=none"
        )
