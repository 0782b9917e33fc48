"""The declaration of a service that a gateway is to have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

DECLARATION_TAG_PREFIX = "declared:"
INSTANCE_TAG_PREFIX = "instance:"
CONFIG_TAG_PREFIX = "config:"
# An entity has at most one tag with each of these prefixes.
UNIQUE_TAG_PREFIXES = (DECLARATION_TAG_PREFIX, INSTANCE_TAG_PREFIX, CONFIG_TAG_PREFIX)


@dataclass(frozen=True)
class Plugin:
    """A plugin of the service.

    Attributes:
        name: Kong's name of the plugin.
        fields: Declared fields of the plugin other than its name, such as `config`.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Definition:
    """A service and its route, which has the same name.

    Attributes:
        name: Name of the service and of the route.
        paths: Paths of the route. The gateway strips them from requests.
        host: Host at which the gateway finds the service; unused with `health_path`.
        port: Port at which the gateway finds the service; unused with `health_path`, since each target has its own.
        health_path: If set, the gateway finds the service through an upstream, and checks this path of each target.
        plugins: Plugins of the service. None leaves plugins untouched; an empty sequence removes the service's own.
        jwt_keys: Public keys that the plugin `jwt` accepts, by key id, each as (algorithm, PEM). Used only if that
            plugin is declared.
        protocol: Protocol that the service speaks.
    """

    name: str
    paths: tuple[str, ...]
    host: str
    port: int
    health_path: str | None = None
    plugins: Sequence[Plugin] | None = None
    jwt_keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    protocol: Literal["http", "https"] = "http"

    @property
    def declaration_tag(self) -> str:
        """A tag that distinguishes this declaration from those of other releases.

        All instances of a release have the same one, so it contains nothing that belongs to one instance.
        """
        port = self.port if self.upstream is None else None
        declared = repr((self.paths, self.target_host, port, self.health_path, self.plugins, self.protocol))
        return f"{DECLARATION_TAG_PREFIX}{sha256(declared.encode()).hexdigest()[:12]}"

    @property
    def tags(self) -> list[str]:
        """The tags of all entities that belong to this service; the first one marks the owner."""
        return [f"managed-by:{self.name}", f"service:{self.name}"]

    @property
    def upstream(self) -> str | None:
        """The name of the upstream, or None without one."""
        return None if self.health_path is None else f"{self.name}.upstream"

    @property
    def target_host(self) -> str:
        """The host of the service entity: the upstream's name, or `host`."""
        return self.upstream or self.host
